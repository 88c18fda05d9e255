"""Which attempts run now, in the order they started; written by the fold, read by the snapshot.

One insertion and one removal a task is all this may cost (60 ns together, where an entry of attempt and start time
would take 85): the start time is therefore kept once for all attempts that started within 10 ms, as a mark
between them. Attempts in columns are one entry together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from longshore._columns import AttemptColumns, LiveColumns, OutcomeColumns, in_columns
from longshore.task import Attempt, Outcome, TaskSpec

MARK_PERIOD_S = 0.01
_SWEEP_AFTER = 1000
_PARTS_LEAST = 64  # entries of columns before those that have ended are looked for

_Key = str | float | AttemptColumns


class RunningTasks:
    """The attempts that run now, oldest first; start times are told to within 10 ms."""

    __slots__ = ("_columns", "_marks", "_next_mark", "_order", "_parts", "_parts_most", "_sweep_at")

    def __init__(self) -> None:
        """Begin with nothing running."""
        # A float key is a mark, its value the time from which on the attempts after it started; columns are their own.
        self._order: dict[_Key, Attempt | float | AttemptColumns] = {}
        self._columns = LiveColumns()
        self._marks = self._parts = 0
        self._parts_most = _PARTS_LEAST
        self._next_mark = float("-inf")
        self._sweep_at = _SWEEP_AFTER

    def __len__(self) -> int:
        """Return how many attempts run."""
        return self._singles + self._columns.count

    @property
    def _singles(self) -> int:
        return len(self._order) - self._marks - self._parts

    def start(self, attempts: Sequence[Attempt], now: float) -> None:
        """Take in attempts that started at `now`."""
        if now >= self._next_mark:
            self._mark(now)
        if in_columns(attempts):
            self._start_columns(attempts)
            return
        order = self._order
        for attempt in attempts:
            order[attempt.task_id] = attempt

    def end(self, outcomes: Sequence[Outcome]) -> None:
        """Forget the tasks of these; those that do not run are passed over."""
        if type(outcomes) is OutcomeColumns and self._columns.end(outcomes.attempts):
            if not self._columns.count:
                self._sweep()  # or the arguments of a stream that is over would be kept
            return
        pop, columns = self._order.pop, self._columns
        for outcome in outcomes:
            if pop(outcome.task_id, None) is None and columns.count:
                columns.end_one(outcome.task_id)

    def get(self, task_id: str) -> Attempt | None:
        """Return the running attempt of a task."""
        found = self._order.get(task_id) or self._columns.find(task_id)
        return found if isinstance(found, Attempt) else None

    def oldest(self, limit: int) -> list[tuple[Attempt, float]]:
        """Return up to `limit` attempts with their start times, the longest-running first."""
        oldest: list[tuple[Attempt, float]] = []
        started = 0.0
        for entry in self._order.values():
            if len(oldest) >= limit:
                break
            if isinstance(entry, float):
                started = entry
            elif type(entry) is AttemptColumns:
                oldest += [(entry[at], started) for at in self._columns.among(entry)[: limit - len(oldest)]]
            else:
                oldest.append((entry, started))
        return oldest

    def by_spec(self) -> Counter[TaskSpec]:
        """Return how many attempts of each spec run."""
        counts: Counter[TaskSpec] = Counter()
        for entry in list(self._order.values()):
            if type(entry) is AttemptColumns:
                counts[entry.spec] += len(self._columns.among(entry))
            elif isinstance(entry, Attempt):
                counts[entry.spec] += 1
        return counts

    def _start_columns(self, attempts: AttemptColumns) -> None:
        if self._parts >= self._parts_most:
            self._sweep()
            self._parts_most = max(_PARTS_LEAST, 2 * self._parts)
        self._columns.start(attempts)
        self._order[attempts] = attempts
        self._parts += 1

    def _mark(self, now: float) -> None:
        if self._marks >= self._sweep_at:
            self._sweep()
        now = float(now)
        self._order[now] = now
        self._marks += 1
        self._next_mark = now + MARK_PERIOD_S

    def _sweep(self) -> None:
        """Drop columns that have ended, and marks that no running attempt follows, or a long run's would add up."""
        kept: dict[_Key, Attempt | float | AttemptColumns] = {}
        mark: float | None = None
        for key, entry in self._order.items():
            if isinstance(entry, float):
                mark = entry
                continue
            if type(entry) is AttemptColumns and not self._columns.among(entry):
                continue
            if mark is not None:
                kept[mark] = mark
                mark = None
            kept[key] = entry
        if mark is not None:  # the last: what starts now may follow it
            kept[mark] = mark
        self._order = kept
        self._marks = sum(isinstance(entry, float) for entry in kept.values())
        self._parts = sum(type(entry) is AttemptColumns for entry in kept.values())
        self._sweep_at = self._marks + _SWEEP_AFTER
