"""Where the control groups of this process are, in every layout, and the memory that they leave it."""

from __future__ import annotations

from pathlib import Path

import pytest
from longshore._loads import HostSize
from longshore.cgroups import ControlGroup, ControlGroups, usable_memory_bytes
from longshore.testing import FakeSystem

V2, UNIFIED = "/sys/fs/cgroup", "/sys/fs/cgroup/unified"


@pytest.fixture
def system(tmp_path: Path) -> FakeSystem:
    return FakeSystem(tmp_path)


def levels(system: FakeSystem, controller: str = "memory") -> list[tuple[int, str, str]]:
    """Return version, name and folder of each level, the folder as the fake system calls it."""
    root = str(system.place("/")).rstrip("/")
    found = ControlGroups(system.process).levels(controller)
    return [(group.version, group.name, group.folder.removeprefix(root)) for group in found]


def test_our_own_group_comes_first_and_the_visible_root_last(system: FakeSystem) -> None:
    """fault:M7 All levels, by the names they have below what is visible."""
    system.member("0::/a/b")
    system.mount(V2)
    assert levels(system) == [(2, "/a/b", f"{V2}/a/b"), (2, "/a", f"{V2}/a"), (2, "/", V2)]
    assert levels(system, "") == levels(system)


def test_version_1_is_found_by_controller(system: FakeSystem) -> None:
    """fault:M7 Each controller has a hierarchy of its own; several may share a mount, under any name."""
    system.member("2:cpu,cpuacct:/c", "1:memory:/m", "3:name=systemd:/s")
    system.mount("/groups/of cpu", "cpu,cpuacct")
    system.mount("/groups/memory", "memory")
    assert levels(system, "cpu") == [(1, "/c", "/groups/of cpu/c"), (1, "/", "/groups/of cpu")]
    assert levels(system, "cpuacct") == levels(system, "cpu")
    assert levels(system)[0] == (1, "/m", "/groups/memory/m")
    assert levels(system, "") == levels(system, "pids") == []


def test_both_versions_at_once(system: FakeSystem) -> None:
    """fault:M7 Version 1 first; in which of them a controller is, its files tell."""
    system.member("1:memory:/m", "0::/u")
    system.mount("/sys/fs/cgroup/memory", "memory")
    system.mount(UNIFIED)
    assert [level[:2] for level in levels(system)] == [(1, "/m"), (1, "/"), (2, "/u"), (2, "/")]
    assert [level[:2] for level in levels(system, "")] == [(2, "/u"), (2, "/")]


def test_our_own_is_the_nearest_that_is_there(system: FakeSystem) -> None:
    """fault:M7 Of each version by itself; a container may be told the host's name of its group, and have no other."""
    system.member("1:memory:/host/7", "0::/u")
    system.mount("/sys/fs/cgroup/memory", "memory")
    system.mount(UNIFIED)
    groups = ControlGroups(system.process)
    assert groups.own("memory", 1) is None
    system.group("/sys/fs/cgroup/memory", {"memory.limit_in_bytes": 1})
    system.group(f"{UNIFIED}/u", {"memory.max": 1})
    found = [groups.own("memory", 1), groups.own("", 2), groups.own("pids", 1)]
    assert [group and group.name for group in found] == ["/", "/u", None]


@pytest.mark.parametrize(
    ("path", "root", "names"),
    [
        ("/", "/", ["/"]),
        ("/docker/1", "/docker/1", ["/"]),
        ("/docker/1/init", "/docker/1", ["/init", "/"]),
        ("/docker/12", "/docker/1", []),
        ("/a", "/b", []),
        ("/", "/..", ["/"]),
        ("/", "/../..", ["/"]),
        ("/../b", "/", []),
        ("/a//b/", "/", ["/a/b", "/a", "/"]),
    ],
)
def test_containers_and_namespaces(system: FakeSystem, path: str, root: str, names: list[str]) -> None:
    """fault:M7 A mount shows the group that it says and those below; what is not on the way to us is not ours."""
    system.member(f"0::{path}")
    system.mount(V2, root=root)
    assert [name for _, name, _ in levels(system)] == names


