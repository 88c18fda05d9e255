"""The ladder of memory limits: what each rung writes, counts and tells, and which one is taken."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from longshore import ControlGroups
from longshore.task import Attempt, TaskSpec, TaskState
from longshore_processes import memory as memory_module
from longshore_processes.autopsy import autopsy, doom_by_kernel
from longshore_processes.backlog import Kind, Trials
from longshore_processes.cgroups import Facts, Groups, Memory, members
from longshore_processes.frames import RUNNING
from longshore_processes.handle import Doom, Handle
from longshore_processes.memory import Gauge
from longshore_processes.outcomes import describe_end
from longshore_processes.pens import Pen, Pens
from longshore_processes.rungs import GroupFence, Rung, possible
from longshore_processes.timing import first_look_s, memory_look_s

MB = 1_000_000
LIMIT_MB = 64.0
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process uses")

Version = Literal["v1", "v2"]


class Tree:
    """A folder that looks like our group of the memory controller."""

    def __init__(self, root: Path, version: Version) -> None:
        self.version = version
        self.base = root / "mount" / "own"
        self.base.mkdir(parents=True)
        self.process, self.membership, mountinfo = str(root), root / "cgroup", root / "mountinfo"
        self.write(self.base, "cgroup.procs", "")
        if version == "v1":
            self.write(self.base, "memory.usage_in_bytes", "0")
            self.membership.write_text("9:name=systemd:/\n4:cpu,memory:/own\n0::/\n")
            mountinfo.write_text(f"2 1 0:2 / {root}/mount rw - cgroup cgroup rw,cpu,memory\n")
        else:
            self.write(self.base, "cgroup.controllers", "cpu memory pids")
            self.write(self.base, "cgroup.subtree_control", "")
            self.membership.write_text("0::/own\n")
            mountinfo.write_text(f"2 1 0:2 / {root}/mount rw - cgroup2 cgroup2 rw\n")

    def groups(self) -> Groups:
        find = Groups.here_v1 if self.version == "v1" else Groups.here
        found = find(ControlGroups(self.process))
        assert found is not None
        return found

    @staticmethod
    def write(path: Path, name: str, text: str) -> None:
        (path / name).write_text(f"{text}\n")

    @staticmethod
    def read(path: Path, name: str) -> str:
        return (path / name).read_text().split("\n")[0]

    def worker(self) -> tuple[Path, Memory]:
        """Make a worker's group, with the files that the kernel would put there."""
        path = Path(self.groups().make(1, limited=True).path)
        files = {"v1": ("memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control")}
        used, peak, events = files.get(self.version, ("memory.current", "memory.peak", "memory.events"))
        limits = {"v1": ("memory.limit_in_bytes",)}.get(self.version, ("memory.high", "memory.max"))
        for name in (used, peak, *limits):
            self.write(path, name, str(50 * MB))
        self.write(path, events, "oom_kill 0")
        names = (
            ("total_inactive_file", "total_active_file") if self.version == "v1" else ("inactive_file", "active_file")
        )
        self.write(path, "memory.stat", f"anon 1\n{names[0]} {20 * MB}\n{names[1]} {10 * MB}")
        return path, Memory.opened(path)


@pytest.fixture(params=["v1", "v2"])
def tree(request: Any, tmp_path: Path) -> Tree:
    return Tree(tmp_path, request.param)


def limits_of(tree: Tree, path: Path) -> list[str]:
    names = ("memory.limit_in_bytes",) if tree.version == "v1" else ("memory.high", "memory.max")
    return [tree.read(path, name) for name in names]


def test_an_item_may_grow_from_what_is_kept(tree: Tree) -> None:
    """The limit is above what the group keeps without pages of files; version 2 slows down there, kills 10 % above."""
    path, memory = tree.worker()
    fence = GroupFence(Rung.CGROUP_V1, memory)
    fence.arm(100.0)
    kept = 20 * MB
    assert limits_of(tree, path) == [str(kept + 100 * MB), str(kept + 110 * MB)][: 1 if tree.version == "v1" else 2]
    fence.arm(None)
    assert set(limits_of(tree, path)) == {"-1" if tree.version == "v1" else "max"}


