"""In plain words: where an accepted task is, and what it waits for. Asked by people, one task at a time."""

from __future__ import annotations

from longshore._engine.dispatch import Dispatch
from longshore._engine.lanes import effective, standing
from longshore._engine.wording import ahead, seconds
from longshore.task import Attempt, Priority


def running(attempt: Attempt) -> str:
    """Return what is to be said of an attempt that its executor has."""
    return f"is with executor {attempt.spec.executor}, {_which(attempt)}"


def retrying(attempt: Attempt, now: float) -> str:
    """Return what is to be said of a task that waits for its next attempt to fall due."""
    return (
        f"waits for its retry: attempt {attempt.number - 1} failed, {_which(attempt)} is due in "
        f"{seconds(max(0.0, attempt.queued_at - now))}"
    )


def queued(attempt: Attempt, dispatch: Dispatch, now: float, *, paused: bool) -> str:
    """Return what is to be said of an attempt that waits in the queue."""
    spec, waited_s = attempt.spec, max(0.0, now - attempt.queued_at)
    level = Priority(effective(spec.priority, waited_s))
    told = f", and has waited {seconds(waited_s)}"
    if level is not spec.priority:
        told = f", has waited {seconds(waited_s)} and is therefore served as {level.name}"
    before = _before(attempt, dispatch, now)
    because = "the pool is paused" if paused else dispatch.obstacle(attempt, now)
    return (
        f"is queued for executor {spec.executor} with priority {spec.priority.name}{told}: "
        f"{because or ('those before it go first' if before else 'it is about to start')}; "
        f"{ahead(before)}"
    )


def _which(attempt: Attempt) -> str:
    return f"attempt {attempt.number} of {attempt.spec.retry.attempts}"


def _before(attempt: Attempt, dispatch: Dispatch, now: float) -> int:
    """Return how many wait for the same executor and go before this one; looks at all that wait there."""
    mine = standing(attempt, now)
    found = 0
    lanes = dispatch.places[attempt.spec.executor].lanes
    for others in (lane.waiting(priority) for lane in lanes for priority in Priority):
        for other in others:
            if other is attempt:
                break
            found += standing(other, now) <= mine
    return found
