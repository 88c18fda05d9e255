"""Traces: one from whoever submits, through the task, into what the task's own code does, wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from longshore import RetryPolicy, Settings, WorkerConfig, WorkerPool
from longshore.events import AnyEvent
from longshore_otel import OtelSink
from opentelemetry.trace import SpanContext

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

DEADLINE_S = 50.0
Caller = Callable[[bool], AbstractContextManager[SpanContext]]


@asynccontextmanager
async def traced(collector: Any, **settings: Any) -> AsyncIterator[WorkerPool]:
    """A pool whose spans, and nothing else, go to the collector."""
    sink = OtelSink(OtelSink.Settings(endpoint=collector.url, metrics=False, **settings))
    workers = WorkerConfig(async_workers=2, thread_workers=2)
    async with asyncio.timeout(DEADLINE_S):
        async with WorkerPool(workers, settings=Settings(probes=()), sinks=[sink]) as pool:
            yield pool


def hexed(context: SpanContext) -> tuple[str, str]:
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


@pytest.mark.parametrize("executor", ["asyncio", "threads", "processes", "inline"])
async def test_a_task_is_a_child_of_the_span_it_was_submitted_in(
    collector: Any, work: Any, span_of_ours: Caller, executor: str
) -> None:
    """Its span is the child of the submitter's, and in its own code it is the current one, for streams as well."""
    function = work.here_async if executor == "asyncio" else work.here
    async with traced(collector) as pool:
        on = pool.options(executor=executor)
        with span_of_ours(True) as caller:
            single = await (await on.submit(function))
            by_id = await pool.get_task_result(await pool.submit_task("here", None, function))
            streamed = [value async for value in on.map(function, range(70))]
    trace_id, span_id = hexed(caller)
    seen = [single, by_id, *streamed]
    tasks = {(span.trace_id, span.span_id): span for span in collector.spans if span.name.endswith("task")}
    assert set(seen) == set(tasks)
    assert {(span.trace_id, span.parent_id) for span in tasks.values()} == {(trace_id, span_id)}
    (run,) = collector.named("run longshore")
    assert all(span.links == [(run.trace_id, run.span_id)] for span in tasks.values())
    assert run.trace_id != trace_id


async def test_what_code_in_a_worker_process_traces_is_in_the_trace(
    collector: Any, work: Any, span_of_ours: Caller
) -> None:
    """A span that instrumented code makes in a worker process, by an SDK of its own, is the child of the task's."""
    async with traced(collector) as pool:
        with span_of_ours(True) as caller:
            await (await pool.options(executor="processes").submit(work.with_own_spans, collector.url))
    (query,), (task,) = collector.named("query"), collector.named("with_own_spans task")
    assert {query.trace_id, task.trace_id} == {hexed(caller)[0]}
    assert (query.parent_id, task.parent_id) == (task.span_id, hexed(caller)[1])
    assert task.kind == "CONSUMER"


@pytest.mark.parametrize("executor", ["asyncio", "threads", "processes", "inline"])
async def test_without_a_span_around_it_a_task_is_a_child_of_the_run(collector: Any, work: Any, executor: str) -> None:
    """What nobody traces is in the run's trace, and so are the spans that its own code makes."""
    function = work.here_async if executor == "asyncio" else work.here
    async with traced(collector) as pool:
        seen = await (await pool.options(executor=executor).submit(function))
    (run,), (task,) = collector.named("run longshore"), collector.named(f"{function.__name__} task")
    assert seen == (task.trace_id, task.span_id)
    assert (task.trace_id, task.parent_id, task.links) == (run.trace_id, run.span_id, [])
    assert (run.parent_id, run.kind) == ("", "INTERNAL")


async def test_a_task_of_a_task_is_its_child(collector: Any, span_of_ours: Caller) -> None:
    """What a task submits is under the task, and a run that was started in a span is under that."""

    async def inner() -> None: ...

    with span_of_ours(True) as caller:
        async with traced(collector) as pool:

            async def outer() -> None:
                await (await pool.submit(inner))

            await (await pool.submit(outer))
    (above,), (below,) = [
        [span for span in collector.spans if f".{name} task" in span.name] for name in ("outer", "inner")
    ]
    (run,) = collector.named("run longshore")
    assert below.parent_id == above.span_id
    assert {span.trace_id for span in collector.spans} == {hexed(caller)[0]}
    assert (run.parent_id, above.parent_id) == (hexed(caller)[1], hexed(caller)[1])


