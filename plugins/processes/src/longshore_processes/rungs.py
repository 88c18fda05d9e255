"""What holds an item to its limit of memory: the rungs of a ladder. Below them all, always, there is polling.

A worker arms its fence before an item, and asks it afterwards whether the kernel had to act. The zygote makes the group
that a fence may need and says how that stood when its worker ended; the controller decides which rung there can be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from errno import ENOMEM
from typing import Final, Literal, Protocol

from longshore.errors import MemoryLimitExceeded

from longshore_processes.cgroups import Groups, Memory

ASKED_NAME: Final = "LONGSHORE_WORKER_MEMORY"
"""The variable by which a worker knows its rung, and its group: "cgroup-v1:/path", "address-space"."""
MB: Final = 1_000_000
_STEP: Final = MB  # a limit is not set anew for less
MemoryLimitBy = Literal["auto", "control-group", "address-space", "polling"]


class Rung(Enum):
    """What holds an item to its limit, the best first."""

    CGROUP_V2 = "cgroup-v2"
    CGROUP_V1 = "cgroup-v1"
    ADDRESS_SPACE = "address-space"
    POLLING = "polling"


class Fence(Protocol):
    """A worker's own side of a rung: not for processes at its side, and only ever one item at a time."""

    @property
    def rung(self) -> Rung:
        """Return which it is."""

    def arm(self, limit_mb: float | None) -> int:
        """Let what is used grow by so much from now on, None for any; return the kernel's count of kills so far."""

    def apart(self) -> AbstractContextManager[None]:
        """Let what comes to stay meanwhile be the worker's."""

    def exceeded(self, error: BaseException | None, seen: int) -> float | None:
        """Return what the item had taken if it was held up at its limit, by its error or by kills beyond `seen`."""


class GroupFence:
    """The limit of the worker's control group: the kernel holds all that is in it to that, at every page."""

    def __init__(self, rung: Rung, memory: Memory) -> None:
        """Set the limits of `memory`."""
        self.rung = rung
        self._memory = memory
        self._base = 0
        self._limit: int | None = None

    def arm(self, limit_mb: float | None) -> int:
        """Set the limit, where it is another; return how many processes in it the kernel has killed."""
        if limit_mb is None:
            self._set(None)
            return self._memory.kills()
        if abs(self._memory.used() - self._base) > _STEP:
            self._base = self._memory.kept()
        limit = int(limit_mb * MB)
        if self._limit is None or abs(self._base + limit - self._limit) > _STEP:
            self._set(self._base + limit, limit)
        return self._memory.kills()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Lift the limit meanwhile; after that it is as much higher as more is kept."""
        limit, before = self._limit, self._memory.kept()
        self._set(None)
        try:
            yield
        finally:
            if limit is not None:
                grown = self._memory.kept() - before
                self._set(limit + grown, max(0, limit - self._base))
                self._base += grown

    def exceeded(self, error: BaseException | None, seen: int) -> float | None:
        """Tell by the kernel's counts."""
        facts = self._memory.facts()
        if facts.kills <= seen or not facts.reached:
            return None
        return (facts.peak - self._base) / MB

    def _set(self, limit: int | None, room: int = 0) -> None:
        if limit != self._limit:
            self._memory.limit(limit, room)
            self._limit = limit


