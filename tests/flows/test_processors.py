"""Processors by name: what their metadata make the pool do, and what becomes of their results."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
from longshore import (
    PluginError,
    Priority,
    ProcessorContext,
    ProcessorMetadata,
    ProcessorResult,
    ResourceUnavailable,
    TaskFailed,
    TaskState,
    current_task,
)
from longshore.hookspecs import hookimpl
from longshore.testing import RecordingSink

pytestmark = pytest.mark.anyio


# ---- metadata


@pytest.mark.requirement("req:K01")
async def test_timeout_seconds_bounds_each_document(processing: Any) -> None:
    """A document that takes longer than `timeout_seconds` is timed out, without the caller saying so."""

    class Endless(processing.AsyncBase):
        said: ClassVar = {"timeout_seconds": 0.05}

        @hookimpl
        async def process(self, context: ProcessorContext) -> ProcessorResult:  # type: ignore[override]
            await asyncio.Event().wait()
            raise AssertionError

    async with processing.pool_of(p=Endless) as pool:
        outcome = await processing.end_of(pool)
    assert outcome.state is TaskState.TIMED_OUT
    assert outcome.error is not None
    assert "timeout of 0.05 s" in outcome.error.message


@pytest.mark.slow
@pytest.mark.requirement("req:K01")
async def test_retry_count_is_what_comes_after_the_first_attempt(processing: Any) -> None:
    """With `retry_count` 1 a failing document is tried twice; a caller who says less is heeded."""

    def fail(self: processing.Base, context: ProcessorContext) -> dict[str, Any]:
        raise ValueError(current_task().attempt)

    async with processing.pool_of(p=processing.kind(facts={"work": fail}, retry_count=1)) as pool:
        outcome = await processing.end_of(pool)
        assert (outcome.state, outcome.attempts) == (TaskState.FAILED, 2)


@pytest.mark.requirement("req:K01")
async def test_concurrent_limit_holds_over_all_workers(processing: Any) -> None:
    """No more documents than `concurrent_limit` are in a processor at once, though workers are free."""
    inside, most = set[str](), [0]

    class Watched(processing.AsyncBase):
        said: ClassVar = {"concurrent_limit": 2}

        @hookimpl
        async def process(self, context: ProcessorContext) -> ProcessorResult:  # type: ignore[override]
            inside.add(context.document_id)
            most[0] = max(most[0], len(inside))
            for _ in range(5):
                await asyncio.sleep(0)
            inside.remove(context.document_id)
            return ProcessorResult()

    async with processing.pool_of(p=Watched, workers=8) as pool:
        handles = [await pool.process("p", ProcessorContext(document_id=str(number))) for number in range(12)]
        for handle in handles:
            await handle
    assert most == [2]


@pytest.mark.requirement("req:K01")
async def test_priority_orders_what_waits(processing: Any) -> None:
    """A processor's priority is that of its tasks; one the caller names stands above it."""
    order: list[str] = []

    def note(self: processing.Base, context: ProcessorContext) -> dict[str, Any]:
        order.append(context.document_id)
        return {}

    urgent = processing.kind(facts={"work": note}, priority=Priority.CRITICAL)
    low = processing.kind(facts={"work": note}, priority=Priority.LOW)
    async with processing.pool_of(workers=1, low=low, urgent=urgent) as pool:
        pool.pause()
        handles = [await pool.process("low", ProcessorContext(document_id="low"))]
        handles += [
            await pool.options(priority=Priority.NORMAL).process("urgent", ProcessorContext(document_id="usual"))
        ]
        handles += [await pool.process("urgent", ProcessorContext(document_id="urgent"))]
        pool.unpause()
        for handle in handles:
            await handle
    assert order == ["urgent", "usual", "low"]


@pytest.mark.parametrize(
    ("said", "worker"),
    [
        ({"executor": "inline"}, "inline"),
        ({}, "thread"),
        ({"is_io_intensive": True}, "thread"),
        ({"is_cpu_intensive": True}, "process"),
        ({"is_cpu_intensive": True, "executor": "threads"}, "thread"),
        ({"coroutine": True}, "async"),
        ({"coroutine": True, "is_io_intensive": True}, "async"),
        ({"coroutine": True, "is_cpu_intensive": True}, "process"),
    ],
)
@pytest.mark.requirement("req:E04", "req:K01")
async def test_a_processor_runs_where_it_belongs(processing: Any, said: dict[str, Any], worker: str) -> None:
    """The executor it names; else processes for CPU work, asyncio for a coroutine, threads for what waits."""
    async with processing.pool_of(p=processing.kind(**said)) as pool:
        outcome = await processing.end_of(pool)
    assert outcome.unwrap().data["worker"].startswith(f"{worker}-")


