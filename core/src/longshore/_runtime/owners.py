"""What the driver knows of those whose tasks it carries: who gets the outcomes, and who has more to submit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from longshore._engine.messages import Refuse
from longshore.errors import LongshoreError, PoolNotRunning, QueueFull, ResourceUnavailable
from longshore.task import Attempt, Outcome, Task, TaskSpec


class Owner(Protocol):
    """Who waits for the outcomes of a spec's tasks."""

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Take outcomes that are committed."""

    def refuse(self, tasks: Sequence[Task], error: LongshoreError) -> None:
        """Take back tasks that were not accepted."""


class Feeder(Protocol):
    """Who has more tasks to submit as soon as there is room."""

    @property
    def spec(self) -> TaskSpec:
        """The spec of its tasks."""

    def pull(self, room: int) -> Sequence[Attempt]:
        """Return up to `room` tasks, none when there are none just now."""

    @property
    def hungry(self) -> bool:
        """Whether `pull` may give something now."""

    def cut(self, error: LongshoreError) -> None:
        """Have nothing more to give: the pool takes no more. What was pulled goes on to its end."""


def error_of(refusal: Refuse) -> LongshoreError:
    """Return what whoever submitted refused tasks is told."""
    message = f"task {refusal.tasks[0].spec.name} was refused: {refusal.message}"
    return _KINDS[refusal.cause](message)


_KINDS = {"full": QueueFull, "never": ResourceUnavailable, "closed": PoolNotRunning}
