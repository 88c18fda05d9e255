"""An executor without a pool: a host that keeps what it is told, and short ways to use an executor beside it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, cast

from longshore.events import ProgressUpdate
from longshore.hookspecs import CancelRequest, Diagnosed, Executor, LimitRequest, ResizeRequest, WorkerNotice
from longshore.task import Attempt, Outcome, TaskSpec
from longshore.worker import AttemptColumns

Function = Callable[..., Any]  # Any: as a user's functions take and return
_LOOK_S = 0.005


class CollectingHost:
    """The pool, as an executor sees it: keeps all it is told, in order, and lets a test wait for a condition on it.

    It is made on the loop that the executor is to run on. What is kept may be read from any thread.
    """

    def __init__(self, workers: int = 2, *, patience_s: float = 10.0) -> None:
        """Want so many workers; `patience_s` is how long `until` waits."""
        self.loop = asyncio.get_running_loop()
        self.workers = workers
        self.patience_s = patience_s
        self.outcomes: list[Outcome] = []
        """Each outcome that was reported, in the order it came."""
        self.updates: list[ProgressUpdate] = []
        self.notices: list[WorkerNotice] = []
        self.sizes: list[int] = []
        """Each number of workers it was told."""
        self.failures: list[BaseException] = []
        self.order: list[tuple[str, str]] = []
        """For each outcome and update "outcome" or "progress", and its task's id, in the order they came."""
        self.empty_reports = 0
        self._news = asyncio.Event()

    def report(self, outcomes: Sequence[Outcome]) -> None:
        """Keep outcomes."""
        self.empty_reports += not len(outcomes)
        self.order.extend(("outcome", outcome.task_id) for outcome in outcomes)
        self._tell(self.outcomes, outcomes)

    def progress(self, updates: Sequence[ProgressUpdate]) -> None:
        """Keep what running tasks say of themselves."""
        self.order.extend(("progress", update.task_id) for update in updates)
        self._tell(self.updates, updates)

    def notice(self, notices: Sequence[WorkerNotice]) -> None:
        """Keep what is told of workers."""
        self._tell(self.notices, notices)

    def resized(self, workers: int) -> None:
        """Keep how many workers there are."""
        self._tell(self.sizes, [workers])

    def failed(self, error: BaseException) -> None:
        """Keep why the executor can't go on."""
        self._tell(self.failures, [error])

    def of(self, task_id: str) -> list[Outcome]:
        """Return what was reported of a task."""
        return [outcome for outcome in list(self.outcomes) if outcome.task_id == task_id]

    async def until(self, condition: Callable[[], object], timeout_s: float | None = None, what: str = "") -> None:
        """Return once the condition holds: it is looked at whenever something is told, and now and then.

        AssertionError, saying `what` was waited for and what was told, after `timeout_s`, else `patience_s`.
        """
        patience_s = self.patience_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() >= deadline:
                raise AssertionError(f"{what or 'it'} did not come within {patience_s:g} s; {self.summary()}")
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _LOOK_S)

    def summary(self) -> str:
        """Return in words what was told so far, the newest of it."""
        newest = [f"{one.task_id} {one.state.value}" for one in self.outcomes[-5:]]
        lines = [f"{len(self.outcomes)} outcomes, last {newest}", f"numbers of workers {self.sizes[-5:]}"]
        lines += [f"notices {[notice.data for notice in self.notices[-3:]]}"] if self.notices else []
        lines += [f"failures {self.failures}"] if self.failures else []
        return "the host was told: " + "; ".join(lines)

    def _tell(self, kept: list[Any], told: Sequence[Any]) -> None:  # Any: each list's own kind
        kept.extend(told)
        with suppress(RuntimeError):  # the loop is closed, and the test over
            self.loop.call_soon_threadsafe(self._news.set)


