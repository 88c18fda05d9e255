"""The span that a task was submitted in, as events tell it, and what a sink that makes spans is given."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from longshore import RetryPolicy, Settings, WorkerConfig, WorkerPool
from longshore.events import AnyEvent
from longshore.records import SpanPlace, SpanRules, TaskSpans
from longshore.testing import RecordingSink
from opentelemetry import context as otel_context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span, set_span_in_context

pytestmark = pytest.mark.anyio

DEADLINE_S = 30.0
CALLER = SpanPlace(0xABC, 0xDEF, True)


def in_a_span(call: Callable[[], Any]) -> Any:
    """Do something in the caller's span."""
    span = NonRecordingSpan(SpanContext(CALLER.trace_id, CALLER.span_id, False, TraceFlags(1)))
    token = otel_context.attach(set_span_in_context(span))
    try:
        return call()
    finally:
        otel_context.detach(token)


class Tracing(RecordingSink):
    """A sink that makes spans of tasks, as far as the pool can tell."""

    span_rules = SpanRules()

    @property
    def spans(self) -> TaskSpans:
        assert self.run is not None
        assert self.run.spans is not None
        return self.run.spans


def pool_of(*sinks: Any) -> WorkerPool:
    workers = WorkerConfig(async_workers=2, thread_workers=1)
    return WorkerPool(workers, settings=Settings(probes=()), sinks=sinks)


def here(item: object = None) -> SpanPlace | None:
    context = get_current_span().get_span_context()
    return SpanPlace(context.trace_id, context.span_id, context.trace_flags.sampled) if context.is_valid else None


async def here_async(item: object = None) -> SpanPlace | None:
    await asyncio.sleep(0)
    return here()


@pytest.mark.requirement("req:I02")
async def test_events_say_in_which_span_a_task_was_submitted() -> None:
    """`task_submitted` and `task_started` have its traceparent, by whatever way it came; without a span, none."""
    told: list[AnyEvent] = []
    async with asyncio.timeout(DEADLINE_S), pool_of() as pool:
        pool.events.subscribe(told.append, types=["task_submitted", "task_started"])
        outside = await pool.submit(here, "x")
        handle = in_a_span(lambda: pool.submit_nowait(here, "x"))
        stream, columns = in_a_span(lambda: (pool.map(here, range(2)), pool.map(here_async, range(100))))
        await asyncio.gather(outside, handle)
        assert [place async for place in stream] == [CALLER] * 2
        assert [place async for place in columns] == [CALLER] * 100
    traceparents = {(event.type, event.data["task_id"]): event.data.get("traceparent") for event in told}
    assert len(traceparents) == 2 * 104
    assert [key[1] for key, value in traceparents.items() if value is None] == [outside.task_id] * 2
    assert set(traceparents.values()) == {None, CALLER.traceparent}


async def test_a_retry_keeps_the_traceparent() -> None:
    """Every attempt of a task is told with the span that the task was submitted in."""
    told: list[AnyEvent] = []

    def fail() -> None:
        raise ValueError

    async with asyncio.timeout(DEADLINE_S), pool_of() as pool:
        pool.events.subscribe(told.append, types=["task_started"])
        submitter = pool.options(retry=RetryPolicy(attempts=3, backoff=0.0), deadline=20.0)
        await in_a_span(lambda: submitter.submit_nowait(fail)).outcome()
    assert [event.data.get("traceparent") for event in told] == [CALLER.traceparent] * 3


@pytest.mark.parametrize("function", [here, here_async], ids=["threads", "asyncio"])
async def test_where_a_sink_makes_spans_a_task_is_in_its_own(function: Any) -> None:
    """The current span of a task is the one that the sink knows to be its, and nothing of it is left in the worker."""
    sink = Tracing()
    async with asyncio.timeout(DEADLINE_S), pool_of(sink) as pool:
        handles = [await pool.submit(function), in_a_span(lambda: pool.submit_nowait(function))]
        seen = [await handle for handle in handles]
        streamed = [place async for place in pool.map(function, range(100))]
        assert in_a_span(here) == CALLER
        assert here() is None
    spans = sink.spans
    assert seen == [spans.of(handles[0].task_id), spans.of(handles[1].task_id, CALLER)]
    assert len(set(streamed)) == 100
    assert {place.trace_id for place in streamed if place is not None} == {spans.run.trace_id}


async def test_a_run_that_starts_in_a_span_is_its_child() -> None:
    """The run's own span is under the one in which the pool was started."""
    sink = Tracing()
    pool = pool_of(sink)
    await in_a_span(lambda: asyncio.get_running_loop().create_task(pool.start()))
    await pool.stop(DEADLINE_S)
    assert sink.spans.parent == CALLER
    assert sink.spans.run.trace_id == CALLER.trace_id


async def test_without_such_a_sink_there_is_nothing() -> None:
    """Nobody is given traces where none are made, and a task's current span is its submitter's."""

    sink = RecordingSink()
    async with asyncio.timeout(DEADLINE_S), pool_of(sink) as pool:
        assert await in_a_span(lambda: pool.submit_nowait(here)) == CALLER
    assert sink.run is not None
    assert sink.run.spans is None


UNTRACED = """
import sys
import longshore
print(list(longshore.map(abs, [-1], executor="threads")), any(name.startswith("opentelemetry") for name in sys.modules))
"""


@pytest.mark.slow
async def test_nothing_of_opentelemetry_is_imported_for_it() -> None:
    """A program that does not use OpenTelemetry gets none of it."""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", UNTRACED], capture_output=True, text=True, timeout=50
    )
    assert done.stdout == "[1] False\n", done.stderr
