"""Pipelines on a pool: what starts them, and what a caller holds of one that runs. `WorkerPool` has it from here."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
import weakref
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from longshore._flow import Passage, Traffic, Ways
from longshore._flow_documents import DocumentLike, as_context
from longshore._intake import Intake
from longshore._parts import Parts
from longshore._pipeline_tables import find_pipeline
from longshore._processors import Processors
from longshore._submit import length, singly
from longshore.events import EventBatch, TasksProgressed, TasksStarted
from longshore.pipeline import Pipeline, PipelineResult, PlannedStage, PreparedPipeline, plan, prepare
from longshore.processor import ProcessorContext
from longshore.settings import Settings, WorkerConfig
from longshore.task import TaskState

IN_FLIGHT = 256
"""Documents under way at once: enough to keep many workers busy, few enough to hold in memory."""
PipelineLike = Pipeline | PreparedPipeline | str
Expect = Callable[..., Callable[[int], None]]
"""`WorkerPool.expect`."""


class StageProgress(Struct, frozen=True, kw_only=True):
    """Where one stage of a document is."""

    state: TaskState
    progress: float
    task_id: str | None
    """None for one that has not been submitted, or never is."""


class _Steered:
    """What can be paused."""

    _traffic: Traffic

    @property
    def paused(self) -> bool:
        """Whether nothing is begun."""
        return self._traffic.paused

    def pause(self) -> None:
        """Take no documents, and start nothing more until `unpause`, what is queued included; what runs goes on."""
        self._traffic.pause()

    def unpause(self) -> None:
        """Go on."""
        self._traffic.unpause()


class PipelineRun(_Steered):
    """One document on its way through a pipeline. `await run` gives its PipelineResult, however it ended.

    May be awaited by several, any number of times; cancelling a waiter does not cancel the run. What it raises is the
    pool's failure (PoolNotRunning). For the loop's thread.
    """

    def __init__(
        self, ways: Ways, prepared: PreparedPipeline, document: DocumentLike, over: Callable[[int], None]
    ) -> None:
        """Begin; `over` is told at the end how many tasks there were."""
        context = as_context(document)
        self.pipeline_id = f"{prepared.name}-{secrets.token_hex(4)}"
        self.document_id = context.document_id
        self._over = over
        self._ended = asyncio.Event()
        self._stages = [step.name for step in prepared.steps]
        self._traffic = Traffic(
            ways, prepared, [(context,)], self.pipeline_id, in_flight=1, alone=True, changed=self._changed
        )
        self._document = self._traffic.open_one()

    def __repr__(self) -> str:
        """Show id and state."""
        return f"<PipelineRun {self.pipeline_id} {self.state.value}>"

    @property
    def state(self) -> TaskState:
        """Where the document is: pending, processing, or its end."""
        return self._document.flow.state

    @property
    def progress(self) -> float:
        """From 0 to 1; never goes back, and is 1 once the document has completed."""
        return self._document.flow.progress

    @property
    def stages(self) -> Mapping[str, StageProgress]:
        """Where each stage is, in their order."""
        return {name: self._stage(name) for name in self._stages}

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self._ended.is_set()

    def cancel(self) -> None:
        """End the run as cancelled: what is queued is removed, what runs is cancelled, nothing else is begun."""
        self._traffic.cancel()

    async def wait(self) -> None:
        """Wait until the run has ended; never raises for it."""
        await self._ended.wait()

    def __await__(self) -> Generator[Any, None, PipelineResult]:  # Any: as asyncio's futures
        """Wait for the result."""
        yield from self._ended.wait().__await__()
        if self._traffic.error is not None:
            raise self._traffic.error
        return self._traffic.results[0]

    def _stage(self, name: str) -> StageProgress:
        document = self._document
        outcome, passage = document.outcomes.get(name), self._traffic.passages.get((0, name))
        if outcome is not None:
            return StageProgress(state=outcome.state, progress=float(outcome.ok), task_id=outcome.task_id or None)
        state = TaskState.PROCESSING if name in document.started else document.flow.states[name]
        task_id = passage.handle.task_id if passage is not None else None
        return StageProgress(state=state, progress=document.flow.share(name), task_id=task_id)

    def _changed(self) -> None:
        if self._traffic.over:
            self._ended.set()
            self._over(self._traffic.submitted)


class _Giving:
    """The half of a stream that its documents know. It does not know the other, which its consumer holds or lets go."""

    def __init__(self, ways: Ways, expect: Callable[[], Callable[[int], None]]) -> None:
        """Take nothing yet."""
        self.traffic: Traffic
        self.wake = asyncio.Event()
        self.closed = False
        self._ways, self._expect = ways, expect
        self._over: Callable[[int], None] | None = None

    def open(self) -> None:
        """Begin, if that has not happened."""
        if self._over is None and not self.closed:
            self._ways.intake.driver.check()
            self._over = self._expect()
            self.traffic.open()

    def close(self) -> None:
        """Cancel what is left, and give nothing more."""
        if not self.closed:
            self.closed = True
            self.wake.set()
            self.traffic.cancel("cancelled: its stream was closed")
            self.traffic.results.clear()
            if self._over is not None:
                self._over(self.traffic.submitted)

    def let_go(self) -> None:
        """Close, as soon as the loop gets to it; for whatever thread finds that nobody holds the stream any more."""
        if self._over is not None and not self.closed:
            self._ways.intake.driver.inject(self.close)


class PipelineStream(_Steered):
    """An async iterator over the results of many documents, as they end; iterate it once, by one task.

    Documents are taken as there is room for them, also from an async iterable; what iterating them raised is raised
    here, after the results of those before, and so is the pool's own failure. Closing it (`aclose`, or leaving `async
    with`) cancels what is left, and waits for nothing; so does letting go of it.
    """

    def __init__(
        self,
        ways: Ways,
        prepared: PreparedPipeline,
        documents: Iterable[DocumentLike] | AsyncIterable[DocumentLike],
        *,
        in_flight: int,
        expect: Callable[[], Callable[[int], None]],
    ) -> None:
        """Take nothing yet; `expect` is called as the iteration begins, and what it gives at the end."""
        if isinstance(documents, ProcessorContext | str | bytes | os.PathLike):
            raise TypeError(f"documents must be many: give a list, [{documents!r}], or use start_pipeline for one")
        if not isinstance(documents, Iterable | AsyncIterable):
            raise TypeError(f"documents must be an iterable of contexts or paths, not {documents!r}")
        if in_flight < 1:
            raise ValueError(f"in_flight must be at least 1, not {in_flight}")
        self._giving = giving = _Giving(ways, expect)
        group, changed = f"{prepared.name}-{secrets.token_hex(4)}", giving.wake.set
        calls = singly(documents, "documents")
        self._traffic = Traffic(ways, prepared, calls, group, in_flight=in_flight, changed=changed)
        giving.traffic = self._traffic
        weakref.finalize(self, giving.let_go).atexit = False  # then there is no loop left to close it on

    def cancel(self) -> None:
        """Take no more documents, and cancel those that have not ended; they are still given, as cancelled."""
        self._traffic.cancel()

    def stop(self) -> None:
        """Take no more documents, and cancel those of which nothing has begun; the others go on to their end."""
        self._traffic.stop()

    async def __aenter__(self) -> Self:
        """Enter; leaving cancels what is left."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is left."""
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel what is left, and give nothing more; waits for nothing."""
        self._giving.close()

    def __aiter__(self) -> Self:
        """Iterate; once."""
        return self

    async def __anext__(self) -> PipelineResult:
        """Wait for the next document that has ended."""
        giving, traffic = self._giving, self._traffic
        giving.open()
        while not traffic.results or giving.closed:
            if giving.closed or traffic.over:
                error = None if giving.closed else traffic.error
                giving.close()
                if error is not None:
                    raise error
                raise StopAsyncIteration
            giving.wake.clear()
            await giving.wake.wait()
        result = traffic.results.popleft()
        traffic.wake()  # there is room for one more
        return result


class Pipelines:
    """Pipelines of one pool, which sets what is declared here."""

    settings: Settings
    config: WorkerConfig
    _parts: Parts
    _processors: Processors
    _taking: Callable[[], Intake]
    _publish: Callable[[EventBatch], None]
    expect: Expect

    _runs: set[PipelineRun]
    _listeners: dict[str, Passage]

    def start_pipeline(self, pipeline: PipelineLike, document: DocumentLike) -> PipelineRun:
        """Send one document, or the path of one, through a pipeline, or the pipeline of this name in the settings.

        Waits for nothing. Raises SettingsError and PluginError for what is wrong with the pipeline, and what
        `pool.submit` raises for a stage that can never be run: PluginError for an unknown executor,
        ResourceUnavailable, PayloadError, ValueError.
        """
        ways, prepared = self._ways(), self._prepared(pipeline)
        told = self.expect(len(prepared.steps))

        def over(tasks: int) -> None:
            self._runs.discard(run)
            told(tasks)

        try:
            run = PipelineRun(ways, prepared, document, over)
        except BaseException:
            told(0)
            raise
        self._runs.add(run)
        return run

    def run_pipeline(
        self,
        pipeline: PipelineLike,
        documents: Iterable[DocumentLike] | AsyncIterable[DocumentLike],
        *,
        in_flight: int = IN_FLIGHT,
        total: int | None = None,
        expected_s: Mapping[str, Mapping[str, float]] | None = None,
    ) -> PipelineStream:
        """Send documents through a pipeline, at most `in_flight` at once; give a PipelineResult for each as they end.

        Lazy and bounded; `total` tells progress how many there will be, where the iterable has no length. A document
        that is nearly done goes before one that has not begun. A plain iterable is iterated on the loop, which one that
        blocks holds up: give an async one there. Errors as `start_pipeline`.

        `expected_s` says how long documents will likely take, in seconds by id and stage, such as they took before: of
        a document that is in it, stages that it lacks are not expected to run. The estimate of the run's end goes by it
        from the start, where it says something of half of what is left.
        """
        ways, prepared = self._ways(), self._prepared(pipeline)
        count = length(documents) if total is None else total
        stages = len(prepared.steps)
        expect = partial(self.expect, None if count is None else count * stages, expected_s, stages)
        return PipelineStream(ways, prepared, documents, in_flight=in_flight, expect=expect)

    def plan(self, pipeline: PipelineLike) -> list[PlannedStage]:
        """Return what each stage would be run with, in their order; nothing is submitted, and no start is needed."""
        default_executor = self.settings.executor or "threads"
        return plan(self._prepared(pipeline), default_executor, self.config.default_timeout)

    def _prepared(self, pipeline: PipelineLike) -> PreparedPipeline:
        if isinstance(pipeline, PreparedPipeline):
            return pipeline
        if isinstance(pipeline, str):
            pipeline = find_pipeline(pipeline, self.settings, self._parts.plugins)
        return prepare(pipeline, self._processors, self.config.default_timeout)

    def _ways(self) -> Ways:
        return Ways(self._taking(), self._publish, self._listeners)

    def _hear(self, batch: EventBatch) -> None:
        """Pass on to the pipelines what their tasks do."""
        listeners = self._listeners
        if isinstance(batch, TasksStarted):
            for attempt in batch.attempts:
                if attempt.task_id in listeners:
                    listeners[attempt.task_id].start()
        elif isinstance(batch, TasksProgressed):
            for update in batch.updates:
                if update.task_id in listeners:
                    listeners[update.task_id].advance(update.progress)

    async def _runs_end(self) -> None:
        """Wait until all runs have ended."""
        while self._runs:
            await next(iter(self._runs)).wait()

    async def _let_runs_end(self, timeout: float | None) -> float | None:
        """Wait for all runs, paused ones too, then cancel the rest; return what is left of the time."""
        until = None if timeout is None else time.monotonic() + timeout
        for run in list(self._runs):
            run.unpause()
        try:
            await asyncio.wait_for(self._runs_end(), timeout)
        except TimeoutError:
            pass
        finally:
            for run in list(self._runs):
                run.cancel()
        return None if until is None else max(0.0, until - time.monotonic())
