"""What the tests of this plugin share: a host that keeps what it is told, and a started executor beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from longshore.events import ProgressUpdate
from longshore.hookspecs import CancelRequest, ResizeRequest, WorkerNotice
from longshore.task import Attempt, Outcome, TaskSpec
from longshore_dask import DaskExecutor

PATIENCE_S = 40.0


class CollectingHost:
    """The pool, as an executor sees it: keeps all it is told, and lets a test wait for a condition on it."""

    def __init__(self, workers: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.workers = workers
        self.outcomes: list[Outcome] = []
        self.updates: list[ProgressUpdate] = []
        self.notices: list[WorkerNotice] = []
        self.sizes: list[int] = []
        self.failures: list[BaseException] = []
        self._told = asyncio.Event()

    def report(self, outcomes: Sequence[Outcome]) -> None:
        assert outcomes, "an empty report"
        self._tell(self.outcomes, outcomes)

    def progress(self, updates: Sequence[ProgressUpdate]) -> None:
        self._tell(self.updates, updates)

    def notice(self, notices: Sequence[WorkerNotice]) -> None:
        self._tell(self.notices, notices)

    def resized(self, workers: int) -> None:
        self._tell(self.sizes, [workers])

    def failed(self, error: BaseException) -> None:
        self._tell(self.failures, [error])

    def _tell(self, kept: list[Any], told: Sequence[Any]) -> None:
        kept.extend(told)
        with suppress(RuntimeError):  # the loop is closed, and the test over
            self.loop.call_soon_threadsafe(self._told.set)

    async def until(self, condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Return once the condition holds; looked at whenever the executor says something, and now and then."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout_s} s; told so far: {vars(self)}"
            self._told.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 0.01)


class Rig:
    """A started executor, its host, and short ways to use both."""

    def __init__(self, executor: DaskExecutor, host: CollectingHost) -> None:
        self.executor = executor
        self.host = host
        self._ids = count()

    def attempts(
        self,
        function: Callable[..., Any],
        inputs: Sequence[tuple[Any, ...]],
        *,
        left_s: float | None = None,
        **options: Any,
    ) -> list[Attempt]:
        """Return attempts at tasks of one spec, which must have ended in `left_s` over all attempts."""
        spec = TaskSpec(function=function, name="task", executor="dask", deadline_s=left_s, **options)
        now = time.monotonic()
        expires_at = None if left_s is None else now + left_s
        return [
            Attempt(f"t-{next(self._ids)}", spec, args, None, index, None, 1, now, expires_at)
            for index, args in enumerate(inputs)
        ]

    def many(self, function: Callable[..., Any], inputs: Sequence[Any], **options: Any) -> list[str]:
        """Submit one batch of tasks of one spec."""
        batch = self.attempts(function, [(one,) for one in inputs], **options)
        self.executor.submit(batch)
        return [attempt.task_id for attempt in batch]

    def submit(self, function: Callable[..., Any], *args: Any, **options: Any) -> str:
        (attempt,) = self.attempts(function, [args], **options)
        self.executor.submit([attempt])
        return attempt.task_id

    def cancel(self, *task_ids: str) -> None:
        self.executor.cancel(CancelRequest(task_ids))

    def resize(self, workers: int) -> None:
        self.executor.resize(ResizeRequest(workers))

    def of(self, task_id: str) -> list[Outcome]:
        return [outcome for outcome in self.host.outcomes if outcome.task_id == task_id]

    async def outcome(self, task_id: str) -> Outcome:
        """Return the one outcome of a task."""
        await self.host.until(lambda: self.of(task_id))
        (only,) = self.of(task_id)
        return only

    async def run(self, function: Callable[..., Any], *args: Any, **options: Any) -> Outcome:
        return await self.outcome(self.submit(function, *args, **options))

    async def all_of(self, task_ids: Sequence[str]) -> list[Outcome]:
        """Return the outcomes of these tasks in their order; each was reported exactly once."""
        await self.host.until(lambda: len(self.host.outcomes) >= len(task_ids))
        await self.host.until(lambda: set(task_ids) <= {outcome.task_id for outcome in self.host.outcomes})
        by_id: dict[str, Outcome] = {}
        for outcome in self.host.outcomes:
            assert outcome.task_id not in by_id, f"{outcome.task_id} was reported twice"
            by_id[outcome.task_id] = outcome
        return [by_id[task_id] for task_id in task_ids]

    async def stop(self, within_s: float = 8.0) -> None:
        await self.executor.stop(time.monotonic() + within_s)


MakeRig = Callable[..., Awaitable[Rig]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def start() -> AsyncIterator[MakeRig]:
    """A maker of rigs with so many workers; each is stopped at the end."""
    made: list[Rig] = []

    async def make(workers: int, **settings: Any) -> Rig:
        rig = Rig(DaskExecutor(DaskExecutor.Settings(**settings)), CollectingHost(workers))
        made.append(rig)
        await rig.executor.start(rig.host)
        return rig

    yield make
    for rig in made:
        await rig.stop()
