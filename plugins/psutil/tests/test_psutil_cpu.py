"""CPU of the machine and of control groups, and the host's memory, from files that stand for a machine."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from longshore.records import ReadRequest, Usage
from longshore.testing import FakeSystem
from longshore_psutil import PsutilProbe, _bounds

GB = 1_000_000_000
Allow = Callable[[set[int] | None], None]


@pytest.fixture(autouse=True)
def allow(monkeypatch: pytest.MonkeyPatch) -> Allow:
    """Return a way to bind this process to some CPUs; None, as it is at first, to no particular ones."""
    allowed = SimpleNamespace(cpus=None)
    monkeypatch.setattr(_bounds, "_affinity", lambda: allowed.cpus)
    return lambda cpus: setattr(allowed, "cpus", cpus)


class Watched:
    """A probe of a machine, and its clock."""

    def __init__(self, system: FakeSystem, clock: Any) -> None:
        self.clock = clock
        self.probe = PsutilProbe(clock=clock, proc=str(system.proc))
        self.read()

    def read(self) -> Usage:
        return self.probe.read(ReadRequest()).usage["cpu"]

    def after(self, seconds: float) -> Usage:
        self.clock.now += seconds
        return self.read()


@pytest.mark.requirement("req:G03")
def test_cpu_is_busy_cores_of_all_cores(system: FakeSystem, clock: Any) -> None:
    """Two of four CPUs busy for the whole time are 2 cores of 4; waiting for a disk is not busy."""
    system.cpus(10.0, 10.0, 10.0, 10.0)
    watched = Watched(system, clock)
    assert watched.read().used == 0.0
    system.cpus(14.0, 14.0, 10.0, 10.0, waiting_s=4.0)
    cpu = watched.after(4.0)
    assert (cpu.used, cpu.capacity) == pytest.approx((2.0, 4.0))


@pytest.mark.requirement("req:G03")
def test_guest_time_counts_once(system: FakeSystem, clock: Any) -> None:
    """Time of a virtual machine stands in user time already."""
    system.write("/proc/stat", "cpu0 1000 0 0 5 0 0 0 0 0 0\n")
    watched = Watched(system, clock)
    system.write("/proc/stat", "cpu0 1100 0 0 5 0 0 0 0 100 0\n")
    assert watched.after(2.0).used == pytest.approx(0.5)


@pytest.mark.requirement("req:G03")
def test_only_the_cpus_we_may_use_count(system: FakeSystem, clock: Any, allow: Allow) -> None:
    """Bound to two of four CPUs, the capacity is 2 and what the others do is not ours to see (fault:M12)."""
    allow({0, 1})
    system.cpus(10.0, 10.0, 10.0, 10.0)
    watched = Watched(system, clock)
    system.cpus(11.0, 10.0, 11.0, 11.0)
    cpu = watched.after(1.0)
    assert (cpu.used, cpu.capacity) == pytest.approx((1.0, 2.0))
    allow({2})
    assert watched.read().capacity == 1.0


def test_cpus_that_are_counted_anew_in_a_container_count_all(system: FakeSystem, clock: Any, allow: Allow) -> None:
    """Where it shows other CPUs than this process runs on, all that are shown count."""
    allow({64, 65})
    system.cpus(1.0, 1.0)
    assert Watched(system, clock).read().capacity == 2.0


V2, CPU, ACCOUNT = "/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct"


class Quota:
    """Sets quota and use of a group, alike for both versions."""

    def __init__(self, system: FakeSystem, version: int, path: str = "/a/b") -> None:
        self.system, self.version = system, version
        if version == 2:
            system.member(f"0::{path}")
            system.mount(V2)
        else:
            system.member(f"3:cpu:{path}", f"4:cpuacct:{path}", "5:memory:/")
            system.mount(CPU, "cpu")
            system.mount(ACCOUNT, "cpuacct")

    def set(self, group: str, cores: float | None, used_s: float = 0.0) -> None:
        us = int(used_s * 1e6)
        if self.version == 2:
            limit = "max" if cores is None else int(cores * 100_000)
            files = {"cpu.max": f"{limit} 100000\n", "cpu.stat": f"usage_usec {us}\nuser_usec 1\n"}
            self.system.group(f"{V2}{group}", files)
        else:
            limit = -1 if cores is None else int(cores * 100_000)
            self.system.group(f"{CPU}{group}", {"cpu.cfs_quota_us": limit, "cpu.cfs_period_us": 100_000})
            self.system.group(f"{ACCOUNT}{group}", {"cpuacct.usage": us * 1000})


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def quota(system: FakeSystem, request: pytest.FixtureRequest) -> Quota:
    system.cpus(0.0, 0.0, 0.0, 0.0)
    return Quota(system, request.param)


@pytest.mark.requirement("req:G03")
def test_a_cpu_quota_is_the_capacity(system: FakeSystem, clock: Any, quota: Quota) -> None:
    """Half a core of quota is the capacity, and the group's own use is held against it (fault:M12)."""
    quota.set("/a/b", 0.5, 1.0)
    watched = Watched(system, clock)
    quota.set("/a/b", 0.5, 1.8)
    cpu = watched.after(2.0)
    assert (cpu.used, cpu.capacity, cpu.most) == pytest.approx((0.4, 0.5, 0.5))


