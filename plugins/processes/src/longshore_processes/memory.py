"""How much memory a worker uses, and what it started: the worker's own account, and the controller's look from outside.

Only memory of the processes' own counts (anonymous pages): pages of files and of shared memory are not theirs alone.
Linux tells all this; elsewhere nothing is known, and nobody is held to a limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Final, NamedTuple

from longshore_processes.cgroups import Memory
from longshore_processes.frames import Words
from longshore_processes.rungs import MB, Fence, Rung

_PAGE_MB: Final = os.sysconf("SC_PAGE_SIZE") / 1e6 if hasattr(os, "sysconf") else 0.004096
_KB_PER_MB: Final = 1000 / 1.024
_READ: Final = 8192
_PROCESSES_MOST: Final = 1000  # of one worker that are looked at


class Used(NamedTuple):
    """What a process has in memory: all of it, and what is its own alone."""

    resident_mb: float
    own_mb: float


NOTHING: Final = Used(0.0, 0.0)


class Account:
    """A worker's view of itself: what it had before its item is written to `words`, and peaks count from there."""

    __slots__ = ("_clear", "_fence", "_resident_mb", "_statm", "_status", "_words", "limit_mb")

    def __init__(self, words: Words, fence: Fence | None = None) -> None:
        """Keep open what is read again and again; `fence` holds items to `limit_mb` where there is one."""
        self.limit_mb: float | None = None
        """By how much what begins next may grow; None is any."""
        self._fence = fence
        self._words = words
        self._resident_mb = 0.0
        self._statm = _opened("/proc/self/statm", os.O_RDONLY)
        self._status = _opened("/proc/self/status", os.O_RDONLY)
        self._clear = _opened("/proc/self/clear_refs", os.O_WRONLY)

    def begin(self) -> None:
        """Let what is used from now on be the next item's, and the peak begin here."""
        used = self._used()
        self._words.base_mb, self._resident_mb = used.own_mb, used.resident_mb
        self._forget_peak()
        if self._fence is not None:
            self._words.kills = self._fence.arm(self.limit_mb)

    def get_ready(self) -> None:
        """Hold nobody to a limit until something begins: what is taken now stays with the worker."""
        if self._fence is not None:
            self._words.kills = self._fence.arm(None)

    @contextmanager
    def set_apart(self) -> Iterator[None]:
        """Let what comes to stay meanwhile be the worker's, not the item's."""
        before = self._used()
        try:
            with self._fence.apart() if self._fence is not None else nullcontext():
                yield
        finally:
            after = self._used()
            self._words.base_mb += after.own_mb - before.own_mb
            self._resident_mb += after.resident_mb - before.resident_mb

    def exceeded_mb(self, error: BaseException | None = None) -> float | None:
        """Return how much the item that ended had taken, if it met its limit: the kernel killed what it had started.

        Or refused it memory, which `error` says. It is told once.
        """
        if self._fence is None or self.limit_mb is None:
            return None
        took_mb = self._fence.exceeded(error, self._words.kills)
        if took_mb is not None:
            self._words.kills = self._fence.arm(self.limit_mb)
        return took_mb

    @property
    def rung(self) -> Rung:
        """What holds items here."""
        return Rung.POLLING if self._fence is None else self._fence.rung

    def peak_mb(self) -> float | None:
        """Return by how much the worker had grown at most since `begin`, and begin anew; None where nobody tells."""
        if self._status is None or self._clear is None:
            return None
        text = os.pread(self._status, _READ, 0)
        top_mb = int(text.partition(b"VmHWM:")[2].split(None, 1)[0]) / _KB_PER_MB
        grown_mb = round(max(0.0, top_mb - self._resident_mb), 3)  # told in kB: what is finer is no fact
        self.begin()
        return grown_mb

    def _used(self) -> Used:
        return NOTHING if self._statm is None else _used(self._statm)

    def _forget_peak(self) -> None:
        """Have the kernel's mark of the highest use begin at what is used now."""
        if self._clear is not None:
            try:
                os.pwrite(self._clear, b"5", 0)
            except OSError:  # a kernel without it: then a peak would be that of earlier tasks
                os.close(self._clear)
                self._clear = None


