"""When to look at a worker again, for how long to wait for it, and whether the supervisor itself was held up.

Used by whoever holds the baton (`handover.py`); the time is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from longshore.worker import in_columns

from longshore_processes.handle import Doom, Handle

FIRST_LOOK_S: Final = 0.05
"""The memory of a worker is looked at from here on at the latest; shorter items cost nothing."""
BEAT_S: Final = 1.0
"""While workers hold something the supervisor wakes at least this often, so that it notices when it was held up."""
HELD_UP_S: Final = 2.0
"""Longer between two turns than this, and the supervisor was held up: stopped, frozen, or starved."""
_LOOK_S: Final = (0.005, 0.05)
_LOOK_BY_KERNEL_S: Final = (0.05, 0.25)  # where the kernel keeps the limit, and only tells nobody
_FASTEST_MB_S: Final = 4000.0  # memory is hardly filled faster by one process


class Patience(NamedTuple):
    """For how long workers are waited for, in seconds."""

    initializer_s: float | None = 120.0
    """To get ready for a task: import its function, run its initializer, read what is shared; None is for ever."""
    start_s: float = 30.0
    """To be there at all, once asked for."""
    begin_s: float = 10.0
    """To begin what it was given; also, to go on after it was stopped by a signal."""
    die_s: float = 5.0
    """To end when killed; then it is written off, for it hangs in the kernel."""
    leave_s: float = 30.0
    """To clean up when it is let go."""


class Limit(NamedTuple):
    """When an item must have ended, and for what its worker is killed then."""

    at: float
    doom: Doom


class Pulse:
    """Sees from the times of the supervisor's turns that nobody looked for too long.

    Only if this process did not get to run: one that computes without ever letting go of the interpreter holds up its
    supervisor as well, while workers go on, and could do so for ever.
    """

    __slots__ = ("_cpu_s", "_last")

    def __init__(self) -> None:
        """Know of no turn yet."""
        self._last: float | None = None
        self._cpu_s = 0.0

    def beat(self, now: float, cpu_s: float) -> float:
        """Take note of a turn, and of this process's processor time; return since when it was held up, else `now`."""
        last, self._last = self._last, now
        used_s, self._cpu_s = cpu_s - self._cpu_s, cpu_s
        return last if last is not None and now - last > HELD_UP_S and used_s < (now - last) / 2 else now

    def wake(self, now: float, cpu_s: Callable[[], float]) -> None:
        """Take note that something is held from now on."""
        if self._last is None:
            self.beat(now, cpu_s())

    def rest(self) -> None:
        """Take note that nothing is held, and so that the next turn may come whenever it wants."""
        self._last = None


class Looks:
    """Says when to look at a worker, by what it holds and for how long it is waited for."""

    __slots__ = ("patience",)

    def __init__(self, patience: Patience) -> None:
        """Wait as long as `patience` says."""
        self.patience = patience

    def limit_of(self, handle: Handle, serial: int) -> Limit | None:
        """Return the limit of the attempt that runs as `serial`, None without one.

        While its worker gets ready there is a limit to that instead. Time in which the supervisor was held up counts
        for neither; a deadline over all attempts is a moment, and stays.
        """
        found = handle.find(serial)
        if found is None:
            return None
        preparing, (_, started) = handle.words.preparing(), handle.words.running()
        attempt = found[1]
        lasts_s = self.patience.initializer_s if preparing else attempt.spec.timeout_s
        at = None if lasts_s is None else started + lasts_s + handle.pardon_s(started)
        if attempt.expires_at is not None and (at is None or attempt.expires_at <= at):
            return Limit(attempt.expires_at, Doom.TIMEOUT)
        return None if at is None else Limit(at, Doom.PREPARE if preparing else Doom.TIMEOUT)

    def plan(self, handle: Handle, now: float) -> None:
        """Set the worker's next looks: at the earliest limit it can have, and at its pace while others wait behind."""
        held = handle.held
        if not held:
            handle.due_at = handle.check_at = handle.memory_at = handle.stopped_at = None
            handle.slow = False
            return
        limits: list[float] = []
        for batch in held:
            if batch.kind.timeout_s is not None:
                limits.append(now + batch.kind.timeout_s)  # its items begin from now on, save the running one
            if not in_columns(batch.attempts) and batch.attempts[-1].expires_at is not None:
                limits.append(batch.attempts[-1].expires_at)
        if len(held) > 1 or handle.given_at != now:  # else all of it begins from now on
            limit = self.limit_of(handle, handle.words.running()[0]) if limits or handle.words.preparing() else None
            if limit is not None:
                limits.append(limit.at)
        if self.patience.initializer_s is not None:
            limits.append(now + self.patience.initializer_s)  # it may get ready for any of them from now on
        handle.due_at = min(limits, default=None)
        limits_mb = [batch.kind.memory_limit_mb for batch in held if batch.kind.memory_limit_mb is not None]
        handle.memory_at = now + first_look_s(min(limits_mb)) if limits_mb else None
        many = len(held) > 1 or len(held[0].attempts) - held[0].done > 1
        if not handle.slow:
            handle.check_at = now + (held[0].kind.slow_s() if many else self.patience.begin_s)


def first_look_s(limit_mb: float) -> float:
    """Return after how long an item may have taken all that it may."""
    return min(FIRST_LOOK_S, limit_mb / _FASTEST_MB_S)


def memory_look_s(room_mb: float, *, by_kernel: bool = False) -> float:
    """Return how long to wait for the next look at memory, where so much may still be taken."""
    least, most = _LOOK_BY_KERNEL_S if by_kernel else _LOOK_S
    return min(most, max(least, room_mb / _FASTEST_MB_S))
