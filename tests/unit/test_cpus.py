"""How many CPUs this process may use: affinity and quotas of control groups, whichever is less."""

from __future__ import annotations

import os
from pathlib import Path

import longshore
import pytest
from longshore._cpus import usable_cores
from longshore._loads import HostSize

CPUS = 8


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an affinity of eight CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CPUS)), raising=False)


class Root:
    """A folder that looks like the system's files on control groups."""

    def __init__(self, folder: Path, membership: str) -> None:
        self.mount = folder / "mount"
        self.membership = folder / "membership"
        self.membership.write_text(membership)

    def write(self, name: str, text: str) -> None:
        path = self.mount / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def usable(self) -> int:
        return longshore.usable_cpus(self.membership, self.mount)


def test_without_groups_affinity_alone_counts(tmp_path: Path) -> None:
    """Where the system tells of no control group, the CPUs this process may run on are what it may use."""
    assert Root(tmp_path, "").usable() == CPUS
    assert longshore.usable_cpus(tmp_path / "absent", tmp_path / "absent") == CPUS


@pytest.mark.parametrize(
    ("level", "quota", "usable"),
    [
        ("a/b", "200000 100000", 2),
        ("a", "350000 100000", 4),
        ("", "50000 100000", 1),
        ("a/b", "max 100000", CPUS),
        ("a", "1600000 100000", CPUS),
        ("a/b", "", CPUS),
        ("a/b", "0 100000", CPUS),
    ],
)
def test_version_2(tmp_path: Path, level: str, quota: str, usable: int) -> None:
    """fault:M12 A quota of the group or of any above it counts, rounded up; "max", nothing and nonsense do not."""
    root = Root(tmp_path, "0::/a/b\n")
    root.write(f"{level}/cpu.max", quota)
    assert root.usable() == usable


@pytest.mark.parametrize(("level", "quota", "usable"), [("a/b", 150000, 2), ("a", 100000, 1), ("a/b", -1, CPUS)])
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_version_1(tmp_path: Path, controllers: str, level: str, quota: int, usable: int) -> None:
    """fault:M12 The same under version 1, where -1 is no quota."""
    root = Root(tmp_path, f"5:memory:/x\n4:{controllers}:/a/b\n0::/\n")
    root.write(f"cpu/{level}/cpu.cfs_quota_us", f"{quota}\n")
    root.write(f"cpu/{level}/cpu.cfs_period_us", "100000\n")
    assert root.usable() == usable


def test_the_tightest_counts(tmp_path: Path) -> None:
    """Of several levels the tightest quota counts, and fractions stay where they are asked for."""
    root = Root(tmp_path, "0::/a/b\n")
    root.write("cpu.max", "400000 100000")
    root.write("a/cpu.max", "250000 100000")
    root.write("a/b/cpu.max", "300000 100000")
    assert root.usable() == 3
    assert usable_cores(root.membership, root.mount) == 2.5


def test_the_host_of_a_process_is_no_more_than_its_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be lent of this host is what this process may use of it."""
    monkeypatch.setattr("longshore._loads.usable_cores", lambda: 1.5)
    assert HostSize.here().cores == 1.5