def test_the_limit_is_not_written_anew_for_little(tree: Tree) -> None:
    """Where a worker has what it had, to a megabyte, arming costs two reads."""
    path, memory = tree.worker()
    fence = GroupFence(Rung.CGROUP_V1, memory)
    fence.arm(100.0)
    tree.write(path, "memory.stat", "anon 1\nactive_file 29500000\ntotal_active_file 29500000")
    name = "memory.limit_in_bytes" if tree.version == "v1" else "memory.high"
    tree.write(path, name, "untouched")
    fence.arm(100.0)
    assert tree.read(path, name) == "untouched"


def test_what_is_kept_apart_raises_the_limit(tree: Tree) -> None:
    """What an initializer keeps while an item runs is not that item's: its limit is as much higher afterwards."""
    path, memory = tree.worker()
    fence = GroupFence(Rung.CGROUP_V1, memory)
    fence.arm(100.0)
    with fence.apart():
        assert limits_of(tree, path)[0] in ("-1", "max")
        tree.write(path, "memory.usage_in_bytes" if tree.version == "v1" else "memory.current", str(90 * MB))
    assert limits_of(tree, path)[0] == str((60 + 100) * MB)


def test_kills_count_where_the_limit_was_met(tree: Tree) -> None:
    """The kernel's kills in a group are its item's excess only where the group was at its own limit."""
    path, memory = tree.worker()
    fence = GroupFence(Rung.CGROUP_V1, memory)
    seen = fence.arm(100.0)
    assert seen == 0
    tree.write(path, "memory.events" if tree.version == "v2" else "memory.oom_control", "under_oom 0\noom_kill 1")
    assert fence.exceeded(None, seen) is None
    peak = "memory.peak" if tree.version == "v2" else "memory.max_usage_in_bytes"
    tree.write(path, peak, str(120 * MB))
    assert fence.exceeded(None, seen) == pytest.approx(100.0)
    assert fence.exceeded(None, 1) is None
    assert Facts(1, 10 * MB, None).reached is False


def test_a_new_group_of_version_2_dies_as_one(tmp_path: Path) -> None:
    """In version 2 the kernel kills the whole group at once, and nothing is swapped out in place of being counted."""
    path, _ = Tree(tmp_path, "v2").worker()
    assert (path / "memory.oom.group").read_text() == "1"
    assert (path / "memory.swap.max").read_text() == "0"


def test_a_delegated_group_is_made_fit(tmp_path: Path) -> None:
    """Version 2 has no processes beside groups with controllers: ours move to one of their own, and back at the end."""
    tree = Tree(tmp_path, "v2")
    tree.write(tree.base, "cgroup.procs", "7\n8")
    groups = tree.groups()
    assert groups.may_limit(frozenset({7, 8}))
    assert groups.settle_in(frozenset({7, 8}))
    assert tree.read(tree.base, "cgroup.subtree_control") == "+memory"
    [home] = [path for path in tree.base.iterdir() if path.is_dir()]
    assert home.name == f"longshore-{os.getpid()}-home"
    assert members(home) == [8]  # the last one written; the kernel would have both
    tree.membership.write_text(f"0::/own/{home.name}\n")
    assert tree.groups()._base == tree.base
    tree.write(tree.base, "cgroup.subtree_control", "memory")
    assert tree.groups().may_limit(frozenset())
    (tree.base / "longshore-1-0").mkdir()
    groups.move_out()
    assert tree.read(tree.base, "cgroup.subtree_control") == "memory"
    (tree.base / "longshore-1-0").rmdir()
    groups.move_out()
    assert tree.read(tree.base, "cgroup.subtree_control") == "-memory"
    assert members(tree.base) == [8]


