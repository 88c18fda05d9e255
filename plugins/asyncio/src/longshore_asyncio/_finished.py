"""What has ended on the loop and is still to be reported: attempts in columns as columns, as far as they end in order.

Coroutines that do not wait end in the order they began, and those that wait for alike things nearly so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from longshore.task import Attempt, Outcome, TaskSpec
from longshore.worker import AttemptColumns, OutcomeColumns, Reports, completed, in_columns

_LEAST: Final = 8
"""Fewer that ended in order are told as records: columns cost as much as so many."""
_PARTS: Final = 64


class Finished:
    """Outcomes in the order they came; those of neighbours in columns are one open run."""

    __slots__ = ("_ends", "_next", "_part", "_parts", "_reports", "_spec", "_starts", "_stop", "_values", "_workers")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._reports = Reports()
        # Those of which some may still run, by their streams, and where each begins: both in the order of indexes.
        self._parts: dict[TaskSpec, tuple[list[int], list[AttemptColumns]]] = {}
        self._part: AttemptColumns | None = None  # that of the open run
        self._spec: TaskSpec | None = None
        self._next = self._stop = -1
        self._begin()

    def __len__(self) -> int:
        """Return how many outcomes are to be reported."""
        return len(self._reports) + len(self._values)

    def expect(self, attempts: Sequence[Attempt]) -> None:
        """Take note of what is about to run."""
        if in_columns(attempts):
            firsts, parts = self._parts.setdefault(attempts.spec, ([], []))
            firsts.append(attempts.first)
            parts.append(attempts)
            if len(parts) > _PARTS:
                del firsts[0], parts[0]

    def forget(self) -> None:
        """Take note that nothing runs any more, and let go of what has run."""
        self.close()
        self._parts.clear()

    def append(self, outcome: Outcome) -> None:
        """Add one that does not belong to the open run."""
        self.close()
        self._reports.append(outcome)

    def complete(self, attempt: Attempt, value: Any, started: float, now: float, worker: str) -> None:
        """Add one that completed, to the open run or as the first of another. Any: the user's result."""
        index = attempt.index
        if index != self._next or attempt.spec is not self._spec:
            self.close()
            part = self._part_of(attempt)
            if part is None:
                self._reports.append(completed(attempt, value, started, now, worker))
                return
            self._part, self._spec, self._stop = part, attempt.spec, part.first + len(part)
        self._values.append(value)
        self._starts.append(started)
        self._ends.append(now)
        self._workers.append(worker)
        self._next = index + 1
        if self._next == self._stop:
            self._let_go(attempt)
            self.close()

    def take(self) -> list[Sequence[Outcome]]:
        """Remove and return all of them, in parts; an open run goes on."""
        self._tell()
        return self._reports.take()

    def close(self) -> None:
        """End the open run."""
        self._tell()
        self._part = self._spec = None

    def _tell(self) -> None:
        """Have what is in the open run reported."""
        count = len(self._values)
        if not count or self._part is None:
            return
        stop = self._next - self._part.first
        attempts = self._part[stop - count : stop]
        if count >= _LEAST and in_columns(attempts):
            self._reports += OutcomeColumns(attempts, self._values, self._starts, self._ends, self._workers, cpu=False)
        else:
            rows = zip(attempts, self._values, self._starts, self._ends, self._workers, strict=True)
            self._reports += [completed(*row) for row in rows]
        self._begin()

    def _let_go(self, last: Attempt) -> None:
        """Let go of the part that `last` ends, and of those before it: the sooner, the less is out of the caches."""
        firsts, parts = self._parts.get(last.spec, ([], []))
        at = bisect_right(firsts, last.index)
        del firsts[:at], parts[:at]
        if not parts:
            self._parts.pop(last.spec, None)

    def _part_of(self, attempt: Attempt) -> AttemptColumns | None:
        firsts, parts = self._parts.get(attempt.spec, ((), ()))
        at = bisect_right(firsts, attempt.index) - 1
        return parts[at] if at >= 0 and attempt.index < parts[at].first + len(parts[at]) else None

    def _begin(self) -> None:
        self._values: list[Any] = []  # Any: the user's results
        self._starts: list[float] = []
        self._ends: list[float] = []
        self._workers: list[str] = []