class Gauge:
    """The controller's view of one worker with all that it started. Its descriptor is of that process for good."""

    __slots__ = ("_group", "_pid", "_statm")

    def __init__(self, pid: int, group: str | None = None) -> None:
        """Look at the process `pid`, and its `group` if it has one; OSError where there is none or nothing is told."""
        self._pid = pid
        self._statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY)
        self._group: Memory | None = None
        if group is not None:
            with suppress(OSError, ValueError):
                self._group = Memory.opened(group)

    def group_grown_mb(self, limit_mb: float, kills: int) -> float | None:
        """Return by how much its group has grown, if the kernel had to act there or it is above its limit.

        That is, if it has killed more than `kills` processes; or, in version 2, slows down what is left.
        """
        if self._group is None:
            return None
        with suppress(OSError, ValueError):
            facts = self._group.facts()
            if facts.limit is None:
                return None
            base = facts.limit - limit_mb * MB
            if facts.kills > kills and facts.reached:
                return (facts.peak - base) / MB
            if self._group.slows and facts.peak >= facts.limit:
                kept = self._group.kept()
                return (kept - base) / MB if kept > facts.limit else None
        return None

    def grown_mb(self, base_mb: float, enough_mb: float) -> float:
        """Return by how much worker and descendants are above `base_mb`.

        What processes share since a fork is counted in each of them; only where that may bring them above `enough_mb`,
        it is looked at more closely, for that takes a thousand times as long. And then twice: while some are being
        forked, one and the same page may be met in one that has it alone yet, and then in its children.
        """
        pids = _descendants(self._pid)
        grown = _used(self._statm).own_mb + sum(_own_mb(pid) for pid in pids) - base_mb
        if grown <= enough_mb or not pids:
            return grown
        grown = min(grown, self._shared_out_mb(pids) - base_mb)
        return grown if grown <= enough_mb else min(grown, self._shared_out_mb(_descendants(self._pid)) - base_mb)

    def _shared_out_mb(self, pids: Sequence[int]) -> float:
        return sum(_shared_out_mb(pid) for pid in (self._pid, *pids))

    def own_mb(self) -> float:
        """Return what the worker alone has of its own, without what it started."""
        return _used(self._statm).own_mb

    def close(self) -> None:
        """Look no more."""
        os.close(self._statm)
        if self._group is not None:
            self._group.close()


def _opened(path: str, flags: int) -> int | None:
    try:
        return os.open(path, flags)
    except OSError:
        return None


def _used(statm: int) -> Used:
    try:
        _, resident, shared, *_ = os.pread(statm, _READ, 0).split()
    except (OSError, ValueError):  # it has ended
        return NOTHING
    return Used(int(resident) * _PAGE_MB, (int(resident) - int(shared)) * _PAGE_MB)


def _own_mb(pid: int) -> float:
    statm = _opened(f"/proc/{pid}/statm", os.O_RDONLY)
    if statm is None:
        return 0.0
    try:
        return _used(statm).own_mb
    finally:
        os.close(statm)


def _shared_out_mb(pid: int) -> float:
    """Return a process's own memory, with what it shares counted by its share of it."""
    with suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        told = file.read().partition(b"Pss_Anon:")[2].split(None, 1)
        if told:
            return int(told[0]) / _KB_PER_MB
    return _own_mb(pid)


def _descendants(pid: int) -> Sequence[int]:
    found: list[int] = []
    todo = [pid]
    while todo and len(found) < _PROCESSES_MOST:
        parent = todo.pop()
        children: list[int] = []
        with suppress(OSError):  # it has ended, or the kernel does not tell
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children", "rb") as file:
                    children += map(int, file.read().split())
        found += children
        todo += children
    return found
