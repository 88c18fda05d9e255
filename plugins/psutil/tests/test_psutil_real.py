"""The probe on the machine the tests run on."""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import pluggy
import psutil
import pytest
from longshore.hookspecs import PROJECT, Probe
from longshore.records import ReadRequest
from longshore_psutil import PsutilProbe
from longshore_psutil._tree import Node, ProcTable, PsutilTable, descendants, usage_by_root

PARENT = """
import subprocess, sys
ballast = bytearray(40_000_000)
child = subprocess.Popen([sys.executable, "-c", "b = bytearray(40_000_000); print('ready', flush=True); input()"])
child.wait()
"""
"""A worker of 40 MB with a child of 40 MB, which says when it stands and waits for its standard input to end."""


class Watch:
    """Real seconds, with each moment the probe looked kept."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __call__(self) -> float:
        self.seen.append(time.monotonic())
        return self.seen[-1]

    @property
    def elapsed_s(self) -> float:
        return self.seen[-1] - self.seen[0]


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.stdin.close()
    process.wait(timeout=10)
    process.stdout.close()


def test_it_meets_the_contract() -> None:
    """Every method of the contract is there, marked, and takes what the spec gives it."""
    probe: Probe = PsutilProbe()
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Probe)
    manager.register(probe)
    manager.check_pending()
    assert [impl.plugin for impl in manager.hook.read.get_hookimpls()] == [probe]
    assert set(probe.resources) == {"cpu", "memory", "disk_io", "network_io"}
    assert probe.period_s == 1.0


@pytest.mark.requirement("req:G03")
def test_what_we_burn_is_seen_as_ours() -> None:
    """CPU burnt here shows in `own`, in cores over real time, and never passes the machine."""
    watch = Watch()
    probe = PsutilProbe(clock=watch)
    probe.read(ReadRequest())
    before_s = time.process_time()
    while time.process_time() - before_s < 0.2:
        sum(range(1000))
    cpu = probe.read(ReadRequest()).usage["cpu"]
    assert cpu.own is not None
    assert cpu.capacity is not None
    assert 0.15 <= cpu.own * watch.elapsed_s <= 0.5
    assert cpu.own <= cpu.capacity * 1.2


@pytest.mark.requirement("req:G04")
def test_memory_we_take_is_seen_as_ours() -> None:
    """100 MB more in this process are 100 MB more in `own`."""
    probe = PsutilProbe()
    before = probe.read(ReadRequest()).usage["memory"]
    with mmap.mmap(-1, 100_000_000) as ballast:  # the heap may have as much to give that is ours already
        ballast.write(b"x" * len(ballast))
        after = probe.read(ReadRequest()).usage["memory"]
    assert before.own is not None
    assert after.own is not None
    assert 80 <= after.own - before.own <= 200
    assert after.capacity is not None
    assert 0 < after.used < after.capacity


@pytest.mark.requirement("req:G05")
def test_disk_rates_agree_with_the_counters() -> None:
    """Rate times elapsed time is what the counters rose by, with 8 MB synced to disk between."""
    if psutil.disk_io_counters(nowrap=False) is None:
        pytest.skip("no disk counters on this machine")
    watch = Watch()
    probe = PsutilProbe(clock=watch)
    outer = _written_mb()
    probe.read(ReadRequest())
    inner = _written_mb()
    with tempfile.TemporaryFile() as file:
        file.write(os.urandom(8_000_000))
        file.flush()
        os.fsync(file.fileno())
    low = _written_mb() - inner
    rate = probe.read(ReadRequest()).usage["disk_io.write"].used
    # The probe looks at its clock several times a reading, so the time it divides by is known to a few milliseconds.
    assert low * 0.9 - 1 <= rate * watch.elapsed_s <= (_written_mb() - outer) * 1.2 + 1


def _written_mb() -> float:
    counters = psutil.disk_io_counters(nowrap=False)
    assert counters is not None
    return counters.write_bytes / 1e6


@pytest.mark.requirement("req:G06")
def test_a_loopback_transfer_is_seen() -> None:
    """5 MB over the loopback interface are at least 5 MB sent and received."""
    watch = Watch()
    probe = PsutilProbe(clock=watch)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        with socket.create_connection(server.getsockname(), timeout=10) as near:
            far = server.accept()[0]
            with far:
                far.settimeout(10)
                probe.read(ReadRequest())
                left = 5_000_000
                while left > 0:
                    near.sendall(b"x" * 50_000)
                    left -= len(far.recv(50_000, socket.MSG_WAITALL))
                usage = probe.read(ReadRequest()).usage
    assert usage["network_io.sent"].used * watch.elapsed_s >= 4.9
    assert usage["network_io.received"].used * watch.elapsed_s >= 4.9


@pytest.mark.parametrize(
    "table", [pytest.param(ProcTable, marks=pytest.mark.skipif(sys.platform != "linux", reason="/proc")), PsutilTable]
)
@pytest.mark.requirement("req:G04")
def test_a_worker_is_its_whole_tree(family: subprocess.Popen[bytes], table: type[ProcTable | PsutilTable]) -> None:
    """A worker of 40 MB with a child of 40 MB uses over 80 MB, by either way of looking."""
    usage = usage_by_root(table().read([family.pid]), [family.pid])[family.pid]
    assert 80 <= usage.memory_mb <= 200
    assert 0 < usage.cpu_s < 30


def test_a_vanished_worker_is_left_out(family: subprocess.Popen[bytes]) -> None:
    """A pid that is gone has no figures and disturbs nobody's."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(timeout=10)
    probe = PsutilProbe()
    for _ in range(2):
        assert set(probe.read(ReadRequest([gone.pid, family.pid])).workers) == {family.pid}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_first_seen_as_foreign_can_become_a_worker(family: subprocess.Popen[bytes]) -> None:
    """Asking later for a process that was passed over finds it with its whole tree."""
    table = ProcTable()
    table.read([1])
    outside = table.read([psutil.Process(family.pid).children()[0].pid])
    assert len(outside) == 1
    assert len(table.read([family.pid])) == 2


def test_a_table_that_changes_under_the_look_ends() -> None:
    """Two processes that seem each other's parent are counted once each."""
    ring = {1: Node(2, 1.0, 1), 2: Node(1, 1.0, 1), 3: Node(0, 1.0, 1)}
    assert descendants(ring, [1]) == {1, 2}


def test_a_reading_costs_under_one_percent_of_a_core() -> None:
    """At one reading a second, a reading takes less than 10 ms of CPU, here with a worker to account for."""
    probe = PsutilProbe()
    request = ReadRequest([os.getpid()])
    probe.read(request)
    before_s = time.process_time()
    for _ in range(20):
        probe.read(request)
    assert (time.process_time() - before_s) / 20 < 0.010