class AddressSpaceFence:
    """RLIMIT_AS: the kernel refuses this process, and each it starts, more addresses, used or not."""

    rung = Rung.ADDRESS_SPACE

    def __init__(self) -> None:
        """Hold nobody yet."""
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._base = 0
        self._limit: int | None = None

    def arm(self, limit_mb: float | None) -> int:
        """Set the limit, where it is another; there are no kills."""
        if limit_mb is None:
            self._set(None)
            return 0
        self._base = self._mapped()
        limit = self._base + int(limit_mb * MB)
        if self._limit is None or abs(limit - self._limit) > _STEP:
            self._set(limit)
        return 0

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Lift the limit meanwhile."""
        limit, before = self._limit, self._mapped()
        self._set(None)
        try:
            yield
        finally:
            if limit is not None:
                grown = self._mapped() - before
                self._base += grown
                self._set(limit + grown)

    def exceeded(self, error: BaseException | None, seen: int) -> float | None:
        """Take a refusal for what it is, and lift the limit: its record has to be made."""
        if self._limit is None or error is None or not is_refusal(error):
            return None
        self._set(None)
        return (self._mapped() - self._base) / MB

    def _mapped(self) -> int:
        return int(os.pread(self._statm, 64, 0).split(None, 1)[0]) * self._page

    def _set(self, limit: int | None) -> None:
        import resource  # not everywhere

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = hard if limit is None or (hard != resource.RLIM_INFINITY and limit > hard) else limit
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        self._limit = limit


def possible(asked: MemoryLimitBy, *, zygote: bool) -> Rung:
    """Return the rung that workers of this process can be on; RuntimeError where the one that is asked for can't be.

    All but polling take a zygote.
    """
    if asked in ("auto", "control-group") and zygote:
        for rung in (Rung.CGROUP_V2, Rung.CGROUP_V1):
            groups = groups_for(rung)
            if groups is not None and groups.may_limit(frozenset({os.getpid()})):
                return rung
    if asked == "control-group":
        raise RuntimeError(
            'executors.processes.memory_limit_by is "control-group", and no control group with the memory controller '
            "is this program's to divide: start it by `systemd-run --user --scope -p Delegate=yes` (version 2), have "
            "its group of version 1 made writable, or leave that setting out"
        )
    if asked == "address-space":
        if not zygote:
            raise RuntimeError('executors.processes.memory_limit_by is "address-space", which takes Linux and pidfd')
        return Rung.ADDRESS_SPACE
    return Rung.POLLING


def groups_for(rung: Rung) -> Groups | None:
    """Return the groups that a rung takes, where they are there."""
    if rung is Rung.CGROUP_V2:
        return Groups.here()
    return Groups.here_v1() if rung is Rung.CGROUP_V1 else None


def fence_here() -> Fence | None:
    """Return the fence of this worker; None where only polling holds it."""
    rung, _, path = os.environ.get(ASKED_NAME, "").partition(":")
    try:
        if rung == Rung.ADDRESS_SPACE.value:
            return AddressSpaceFence()
        if path:
            return GroupFence(Rung(rung), Memory.opened(path))
    except OSError:  # it was taken away
        pass
    return None


def is_refusal(error: BaseException) -> bool:
    """Tell whether an error says that there was no memory to be had."""
    kind = type(error)  # an error's own idea of its class is user code
    return issubclass(kind, MemoryError) or (kind is OSError and error.args[:1] == (ENOMEM,))


def over_limit(
    task: tuple[str, str], limit_mb: float, peak_mb: float, rung: Rung, worker: str, how: str
) -> MemoryLimitExceeded:
    """Return the error of a task, known by id and name, that took more than it may; `how` says what was done to it."""
    took, may_take = _told_apart(peak_mb, limit_mb)
    text = (
        f"task {task[0]} ({task[1]}) took {took} MB of memory and may take {may_take}: {how}; declare "
        "Resources(memory_mb=...) for such tasks, or raise workers.task_memory_limit_mb"
    )
    return MemoryLimitExceeded(
        text,
        reason="memory",
        limit_mb=limit_mb,
        peak_memory_mb=round(peak_mb, 3),
        overshoot_mb=round(max(0.0, peak_mb - limit_mb), 3),
        rung=rung.value,
        worker=worker,
    )


def _told_apart(more: float, less: float) -> tuple[str, str]:
    """Return the two in as few digits as tell them apart."""
    for digits in range(4):
        texts = f"{more:.{digits}f}", f"{less:.{digits}f}"
        if texts[0] != texts[1] and float(texts[1]):
            break
    return texts
