"""The probe in a control group of its own, with real memory: skipped where none can be made.

Each test runs a process in the group that reads when it is told to, and takes memory in one way or another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from longshore.cgroups import ControlGroup, ControlGroups

pytestmark = pytest.mark.slow
MB = 1_000_000
LIMIT_MB = 400
DEADLINE_S = 20.0
READER = """
import json, mmap, os, sys, tempfile
from longshore.records import ReadRequest
from longshore_psutil import PsutilProbe
probe = PsutilProbe()
def read():
    usage = probe.read(ReadRequest()).usage["memory"]
    print(json.dumps([[bound.name, bound.used, bound.capacity] for bound in usage.bounds]), flush=True)
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
"""


class Group:
    """A control group of memory below our own, of the version that is in use here."""

    def __init__(self, above: ControlGroup) -> None:
        self.folder = Path(above.folder) / f"longshore-test-{os.getpid()}"
        self.limit_file = "memory.limit_in_bytes" if above.version == 1 else "memory.max"
        self.used_file = "memory.usage_in_bytes" if above.version == 1 else "memory.current"
        self.folder.mkdir()

    def limit(self, mb: int) -> None:
        (self.folder / self.limit_file).write_text(str(mb * MB))

    def used_mb(self) -> float:
        return int((self.folder / self.used_file).read_text()) / MB


def _remove(folder: Path) -> None:
    """Remove a group, once its processes have gone."""
    give_up = time.monotonic() + DEADLINE_S
    while folder.exists():
        try:
            folder.rmdir()
        except OSError:
            assert time.monotonic() < give_up, f"{folder} cannot be removed"
            time.sleep(0.01)


@pytest.fixture
def group() -> Iterator[Group]:
    levels = ControlGroups().levels("memory")
    try:
        made = Group(levels[0])
    except (IndexError, OSError) as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        made.limit(LIMIT_MB)
        yield made
    except OSError as error:
        pytest.skip(f"no limit can be set here: {error}")
    finally:
        _remove(made.folder)


class Reader:
    """A process in a group, with a probe of its own."""

    def __init__(self, group: Group, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.name = group.folder.name
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    def does(self, *statements: str) -> dict[str, tuple[float, float]]:
        """Have it do these, read, and return use and limit of each level by name."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("".join(f"{statement}\n" for statement in (*statements, "read()")))
        self._process.stdin.flush()
        told: list[Any] = json.loads(self._process.stdout.readline())
        return {name.rpartition("/")[2]: (used, capacity) for name, used, capacity in told}

    def used_mb(self, *statements: str) -> float:
        return self.does(*statements)[self.name][0]

    def limit_mb(self, *statements: str) -> float:
        return self.does(*statements)[self.name][1]


@pytest.fixture
def reader(group: Group) -> Iterator[Reader]:
    enter = f"import os; open({str(group.folder / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
    program = [sys.executable, "-c", enter + READER]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Reader(group, process)
        finally:
            process.kill()


@pytest.mark.requirement("req:G04")
def test_a_limit_is_seen_and_so_is_one_that_is_lowered(group: Group, reader: Reader) -> None:
    """The limit that is set is the limit that is read; another one counts from the next reading on (fault:M6)."""
    assert reader.limit_mb() == pytest.approx(LIMIT_MB, abs=0.01)
    for limit_mb in (300, 150, 350):
        group.limit(limit_mb)
        assert reader.limit_mb() == pytest.approx(limit_mb, abs=0.01)


@pytest.mark.requirement("req:G04")
def test_a_limit_of_a_group_above_is_seen_from_within(group: Group, reader: Reader) -> None:
    """Moved into a group below without a limit of its own, the process is bound by that above."""
    below = group.folder / "below"
    try:
        below.mkdir()
        moved = reader.does(f"open({str(below / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))")
    finally:
        Path(f"{group.folder}/cgroup.procs").write_text(below.joinpath("cgroup.procs").read_text().strip())
        below.rmdir()
    assert moved[reader.name][1] == pytest.approx(LIMIT_MB, abs=0.01)


@pytest.mark.requirement("req:G04")
def test_memory_that_is_taken_is_in_use_and_given_back_is_not(group: Group, reader: Reader) -> None:
    """100 MB are 100 MB more, and gone when they are given back."""
    before = reader.used_mb()
    taken = reader.used_mb("memory = mmap.mmap(-1, 100_000_000); memory.write(b'x' * len(memory))")
    assert 90 < taken - before < 120
    assert abs(reader.used_mb("memory.close()") - before) < 15


@pytest.mark.requirement("req:G04")
def test_page_cache_is_not_in_use(group: Group, reader: Reader, tmp_path: Path) -> None:
    """A file that is written, and read again and again, is charged to the group and counts as free (fault:M4)."""
    file = str(tmp_path / "file")
    before, charged = reader.used_mb(), group.used_mb()
    after = reader.used_mb(
        f"file = open({file!r}, 'wb', buffering=0)",
        "[file.write(os.urandom(1_000_000)) for _ in range(150)]",
        "os.fsync(file.fileno())",
    )
    assert group.used_mb() - charged > 130
    assert after - before < 15
    after = reader.used_mb(*[f"open({file!r}, 'rb').read()"] * 3)
    assert group.used_mb() - charged > 130
    assert after - before < 15


@pytest.mark.requirement("req:G04")
def test_a_file_in_shared_memory_is_in_use(group: Group, reader: Reader) -> None:
    """What fills a tmpfs is used as if a process had it, though no process does (fault:M5)."""
    if not os.path.isdir("/dev/shm"):
        pytest.skip("no tmpfs at /dev/shm")
    before = reader.used_mb()
    after = reader.used_mb(
        "file = tempfile.TemporaryFile(dir='/dev/shm', buffering=0)",
        "[file.write(bytes(1_000_000)) for _ in range(150)]",
    )
    assert 140 < after - before < 165
    assert abs(reader.used_mb("file.close()") - before) < 15


@pytest.fixture
def half_a_core() -> Iterator[Path]:
    """A group of version 1 whose processes get half a core's time together."""
    levels = [level for level in ControlGroups().levels("cpu") if level.version == 1]
    if not levels:
        pytest.skip("no control groups of version 1 for cpu here")
    folder = Path(levels[0].folder) / f"longshore-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "cpu.cfs_quota_us").write_text("50000")
    except OSError as error:
        pytest.skip(f"no quota can be set here: {error}")
    try:
        yield folder
    finally:
        _remove(folder)


@pytest.mark.requirement("req:G03")
def test_a_quota_of_half_a_core_is_what_there_is(half_a_core: Path) -> None:
    """The probe's capacity, one worker by default, and no more than half a core is used, however much is burnt."""
    program = f"""
import os, time
open({str(half_a_core / "cgroup.procs")!r}, 'w').write(str(os.getpid()))
from longshore import usable_cpus
from longshore.records import ReadRequest
from longshore_psutil import PsutilProbe
probe = PsutilProbe()
probe.read(ReadRequest())
end = time.monotonic() + 1.0
while time.monotonic() < end:
    pass
cpu = probe.read(ReadRequest()).usage["cpu"]
print(usable_cpus(), cpu.most, cpu.own)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    usable, most, own = done.stdout.split()
    assert (usable, most) == ("1", "0.5")
    assert 0.0 < float(own) < 0.7
