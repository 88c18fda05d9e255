"""What the user's own code raises on the pool's loop: it costs one document, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from longshore import (
    Pipeline,
    PipelineResult,
    PipelineStream,
    PoolNotRunning,
    ProcessorContext,
    Settings,
    Stage,
    TaskState,
    WorkerPool,
)
from longshore.events import EventBatch, Happened
from longshore.testing import RecordingSink

DEADLINE_S = 8.0
RAISED = [asyncio.CancelledError("mine"), SystemExit(3), GeneratorExit(), BaseException("odd"), StopIteration()]
raised = pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)


@asynccontextmanager
async def open_pool(*sinks: RecordingSink) -> AsyncIterator[WorkerPool]:
    """A pool that nothing of the user's settings plays into, with a deadline over all that happens, its stop too."""
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=Settings(probes=()), sinks=sinks) as pool:
        yield pool


async def echo(context: ProcessorContext) -> str:
    return context.document_id


def raising(error: BaseException, *, only: str = "bad", critical: bool = True) -> Pipeline:
    """Return a pipeline whose first stage's condition raises for one document."""

    def condition(context: ProcessorContext) -> bool:
        if context.document_id == only:
            raise error
        return True

    return Pipeline("p", [Stage("a", echo, condition=condition, critical=critical), Stage("b", echo, after=["a"])])


@pytest.mark.anyio
@raised
@pytest.mark.parametrize("critical", [True, False])
async def test_whatever_a_condition_raises_is_its_stages_failure(error: BaseException, critical: bool) -> None:
    """Also what is no Exception fails the stage; awaiting the run never raises, and its progress comes to an end."""
    sink = RecordingSink()
    async with open_pool(sink) as pool:
        run = pool.start_pipeline(raising(error, critical=critical), "bad")
        result = await run
    end = TaskState.FAILED if critical else TaskState.COMPLETED
    assert (result.state, run.state, run.done) == (end, end, True)
    assert result.stages["a"].state is TaskState.FAILED
    assert result.stages["a"].exception is error
    assert result.stages["b"].state is (TaskState.SKIPPED if critical else TaskState.COMPLETED)
    told = [event.data["state"] for event in sink.events if event.type == "pipeline_progress"]
    assert told[-1] == end.value


@pytest.mark.anyio
@raised
async def test_whatever_a_condition_raises_costs_a_stream_one_document(error: BaseException) -> None:
    """The other documents of the stream go on to their end."""
    async with open_pool() as pool:
        results = [result async for result in pool.run_pipeline(raising(error), ["x", "bad", "y"])]
    assert {result.document_id: result.state.value for result in results} == {
        "x": "completed",
        "bad": "failed",
        "y": "completed",
    }


def test_an_interrupt_in_a_condition_passes_on() -> None:
    """Ctrl-C that arrives while a condition is called is the user's, not the document's."""

    async def run() -> None:
        async with open_pool() as pool:
            await pool.start_pipeline(raising(KeyboardInterrupt()), "bad")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run())


# ---- the pool ends while documents are awaited


async def trickle(go_on: asyncio.Event) -> AsyncIterator[str]:
    yield "a"
    await go_on.wait()


async def read_into(given: list[str], stream: PipelineStream) -> None:
    """Append the documents a stream gives; it must end with the pool's end."""
    try:
        async for result in stream:
            given.append(result.document_id)
    except PoolNotRunning:
        return
    pytest.fail("the stream ended as if there were no more documents")


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["stop", "fail", "paused"])
async def test_a_stream_whose_documents_are_awaited_is_told_of_the_pools_end(how: str) -> None:
    """A reader waits no longer than its pool lives: it gets what had ended, and then PoolNotRunning."""
    async with open_pool() as pool:
        stream = pool.run_pipeline(Pipeline("p", [Stage("a", echo)]), trickle(asyncio.Event()))
        if how == "paused":
            stream.pause()
        given: list[str] = []
        reading = asyncio.ensure_future(read_into(given, stream))
        while how != "paused" and not given:
            await asyncio.sleep(0)
        if how == "fail":
            pool._driver.fail(PoolNotRunning("the test said so"))
        await pool.stop()
        await reading
    assert given == ([] if how == "paused" else ["a"])
    assert not pool._driver.cuts


@pytest.mark.anyio
async def test_a_stream_that_is_first_read_after_the_stop_tells_so() -> None:
    """It takes no document, and raises PoolNotRunning at once."""
    taken: list[str] = []

    def documents() -> Iterator[str]:
        taken.append("a")
        yield "a"

    async with open_pool() as pool:
        stream = pool.run_pipeline(Pipeline("p", [Stage("a", echo)]), documents())
        await pool.stop()
        await read_into([], stream)
    assert taken == []


# ---- what else nobody may wait for


@pytest.mark.anyio
async def test_stages_may_be_given_by_a_generator() -> None:
    """What can be iterated only once is kept."""
    async with open_pool() as pool:
        result = await pool.start_pipeline(Pipeline("p", (Stage(name, echo) for name in "ab")), "d")  # type: ignore[arg-type]
    assert list(result.stages) == ["a", "b"]
    assert result.ok


@pytest.mark.anyio
async def test_what_cannot_be_told_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the midst of a run's own bookkeeping is raised to who awaits it."""
    async with open_pool() as pool:
        publish = pool._publish

        def broken(batch: EventBatch) -> None:
            if isinstance(batch, Happened) and batch.type == "stage_completed":
                raise ZeroDivisionError("in the books")
            publish(batch)

        monkeypatch.setattr(pool, "_publish", broken)
        run = pool.start_pipeline(Pipeline("p", [Stage("a", echo)]), "d")
        with pytest.raises(ZeroDivisionError):
            await run
        with pytest.raises(ZeroDivisionError):
            await read(pool.run_pipeline(Pipeline("p", [Stage("a", echo)]), ["d"]))


@pytest.mark.anyio
async def test_work_that_is_cancelled_from_outside_is_told() -> None:
    """Somebody who cancels all tasks of the loop but his own leaves nobody waiting."""
    async with open_pool() as pool:
        run = pool.start_pipeline(Pipeline("p", [Stage("a", echo)]), "d")
        for task in run._traffic._tasks:
            task.cancel()
        with pytest.raises(PoolNotRunning, match="cancelled from outside"):
            await run


async def read(stream: PipelineStream) -> list[PipelineResult]:
    return [result async for result in stream]
