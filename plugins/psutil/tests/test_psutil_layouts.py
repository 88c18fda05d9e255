"""Limits and use of memory in every layout of control groups, each from files that stand for a machine (fault:M7)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from longshore.records import Bound, ReadRequest, Usage
from longshore.testing import FakeSystem
from longshore_psutil import PsutilProbe

pytestmark = pytest.mark.requirement("req:G04")
MB = 1_000_000
V1_NONE = 9223372036854771712
V2, V1 = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"


def v2(
    limit_mb: int | str, used_mb: int, *, cache_mb: int = 0, slab_mb: int = 0, high_mb: int | str = "max"
) -> dict[str, str]:
    """Return the files of a group of version 2, which uses so much beside its cache."""
    inactive = cache_mb * MB * 3 // 4
    stat = {"anon": used_mb * MB, "file": cache_mb * MB, "inactive_file": inactive}
    stat |= {"active_file": cache_mb * MB - inactive, "slab_reclaimable": slab_mb * MB}
    return {
        "memory.max": f"{limit_mb * MB if isinstance(limit_mb, int) else limit_mb}\n",
        "memory.high": f"{high_mb * MB if isinstance(high_mb, int) else high_mb}\n",
        "memory.current": f"{(used_mb + cache_mb + slab_mb) * MB}\n",
        "memory.stat": "".join(f"{name} {size}\n" for name, size in stat.items()),
    }


def v1(
    limit_mb: int | None, used_mb: int, *, cache_mb: int = 0, above_mb: int | None = None, hierarchy: int = 1
) -> dict[str, str]:
    """Return the files of a group of version 1, whose own page cache is a tenth of its hierarchy's."""
    inactive = cache_mb * MB * 3 // 4
    limit = V1_NONE if limit_mb is None else limit_mb * MB
    least = limit if above_mb is None else min(limit, above_mb * MB)
    stat = (
        f"cache 1\ninactive_file {cache_mb * MB // 10}\nhierarchical_memory_limit {least}\n"
        f"total_cache 1\ntotal_inactive_file {inactive}\ntotal_active_file {cache_mb * MB - inactive}\n"
    )
    return {
        "memory.limit_in_bytes": f"{limit}\n",
        "memory.usage_in_bytes": f"{(used_mb + cache_mb) * MB}\n",
        "memory.stat": stat,
        "memory.use_hierarchy": f"{hierarchy}\n",
    }


def read(system: FakeSystem) -> Usage:
    return PsutilProbe(proc=str(system.proc)).read(ReadRequest()).usage["memory"]


# ---- layouts: what each is like, and which level leaves least there


def v2_flat(system: FakeSystem) -> None:
    system.member("0::/job")
    system.mount(V2)
    system.group(f"{V2}/job", v2(2000, 1000, cache_mb=400, slab_mb=100))


def v2_nested(system: FakeSystem) -> None:
    system.member("0::/batch/job")
    system.mount(V2)
    system.group(f"{V2}/batch", v2(3000, 2900, cache_mb=50))
    system.group(f"{V2}/batch/job", v2(1000, 100))


def v2_high(system: FakeSystem) -> None:
    system.member("0::/job")
    system.mount(V2)
    system.group(f"{V2}/job", v2("max", 100, high_mb=500))


def v2_namespace(system: FakeSystem) -> None:
    system.member("0::/")
    system.mount(V2)
    system.group(V2, v2(2000, 700))


def v2_mount_from_above_the_namespace(system: FakeSystem) -> None:
    system.member("0::/")
    system.mount(V2, root="/..")
    system.group(V2, v2(4000, 3000))


def v2_docker(system: FakeSystem) -> None:
    system.member("0::/system.slice/docker-abc.scope/init")
    system.mount(V2, root="/system.slice/docker-abc.scope")
    system.group(V2, v2(2000, 900))
    system.group(f"{V2}/init", v2("max", 800))


