"""How many CPUs this process may use: affinity and quotas of control groups, whichever is less."""

from __future__ import annotations

import os
from pathlib import Path

import longshore
import pytest
from longshore._cpus import usable_cores
from longshore._loads import HostSize
from longshore.cgroups import ControlGroups
from longshore.testing import FakeSystem

CPUS = 8


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an affinity of eight CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CPUS)), raising=False)


V2 = "/sys/fs/cgroup"


@pytest.fixture
def system(tmp_path: Path) -> FakeSystem:
    return FakeSystem(tmp_path)


def usable(system: FakeSystem) -> int:
    return longshore.usable_cpus(ControlGroups(system.process))


def test_without_groups_affinity_alone_counts(system: FakeSystem, tmp_path: Path) -> None:
    """Where the system tells of no control group, the CPUs this process may run on are what it may use."""
    assert usable(system) == CPUS
    assert longshore.usable_cpus(ControlGroups(str(tmp_path / "absent"))) == CPUS


@pytest.mark.parametrize(
    ("level", "quota", "expected"),
    [
        ("/a/b", "200000 100000", 2),
        ("/a", "350000 100000", 4),
        ("", "50000 100000", 1),
        ("/a/b", "max 100000", CPUS),
        ("/a", "1600000 100000", CPUS),
        ("/a/b", "", CPUS),
        ("/a/b", "0 100000", CPUS),
    ],
)
def test_version_2(system: FakeSystem, level: str, quota: str, expected: int) -> None:
    """fault:M12 A quota of the group or of any above it counts, rounded up; "max", nothing and nonsense do not."""
    system.member("0::/a/b")
    system.mount(V2)
    system.write(f"{V2}{level}/cpu.max", quota)
    assert usable(system) == expected


@pytest.mark.parametrize(("level", "quota", "expected"), [("/a/b", 150000, 2), ("/a", 100000, 1), ("/a/b", -1, CPUS)])
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_version_1(system: FakeSystem, controllers: str, level: str, quota: int, expected: int) -> None:
    """fault:M12 The same under version 1, wherever it is mounted; -1 is no quota."""
    system.member("5:memory:/x", f"4:{controllers}:/a/b", "0::/")
    point = f"/sys/fs/cgroup/{controllers}"
    system.mount(point, controllers)
    system.group(f"{point}{level}", {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": 100000})
    assert usable(system) == expected


def test_the_tightest_counts(system: FakeSystem) -> None:
    """Of several levels the tightest quota counts, and fractions stay where they are asked for."""
    system.member("0::/a/b")
    system.mount(V2)
    for level, quota in (("", 400000), ("/a", 250000), ("/a/b", 300000)):
        system.write(f"{V2}{level}/cpu.max", f"{quota} 100000")
    assert usable(system) == 3
    assert usable_cores(ControlGroups(system.process)) == 2.5


def test_a_container_that_shows_only_its_own_group(system: FakeSystem) -> None:
    """fault:M12 A mount whose root is our group, and a namespace in which that is called "/", tell of the quota."""
    system.member("0::/system.slice/docker-1.scope")
    system.mount(V2, root="/system.slice/docker-1.scope")
    system.write(f"{V2}/cpu.max", "200000 100000")
    assert usable(system) == 2
    system.member("0::/")
    system.mount(V2)
    assert usable(system) == 2


def test_the_host_of_a_process_is_no_more_than_its_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be lent of this host is what this process may use of it."""
    monkeypatch.setattr("longshore._loads.usable_cores", lambda: 1.5)
    assert HostSize.here().cores == 1.5
