"""Soft limits of time: which attempts run longer than they should, told once each; the hard limit is the executor's.

The engine knows when it handed an attempt out, not when it began to run. So when one could be overdue by that, it has
its executor asked (`AskRunning`), and decides by the answer (`RunsFor`). Costs nothing until a spec has a soft timeout.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

from longshore._engine.messages import AskRunning, RunsFor
from longshore.events import Happened
from longshore.task import Attempt, Outcome

_TIDY_LEAST = 4096


class Overdue:
    """The attempts that have a soft timeout and were not told of yet, by when they are to be looked at."""

    __slots__ = ("_looks", "_tie", "_watched", "used")

    def __init__(self) -> None:
        """Watch none."""
        self.used = False
        """Whether any spec has had a soft timeout so far: who begins attempts need not look for one before."""
        self._watched: dict[str, tuple[Attempt, float]] = {}  # and when each was handed out
        self._looks: list[tuple[float, int, Attempt]] = []
        self._tie = 0

    @property
    def first(self) -> float | None:
        """When to look next."""
        return self._looks[0][0] if self._looks else None

    def begun(self, attempts: Iterable[Attempt], now: float) -> None:
        """Watch those of these attempts that have a soft timeout; they were handed out now."""
        for attempt in attempts:
            if attempt.spec.soft_timeout_s is not None:
                self._watched[attempt.task_id] = attempt, now
                self._look_at(attempt, now + attempt.spec.soft_timeout_s)
        if len(self._looks) > max(_TIDY_LEAST, 2 * len(self._watched)):
            self._looks = [look for look in self._looks if self._is_watched(look[2])]
            heapify(self._looks)

    def ask(self, now: float) -> list[AskRunning]:
        """Return whom to ask about the attempts that may be overdue by now."""
        asked: dict[str, list[str]] = {}
        while self._looks and self._looks[0][0] <= now:
            attempt = heappop(self._looks)[2]
            if self._is_watched(attempt):
                asked.setdefault(attempt.spec.executor, []).append(attempt.task_id)
        return [AskRunning(executor, ids) for executor, ids in asked.items()]

    def answered(self, answer: RunsFor, now: float) -> list[Happened]:
        """Tell of those that have run for long enough, and look again at the others when they may have."""
        told: list[Happened] = []
        for task_id, (worker, running_s) in answer.runs.items():
            attempt, given_at = self._watched.get(task_id, (None, now))
            if attempt is None:
                continue
            soft_s = attempt.spec.soft_timeout_s or 0.0
            running_s = now - given_at if running_s is None else running_s
            if running_s >= soft_s:
                del self._watched[task_id]
                told.append(_told(attempt, running_s, worker))
            else:
                self._look_at(attempt, now + soft_s - running_s)
        return told

    def ended(self, outcomes: Sequence[Outcome]) -> list[Happened]:
        """Forget attempts that ended; tell of those that were overdue, while nobody could look."""
        told: list[Happened] = []
        for outcome in outcomes if self._watched else ():
            attempt, _ = self._watched.get(outcome.task_id, (None, 0.0))
            if attempt is not None and attempt.number == outcome.attempts:
                del self._watched[outcome.task_id]
                if outcome.ran_s >= (attempt.spec.soft_timeout_s or 0.0):
                    told.append(_told(attempt, outcome.ran_s, outcome.worker))
        return told

    def _is_watched(self, attempt: Attempt) -> bool:
        watched = self._watched.get(attempt.task_id)
        return watched is not None and watched[0] is attempt

    def _look_at(self, attempt: Attempt, when: float) -> None:
        self._tie += 1
        heappush(self._looks, (when, self._tie, attempt))


def _told(attempt: Attempt, running_s: float, worker: str | None) -> Happened:
    data = {
        "task_id": attempt.task_id,
        "worker_id": worker,
        "name": attempt.spec.name,
        "running_s": running_s,
        "attempt": attempt.number,
        "soft_timeout_s": attempt.spec.soft_timeout_s,
    }
    return Happened("task_overdue", data)