def at(ns: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=ns // 1000)


async def test_times_are_those_of_the_events(collector: Any, work: Any) -> None:
    """A task's span begins and ends when its events say, and the run's ends with the last event."""
    told: list[AnyEvent] = []
    async with traced(collector) as pool:
        pool.events.subscribe(told.append)
        await (await pool.submit(work.here))
    (task,), (run,) = collector.named("here task"), collector.named("run longshore")
    times = {event.type: event.at for event in told}
    assert (at(task.began_ns), at(task.ended_ns)) == (times["task_started"], times["task_completed"])
    assert at(run.ended_ns) == times["worker_pool_stopped"]


async def test_a_span_says_how_its_task_ended(collector: Any, work: Any) -> None:
    """The results are OpenTelemetry's words for runs of pipelines; errors say their type, dead workers their code."""

    async def wait() -> None:
        await asyncio.sleep(60)

    async with traced(collector) as pool:
        on = pool.options(executor="processes")
        ends = [
            await pool.options(key="a.pdf").submit(work.here),
            await pool.submit(work.fail),
            await pool.options(timeout=0.05, name="late").submit(wait),
            await on.submit(work.die),
            await pool.options(name="never").submit(wait),
        ]
        ends[-1].cancel()
        await asyncio.gather(*(handle.outcome() for handle in ends))
    said = {span.name.removesuffix(" task"): span.attributes for span in collector.spans}
    results = {name: attributes.get("longshore.task.result") for name, attributes in said.items()}
    assert results == {
        "run longshore": None,
        "here": "success",
        "fail": "failure",
        "late": "timeout",
        "die": "error",
        "never": "cancellation",
    }
    assert said["here"]["longshore.task.key"] == "a.pdf"
    assert "error.type" not in said["here"]
    assert said["fail"]["error.type"] == said["fail"]["exception.type"] == "ValueError"
    assert "no such page" in said["fail"]["exception.stacktrace"]
    assert said["die"]["process.exit.code"] == 7
    assert said["run longshore"]["longshore.run.result"] == "failure"
    failed = {span.name.removesuffix(" task") for span in collector.spans if span.failed}
    assert failed == {"run longshore", "fail", "late", "die"}
    assert collector.named("fail task")[0].said == "no such page"


async def test_a_task_that_is_tried_again_has_one_span(collector: Any, work: Any) -> None:
    """Its attempts are told as events of the span, and the number of the last as an attribute."""
    async with traced(collector) as pool:
        retry = RetryPolicy(attempts=3, backoff=0.0)
        await (await pool.options(retry=retry).submit(work.fail)).outcome()
    (task,) = collector.named("fail task")
    assert task.attributes["longshore.task.attempt"] == 3
    assert [(name, told["longshore.task.attempt"], told["error.type"]) for name, told, _ in task.events] == [
        ("longshore.task.retry", 1, "ValueError"),
        ("longshore.task.retry", 2, "ValueError"),
    ]
    assert all(task.began_ns <= when <= task.ended_ns for _, _, when in task.events)


async def test_a_long_run_is_linked(collector: Any, work: Any) -> None:
    """Of 2,000 tasks the first 1,000 are in the run's trace; each other has one of its own, linked to the run."""
    async with traced(collector, close_s=4.0) as pool:
        seen = {value async for value in pool.map(work.here, range(2000))}
    (run,) = collector.named("run longshore")
    tasks = collector.named("here task")
    assert {(span.trace_id, span.span_id) for span in tasks} == seen
    inside = [span for span in tasks if span.trace_id == run.trace_id]
    outside = [span for span in tasks if span.trace_id != run.trace_id]
    assert (len(inside), len(outside)) == (1000, 1000)
    assert {span.parent_id for span in inside} == {run.span_id}
    assert len({span.trace_id for span in outside}) == 1000
    assert all((span.parent_id, span.links) == ("", [(run.trace_id, run.span_id)]) for span in outside)


async def test_sampling_decides_on_traces_that_begin_here(collector: Any, work: Any, span_of_ours: Caller) -> None:
    """With a ratio of 0 only what was submitted in a recorded span is sent, and code in the others knows that."""
    async with traced(collector, ratio=0.0) as pool:
        await (await pool.submit(work.fail)).outcome()
        with span_of_ours(True) as caller:
            seen = await (await pool.submit(work.here))
    (span,) = collector.spans
    assert (span.trace_id, span.span_id) == seen
    assert span.parent_id == hexed(caller)[1]


async def test_a_caller_that_is_not_sampled_is_followed(collector: Any, work: Any, span_of_ours: Caller) -> None:
    """What is submitted in a span that is not recorded has none either; the run's own is sent."""
    async with traced(collector) as pool:
        with span_of_ours(False) as caller:
            seen = await (await pool.submit(work.here))
    assert [span.name for span in collector.spans] == ["run longshore"]
    assert seen[0] == hexed(caller)[0]


async def test_a_part_of_single_traces_is_sampled(collector: Any, work: Any) -> None:
    """Tasks with traces of their own are sampled one by one, by their trace's id."""
    async with traced(collector, max_children=0, ratio=0.5) as pool:
        seen = [value async for value in pool.map(work.here, range(200))]
    sent = {(span.trace_id, span.span_id) for span in collector.named("here task")}
    assert sent == {place for place in seen if int(place[0], 16) % 2**64 < 2**63}
    assert 40 < len(sent) < 160
