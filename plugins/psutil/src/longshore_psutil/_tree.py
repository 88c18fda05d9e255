"""What a process and its descendants use: process ids come in, CPU seconds and resident memory go out.

On Linux a process says itself which children it has, so that a reading costs as much as our own processes are many,
whatever else runs; and its files are kept open. Neither file that is read waits for a lock that a process may hold.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import psutil
from longshore.records import WorkerUsage

from longshore_psutil._procfs import PAGE_BYTES, TICKS_PER_S, KeptFile

_MB = 1_000_000
_KEPT_MOST = 256
"""How many processes' files are kept open, two each; fewer where the limit of open files is low. Others cost more."""


class Node(NamedTuple):
    """One process: its parent, CPU seconds with those of children it has waited for, resident bytes."""

    ppid: int
    cpu_s: float
    rss_bytes: int


class ProcessTable(Protocol):
    """A way to look at processes."""

    def read(self, roots: Sequence[int]) -> Mapping[int, Node]:
        """Return `roots` and all their descendants that are alive; never raises for one that is gone."""

    def close(self) -> None:
        """Close what is kept open."""


class _Process:
    """One process, by the files in which it tells of itself."""

    __slots__ = ("_children", "_folder", "_stat", "pid")

    def __init__(self, proc: str, pid: int, *, keep: bool) -> None:
        self.pid = pid
        self._folder = f"{proc}/{pid}"
        self._stat = KeptFile(f"{self._folder}/stat", keep=keep)
        self._children = KeptFile(f"{self._folder}/task/{pid}/children", keep=keep)

    def look(self) -> tuple[Node, int] | None:
        """Return what it uses, and how many threads it has; None where it is gone."""
        line = self._stat.read()
        # The name stands in brackets and may hold spaces and brackets itself: what follows the last one is regular.
        fields = line[line.rfind(b")") + 2 :].split()
        if len(fields) < 22:
            return None
        ticks = sum(int(field) for field in fields[11:15])
        return Node(int(fields[1]), ticks / TICKS_PER_S, int(fields[21]) * PAGE_BYTES), int(fields[17])

    def children(self, threads: int) -> list[int]:
        """Return the processes that any of its threads has started; may miss one while others are ending."""
        found = self._children.read().split()
        if threads > 1:
            for thread in self._threads():
                if thread != str(self.pid):
                    found += KeptFile(f"{self._folder}/task/{thread}/children", keep=False).read().split()
        return [int(pid) for pid in found]

    def _threads(self) -> list[str]:
        try:
            return os.listdir(f"{self._folder}/task")
        except OSError:  # gone since it was looked at
            return []


class ProcTable:
    """Linux: looks at the roots and what they have started, and at no other process."""

    def __init__(self, proc: str = "/proc") -> None:
        """Remember where to look."""
        self._proc = proc
        self._known: dict[int, _Process] = {}
        self._most = _kept_most()

    def read(self, roots: Sequence[int]) -> Mapping[int, Node]:
        """Return the roots, their descendants, and nothing else."""
        nodes: dict[int, Node] = {}
        self._follow(list(roots), nodes)
        for pid in [pid for pid in self._known if pid not in nodes]:
            seen = self._known[pid].look()
            if seen is not None and seen[0].ppid in nodes:  # one that its parent failed to tell of
                self._follow([pid], nodes)
        self._known = {pid: process for pid, process in self._known.items() if pid in nodes}
        return nodes

    def close(self) -> None:
        """Close what is kept open."""
        self._known = {}  # each closes its own

    def _follow(self, ahead: list[int], nodes: dict[int, Node]) -> None:
        """Add these and all that they have started, as far as they are alive."""
        while ahead:
            pid = ahead.pop()
            if pid in nodes:
                continue
            seen = self._look(pid)
            if seen is not None:
                nodes[pid], threads = seen
                ahead += self._known[pid].children(threads)

    def _look(self, pid: int) -> tuple[Node, int] | None:
        seen = self._known[pid].look() if pid in self._known else None
        if seen is None:  # not looked at before, or the number has passed to another process
            process = self._known[pid] = _Process(self._proc, pid, keep=len(self._known) < self._most)
            seen = process.look()
        return seen


class PsutilTable:
    """Everywhere else: psutil's processes, in one pass for who descends from whom."""

    def read(self, roots: Sequence[int]) -> Mapping[int, Node]:
        """Return the roots and their descendants."""
        parents: dict[int, int] = {}
        for process in psutil.process_iter(["ppid"]):
            parents[process.pid] = process.info["ppid"] or 0
        ours = descendants({pid: Node(ppid, 0.0, 0) for pid, ppid in parents.items()}, roots)
        nodes = {pid: self._node(pid, parents[pid]) for pid in ours}
        return {pid: node for pid, node in nodes.items() if node is not None}

    def close(self) -> None:
        """Do nothing: nothing is kept open."""

    def _node(self, pid: int, ppid: int) -> Node | None:
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                times, memory = process.cpu_times(), process.memory_info()
        except psutil.Error:  # gone, or not ours to look at
            return None
        reaped = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        return Node(ppid, times.user + times.system + reaped, memory.rss)


def process_table() -> ProcessTable:
    """Return the way that suits this platform."""
    # A kernel without CONFIG_PROC_CHILDREN does not tell of them.
    tells = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
    return ProcTable() if tells else PsutilTable()


def descendants(nodes: Mapping[int, Node], roots: Iterable[int]) -> set[int]:
    """Return `roots`, as far as they are among `nodes`, and all that descend from them."""
    return _below(_children(nodes), [pid for pid in roots if pid in nodes])


def usage_by_root(nodes: Mapping[int, Node], roots: Iterable[int]) -> dict[int, WorkerUsage]:
    """Return what each of `roots` uses together with its descendants; a root that is not there is left out."""
    children = _children(nodes)
    return {root: _sum(nodes, _below(children, [root])) for root in roots if root in nodes}


def _children(nodes: Mapping[int, Node]) -> Mapping[int, list[int]]:
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid, node in nodes.items():
        children[node.ppid].append(pid)
    return children


def _below(children: Mapping[int, list[int]], roots: list[int]) -> set[int]:
    found: set[int] = set()
    ahead = list(roots)
    while ahead:
        pid = ahead.pop()
        if pid not in found:  # a torn look at a changing table could hold a ring
            found.add(pid)
            ahead.extend(children.get(pid, ()))
    return found


def _sum(nodes: Mapping[int, Node], pids: Iterable[int]) -> WorkerUsage:
    tree = [nodes[pid] for pid in pids]
    return WorkerUsage(sum(node.cpu_s for node in tree), sum(node.rss_bytes for node in tree) / _MB)


def _kept_most() -> int:
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _KEPT_MOST if soft == resource.RLIM_INFINITY else min(_KEPT_MOST, soft // 8)
