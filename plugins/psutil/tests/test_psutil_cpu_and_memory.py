"""CPU and memory of the machine and of control groups, with figures given by hand."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from longshore.records import ReadRequest, Usage
from longshore_psutil import PsutilProbe, _probe
from longshore_psutil._cgroup import Cgroup

CgroupMaker = Callable[[str, dict[str, str]], Cgroup]
Times = namedtuple("Times", "user system idle iowait guest")
GB = 1_000_000_000


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine of four CPUs and 16 GB, of which 6 GB are taken."""
    state = SimpleNamespace(cpus=[Times(10.0, 0.0, 50.0, 5.0, 0.0)] * 4, allowed=None)
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: state.cpus)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16 * GB, available=10 * GB))
    monkeypatch.setattr(_probe, "_affinity", lambda: state.allowed)
    return state


@pytest.mark.requirement("req:G03")
def test_cpu_is_busy_cores_of_all_cores(machine: Any, clock: Any, cgroup_of: CgroupMaker) -> None:
    """Two of four CPUs busy for the whole time are 2 cores of 4; waiting for a disk is not busy."""
    probe = PsutilProbe(clock=clock, cgroup=cgroup_of("", {}))
    assert probe.read(ReadRequest()).usage["cpu"].used == 0.0
    clock.now += 4.0
    busy, waiting = Times(13.0, 1.0, 50.0, 5.0, 2.0), Times(10.0, 0.0, 52.0, 7.0, 0.0)
    machine.cpus = [busy._replace(guest=0.0), busy._replace(guest=0.0), waiting, waiting]
    cpu = probe.read(ReadRequest()).usage["cpu"]
    assert cpu.used == pytest.approx(2.0)
    assert cpu.capacity == 4.0


@pytest.mark.requirement("req:G03")
def test_guest_time_counts_once(machine: Any, clock: Any, cgroup_of: CgroupMaker) -> None:
    """Time of a virtual machine stands in user time already."""
    probe = PsutilProbe(clock=clock, cgroup=cgroup_of("", {}))
    probe.read(ReadRequest())
    clock.now += 1.0
    machine.cpus = [Times(11.0, 0.0, 50.0, 5.0, 1.0), *machine.cpus[1:]]
    assert probe.read(ReadRequest()).usage["cpu"].used == pytest.approx(1.0)


@pytest.mark.requirement("req:G03")
def test_only_the_cpus_we_may_use_count(machine: Any, clock: Any, cgroup_of: CgroupMaker) -> None:
    """Bound to two of four CPUs, the capacity is 2 and what the others do is not ours to see."""
    machine.allowed = {0, 1}
    probe = PsutilProbe(clock=clock, cgroup=cgroup_of("", {}))
    probe.read(ReadRequest())
    clock.now += 1.0
    idle, busy = Times(10.0, 0.0, 51.0, 5.0, 0.0), Times(11.0, 0.0, 50.0, 5.0, 0.0)
    machine.cpus = [busy, idle, busy, busy]
    cpu = probe.read(ReadRequest()).usage["cpu"]
    assert cpu.used == pytest.approx(1.0)
    assert cpu.capacity == 2.0


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        ("0::/jobs/a\n", {"jobs/a/cpu.max": "50000 100000\n", "jobs/a/cpu.stat": "usage_usec {us}\nuser_usec 1\n"}),
        (
            "3:cpu:/a\n4:cpuacct:/a\n",
            {
                "cpu/a/cpu.cfs_quota_us": "50000",
                "cpu/a/cpu.cfs_period_us": "100000",
                "cpuacct/a/cpuacct.usage": "{us}000",
            },
        ),
    ],
    ids=["v2", "v1"],
)
@pytest.mark.requirement("req:G03")
def test_a_cpu_quota_is_the_capacity(
    machine: Any, clock: Any, cgroup_of: CgroupMaker, membership: str, files: dict[str, str]
) -> None:
    """Half a core of quota is the capacity, and the group's own use is held against it."""

    def at(us: int) -> Cgroup:
        return cgroup_of(membership, {name: text.replace("{us}", str(us)) for name, text in files.items()})

    probe = PsutilProbe(clock=clock, cgroup=at(1_000_000))
    probe.read(ReadRequest())
    clock.now += 2.0
    at(1_800_000)
    cpu = probe.read(ReadRequest()).usage["cpu"]
    assert cpu.used == pytest.approx(0.4)
    assert cpu.capacity == 0.5


@pytest.mark.requirement("req:G04")
def test_host_memory_leaves_the_page_cache_out(machine: Any, cgroup_of: CgroupMaker) -> None:
    """Used is what could not be given away: total less available (fault:M4)."""
    memory = PsutilProbe(cgroup=cgroup_of("", {})).read(ReadRequest()).usage["memory"]
    assert (memory.used, memory.capacity) == (6000.0, 16000.0)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (
            "0::/a\n",
            {
                "a/memory.max": "2000000000",
                "a/memory.current": "1500000000",
                "a/memory.stat": "anon 1\ninactive_file 500000000\n",
            },
            Usage(1000.0, 2000.0),
        ),
        (
            "4:memory:/a\n",
            {
                "memory/a/memory.limit_in_bytes": "2000000000",
                "memory/a/memory.usage_in_bytes": "1500000000",
                "memory/a/memory.stat": "inactive_file 1\ntotal_inactive_file 500000000\n",
            },
            Usage(1000.0, 2000.0),
        ),
        (
            "0::/a/b\n",
            {
                "a/memory.max": "1000000000",
                "a/memory.current": "900000000",
                "a/b/memory.max": "4000000000",
                "a/b/memory.current": "100000000",
            },
            Usage(900.0, 1000.0),
        ),
        ("0::/a\n", {"a/memory.max": "max", "a/memory.current": "1"}, Usage(6000.0, 16000.0)),
        ("0::/a\n", {"a/memory.max": "99000000000", "a/memory.current": "1"}, Usage(6000.0, 16000.0)),
        ("0::/gone/../elsewhere\n", {}, Usage(6000.0, 16000.0)),
        ("nonsense", {}, Usage(6000.0, 16000.0)),
        (
            "4:memory:/host/path\n",
            {"memory/memory.limit_in_bytes": "3000000000", "memory/memory.usage_in_bytes": "1000000000"},
            Usage(1000.0, 3000.0),
        ),
    ],
    ids=["v2", "v1", "tighter-parent", "no-limit", "above-the-host", "missing", "unreadable", "path-of-the-host"],
)
@pytest.mark.requirement("req:G04")
def test_the_level_that_leaves_least_counts(
    machine: Any, cgroup_of: CgroupMaker, membership: str, files: dict[str, str], expected: Usage
) -> None:
    """Capacity is the smaller of host and group, with that level's own use, page cache left out (fault:M7)."""
    memory = PsutilProbe(cgroup=cgroup_of(membership, files)).read(ReadRequest()).usage["memory"]
    assert (memory.used, memory.capacity) == (expected.used, expected.capacity)