def test_root_takes_nothing_that_was_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write to every group of version 2, and divides only what systemd, or a container, gave away."""
    tree = Tree(tmp_path, "v2")
    marked: dict[str, bytes] = {}

    def attribute(path: Path, name: str) -> bytes:
        if name not in marked:
            raise OSError(61, "No data available")
        return marked[name]

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getxattr", attribute)
    assert tree.groups().may_limit(frozenset())  # the root of the hierarchy, as a container sees its own
    tree.write(tree.base.parent, "cgroup.procs", "1")
    assert not tree.groups().may_limit(frozenset())
    marked["trusted.delegate"] = b"1"
    assert tree.groups().may_limit(frozenset())
    marked.clear()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert tree.groups().may_limit(frozenset())


def test_others_are_not_moved(tmp_path: Path) -> None:
    """Where programs that are not ours are in the group, it is left as it is, and the rung is not to be had."""
    tree = Tree(tmp_path, "v2")
    tree.write(tree.base, "cgroup.procs", "7\n8\n9")
    groups = tree.groups()
    assert not groups.may_limit(frozenset({7, 8}))
    assert not groups.settle_in(frozenset({7, 8}))
    assert tree.read(tree.base, "cgroup.subtree_control") == ""


def test_the_best_rung_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2 where it is ours, else version 1, else polling; what is asked for and can't be had is refused."""
    two, one = Tree(tmp_path / "2", "v2"), Tree(tmp_path / "1", "v1")
    tree: dict[str, Groups | None] = {"v2": two.groups(), "v1": one.groups()}
    monkeypatch.setattr(Groups, "here", lambda: tree["v2"])
    monkeypatch.setattr(Groups, "here_v1", lambda: tree["v1"])
    assert possible("auto", zygote=True) is Rung.CGROUP_V2
    tree["v2"] = None
    assert possible("control-group", zygote=True) is Rung.CGROUP_V1
    assert possible("auto", zygote=False) is Rung.POLLING
    tree["v1"] = None
    assert possible("auto", zygote=True) is Rung.POLLING
    assert possible("polling", zygote=True) is Rung.POLLING
    assert possible("address-space", zygote=True) is Rung.ADDRESS_SPACE
    with pytest.raises(RuntimeError, match="memory_limit_by"):
        possible("control-group", zygote=True)
    with pytest.raises(RuntimeError, match="address-space"):
        possible("address-space", zygote=False)


def echo(item: Any) -> Any:
    return item


@pytest.fixture
def handle() -> Iterator[Handle]:
    """A worker that runs the item 0, of 64 MB, in a group of which one kill was known before."""
    made = Handle(0)
    spec = TaskSpec(function=echo, name="echo", executor="processes", memory_limit_mb=LIMIT_MB)
    made.give(Kind(1, spec, spec.memory_limit_mb, Trials()), [Attempt("t0", spec)], made.free_bay(), b"")
    made.words.ints[RUNNING], made.words.kills = 0, 1
    yield made
    made.close()


@pytest.mark.parametrize(
    ("kills", "peak", "type_name", "reason"),
    [
        (2, 164 * MB, "MemoryLimitExceeded", "memory"),
        (2, 90 * MB, "WorkerDied", "out_of_memory"),
        (1, 164 * MB, "WorkerDied", "signal 9"),
    ],
)
def test_whose_kill_it_was(handle: Handle, kills: int, peak: int, type_name: str, reason: str) -> None:
    """fault:M1 A kill at the group's limit is the item's, one below it the machine's, an uncounted one a stranger's."""
    handle.status, handle.memory = signal.SIGKILL, Facts(kills, peak, 164 * MB)
    doom_by_kernel(handle)
    [outcome] = autopsy(handle, 0.0, {}).outcomes
    assert outcome.error is not None
    assert outcome.error.type.endswith(type_name)
    assert outcome.error.reason == reason
    if reason == "memory":
        assert outcome.peak_memory_mb == pytest.approx(LIMIT_MB)