class Rig:
    """An executor, its host, and short ways to use both. Each attempt is at a task of its own."""

    def __init__(
        self,
        executor: Executor,
        host: CollectingHost,
        *,
        adapt: Callable[[Function], Function] = lambda given: given,
        **options: Any,
    ) -> None:
        """Give the executor what `adapt` makes of functions, without it the functions; `options` are of a TaskSpec.

        Any: the fields of a TaskSpec. Those of each task come before them.
        """
        self.executor: Any = executor  # Any: tests of a plugin use what it has beside the contract
        self.host = host
        self._adapt = adapt
        self._options = options
        self._ids = count()

    async def start(self) -> None:
        """Start the executor."""
        await self.executor.start(self.host)

    async def stop(self, within_s: float = 5.0) -> None:
        """Stop the executor."""
        await self.executor.stop(time.monotonic() + within_s)

    # ---- attempts

    def attempts(
        self,
        function: Function,
        calls: Iterable[tuple[Any, ...]],
        *,
        kwargs: Mapping[str, Any] | None = None,
        number: int = 1,
        left_s: float | None = None,
        **options: Any,
    ) -> list[Attempt]:
        """Return attempts at tasks of one spec, one for each tuple of arguments; `options` are those of a TaskSpec.

        All are the `number`th, and must have ended in `left_s` over all attempts. Any: the user's arguments.
        """
        spec = self._spec(function, deadline_s=left_s, **options)
        now = time.monotonic()
        expires_at = None if left_s is None else now + left_s
        return [
            Attempt(f"t-{next(self._ids)}", spec, args, kwargs, index, None, number, now, expires_at)
            for index, args in enumerate(calls)
        ]

    def attempt(self, function: Function, *args: Any, **options: Any) -> Attempt:
        """Return one attempt; options as above."""
        (only,) = self.attempts(function, [args], **options)
        return only

    def submit(self, function: Function, *args: Any, **options: Any) -> str:
        """Submit one attempt; return its task's id."""
        attempt = self.attempt(function, *args, **options)
        self.executor.submit([attempt])
        return attempt.task_id

    def many(self, function: Function, inputs: Iterable[Any], **options: Any) -> list[str]:
        """Submit one batch of tasks of one spec, an argument each: in columns, to an executor that reads them."""
        calls = [(one,) for one in inputs]
        if not self.executor.capabilities.columns:
            batch = self.attempts(function, calls, **options)
            self.executor.submit(batch)
            return [attempt.task_id for attempt in batch]
        ids = [f"m-{next(self._ids)}" for _ in calls]
        self.executor.submit(AttemptColumns(self._spec(function, **options), ids, calls, 0, time.monotonic()))
        return ids

    def _spec(self, function: Function, **options: Any) -> TaskSpec:
        facts = {"name": "task", "executor": "under test", **self._options, **options}
        return TaskSpec(function=self._adapt(function), **facts)

    # ---- what else it is asked

    def cancel(self, *task_ids: str, message: str = "cancelled") -> None:
        """Cancel attempts."""
        self.executor.cancel(CancelRequest(task_ids, message))

    def resize(self, workers: int) -> None:
        """Ask for so many workers."""
        self.executor.resize(ResizeRequest(workers))

    def limit(self, workers: int | None) -> None:
        """Let so many workers run something at once."""
        cast(Diagnosed, self.executor).limit(LimitRequest(workers))

    # ---- outcomes

    def of(self, task_id: str) -> list[Outcome]:
        """Return what was reported of a task so far."""
        return self.host.of(task_id)

    async def outcome(self, task_id: str) -> Outcome:
        """Wait for the outcome of a task, and return it; there must be one only."""
        await self.host.until(lambda: self.of(task_id), what=f"an outcome of {task_id}")
        found = self.of(task_id)
        assert len(found) == 1, f"report: {task_id} was reported {len(found)} times: {found}"
        return found[0]

    async def run(self, function: Function, *args: Any, **options: Any) -> Outcome:
        """Submit one attempt, wait for its outcome, and return that."""
        return await self.outcome(self.submit(function, *args, **options))

    async def each_of(self, task_ids: Sequence[str]) -> list[Outcome]:
        """Wait for the outcomes of these tasks, and return them in this order, whatever else there is."""
        wanted = set(task_ids)
        await self.host.until(
            lambda: wanted <= {outcome.task_id for outcome in list(self.host.outcomes)}, what="an outcome of each task"
        )
        by_id = {outcome.task_id: outcome for outcome in list(self.host.outcomes)}
        return [by_id[task_id] for task_id in task_ids]

    async def all_of(self, task_ids: Sequence[str]) -> list[Outcome]:
        """Wait for the outcomes of these tasks, and return them in this order; nothing must be reported twice."""
        wanted = set(task_ids)
        await self.host.until(lambda: len(self.host.outcomes) >= len(wanted), what=f"{len(wanted)} outcomes")
        found = await self.each_of(task_ids)
        told = [outcome.task_id for outcome in list(self.host.outcomes)]
        twice = [task_id for task_id, times in Counter(told).items() if times > 1]
        assert not twice, f"report: reported more than once: {twice[:5]}"
        return found