@pytest.mark.requirement("req:K01")
async def test_memory_and_gpu_are_reserved(processing: Any) -> None:
    """What a processor needs is asked of the machine: what can never be had is refused when it is submitted."""
    big, drawing = processing.kind(memory_mb=1e12), processing.kind(requires_gpu=True)
    async with processing.pool_of(big=big, drawing=drawing) as pool:
        with pytest.raises(ResourceUnavailable, match="memory"):
            await processing.end_of(pool, "big")
        with pytest.raises(ResourceUnavailable, match="gpu"):
            await processing.end_of(pool, "drawing")


@pytest.mark.requirement("req:K01")
async def test_reserved_memory_bounds_how_many_run_at_once(processing: Any) -> None:
    """Of documents that reserve 0.4 of the memory each, two are worked on at once, though workers are free."""
    inside, most = set[str](), [0]

    class Greedy(processing.AsyncBase):
        @hookimpl
        async def process(self, context: ProcessorContext) -> ProcessorResult:  # type: ignore[override]
            inside.add(context.document_id)
            most[0] = max(most[0], len(inside))
            for _ in range(20):
                await asyncio.sleep(0)
            inside.remove(context.document_id)
            return ProcessorResult()

    async with processing.pool_of(workers=8) as pool:
        room_mb = pool._driver.engine.config.capacity["memory"]
        Greedy.said = {"memory_mb": room_mb * 0.4}
        pool.replace_processor("p", Greedy)
        handles = [await pool.process("p", ProcessorContext(document_id=str(number))) for number in range(8)]
        for handle in handles:
            await handle
    assert most == [2]


@pytest.mark.requirement("req:K01")
async def test_metadata_say_nothing_have_the_stated_defaults(processing: Any) -> None:
    """300 s, three retries, ten at once: what a processor leaves out."""
    metadata = ProcessorMetadata(name="p", version="1")
    assert (metadata.timeout_seconds, metadata.retry_count, metadata.concurrent_limit) == (300.0, 3, 10)
    async with processing.pool_of(p=processing.kind(retry_count=3)) as pool:
        options = pool._processors.entry("p").options
    assert (options["timeout"], options["retry"].attempts, options["concurrent_limit"]) == (300.0, 4, 10)


@pytest.mark.parametrize(
    "said",
    [
        {"timeout_seconds": -1},
        {"retry_count": -1},
        {"concurrent_limit": 0},
        {"memory_mb": -5},
        {"priority": 9},
        {"formats": "txt"},
        {"max_file_size_mb": -1},
        {"max_file_size_mb": "big"},
        {"executor": "thread"},
    ],
)
@pytest.mark.requirement("req:K03")
async def test_senseless_metadata_are_refused_by_name(processing: Any, said: dict[str, Any]) -> None:
    """Metadata that can't be meant are a PluginError that names the processor; the pool goes on."""
    async with processing.pool_of(good=processing.Base) as pool:
        with pytest.raises(PluginError, match="'bad' has metadata that can't be meant"):
            pool.replace_processor("bad", processing.kind(**said))
        assert (await processing.end_of(pool, "good")).ok


async def test_an_unknown_processor_is_told_by_name(processing: Any) -> None:
    """Who asks for a processor that nobody brings is told so, and what to install where that is known."""
    async with processing.pool_of() as pool:
        with pytest.raises(PluginError, match="nowhere"):
            await processing.end_of(pool, "nowhere")


# ---- results


@pytest.mark.requirement("req:K04")
async def test_a_failed_result_is_a_failed_task(processing: Any) -> None:
    """Status "failed" without an exception is counted, reported and raised as a failure, its data within reach."""

    class Refusing(processing.Base):
        said: ClassVar = {"executor": "processes"}

        @hookimpl
        def process(self, context: ProcessorContext) -> ProcessorResult:
            return ProcessorResult(
                status="failed", errors=["no text", "no pages"], data={"pages": 0}, metadata={"reason": "empty"}
            )

    sink = RecordingSink()
    async with processing.pool_of(sink, p=Refusing) as pool:
        handle = await pool.process("p", ProcessorContext(document_id="d"))
        with pytest.raises(TaskFailed, match="no text; no pages") as raised:
            await handle
        outcome = await handle.outcome()
    stats = pool.get_stats()
    assert (stats.failed_tasks, stats.completed_tasks) == (1, 0)
    assert outcome.error is not None
    assert (outcome.state, outcome.error.message, outcome.error.reason) == (
        TaskState.FAILED,
        "no text; no pages",
        "empty",
    )
    assert raised.value.facts["data"] == {"pages": 0}
    assert len(sink.of_type("task_failed")) == 1


async def test_what_is_no_result_is_said_to_be_none(processing: Any) -> None:
    """A processor that returns something else fails with what it returned."""

    class Wrong(processing.Base):
        @hookimpl
        def process(self, context: ProcessorContext) -> ProcessorResult:
            return {"text": ""}  # type: ignore[return-value]  # that is the point

    async with processing.pool_of(p=Wrong) as pool:
        outcome = await processing.end_of(pool)
    assert outcome.error is not None
    assert "returned dict, not a ProcessorResult" in outcome.error.message
