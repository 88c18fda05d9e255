"""The attempts that are with executors, by task: one by one, and those of a stream in columns, many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from longshore._columns import LiveColumns, OutcomeColumns, in_columns
from longshore.task import Attempt, Outcome, TaskSpec, TaskState

_COMPLETED = TaskState.COMPLETED


class Running:
    """What runs. The usual mapping by task id, with ways to begin and end many at once."""

    __slots__ = ("_columns", "_single")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._single: dict[str, Attempt] = {}
        self._columns = LiveColumns()

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Take in attempts that begin to run."""
        if in_columns(attempts):
            self._columns.start(attempts)
        else:
            self._single.update(zip([attempt.task_id for attempt in attempts], attempts, strict=True))

    def __len__(self) -> int:
        """Return how many run."""
        return len(self._single) + self._columns.count

    def __contains__(self, task_id: str) -> bool:
        """Tell whether an attempt of this task runs."""
        return task_id in self._single or self._columns.find(task_id) is not None

    def get(self, task_id: str) -> Attempt | None:
        """Return the running attempt of a task; None if there is none."""
        return self._single.get(task_id) or self._columns.find(task_id)

    def values(self) -> Iterator[Attempt]:
        """Yield what runs."""
        yield from self._single.values()
        yield from self._columns.values()

    def end(self, task_id: str) -> None:
        """Take the attempt of a task off that runs."""
        if self._single.pop(task_id, None) is None:
            self._columns.end_one(task_id)

    def end_plain(self, outcomes: Sequence[Outcome]) -> TaskSpec | None:
        """Take attempts off that all completed, are of one spec and current; return that spec.

        With anything else among them, take none off and return None. Half the price of looking at them one by one.
        """
        if type(outcomes) is OutcomeColumns:
            return outcomes.attempts.spec if self._columns.end(outcomes.attempts) else None
        running = self._single
        first = running.get(outcomes[0].task_id) if outcomes else None
        if first is None:
            return None
        spec, pop = first.spec, running.pop
        attempts = [pop(outcome.task_id, None) for outcome in outcomes]
        plain = [
            attempt
            for attempt, outcome in zip(attempts, outcomes, strict=True)
            if attempt is not None
            and attempt.spec is spec
            and outcome.state is _COMPLETED
            and attempt.number == outcome.attempts
        ]
        if len(plain) == len(attempts):
            return spec
        running.update({attempt.task_id: attempt for attempt in attempts if attempt is not None})
        return None