def v2_elsewhere(system: FakeSystem) -> None:
    system.member("0::/job")
    system.mount("/mnt/control groups")
    system.group("/mnt/control groups/job", v2(2000, 1000))


def v1_flat(system: FakeSystem) -> None:
    system.member("4:memory:/job", "3:cpu,cpuacct:/", "1:name=systemd:/job")
    system.mount("/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct")
    system.mount(V1, "memory")
    system.group(V1, v1(None, 6000))
    system.group(f"{V1}/job", v1(2000, 1000, cache_mb=500))


def v1_tighter_parent(system: FakeSystem) -> None:
    system.member("4:memory:/batch/job")
    system.mount(V1, "memory")
    system.group(V1, v1(None, 6000))
    system.group(f"{V1}/batch", v1(1500, 1200, cache_mb=200))
    system.group(f"{V1}/batch/job", v1(2000, 300, above_mb=1500))


def v1_parent_that_keeps_no_account(system: FakeSystem) -> None:
    system.member("4:memory:/batch/job")
    system.mount(V1, "memory")
    system.group(V1, v1(None, 6000))
    system.group(f"{V1}/batch", v1(500, 450, hierarchy=0))
    system.group(f"{V1}/batch/job", v1(2000, 300, hierarchy=0))


def v1_docker(system: FakeSystem) -> None:
    system.member("4:memory:/docker/abc")
    system.mount(V1, "memory", root="/docker/abc")
    system.group(V1, v1(2000, 600))


def v1_parent_out_of_sight(system: FakeSystem) -> None:
    system.member("4:memory:/docker/abc")
    system.mount(V1, "memory", root="/docker/abc")
    system.group(V1, v1(None, 600, above_mb=1800))


def v1_path_of_the_host(system: FakeSystem) -> None:
    system.member("4:memory:/kubepods/pod7/abc")
    system.mount(V1, "memory")
    system.group(V1, v1(3000, 1000))


def hybrid(system: FakeSystem) -> None:
    system.member("4:memory:/job", "0::/system.slice/ours.service")
    system.mount("/sys/fs/cgroup/unified")
    system.mount(V1, "memory")
    system.group("/sys/fs/cgroup/unified/system.slice/ours.service", {"cgroup.procs": "1\n"})
    system.group(f"{V1}/job", v1(2000, 1000))


def hybrid_with_memory_in_v2(system: FakeSystem) -> None:
    system.member("3:cpu:/", "0::/ours")
    system.mount("/sys/fs/cgroup/cpu", "cpu")
    system.mount("/sys/fs/cgroup/unified")
    system.group("/sys/fs/cgroup/unified/ours", v2(2000, 1000))


def two_mounts(system: FakeSystem) -> None:
    system.member("0::/batch/job")
    system.mount("/container", root="/batch/job")
    system.mount(V2)
    system.group("/container", v2(2000, 100))
    system.group(f"{V2}/batch/job", v2(2000, 100))
    system.group(f"{V2}/batch", v2(3000, 2500))


Layout = Callable[[FakeSystem], None]
LAYOUTS: list[tuple[Layout, str, float, float, float]] = [
    # the level that leaves least, its use, its limit; and the lowest limit of all
    (v2_flat, "cgroup /job", 1000, 2000, 2000),
    (v2_nested, "cgroup /batch", 2900, 3000, 1000),
    (v2_high, "cgroup /job", 100, 500, 500),
    (v2_namespace, "cgroup /", 700, 2000, 2000),
    (v2_mount_from_above_the_namespace, "cgroup /", 3000, 4000, 4000),
    (v2_docker, "cgroup /", 900, 2000, 2000),
    (v2_elsewhere, "cgroup /job", 1000, 2000, 2000),
    (v1_flat, "cgroup /job", 1000, 2000, 2000),
    (v1_tighter_parent, "cgroup /batch", 1200, 1500, 1500),
    (v1_parent_that_keeps_no_account, "cgroup /batch/job", 300, 2000, 2000),
    (v1_docker, "cgroup /", 600, 2000, 2000),
    (v1_parent_out_of_sight, "cgroup /", 600, 1800, 1800),
    (v1_path_of_the_host, "cgroup /", 1000, 3000, 3000),
    (hybrid, "cgroup /job", 1000, 2000, 2000),
    (hybrid_with_memory_in_v2, "cgroup /ours", 1000, 2000, 2000),
    (two_mounts, "cgroup /batch", 2500, 3000, 2000),
]