@pytest.mark.requirement("req:G03")
def test_the_quota_of_a_group_above_counts_with_the_use_of_that_group(
    system: FakeSystem, clock: Any, quota: Quota
) -> None:
    """Of 2 cores above neighbours take 1.9, so that less is left than in the group's own quota of 1 core."""
    quota.set("/a", 2.0)
    quota.set("/a/b", 1.0)
    watched = Watched(system, clock)
    quota.set("/a", 2.0, 1.9)
    quota.set("/a/b", 1.0, 0.1)
    cpu = watched.after(1.0)
    assert (cpu.used, cpu.capacity, cpu.most) == pytest.approx((1.9, 2.0, 1.0))
    assert [bound.name for bound in cpu.bounds] == ["host", "cgroup /a/b", "cgroup /a"]


@pytest.mark.requirement("req:G03")
@pytest.mark.parametrize("cores", [None, 4.0, 64.0])
def test_a_quota_that_allows_all_there_is_bounds_nothing(
    system: FakeSystem, clock: Any, quota: Quota, cores: float | None
) -> None:
    """No quota, or one of no less than the machine."""
    quota.set("/a/b", cores)
    assert [bound.name for bound in Watched(system, clock).read().bounds] == ["host"]


def test_a_quota_without_an_account_is_held_against_our_own_use(system: FakeSystem, clock: Any, quota: Quota) -> None:
    """The files of its use cannot be read: what we use ourselves is the least it can be."""
    quota.set("/a/b", 0.5)
    system.place(f"{V2}/a/b/cpu.stat" if quota.version == 2 else f"{ACCOUNT}/a/b/cpuacct.usage").unlink()
    cpu = Watched(system, clock).after(1.0)
    assert (cpu.bounds[1].used, cpu.bounds[1].capacity) == (cpu.own, 0.5)


@pytest.mark.requirement("req:G04")
def test_host_memory_leaves_the_page_cache_out(system: FakeSystem) -> None:
    """Used is what could not be given away: total less available (fault:M4)."""
    memory = PsutilProbe(proc=str(system.proc)).read(ReadRequest()).usage["memory"]
    assert (memory.used, memory.capacity) == pytest.approx((6000.0, 16000.0), abs=0.01)


Times = namedtuple("Times", "user system idle iowait guest")


def test_where_there_is_no_proc_psutil_is_asked(monkeypatch: pytest.MonkeyPatch, clock: Any, tmp_path: Any) -> None:
    """As on macOS and Windows: the same figures, without control groups and pressure."""
    times = Times(10.0, 1.0, 50.0, 5.0, 1.0)
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: [times, times])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16 * GB, available=10 * GB))
    probe = PsutilProbe(clock=clock, proc=str(tmp_path / "absent"))
    probe.read(ReadRequest())
    clock.now += 2.0
    times = times._replace(user=13.0, idle=51.0, guest=2.0)
    usage = probe.read(ReadRequest()).usage
    assert (usage["cpu"].used, usage["cpu"].capacity) == pytest.approx((3.0, 2.0))
    assert (usage["memory"].used, usage["memory"].capacity) == (6000.0, 16000.0)
    assert not [key for key in usage if key.startswith("pressure")]