def test_of_two_mounts_the_one_that_shows_more_counts(system: FakeSystem) -> None:
    """Whichever comes first."""
    system.member("0::/a/b")
    for point, root in (("/one", "/a/b"), ("/two", "/"), ("/three", "/a")):
        system.mount(point, root=root)
    assert [folder for _, _, folder in levels(system)] == ["/two/a/b", "/two/a", "/two"]


def test_many_mounts_are_read_to_the_end(system: FakeSystem) -> None:
    """The kernel gives its table of mounts a page at a time."""
    system.member("0::/a")
    for number in range(100):
        system.mount(f"/var/lib/cgroup/{number}", root=f"/other/{number}")
    system.mount(V2)
    assert levels(system)[0] == (2, "/a", f"{V2}/a")


@pytest.mark.parametrize("text", ["", "nonsense\n", "::\n", "0\n", "\x00", "4:memory\n"])
def test_nonsense_gives_no_level(system: FakeSystem, text: str) -> None:
    """Nothing that is written there makes it raise."""
    system.write("/proc/self/cgroup", text)
    system.write("/proc/self/mountinfo", "cgroup\n - cgroup2\n1 2 3 4 5 - \n")
    for controller in ("memory", ""):
        assert levels(system, controller) == []


def group_of(system: FakeSystem, version: int, **files: str | int) -> ControlGroup:
    """Return a group with these files, whose names are written with _ for the dot."""
    system.group("/group", {name.replace("_", ".", 1): text for name, text in files.items()})
    return ControlGroup(version, "/", str(system.place("/group")))


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory_max": 5, "memory_high": "max\n"}, 5),
        ({"memory_max": "max\n", "memory_high": 4}, 4),
        ({"memory_max": 5, "memory_high": 4}, 4),
        ({"memory_max": "max\n", "memory_high": "max\n"}, None),
        ({"memory_max": 0}, None),
        ({}, None),
    ],
)
def test_limits_of_version_2(system: FakeSystem, files: dict[str, str | int], limit: int | None) -> None:
    """The lower of what ends and what slows a group; "max" and nothing are no limit."""
    assert group_of(system, 2, **files).memory_limit_bytes() == limit


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory_limit_in_bytes": 5}, 5),
        ({"memory_limit_in_bytes": 5, "memory_stat": "cache 1\nhierarchical_memory_limit 4\nrss 2\n"}, 4),
        ({"memory_limit_in_bytes": 9223372036854771712, "memory_stat": "hierarchical_memory_limit 7\n"}, 7),
        ({"memory_limit_in_bytes": 9223372036854771712}, None),
        ({"memory_limit_in_bytes": -1}, None),
        ({}, None),
    ],
)
def test_limits_of_version_1(system: FakeSystem, files: dict[str, str | int], limit: int | None) -> None:
    """The group's own, or that of a group above that may be out of sight; the largest number is no limit."""
    assert group_of(system, 1, **files).memory_limit_bytes() == limit


def test_usable_memory_is_the_least_of_all_limits(system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the machine and every level: what a share of this host is a share of (fault:M7)."""
    groups = ControlGroups(system.process)
    host = usable_memory_bytes(groups)
    assert host is not None
    assert host > 1_000_000
    system.member("0::/a/b")
    system.mount(V2)
    system.write(f"{V2}/a/memory.max", host * 2)
    assert usable_memory_bytes(groups) == host
    system.write(f"{V2}/a/memory.max", 900_000)
    system.write(f"{V2}/a/b/memory.max", 950_000)
    assert usable_memory_bytes(groups) == 900_000
    monkeypatch.setattr("longshore._loads.usable_memory_bytes", lambda: 900_000)
    assert HostSize.here().memory_mb == 0.9
