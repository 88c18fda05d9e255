"""Spans: events of tasks come in, each task that ends leaves as a span, whose ids the task's own code knows already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from longshore.events import AnyEvent
from longshore.records import RunInfo, RunSummary, SpanPlace, TaskSpans
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from longshore_otel._export import Outbox
from longshore_otel._results import ENDS, GOOD, error_type, result_of
from longshore_otel._text import clean

_OPEN_MOST = 200_000  # tasks that have not ended and are known of; the oldest is forgotten first
_RETRIES_MOST = 64  # told of one span
_HERE = frozenset({"asyncio", "threads", "inline"})
"""Executors of ours whose tasks run in this process."""
_MB = 1_000_000


class _Ids(IdGenerator):
    """Gives the ids that were chosen for the span that is made next."""

    trace_id = span_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Open:
    """A task that has not ended."""

    __slots__ = ("above", "place", "retries", "started_ns")

    def __init__(self, place: SpanPlace, above: SpanPlace | None) -> None:
        self.place = place
        self.above = above
        self.started_ns: int | None = None
        self.retries: list[tuple[int, dict[str, Any]]] = []  # Any: attributes of an event of the span


class SpanMaker:
    """Makes the spans of one run; for one thread, that of the sink."""

    def __init__(self, run: RunInfo, spans: TaskSpans, outbox: Outbox, resource: Resource, most: int) -> None:
        """Begin; at most `most` spans of tasks are made."""
        self._run, self._places, self._most = run, spans, most
        self._ids = _Ids()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(outbox)
        self._tracer = self._provider.get_tracer("longshore")
        self._open: dict[str, _Open | None] = {}  # None: one that is not sampled
        self._common = {"longshore.run.id": clean(run.run_id), "longshore.pipeline.name": clean(run.name)}
        self._link = Link(_context(spans.run))
        self._pids: dict[str, int] = {}  # of workers that died, by what they ran
        self._made = self.passed_over = 0
        """How many sampled tasks had no span, since there had been so many."""
        self._ended_ns: int | None = None

    def take(self, batch: Sequence[AnyEvent]) -> None:
        """Take some events, of whatever types.

        That a worker died comes beside the end of its task, before or after it: so it is looked at first.
        """
        for event in batch:
            if event.type == "worker_error" and event.data.get("pid") is not None:
                self._pids[str(event.data.get("task_id"))] = event.data["pid"]
        for event in batch:
            self._take(event)
        self._pids.clear()

    def _take(self, event: AnyEvent) -> None:
        data = event.data
        match event.type:
            case "task_submitted":
                self._known(data)
            case "task_started":
                task = self._known(data)
                if task is not None and task.started_ns is None:
                    task.started_ns = _ns(event.at)
            case "task_retried":
                task = self._known(data)
                if task is not None and len(task.retries) < _RETRIES_MOST:
                    task.retries.append((_ns(event.at), _retry(data)))
            case "worker_pool_stopped":
                self._ended_ns = _ns(event.at)
            case kind if kind in ENDS:
                self._end(data, _ns(event.at))

    def finish(self, summary: RunSummary, now_ns: int) -> None:
        """Make the span of the run."""
        run, counts = self._places.run, summary.snapshot
        if not run.sampled:
            return
        ok = "failure" if counts.failed else "success"
        result = {"completed": ok, "stopped": "cancellation"}.get(summary.state, "error")
        attributes: dict[str, Any] = {  # Any: the values of attributes
            **self._common,
            "longshore.run.result": result,
            "longshore.run.tasks.completed": counts.completed,
            "longshore.run.tasks.failed": counts.failed,
            "longshore.run.tasks.cancelled": counts.cancelled,
        }
        if result not in GOOD:
            attributes["error.type"] = result
        span = self._begin(
            f"run {clean(self._run.name)}",
            run,
            self._places.parent,
            SpanKind.INTERNAL,
            attributes,
            (),
            _ns(self._run.started),
        )
        if result not in GOOD:
            span.set_status(Status(StatusCode.ERROR, clean(summary.error or f"{counts.failed} tasks failed")))
        span.end(self._ended_ns or now_ns)

    def _known(self, data: Mapping[str, Any]) -> _Open | None:  # Any: the data of an event
        """Return what is known of a task; None of one that is not sampled."""
        task_id = data["task_id"]
        if task_id in self._open:
            return self._open[task_id]
        submitter = SpanPlace.read(data.get("traceparent"))
        place = self._places.of(task_id, submitter)
        run = self._places.run
        above = submitter or (run if place.trace_id == run.trace_id else None)
        task = self._open[task_id] = _Open(place, above) if place.sampled else None
        if len(self._open) > _OPEN_MOST:
            del self._open[next(iter(self._open))]
        return task

    def _end(self, data: dict[str, Any], at_ns: int) -> None:  # Any: as above
        task = self._known(data)
        del self._open[data["task_id"]]
        if task is None or data.get("restored"):  # nothing was run for it here
            return
        if self._made >= self._most:
            self.passed_over += 1
            return
        self._made += 1
        kind = SpanKind.INTERNAL if data["executor"] in _HERE else SpanKind.CONSUMER
        began_ns = task.started_ns or at_ns - int(data.get("duration_s", 0.0) * 1e9)
        links = () if task.above == self._places.run else (self._link,)
        result = result_of(data)
        attributes = {**self._common, **_attributes(data, result, self._pids.get(data["task_id"]))}
        span = self._begin(f"{clean(data['name'])} task", task.place, task.above, kind, attributes, links, began_ns)
        for when_ns, retry in task.retries:
            span.add_event("longshore.task.retry", retry, when_ns)
        if result not in GOOD:
            span.set_status(Status(StatusCode.ERROR, clean(data.get("message") or result)))
        span.end(at_ns)

    def _begin(
        self,
        name: str,
        place: SpanPlace,
        above: SpanPlace | None,
        kind: SpanKind,
        attributes: dict[str, Any],  # Any: as above
        links: tuple[Link, ...],
        began_ns: int,
    ) -> Span:
        self._ids.trace_id, self._ids.span_id = place.trace_id, place.span_id
        parent = Context() if above is None else set_span_in_context(NonRecordingSpan(_context(above)), Context())
        return self._tracer.start_span(name, parent, kind, attributes, links, began_ns)


def _attributes(data: dict[str, Any], result: str, pid: int | None) -> dict[str, Any]:  # Any: as above
    """Return what a span says of its task; what is not known is left out."""
    exit_code, memory_mb = data.get("exit_code"), data.get("peak_memory_mb")
    known = {
        "longshore.stage.name": data["name"],
        "longshore.backend.name": data["executor"],
        "longshore.task.id": data["task_id"],
        "longshore.task.key": data.get("key"),
        "longshore.task.attempt": data.get("attempt"),
        "longshore.task.result": result,
        "longshore.task.queue.duration": data.get("wait_s"),
        "longshore.task.cpu.duration": data.get("cpu_s"),
        "longshore.task.memory.peak": None if memory_mb is None else int(memory_mb * _MB),
        "longshore.task.signal": data.get("signal"),
        "longshore.task.reason": data.get("reason"),
        "longshore.worker.id": data.get("worker_id"),
        "process.pid": pid,
        "process.exit.code": exit_code,
        "error.type": error_type(data, result),
        "exception.type": data.get("error"),
        "exception.message": data.get("message") if data.get("error") else None,
        "exception.stacktrace": data.get("traceback"),
    }
    return {key: clean(value) if isinstance(value, str) else value for key, value in known.items() if value is not None}


def _retry(data: dict[str, Any]) -> dict[str, Any]:  # Any: as above
    error = {"error.type": clean(data["error"])} if data.get("error") else {}
    return {"longshore.task.attempt": data["attempt"], "longshore.task.retry.delay": data["delay_s"], **error}


def _context(place: SpanPlace) -> SpanContext:
    return SpanContext(place.trace_id, place.span_id, True, TraceFlags(place.sampled))


def _ns(at: datetime) -> int:
    """Return a time in nanoseconds since 1970, exact to the microsecond that it has."""
    return int(at.replace(microsecond=0).timestamp()) * 1_000_000_000 + at.microsecond * 1000
