"""What was submitted and the engine has not seen yet: neighbours of one spec together, so that they cost as one batch.

Used by the driver, on its loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from longshore._engine.messages import Submit
from longshore.task import Attempt, Priority, TaskSpec


class Submissions:
    """Batches that wait, in the order they came."""

    __slots__ = ("_batches", "_open", "pending")

    def __init__(self) -> None:
        """Start with none."""
        self.pending = [0, 0]
        """How many tasks wait here: ordinary, urgent."""
        self._batches: list[Submit] = []
        self._open: tuple[TaskSpec, list[Attempt]] | None = None  # the last batch, to which more may be added

    def __bool__(self) -> bool:
        """Tell whether any wait."""
        return bool(self._batches)

    def add(self, spec: TaskSpec, tasks: Sequence[Attempt]) -> int:
        """Add tasks, to the last batch if it is of their spec; return how many that has then."""
        self.pending[spec.priority is Priority.CRITICAL] += len(tasks)
        if self._open is not None and self._open[0] is spec:
            attempts = self._open[1]
            attempts.extend(tasks)
        else:
            attempts = [*tasks]
            self._open = spec, attempts
            self._batches.append(Submit(spec, attempts))
        return len(attempts)

    def put(self, spec: TaskSpec, attempts: Sequence[Attempt]) -> None:
        """Add a batch as it is."""
        self.pending[spec.priority is Priority.CRITICAL] += len(attempts)
        self._open = None
        self._batches.append(Submit(spec, attempts))

    def take(self) -> list[Submit]:
        """Take all out."""
        batches, self._batches, self._open, self.pending = self._batches, [], None, [0, 0]
        return batches
