"""Workers and what they have started, as real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from longshore.records import ReadRequest
from longshore_psutil import PsutilProbe
from longshore_psutil._procfs import KeptFile
from longshore_psutil._tree import Node, ProcTable, PsutilTable, descendants, usage_by_root

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
DEADLINE_S = 20.0
PARENT = """
import subprocess, sys
ballast = bytearray(40_000_000)
child = subprocess.Popen([sys.executable, "-c", "b = bytearray(40_000_000); print('ready', flush=True); input()"])
child.wait()
"""
"""A worker of 40 MB with a child of 40 MB, which says when it stands and waits for its standard input to end."""


THREAD_STARTS = """
import subprocess, sys, threading
def start():
    child = subprocess.Popen([sys.executable, "-c", "b = bytearray(40_000_000); print('ready', flush=True); input()"])
    child.wait()
threading.Thread(target=start).start()
"""
FORKS = """
import os, sys
print("ready", flush=True)
for number in range(100_000):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
"""


@pytest.fixture
def family(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program that says "ready" and ends when its standard input does; PARENT, unless a test names another."""
    program = getattr(request, "param", PARENT)
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.stdin.close()
    process.wait(timeout=10)
    process.stdout.close()


@pytest.mark.parametrize(
    "table", [pytest.param(ProcTable, marks=pytest.mark.skipif(sys.platform != "linux", reason="/proc")), PsutilTable]
)
@pytest.mark.requirement("req:G04")
def test_a_worker_is_its_whole_tree(family: subprocess.Popen[bytes], table: type[ProcTable | PsutilTable]) -> None:
    """A worker of 40 MB with a child of 40 MB uses over 80 MB, by either way of looking."""
    usage = usage_by_root(table().read([family.pid]), [family.pid])[family.pid]
    assert 80 <= usage.memory_mb <= 200
    assert 0 < usage.cpu_s < 30


@linux
@pytest.mark.parametrize("family", [THREAD_STARTS], indirect=True)
def test_a_process_that_a_thread_has_started_counts(family: subprocess.Popen[bytes]) -> None:
    """Not only what the main thread of a worker starts is its own."""
    table = ProcTable()
    assert len(table.read([family.pid])) == 2
    assert usage_by_root(table.read([family.pid]), [family.pid])[family.pid].memory_mb >= 40


@linux
@pytest.mark.requirement("req:G23")
def test_the_figures_agree_with_psutil(family: subprocess.Popen[bytes]) -> None:
    """CPU seconds and resident memory of a tree at rest, within a hundredth of a second and a megabyte."""
    mine = usage_by_root(ProcTable().read([family.pid]), [family.pid])[family.pid]
    theirs = usage_by_root(PsutilTable().read([family.pid]), [family.pid])[family.pid]
    assert mine.cpu_s == pytest.approx(theirs.cpu_s, abs=0.05)
    assert mine.memory_mb == pytest.approx(theirs.memory_mb, abs=1.0)


@linux
def test_a_worker_asked_for_later_is_found(family: subprocess.Popen[bytes]) -> None:
    """Whoever was part of another's tree, or of none, can be asked for by itself, and the other way round."""
    table = ProcTable()
    child = psutil.Process(family.pid).children()[0].pid
    assert [len(table.read(roots)) for roots in ([1], [child], [family.pid], [child])] == [
        len(table.read([1])), 1, 2, 1,
    ]  # fmt: skip


@linux
def test_a_number_that_passes_to_another_process_is_that_process() -> None:
    """What is kept open of a worker that ended says nothing of the process that has its number now."""
    reused = Path("/proc/sys/kernel/ns_last_pid")
    table = ProcTable()
    first = subprocess.Popen([sys.executable, "-c", "b = bytearray(60_000_000); print(1, flush=True); input()"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    with first:
        assert first.stdout is not None
        first.stdout.readline()
        before = table.read([first.pid])[first.pid]
        first.kill()
    give_up = time.monotonic() + DEADLINE_S
    while True:
        assert time.monotonic() < give_up, "the number never came again"
        try:
            reused.write_text(str(first.pid - 1))
        except OSError as error:
            pytest.skip(f"no number can be chosen here: {error}")
        with subprocess.Popen(["sleep", "60"]) as second:
            seen = table.read([second.pid]).get(second.pid)
            second.kill()
        if second.pid == first.pid:
            break
        table.read([])
    assert before.rss_bytes > 60_000_000
    assert seen is not None
    assert seen.rss_bytes < 20_000_000


@linux
@pytest.mark.parametrize("family", [FORKS], indirect=True)
def test_processes_that_come_and_go_under_the_look_do_no_harm(family: subprocess.Popen[bytes]) -> None:
    """A worker that forks without end is read every time, and its CPU, with that of its children, never goes back."""
    table = ProcTable()
    cpu_s = [usage_by_root(table.read([family.pid]), [family.pid])[family.pid].cpu_s for _ in range(300)]
    family.kill()
    assert len(cpu_s) == 300
    assert cpu_s[0] <= cpu_s[-1]


@linux
def test_files_are_kept_open_for_what_lives_and_closed_at_the_end(family: subprocess.Popen[bytes]) -> None:
    """Two files a process, none for one that is not asked for any more, and none at all after `close`."""
    table = ProcTable()
    table.read([])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        table.read([family.pid])
        assert len(os.listdir("/proc/self/fd")) == before + 4
    table.read([os.getppid()])
    table.close()
    assert len(os.listdir("/proc/self/fd")) == before


@linux
def test_where_no_file_can_be_opened_what_is_open_is_read_on(family: subprocess.Popen[bytes]) -> None:
    """At the limit of open files a reading still comes; it tells of what it has open."""
    resource = pytest.importorskip("resource")
    probe = PsutilProbe()
    known = probe.read(ReadRequest([family.pid])).workers[family.pid]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        reading = probe.read(ReadRequest([family.pid]))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert reading.workers[family.pid].memory_mb == pytest.approx(known.memory_mb, abs=5.0)
    assert reading.usage["memory"].capacity


def test_a_long_file_is_read_to_its_end(tmp_path: Path) -> None:
    """Beyond what is read at once, and anew each time."""
    path = tmp_path / "long"
    path.write_bytes(b"x" * 200_000)
    kept = KeptFile(str(path))
    assert kept.read() == b"x" * 200_000
    path.write_bytes(b"short")
    assert kept.read() == b"short"
    kept.close()


def test_a_table_that_changes_under_the_look_ends() -> None:
    """Two processes that seem each other's parent are counted once each."""
    ring = {1: Node(2, 1.0, 1), 2: Node(1, 1.0, 1), 3: Node(0, 1.0, 1)}
    assert descendants(ring, [1]) == {1, 2}


@pytest.mark.requirement("req:G21", "req:G23")
def test_a_reading_costs_under_one_percent_of_a_core() -> None:
    """At one reading a second and with 16 workers, a reading takes less than 10 ms of its thread's CPU."""
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(16)]
    try:
        probe, request = PsutilProbe(), ReadRequest([sleeper.pid for sleeper in sleepers])
        assert len(probe.read(request).workers) == 16
        before_s = time.thread_time()
        for _ in range(20):
            probe.read(request)
        assert (time.thread_time() - before_s) / 20 < 0.010
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait(timeout=DEADLINE_S)
        probe.close()
