"""The attempts that wait in the executor: threads take from the front without a lock, others take out here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from longshore.task import Attempt
from longshore.worker import NEVER


def first_due(attempts: Iterable[Attempt]) -> float:
    """Return when the first of those that wait must have ended, over all its attempts; NEVER if none must."""
    return min((attempt.expires_at for attempt in attempts if attempt.expires_at is not None), default=NEVER)


def take_out(backlog: deque[Attempt], wanted: Callable[[Attempt], bool]) -> list[Attempt]:
    """Remove and return those that are wanted, less what threads take meanwhile."""
    taken = []
    for attempt in filter(wanted, backlog.copy()):
        with suppress(ValueError):
            backlog.remove(attempt)
            taken.append(attempt)
    return taken
