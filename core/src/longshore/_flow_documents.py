"""One document under way: what has become of its stages, and what is made of that: outcomes, events, the result.

In: what `longshore._flow` knows of stages. Out: events for the pool to publish, and the PipelineResult.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from longshore._engine.flow import Flow
from longshore._objects import check_url, is_url
from longshore.events import EventBatch, Happened
from longshore.pipeline import PipelineResult, Step
from longshore.processor import ProcessorContext, ProcessorResult
from longshore.task import ErrorRecord, Outcome, TaskState

TELL_S = 0.1
"""Seconds between two `pipeline_progress` of a document, its first and its last aside."""
DocumentLike = ProcessorContext | str | os.PathLike[str]
_CANCELLED = ErrorRecord(type="longshore.errors.TaskCancelled", message="cancelled", reason="cancelled")


class Document:
    """One document under way."""

    __slots__ = ("context", "dirty", "expires", "flow", "outcomes", "pipeline_id", "started", "told_at", "values")

    def __init__(self, context: ProcessorContext, flow: Flow, pipeline_id: str) -> None:
        """Begin with nothing done."""
        self.context = context
        self.flow = flow
        self.pipeline_id = pipeline_id
        self.outcomes: dict[str, Outcome] = {}
        self.values: dict[str, Any] = {}  # Any: the stages' results
        self.started: set[str] = set()
        """The stages of which an attempt has started."""
        self.expires: float | None = None
        """When its time is over, once its first stage has started, by the clock that stands still in pauses."""
        self.told_at: float | None = None
        self.dirty = False

    def add(self, step: Step, outcome: Outcome) -> None:
        """Keep how a stage ended."""
        self.outcomes[step.name] = outcome
        if outcome.state is TaskState.COMPLETED:
            result = outcome.value
            self.values[step.name] = result.data if isinstance(result, ProcessorResult) else result

    def unrun(
        self,
        step: Step,
        state: TaskState,
        error: ErrorRecord | None = None,
        exception: BaseException | None = None,
    ) -> Outcome:
        """Return the outcome of a stage of which there was no task."""
        record = _CANCELLED if state is TaskState.CANCELLED else error
        key, index = self.context.document_id, self.flow.number
        return Outcome("", key, index, step.name, state, error=record, attempts=0, exception=exception)

    def result(self, steps: Sequence[Step]) -> PipelineResult:
        """Return the result, at the end."""
        return PipelineResult(
            document_id=self.context.document_id,
            index=self.flow.number,
            state=self.flow.state,
            stages={step.name: self.outcomes[step.name] for step in steps},
            value=self._value(steps) if self.flow.state is TaskState.COMPLETED else None,
            ended_by=self.flow.ended_by,
        )

    def _value(self, steps: Sequence[Step]) -> Any:  # Any: the stages' results
        """Return the last stage's result; of several that no other comes after, each by its name."""
        final = [step.name for step in steps if step.final]
        if len(final) == 1:
            return self.values.get(final[0])
        return {name: self.values[name] for name in final if name in self.values}


def as_context(document: DocumentLike) -> ProcessorContext:
    """Return a document's context; a path stands for the file there, a URL for the object.

    ValueError for a URL with a secret in it.
    """
    if isinstance(document, ProcessorContext):
        return document
    given: object = document  # whatever it is said to be
    path = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(path, str):
        raise TypeError(f"a document is a ProcessorContext or the path of a file, not {document!r}")
    if is_url(path):
        check_url(path)
    return ProcessorContext(document_id=path, file_path=path)


class Expiring:
    """Ends the documents of one call whose time is over; their clock stands still while the call is paused."""

    __slots__ = ("_clock", "_documents", "_expire", "_paused_at", "_stood_s", "_timeout_s", "_timer")

    def __init__(self, timeout_s: float | None, expire: Callable[[Document], None], clock: Callable[[], float]) -> None:
        """Call `expire` with each document that is not over after `timeout_s`; None is no bound."""
        self._timeout_s = timeout_s
        self._expire = expire
        self._clock = clock
        self._documents: deque[Document] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._stood_s = 0.0
        self._paused_at: float | None = None

    def add(self, document: Document) -> None:
        """Start the clock of a document; once."""
        if self._timeout_s is not None and document.expires is None:
            document.expires = self._now() + self._timeout_s
            self._documents.append(document)
            if self._timer is None:
                self._look()

    def pause(self) -> None:
        """Have the clock stand still."""
        self._paused_at = self._clock()
        self.close()

    def unpause(self) -> None:
        """Have the clock go on."""
        if self._paused_at is not None:
            self._stood_s += self._clock() - self._paused_at
            self._paused_at = None
            self._look()

    def close(self) -> None:
        """End no more documents, until the next of these calls."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _now(self) -> float:
        return (self._clock() if self._paused_at is None else self._paused_at) - self._stood_s

    def _look(self) -> None:
        """End what is over, and see to the next; they stand in the order of their times."""
        self.close()
        while self._documents and self._paused_at is None:
            document = self._documents[0]
            left_s = (document.expires or 0.0) - self._now()
            if left_s > 0 and not document.flow.over:
                self._timer = asyncio.get_running_loop().call_later(left_s, self._look)
                return
            self._documents.popleft()
            self._expire(document)


class FlowEvents:
    """Tells of the documents of one call; of each one's progress at most every `TELL_S`, and of its first and last."""

    __slots__ = ("_clock", "_pipeline", "_publish", "_timer", "_waiting")

    def __init__(self, pipeline: str, publish: Callable[[EventBatch], None], clock: Callable[[], float]) -> None:
        """Tell `publish`."""
        self._pipeline = pipeline
        self._publish = publish
        self._clock = clock
        self._waiting: list[Document] = []
        self._timer: asyncio.TimerHandle | None = None

    def stage(self, document: Document, name: str, outcome: Outcome) -> None:
        """Tell that a stage has ended."""
        data = {
            "stage": name,
            "state": outcome.state.value,
            "task_id": outcome.task_id or None,
            "duration_s": outcome.ran_s,
            "error": outcome.error.type if outcome.error else None,
        }
        self._publish(Happened("stage_completed", {**self._about(document), **data}))

    def progress(self, document: Document) -> None:
        """Tell how far a document is, now or soon; an end at once."""
        now = self._clock()
        if document.flow.over or document.told_at is None or now - document.told_at >= TELL_S:
            self._tell(document, now)
        elif not document.dirty:
            document.dirty = True
            self._waiting.append(document)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(TELL_S, self._catch_up)

    def close(self) -> None:
        """Tell nothing more by itself."""
        if self._timer is not None:
            self._timer.cancel()

    def _catch_up(self) -> None:
        waiting, self._waiting, self._timer = self._waiting, [], None
        for document in waiting:
            if document.dirty:
                document.dirty = False
                self.progress(document)

    def _tell(self, document: Document, now: float) -> None:
        flow = document.flow
        document.told_at, document.dirty = now, False
        data = {
            "state": flow.state.value,
            "progress": flow.progress,
            "current_stage": next(reversed(flow.under_way), None),
            "completed_stages": flow.behind,
            "total_stages": len(flow.states),
        }
        self._publish(Happened("pipeline_progress", {**self._about(document), **data}))

    def _about(self, document: Document) -> Mapping[str, str]:
        name = document.context.document_id
        return {"pipeline_id": document.pipeline_id, "pipeline": self._pipeline, "document_id": name}
