"""What a process and its descendants use: process ids come in, CPU seconds and resident memory go out.

A tree is found in one pass over all processes, however many workers there are. On Linux the pass reads /proc itself,
since one stat line holds all that is wanted: 13 microseconds a process where psutil's objects take 60.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import psutil
from longshore.records import WorkerUsage

_MB = 1_000_000
_REREAD_EVERY = 30
"""Readings after which all processes are looked at again, should the id of a foreign one have passed to one of ours."""


class Node(NamedTuple):
    """One process: its parent, CPU seconds with those of children it has waited for, resident bytes."""

    ppid: int
    cpu_s: float
    rss_bytes: int


class ProcessTable(Protocol):
    """A way to look at processes."""

    def read(self, roots: Sequence[int]) -> Mapping[int, Node]:
        """Return at least `roots` and all their descendants that are alive; never raises for one that is gone."""


class ProcTable:
    """Linux: reads /proc, and of the processes that are known not to be ours only their names."""

    def __init__(self, proc: str = "/proc") -> None:
        """Remember where to look."""
        self._proc = proc
        self._foreign: set[int] = set()
        self._reads = 0
        self._tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def read(self, roots: Sequence[int]) -> Mapping[int, Node]:
        """Return the roots, their descendants, and nothing else."""
        if self._reads % _REREAD_EVERY == 0 or not self._foreign.isdisjoint(roots):
            self._foreign.clear()
        self._reads += 1
        alive = {int(name) for name in os.listdir(self._proc) if name.isdigit()}
        self._foreign &= alive
        nodes = {pid: node for pid in alive - self._foreign if (node := self._stat(pid)) is not None}
        ours = descendants(nodes, roots)
        self._foreign |= nodes.keys() - ours
        return {pid: nodes[pid] for pid in ours}

    def _stat(self, pid: int) -> Node | None:
        try:
            descriptor = os.open(f"{self._proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
            try:
                line = os.read(descriptor, 4096)
            finally:
                os.close(descriptor)
        except OSError:  # gone between the listing and now
            return None
        # The name stands in brackets and may hold spaces and brackets itself: what follows the last one is regular.
        fields = line[line.rfind(b")") + 2 :].split()
        if len(fields) < 22:
            return None
        ticks = sum(int(field) for field in fields[11:15])
        return Node(int(fields[1]), ticks * self._tick_s, int(fields[21]) * self._page_bytes)


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
    return ProcTable() if sys.platform == "linux" else PsutilTable()


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