@pytest.mark.parametrize(("doom", "state"), [(Doom.TIMEOUT, TaskState.TIMED_OUT), (Doom.CANCEL, TaskState.CANCELLED)])
@pytest.mark.parametrize("peak", [164 * MB, 90 * MB])
def test_our_own_reason_stands(handle: Handle, doom: Doom, state: TaskState, peak: int) -> None:
    """A worker that was killed by us was killed for that, whatever the kernel did to it at the same moment."""
    handle.doomed, handle.doomed_serial = doom, 0
    handle.status, handle.memory = signal.SIGKILL, Facts(2, peak, 164 * MB)
    doom_by_kernel(handle)
    assert autopsy(handle, 0.0, {}).outcomes[0].state is state


def test_what_nothing_gets_ready_for_is_told_so(handle: Handle) -> None:
    """fault:M1 Where worker after worker ended while it got ready, memory that ran out in the last is no exception."""
    trials = handle.held[0].kind.own
    handle.words.prepare(0, 0.0)
    handle.status, handle.memory = signal.SIGKILL, Facts(2, 90 * MB, None)
    trials.end, trials.hopeless_until = describe_end(handle.status), 30.0
    [outcome] = autopsy(handle, 0.0, {}).outcomes
    assert outcome.error is not None
    assert outcome.error.type.endswith("WorkerNotReady")


def test_what_is_slowed_down_is_found(tmp_path: Path) -> None:
    """In version 2 a group at its limit is slowed down: the next look ends it, unless files' pages are what it has."""
    path, memory = Tree(tmp_path, "v2").worker()
    GroupFence(Rung.CGROUP_V2, memory).arm(100.0)
    gauge = Gauge(os.getpid(), str(path))
    assert gauge.group_grown_mb(100.0, 0) is None
    Tree.write(path, "memory.current", str(121 * MB))
    assert gauge.group_grown_mb(100.0, 0) is None
    Tree.write(path, "memory.stat", "inactive_file 0")
    assert gauge.group_grown_mb(100.0, 0) == pytest.approx(101.0)
    gauge.close()


def test_a_close_look_is_taken_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What shares its memory is not killed for a sum that was taken in the midst of a fork."""
    sums = iter([90.0, 30.0, 90.0, 95.0])
    monkeypatch.setattr(memory_module, "_descendants", lambda pid: [pid])
    monkeypatch.setattr(memory_module, "_own_mb", lambda pid: 1000.0)
    monkeypatch.setattr(Gauge, "_shared_out_mb", lambda self, pids: next(sums))
    gauge = Gauge(os.getpid())
    assert gauge.grown_mb(10.0, LIMIT_MB) == 20.0
    assert gauge.grown_mb(10.0, LIMIT_MB) == 80.0
    gauge.close()


@pytest.mark.parametrize(("limit_mb", "first_s"), [(64.0, 0.016), (1024.0, 0.05)])
def test_looks_come_as_often_as_memory_can_be_filled(limit_mb: float, first_s: float) -> None:
    """The first look is when the limit could have been met, later ones every 5 to 50 ms; the kernel needs fewer."""
    assert first_look_s(limit_mb) == first_s
    assert [memory_look_s(room) for room in (1.0, 100.0, 1000.0)] == [0.005, 0.025, 0.05]
    assert [memory_look_s(room, by_kernel=True) for room in (1.0, 2000.0)] == [0.05, 0.25]


def test_a_worker_without_its_group_is_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a group for memory can't be made a worker starts all the same; one to be ended in is no such thing."""
    tree = Tree(tmp_path, "v2")
    tree.write(tree.base, "cgroup.subtree_control", "memory")
    found = tree.groups()
    monkeypatch.setattr(Groups, "here", lambda: found)
    pens = Pens.asked(False, Rung.CGROUP_V2, os.getpid())
    assert pens.make(0, limited=False) == Pen()
    assert pens.make(0, limited=True).rung is Rung.CGROUP_V2
    assert pens.make(0, limited=True).rung is Rung.POLLING  # its name is taken
    both = Pens.asked(True, Rung.CGROUP_V2, os.getpid())
    assert len(both.make(1, limited=True).groups) == 1
    with pytest.raises(FileExistsError):
        both.make(1, limited=False)
    assert Pens.asked(False, Rung.ADDRESS_SPACE, 1).make(2, limited=True) == Pen(rung=Rung.ADDRESS_SPACE)
