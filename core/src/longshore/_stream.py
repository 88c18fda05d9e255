"""Documents through the stages of a pipeline, each stage as a task of the pool; results in the order of their ends.

In: steps and an iterable of documents. Out: one PipelineResult per document taken. Called by the command line.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from longshore.errors import LongshoreError, PoolNotRunning
from longshore.pipeline import PipelineResult, Step
from longshore.processor import ProcessorContext, ProcessorResult
from longshore.task import ErrorRecord, Outcome, TaskState
from longshore.worker import pack_error

IN_FLIGHT = 256
"""Documents under way at once: enough to keep many workers busy, few enough to hold in memory."""


class Handle(Protocol):
    """A submitted task, as far as a stream needs it."""

    @property
    def state(self) -> TaskState:
        """Where the task is."""

    def cancel(self) -> object:
        """End the task."""

    def outcome(self) -> Awaitable[Outcome]:
        """Wait for the end."""


class Submitter(Protocol):
    """A pool with options, as far as a stream needs it."""

    async def submit(self, function: Any, /, *args: Any) -> Handle:  # Any: the user's function and arguments
        """Submit a task."""


class Pool(Protocol):
    """A pool, as far as a stream needs it."""

    def options(self, **options: Any) -> Submitter:  # Any: as `WorkerPool.options`
        """Return the pool with options."""


class DocumentStream:
    """An async iterator of results; use it in `async with`, so that leaving early cancels what is left.

    Documents are taken as there is room for them, at most `in_flight` at once. What the iterable raises is raised
    here, and so is the pool's own failure.
    """

    def __init__(
        self, pool: Pool, steps: Sequence[Step], documents: Iterable[ProcessorContext], *, in_flight: int = IN_FLIGHT
    ) -> None:
        """Take nothing yet."""
        self._pool = pool
        self._steps = steps
        self._documents = enumerate(documents)
        self._in_flight = in_flight
        self._stopping = False
        self._exhausted = False
        self._running: set[asyncio.Task[PipelineResult]] = set()
        self._ended: deque[asyncio.Task[PipelineResult]] = deque()
        self._wake = asyncio.Event()
        self._unstarted: dict[int, Handle] = {}

    def stop(self) -> None:
        """Take no more documents, and cancel those whose first stage still waits; the others go on to their end."""
        self._stopping = True
        for handle in self._unstarted.values():
            _cancel_waiting(handle)

    async def aclose(self) -> None:
        """Cancel all that is under way, and wait until it has ended."""
        self._stopping = True
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def __aenter__(self) -> DocumentStream:
        """Return the stream."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the stream."""
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[PipelineResult]:
        """Return the stream."""
        return self

    async def __anext__(self) -> PipelineResult:
        """Return the next document that has ended."""
        while True:
            self._feed()
            if self._ended:
                return self._ended.popleft().result()
            if not self._running:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()

    def _feed(self) -> None:
        while not self._stopping and not self._exhausted and len(self._running) < self._in_flight:
            taken = next(self._documents, None)
            if taken is None:
                self._exhausted = True
                return
            task = asyncio.create_task(self._pass(*taken))
            self._running.add(task)
            task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[PipelineResult]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._stopping = True  # the iterator raises it, and nobody else may come to ask for the others
        self._ended.append(task)
        self._wake.set()

    async def _pass(self, index: int, context: ProcessorContext) -> PipelineResult:
        """Take one document through the stages, up to the first that does not complete."""
        stages: dict[str, Outcome] = {}
        values: dict[str, Any] = {}  # Any: the stages' results
        state = TaskState.COMPLETED
        for step in self._steps:
            if state is not TaskState.COMPLETED:
                stages[step.name] = _unrun(index, step, context, TaskState.SKIPPED)
                continue
            outcome = await self._run(index, step, context, values)
            state, stages[step.name] = outcome.state, outcome
            result = outcome.value
            values[step.name] = result.data if isinstance(result, ProcessorResult) else result
        value = self._value(values) if state is TaskState.COMPLETED else None
        return PipelineResult(document_id=context.document_id, index=index, state=state, stages=stages, value=value)

    def _value(self, values: Mapping[str, Any]) -> Any:  # Any: as above
        """Return the last stage's result; of several that no other comes after, each by its name."""
        final = {step.name: values[step.name] for step in self._steps if step.final}
        return next(iter(final.values())) if len(final) == 1 else final

    async def _run(self, index: int, step: Step, context: ProcessorContext, values: Mapping[str, Any]) -> Outcome:
        first = step is self._steps[0]
        if first and self._stopping:
            return _unrun(index, step, context, TaskState.CANCELLED)
        try:
            pool = self._pool.options(name=step.name, key=context.document_id, **step.options)
            handle = await pool.submit(step.function, *step.arguments(context, values))
            return await self._end(index, handle, first=first)
        except PoolNotRunning:
            raise
        except LongshoreError as error:  # this document's own fault: its arguments, what it asks for, a hook's veto
            refused = _unrun(index, step, context, TaskState.FAILED)
            return replace(refused, error=pack_error(error, 1, None), exception=error)

    async def _end(self, index: int, handle: Handle, *, first: bool) -> Outcome:
        if first:
            self._unstarted[index] = handle
            if self._stopping:
                _cancel_waiting(handle)
        try:
            return await handle.outcome()
        except asyncio.CancelledError:
            handle.cancel()
            raise
        finally:
            self._unstarted.pop(index, None)


def _cancel_waiting(handle: Handle) -> None:
    if handle.state in (TaskState.PENDING, TaskState.QUEUED):
        handle.cancel()


def _unrun(index: int, step: Step, context: ProcessorContext, state: TaskState) -> Outcome:
    cancelled = ErrorRecord(type="longshore.errors.TaskCancelled", message="cancelled", reason="cancelled")
    error = cancelled if state is TaskState.CANCELLED else None
    return Outcome("", context.document_id, index, step.name, state, error=error, attempts=0)
