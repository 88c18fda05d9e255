"""One call's documents through a pipeline: taken as there is room, each stage a task of the pool, results as they end.

In: a prepared pipeline and documents. Out: a PipelineResult for each document, and the events `stage_completed` and
`pipeline_progress`. `_engine.flow` decides; here its decisions are carried out, on the pool's loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from longshore._carrying import one_call
from longshore._engine.flow import Bounds, Ended, Flows, Graph, Node
from longshore._engine.messages import Pause, Unpause
from longshore._flow_documents import Document, Expiring, FlowEvents, as_context
from longshore._intake import Intake
from longshore._packing import message_of
from longshore._runtime.asking import not_begun
from longshore._runtime.handles import Handle
from longshore._runtime.source import Call, Plain, Pumped, Source
from longshore._runtime.specs import merged
from longshore.errors import LongshoreError, PoolNotRunning
from longshore.events import EventBatch
from longshore.pipeline import PipelineLimits, PipelineResult, PreparedPipeline, Step
from longshore.processor import ProcessorContext
from longshore.task import Attempt, Outcome, TaskOptions, TaskSpec, TaskState
from longshore.worker import pack_error


@dataclass(frozen=True, slots=True)
class Ways:
    """What a flow needs of its pool."""

    intake: Intake
    publish: Callable[[EventBatch], None]
    listeners: dict[str, Passage]
    """Who hears what a task does that is under way, by task."""


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """A stage of a document that is with the pool as a task."""

    traffic: Traffic
    document: Document
    step: Step
    handle: Handle[Any]  # Any: the stage's result

    def start(self) -> None:
        """Know that an attempt has started."""
        self.document.started.add(self.step.name)
        self.traffic.started(self.document)

    def advance(self, share: float) -> None:
        """Know how far the attempt says it is."""
        self.traffic.advanced(self.document, self.step.name, share)


class Traffic:
    """The documents of one call, at most `in_flight` of them under way or ended and not yet taken from `results`."""

    def __init__(
        self,
        ways: Ways,
        prepared: PreparedPipeline,
        documents: Iterable[Call] | AsyncIterable[Call],
        group: str,
        *,
        in_flight: int,
        alone: bool = False,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take nothing yet; `changed` is called when there is a result, and at the end.

        Raises what `pool.submit` does for a stage of which no task can ever be run. Each of `documents` is alone in a
        tuple. `group` names the call; with `alone` it is the pipeline_id of its one document, else each document has a
        number more.
        """
        self.results: deque[PipelineResult] = deque()
        self.error: BaseException | None = None
        """What ended the call: the pool's failure, or what iterating the documents raised."""
        self.over = False
        """Whether all documents have ended, and no more come."""
        self.submitted = 0
        """How many tasks there were."""
        self.documents: dict[int, Document] = {}
        """Those that have not ended."""
        self.passages: dict[tuple[int, str], Passage] = {}
        """The tasks that have not ended, by document and stage."""
        self._source: Source = Plain(documents) if isinstance(documents, Iterable) else Pumped(documents, self.wake)
        self._ways, self._group, self._alone = ways, group, alone
        self._changed, self._in_flight = changed, in_flight
        self._prepared, self._steps = prepared, {step.name: step for step in prepared.steps}
        graph = Graph([_node(step) for step in prepared.steps])
        self._ranks, self._flows = graph.depth, Flows(graph, _bounds(prepared.limits))
        self._events = FlowEvents(prepared.name, self._publish, clock)
        self._expiring = Expiring(prepared.timeout_s, self._expire, clock)
        self._specs = {step.name: self._spec(step) for step in prepared.steps}
        self._index, self._stopping, self._failing, self._wake = 0, False, False, asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- orders

    def open(self) -> None:
        """Begin."""
        self._ways.intake.driver.cuts.add(self._cut_off)
        if not self._stopping:
            self._source.open()
        self._pumping = self._spawn(self._pump())

    def open_one(self) -> Document:
        """Begin with the one document there is, and return it."""
        self._take()
        self._source.close()  # else it would be asked for more, once there is room
        self.open()
        return self.documents[0]

    def wake(self) -> None:
        """See to what can be begun now."""
        self._wake.set()

    @property
    def paused(self) -> bool:
        """Whether nothing new is begun."""
        return self._flows.paused

    def pause(self) -> None:
        """Begin nothing new, and have nothing start that waits; what runs goes on."""
        if not self.paused and not self.over:
            self._flows.paused = True
            self._expiring.pause()
            self._ways.intake.driver.stimulate(Pause(self._group))

    def unpause(self) -> None:
        """Go on."""
        if self.paused:
            self._flows.paused = False
            self._expiring.unpause()
            self._ways.intake.driver.stimulate(Unpause(self._group))
            self.wake()

    def stop(self) -> None:
        """Take no more documents, and cancel those of which nothing has begun; the others go on to their end."""
        self._cut()
        waiting = self._not_begun()
        for document in list(self.documents.values()):
            if not document.started or document.flow.number in waiting:
                self._close(document, TaskState.CANCELLED, "cancelled: the pipeline was stopped")

    def _not_begun(self) -> set[int]:
        """Return the documents that are with executors which have begun nothing of them, as workers get ready first."""
        tasks = {
            passage.handle.task_id: number
            for (number, _), passage in self.passages.items()
            if not passage.document.outcomes
        }
        driver = self._ways.intake.driver
        waiting = not_begun(driver.engine, driver.executors, tasks)
        return set(tasks.values()) - {number for task_id, number in tasks.items() if task_id not in waiting}

    def cancel(self, message: str = "cancelled: the run of its pipeline was") -> None:
        """Take no more documents, and cancel all there are."""
        self._cut()
        for document in list(self.documents.values()):
            self._close(document, TaskState.CANCELLED, message)

    def _cut_off(self, error: LongshoreError) -> None:
        """Take no more documents, as the pool takes no more work; what was begun goes on, as far as it can."""
        self.unpause()  # what waits cannot begin: it is to find out
        if self._ways.intake.driver.failure is not None:
            self._fail(error)
        elif not self._source.exhausted and not self._stopping:
            self._source.close()
            self._source.error = error
            self.wake()

    def _cut(self) -> None:
        self._stopping = True
        self._source.close()
        self.wake()

    # ---- documents come, stages begin

    async def _pump(self) -> None:
        while not self._done:
            taken = self._take()
            chosen = self._flows.next()
            if chosen is not None:
                flow, name = chosen
                await self._begin(self.documents[flow.number], self._steps[name])
            elif not taken and not self._done:
                self._wake.clear()
                await self._wake.wait()
            if taken:
                await asyncio.sleep(0)  # documents that are slow to make hold up the loop for one at a time
        self._finish(self._source.error if not self._stopping else None)

    @property
    def _done(self) -> bool:
        return (self._stopping or self._source.exhausted) and not self.documents

    def _take(self) -> bool:
        """Take documents, as far as there is room; tell whether any came."""
        room = self._in_flight - len(self.documents) - len(self.results)
        if self._stopping or self.paused or room <= 0 or not self._source.ready:
            return False
        calls = self._source.take(room)
        for (given,) in calls:
            context, number = as_context(given), self._index
            pipeline_id = self._group if self._alone else f"{self._group}-{number}"
            self._index += 1
            document = self.documents[number] = Document(context, self._flows.add(number), pipeline_id)
            self._events.progress(document)
        return bool(calls)

    async def _begin(self, document: Document, step: Step) -> None:
        try:
            context = step.context(document.context, document.values)
            if not self._holds(document, step, context):
                return
            spec = self._specs[step.name]
            await self._ways.intake.driver.wait_for_room(spec.priority)
            if step.name not in document.outcomes:  # else it was cancelled meanwhile
                self._submit(document, step, spec, context)
        except PoolNotRunning:
            raise
        except LongshoreError as error:  # this document's own fault: its arguments, what it asks for
            self._refuse(document, step, error)

    def _holds(self, document: Document, step: Step, context: ProcessorContext) -> bool:
        """Tell whether the stage's condition holds; else its end is seen to."""
        try:
            if step.condition is None or step.condition(context):
                return True
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the user's function may raise anything: it is this stage's end
            self._refuse(document, step, error)
            return False
        self._end(document, step, document.unrun(step, TaskState.SKIPPED))
        return False

    def _spec(self, step: Step) -> TaskSpec:
        options = {"name": step.name, "group": self._group, "rank": self._ranks[step.name], **step.options}
        return self._ways.intake.new_spec(step.function, merged(TaskOptions(), options))

    def _submit(self, document: Document, step: Step, spec: TaskSpec, context: ProcessorContext) -> None:
        intake, number, key = self._ways.intake, document.flow.number, context.document_id
        args = step.arguments(context)
        named, where, trace = one_call(spec, None)
        now = time.monotonic()
        own = (number, key, 1, now, None, where, (), None, trace)
        handle = intake.accept(Attempt(next(intake.ids), spec, args, named, *own), recorded=True)
        passage = self.passages[number, step.name] = Passage(self, document, step, handle)
        self._ways.listeners[handle.task_id] = passage
        self.submitted += 1
        self._events.progress(document)
        self._spawn(self._follow(passage))

    async def _follow(self, passage: Passage) -> None:
        try:
            outcome = await passage.handle.outcome()
        finally:
            del self._ways.listeners[passage.handle.task_id]
            del self.passages[passage.document.flow.number, passage.step.name]
        self._end(passage.document, passage.step, outcome)

    # ---- stages and documents end

    def _refuse(self, document: Document, step: Step, error: BaseException) -> None:
        self._end(document, step, document.unrun(step, TaskState.FAILED, pack_error(error, 1, None), error))

    def _end(self, document: Document, step: Step, outcome: Outcome) -> None:
        """See to the end of a stage; once."""
        if step.name not in document.outcomes:
            self._note(document, step, outcome)
            ended = self._flows.end(document.flow, step.name, outcome.state)
            self._carry_out(document, ended, f"cancelled: stage {step.name} of its document {outcome.state.value}")

    def _close(self, document: Document, verdict: TaskState, message: str) -> None:
        self._carry_out(document, self._flows.close(document.flow, verdict), message)

    def _carry_out(self, document: Document, ended: Ended, message: str) -> None:
        """See to what follows from an end."""
        for name, state in ended.unrun.items():
            self._note(document, self._steps[name], document.unrun(self._steps[name], state))
        for name in ended.cancel:
            passage = self.passages.get((document.flow.number, name))
            if passage is not None:
                passage.handle.cancel(message)
            else:  # it waits for room in the queue, which may take long
                self._tasks.discard(self._pumping)  # it ends by our own order
                self._pumping.cancel()
                self._pumping = self._spawn(self._pump())
                self._end(document, self._steps[name], document.unrun(self._steps[name], TaskState.CANCELLED))
        if document.flow.number in self.documents:
            if document.flow.over:
                del self.documents[document.flow.number]
                self.results.append(document.result(self._prepared.steps))
                self._changed()
            self._events.progress(document)
        self.wake()

    def _note(self, document: Document, step: Step, outcome: Outcome) -> None:
        document.add(step, outcome)
        self._events.stage(document, step.name, outcome)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:  # Any: as typing has it
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spent)
        return task

    def _spent(self, task: asyncio.Task[None]) -> None:
        if task not in self._tasks:
            return
        self._tasks.discard(task)
        if task.cancelled():
            error: BaseException | None = PoolNotRunning(
                "the work of a pipeline was cancelled from outside of the pool"
            )
        else:
            error = task.exception()
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Give up on all documents: nothing can be begun any more, and perhaps nothing ends."""
        if self.over or self._failing:
            return
        self._failing, given = True, len(self.results)
        try:
            self.cancel(f"cancelled: {message_of(error)}")
            for document in list(self.documents.values()):
                for name in list(document.flow.under_way):
                    self._end(document, self._steps[name], document.unrun(self._steps[name], TaskState.CANCELLED))
        finally:  # whatever happens: somebody waits for the end
            while len(self.results) > given:
                self.results.pop()  # they did not end so: the error is what is known of them
            self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        if not self.over:
            self.over, self.error = True, error
            self._ways.intake.driver.cuts.discard(self._cut_off)
            try:
                self.unpause()  # so that the engine forgets the group
            finally:
                self._events.close()
                self._expiring.close()
                self._changed()

    # ---- what running tasks say, and time that is over

    def started(self, document: Document) -> None:
        """Know that a stage of a document has started; the first starts the clock of the pipeline's timeout."""
        self._expiring.add(document)

    def advanced(self, document: Document, name: str, share: float) -> None:
        """Know how far a stage is."""
        document.flow.advance(name, share)
        self._events.progress(document)

    def _publish(self, batch: EventBatch) -> None:
        """Tell what happened; an error ends the call: it may be a timer that tells, and nobody else would know."""
        try:
            self._ways.publish(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is: somebody waits for the end
            asyncio.get_running_loop().call_soon(self._fail, error)  # not in the midst of what is told

    def _expire(self, document: Document) -> None:
        message = f"cancelled: its document passed the pipeline's timeout of {self._prepared.timeout_s:g} s"
        self._close(document, TaskState.TIMED_OUT, message)


def _node(step: Step) -> Node:
    return Node(
        name=step.name,
        after=step.after,
        critical=step.critical,
        most=step.max_parallel,
        memory_mb=step.resources.memory_mb,
        cpu=step.resources.cpu,
    )


def _bounds(limits: PipelineLimits) -> Bounds:
    return Bounds(memory_mb=limits.max_memory_mb, cpu=limits.max_cpu_cores, stages=limits.max_parallel_stages)
