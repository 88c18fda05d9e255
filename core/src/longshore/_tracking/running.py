"""Which attempts run now, in the order they started; written by the fold, read by the snapshot.

One insertion and one removal a task is all this may cost (60 ns together, where an entry of attempt and start time
would take 85): the start time is therefore kept once for all attempts that started within 10 ms, as a mark
between them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from longshore.task import Attempt, TaskSpec

MARK_PERIOD_S = 0.01
_SWEEP_AFTER = 1000


class RunningTasks:
    """The attempts that run now, oldest first; start times are told to within 10 ms."""

    __slots__ = ("_marks", "_next_mark", "_order", "_sweep_at", "remove")

    def __init__(self) -> None:
        """Begin with nothing running."""
        # A float key is a mark, its value the time from which on the attempts after it started.
        self._order: dict[str | float, Attempt | float] = {}
        self.remove: Callable[[str, None], object] = self._order.pop
        """Forget a task, `remove(task_id, None)`; the dict's own method, for it is called for every task."""
        self._marks = 0
        self._next_mark = float("-inf")
        self._sweep_at = _SWEEP_AFTER

    def __len__(self) -> int:
        """Return how many attempts run."""
        return len(self._order) - self._marks

    def start(self, attempts: Sequence[Attempt], now: float) -> None:
        """Take in attempts that started at `now`."""
        if now >= self._next_mark:
            self._mark(now)
        order = self._order
        for attempt in attempts:
            order[attempt.task_id] = attempt

    def get(self, task_id: str) -> Attempt | None:
        """Return the running attempt of a task."""
        found = self._order.get(task_id)
        return found if isinstance(found, Attempt) else None

    def oldest(self, limit: int) -> list[tuple[Attempt, float]]:
        """Return up to `limit` attempts with their start times, the longest-running first."""
        oldest: list[tuple[Attempt, float]] = []
        started = 0.0
        for entry in self._order.values():
            if isinstance(entry, float):
                started = entry
            elif len(oldest) < limit:
                oldest.append((entry, started))
            else:
                break
        return oldest

    def by_spec(self) -> Counter[TaskSpec]:
        """Return how many attempts of each spec run."""
        return Counter(entry.spec for entry in list(self._order.values()) if isinstance(entry, Attempt))

    def _mark(self, now: float) -> None:
        if self._marks >= self._sweep_at:
            self._sweep()
        now = float(now)
        self._order[now] = now
        self._marks += 1
        self._next_mark = now + MARK_PERIOD_S

    def _sweep(self) -> None:
        """Drop the marks that no running attempt follows, so that a long run's marks do not add up."""
        kept: dict[str | float, Attempt | float] = {}
        mark: float | None = None
        for key, entry in self._order.items():
            if isinstance(entry, float):
                mark = entry
                continue
            if mark is not None:
                kept[mark] = mark
                mark = None
            kept[key] = entry
        self._marks = sum(1 for entry in kept.values() if isinstance(entry, float))
        self._order, self.remove = kept, kept.pop
        self._sweep_at = self._marks + _SWEEP_AFTER
