"""What the supervisor is told, and what is left of it when another takes over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from longshore.hookspecs import CancelRequest, LimitRequest, ResizeRequest
from longshore.task import Attempt, Outcome

from longshore_processes.crew import Crew
from longshore_processes.foreman import Foreman
from longshore_processes.spawner import Exited, Lost, News, Refused, Started

STOPPED: Final = "cancelled: the pool stopped"
"""What is told of attempts that a stop ends, as by every executor."""


class Stop:
    """The command to end everything by `deadline` (monotonic seconds)."""

    __slots__ = ("deadline",)

    def __init__(self, deadline: float) -> None:
        """Say when."""
        self.deadline = deadline


Asked = CancelRequest | ResizeRequest | LimitRequest
Command = Sequence[Attempt] | Asked | News | Stop


class Leavings(NamedTuple):
    """What a supervisor had that was given up: outcomes to report, attempts that are to be run, and what was asked."""

    outcomes: list[Outcome]
    attempts: list[Attempt]
    commands: list[Asked]


def leavings(crew: Crew, foreman: Foreman, inbox: Iterable[Command], outcomes: Iterable[Outcome]) -> Leavings:
    """Return all that a supervisor has; its thread must be held up."""
    attempts = [attempt for handle in crew.handles.values() for _, attempt in handle.attempts()]
    attempts += [*foreman.packing, *foreman.backlog.clear()]
    commands: list[Asked] = []
    commands += [CancelRequest([task_id], message) for task_id, message in foreman.cancels.items()]
    for command in inbox:
        if isinstance(command, Asked):
            commands.append(command)
        elif not isinstance(command, Stop | Started | Refused | Exited | Lost):
            attempts += command
    return Leavings([*outcomes], attempts, commands)