@pytest.mark.parametrize(
    ("layout", "name", "used", "limit", "most"), LAYOUTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_the_level_that_leaves_least_counts(
    system: FakeSystem, layout: Layout, name: str, used: float, limit: float, most: float
) -> None:
    """Use and limit are of one level, the one that leaves least, page cache left out; the lowest limit is told too."""
    layout(system)
    memory = read(system)
    assert (memory.used, memory.capacity) == (used, limit)
    assert Bound(name, used, limit) in memory.bounds
    assert memory.bounds[0].name == "host"
    assert memory.most == most


def no_groups(system: FakeSystem) -> None:
    """The kernel knows of none."""


def no_mounts(system: FakeSystem) -> None:
    system.member("0::/job", "4:memory:/job")


def no_limits(system: FakeSystem) -> None:
    system.member("0::/job", "4:memory:/job")
    system.mount(V2)
    system.mount(V1, "memory")
    system.group(f"{V2}/job", v2("max", 1000))
    system.group(f"{V1}/job", v1(None, 1000))


def above_the_host(system: FakeSystem) -> None:
    system.member("0::/job")
    system.mount(V2)
    system.group(f"{V2}/job", v2(99000, 1000))


def missing_files(system: FakeSystem) -> None:
    system.member("0::/job")
    system.mount(V2)
    system.group(f"{V2}/job", {"memory.max": "1000000000\n"})


def unreadable_files(system: FakeSystem) -> None:
    system.member("0::/job")
    system.mount(V2)
    for name in v2(1, 1):
        system.place(f"{V2}/job/{name}").mkdir(parents=True)


def nonsense(system: FakeSystem) -> None:
    system.member("nonsense", "", "0", "::::", "0::")
    system.mount(V2)
    system.write("/proc/self/mountinfo", "short\n1 2 3 - cgroup\n\x00\n - \n1 2 3 / /x - cgroup2\n")


def nonsense_in_files(system: FakeSystem) -> None:
    system.member("0::/job")
    system.mount(V2)
    system.group(f"{V2}/job", dict.fromkeys(v2(1, 1), "a b\nc\n\x00"))


def another_namespace(system: FakeSystem) -> None:
    system.member("0::/../elsewhere")
    system.mount(V2)
    system.group(V2, v2(1000, 900))


def groups_of_others(system: FakeSystem) -> None:
    system.member("0::/ours")
    system.mount(V2, root="/others")
    system.group(V2, v2(1000, 900))


def covered(system: FakeSystem) -> None:
    system.member("0::/job")
    system.mount(V2)
    system.group(f"{V2}/job", v2(1000, 900))
    mountinfo = system.place("/proc/self/mountinfo")
    mountinfo.write_text(
        f"{mountinfo.read_text()}99 1 0:9 / {system.place(V2)} rw - tmpfs tmpfs rw\n".replace(
            "a machine", "a\\040machine"
        )
    )


@pytest.mark.parametrize(
    "layout",
    [
        no_groups, no_mounts, no_limits, above_the_host, missing_files, unreadable_files, nonsense, nonsense_in_files,
        another_namespace, groups_of_others, covered,
    ],
)  # fmt: skip
def test_without_a_limit_that_can_be_read_the_machine_counts(system: FakeSystem, layout: Layout) -> None:
    """No group, no limit, one above what there is, what cannot be read, groups that are not ours: the host bounds."""
    layout(system)
    memory = read(system)
    assert (memory.used, memory.capacity) == pytest.approx((6000.0, 16000.0), abs=0.01)
    assert [bound.name for bound in memory.bounds] == ["host"]
    assert memory.most == memory.capacity


def test_each_level_is_told_with_its_own_use(system: FakeSystem) -> None:
    """Use of one level is never held against the limit of another: 2.9 GB of the upper group, 0.1 of the lower."""
    v2_nested(system)
    host, lower, upper = read(system).bounds
    assert (host.used, host.capacity) == pytest.approx((6000.0, 16000.0), abs=0.01)
    assert lower == Bound("cgroup /batch/job", 100, 1000)
    assert upper == Bound("cgroup /batch", 2900, 3000)


def test_the_host_counts_where_it_leaves_less_than_the_group(system: FakeSystem) -> None:
    """A group that has 1 GB left on a machine that has 0.5 GB left."""
    v2_flat(system)
    system.memory(16000.0, 500.0)
    memory = read(system)
    assert (memory.used, memory.capacity) == pytest.approx((15500.0, 16000.0), abs=0.01)
    assert memory.most == 2000


@pytest.mark.parametrize("version", [1, 2])
def test_a_limit_that_is_lowered_counts_from_the_next_reading(system: FakeSystem, version: int) -> None:
    """The same probe sees the new limit of a group that runs on (fault:M6), and one that is lifted."""
    (v1_flat if version == 1 else v2_flat)(system)
    probe = PsutilProbe(proc=str(system.proc))
    group, file = (f"{V1}/job", "memory.limit_in_bytes") if version == 1 else (f"{V2}/job", "memory.max")
    seen = []
    for limit_mb in (2000, 1100, 3000):
        system.write(f"{group}/{file}", limit_mb * MB)
        if version == 1:
            system.group(group, {"memory.stat": f"hierarchical_memory_limit {limit_mb * MB}\n"})
        seen.append(probe.read(ReadRequest()).usage["memory"].capacity)
    assert seen == [2000, 1100, 3000]


def test_a_process_that_is_moved_is_bound_by_its_new_group(system: FakeSystem) -> None:
    """Another group, and a mount that came later, count from the next reading on."""
    v2_flat(system)
    system.group(f"{V2}/other", v2(700, 100))
    probe = PsutilProbe(proc=str(system.proc))
    assert probe.read(ReadRequest()).usage["memory"].capacity == 2000
    system.member("0::/other")
    assert probe.read(ReadRequest()).usage["memory"].capacity == 700
    system.member("0::/other", "4:memory:/job")
    system.mount(V1, "memory")
    system.group(f"{V1}/job", v1(600, 100))
    assert probe.read(ReadRequest()).usage["memory"].capacity == 600


def test_page_cache_is_free_and_tmpfs_is_not(system: FakeSystem) -> None:
    """10 GB of files that were read change nothing (fault:M4); 1 GB in /dev/shm is in use (fault:M5)."""
    system.member("0::/job")
    system.mount(V2)
    system.group(f"{V2}/job", v2(12000, 500, cache_mb=10000))
    assert read(system).bounds[1].used == 500
    sizes = {
        "anon": 500,
        "file": 11000,
        "shmem": 1000,
        "inactive_anon": 1000,
        "inactive_file": 4000,
        "active_file": 6000,
    }
    stat = "".join(f"{name} {mb * MB}\n" for name, mb in sizes.items())
    system.group(f"{V2}/job", {"memory.current": 11500 * MB, "memory.stat": stat})
    assert read(system).bounds[1].used == 1500


def test_more_cache_than_use_is_no_use(system: FakeSystem) -> None:
    """The two figures are read one after the other: they never give less than nothing."""
    system.member("0::/job")
    system.mount(V2)
    system.group(f"{V2}/job", {**v2(1000, 0, cache_mb=10), "memory.current": 5 * MB})
    assert read(system).bounds[1] == Bound("cgroup /job", 0, 1000)
