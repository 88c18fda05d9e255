"""A dispatcher of `longshore.batching` with the pool that it reports to, and a cluster that answers by a script."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from longshore.batching.dispatcher import Dispatcher
from longshore.batching.words import System
from longshore.task import Attempt, TaskSpec, TaskState
from longshore.testing import CollectingHost
from support.clusters import HERE, Given, HereCrew, ScriptedCluster, square


def spec(**options: Any) -> TaskSpec:
    return TaskSpec(function=square, name="square", executor="here", **options)


def states(told: Sequence[tuple[str, TaskState]]) -> set[TaskState]:
    return {state for _, state in told}


class Desk:
    """A dispatcher, the pool that it reports to, and its cluster."""

    def __init__(self, system: System = HERE) -> None:
        self.host, self.cluster, self.crew = CollectingHost(), ScriptedCluster(), HereCrew(system)
        self.lost: list[BaseException] = []
        self.dispatcher = Dispatcher(
            self.host,
            self.cluster,
            self.crew,
            run="run",
            initializer_timeout_s=3.0,
            max_result_bytes=100,
            tell_lost=self.lost.append,
        )
        self._made = 0
        self._spec = spec()

    def attempts(self, count: int, one: TaskSpec | None = None, **fields: Any) -> list[Attempt]:
        """Return attempts at tasks of one spec; any: their further fields."""
        self._made += count
        numbers = range(self._made - count, self._made)
        return [Attempt(f"t-{number}", one or self._spec, (number,), None, number, **fields) for number in numbers]

    def take(self, count: int, one: TaskSpec | None = None, **fields: Any) -> list[str]:
        """Have it take so many attempts, and return their ids."""
        made = self.attempts(count, one, **fields)
        self.dispatcher.take(made)
        return [attempt.task_id for attempt in made]

    async def given(self, number: int) -> Given:
        """Return the batch of this index once its worker has it."""
        return await self.cluster.has_given(number)

    async def ended(self, count: int) -> list[tuple[str, TaskState]]:
        """Return what was told of this many tasks, once it was."""
        await self.host.until(lambda: len(self.host.outcomes) >= count)
        return [(one.task_id, one.state) for one in self.host.outcomes]

    async def quiet(self) -> None:
        """Let all that can go on do so."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def learn(self, ran_s: float = 0.005) -> None:
        """Have the kind of `attempts` known to take so long, by some that went one by one; they are told of no more."""
        for _ in range(5):
            before = len(self.cluster.given)
            self.take(1)
            (await self.given(before)).works(ran_s=ran_s)
            await self.host.until(lambda: not self.dispatcher.busy())
        self.host.outcomes.clear()
        self.cluster.given.clear()
        self._made = 0

    def waiting(self) -> list[str]:
        """Return the tasks that are not reported."""
        return [attempt.task_id for attempt in self.dispatcher.left()]
