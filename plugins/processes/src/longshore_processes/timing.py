"""When to look at a worker again. Used on the supervisor's thread only; the time is given."""

from __future__ import annotations

from typing import Final

from longshore_processes.handle import Handle

PREPARE_S: Final = 120.0
"""A worker may take this long to import a function and run its initializer, if the task has a time limit at all."""
STUCK_S: Final = 10.0
"""A worker that has not begun what it was given after this is killed; nothing it holds has run."""
FIRST_LOOK_S: Final = 0.05
"""The memory of a worker is looked at from here on; shorter items cost nothing."""
_LOOK_S: Final = (0.02, 0.25)
_FASTEST_MB_S: Final = 4000.0  # memory is hardly filled faster by one process


def limit_of(handle: Handle, serial: int) -> float | None:
    """Return when the attempt that runs as `serial` must have ended, None without a limit.

    While its worker gets ready (imports its function, runs its initializer) there is a limit to that instead.
    """
    found = handle.find(serial)
    if found is None:
        return None
    preparing, (_, started) = handle.words.preparing(), handle.words.running()
    attempt = found[1]
    timeout_s = PREPARE_S if preparing else attempt.spec.timeout_s
    limits = [attempt.expires_at, started + timeout_s if timeout_s is not None else None]
    return min((limit for limit in limits if limit is not None), default=None)


def next_look(handle: Handle, now: float) -> None:
    """Set the worker's next looks: at the earliest deadline it can have, and at its pace while others wait behind."""
    held = handle.held
    if not held:
        handle.due_at = handle.check_at = handle.memory_at = None
        handle.slow = False
        return
    limits: list[float] = []
    for batch in held:
        if batch.kind.timeout_s is not None:
            limits.append(now + batch.kind.timeout_s)  # its items begin from now on, save the running one
        if batch.attempts[-1].expires_at is not None:
            limits.append(batch.attempts[-1].expires_at)
    if limits:
        limit = limit_of(handle, handle.words.running()[0])
        handle.due_at = min(limits) if limit is None else min(limit, *limits)
    else:
        handle.due_at = None
    limited = any(batch.kind.memory_limit_mb is not None for batch in held)
    handle.memory_at = now + FIRST_LOOK_S if limited else None
    many = len(held) > 1 or len(held[0].attempts) - held[0].done > 1
    if not handle.slow:
        handle.check_at = now + (held[0].kind.slow_s() if many else STUCK_S)


def memory_look_s(room_mb: float) -> float:
    """Return how long to wait for the next look at memory, where so much may still be taken."""
    least, most = _LOOK_S
    return min(most, max(least, room_mb / _FASTEST_MB_S))
