"""Runs and streams of documents while somebody acts on them: pause, cancel, stop, close, and a pool that ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from longshore import (
    Pipeline,
    PipelineResult,
    PoolNotRunning,
    ProcessorContext,
    Settings,
    Stage,
    TaskState,
    WorkerConfig,
    WorkerPool,
)
from longshore.testing import RecordingSink
from support.waiting import until

pytestmark = pytest.mark.anyio

DEADLINE_S = 8.0
COMPLETED, CANCELLED = TaskState.COMPLETED, TaskState.CANCELLED


@asynccontextmanager
async def open_pool(sink: RecordingSink | None = None, **workers: Any) -> AsyncIterator[WorkerPool]:
    """A pool of coroutines that nothing of the user's settings plays into, with a deadline over all that happens."""
    settings = Settings(probes=(), workers=WorkerConfig(**{"async_workers": 2, **workers}))
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=settings, sinks=[sink] if sink else []) as pool:
        yield pool


class Dock:
    """Two stages, one after the other; tasks hold until let go, and who came in or was cancelled is kept."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside: list[str] = []
        self.cancelled: list[str] = []
        first = Stage("first", self._stage("first"))
        self.pipeline = Pipeline("p", [first, Stage("second", self._stage("second"), after=["first"])])

    def _stage(self, name: str) -> Callable[[ProcessorContext], Any]:
        async def work(context: ProcessorContext) -> str:
            place = f"{name} {context.document_id}"
            self.inside.append(place)
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.cancelled.append(place)
                raise
            return place

        return work


def counts(pool: WorkerPool) -> tuple[int, int]:
    """Return how many tasks wait and how many run."""
    stats = pool.get_stats()
    return stats.queued_tasks, stats.running_tasks


async def settled(pool: WorkerPool) -> None:
    """Give the loop what it needs to start whatever can be started."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.requirement("req:J05")
async def test_a_paused_run_holds_what_is_queued_and_lets_run_what_runs() -> None:
    """A queued task of the run does not start, a running one ends, nothing follows; another run is not held up."""
    dock, other = Dock(), Dock()
    other.open.set()
    async with open_pool(async_workers=1) as pool:
        blocker = await pool.submit(dock.open.wait)
        run = pool.start_pipeline(dock.pipeline, "d")
        await until(lambda: counts(pool) == (1, 1), "the run's first task to be queued")
        run.pause()
        dock.open.set()
        await blocker
        assert (await pool.start_pipeline(other.pipeline, "x")).ok
        assert (run.paused, run.state, dock.inside) == (True, TaskState.PROCESSING, [])
        dock.open.clear()
        run.unpause()
        await until(lambda: dock.inside == ["first d"], "the first task")
        run.pause()
        dock.open.set()
        await until(lambda: run.stages["first"].state is COMPLETED, "the end of what ran")
        await settled(pool)
        assert (counts(pool), run.progress) == ((0, 0), 0.5)
        run.unpause()
        assert (await run).value == "second d"


@pytest.mark.requirement("req:J05")
async def test_a_cancelled_run_removes_what_is_queued_and_cancels_what_runs() -> None:
    """Running and queued tasks end as cancelled, what had not begun is no task, and the result says cancelled."""
    sink, dock = RecordingSink(), Dock()
    async with open_pool(sink, async_workers=1) as pool:
        running = pool.start_pipeline(dock.pipeline, "running")
        await until(lambda: dock.inside, "the first")
        queued = pool.start_pipeline(dock.pipeline, "queued")
        await until(lambda: counts(pool) == (1, 1), "the second to be queued")
        for run in (queued, running):
            run.cancel()
        results = [await queued, await running]
        queued.cancel()
        assert counts(pool) == (0, 0)
    for result in results:
        assert result.state is CANCELLED
        assert [outcome.state for outcome in result.stages.values()] == [CANCELLED, CANCELLED]
    assert dock.inside == ["first running"]
    assert dock.cancelled == ["first running"]
    states = Counter((event.type, event.data.get("state")) for event in sink.events)
    assert states["task_submitted", None] == states["task_cancelled", "cancelled"] == 2
    assert states["stage_completed", "cancelled"] == 4
    assert states["pipeline_progress", "cancelled"] == 2


@pytest.mark.requirement("req:J05")
async def test_a_run_that_waits_for_room_is_cancelled_at_once() -> None:
    """A full queue does not hold up the end of a run that wants to be in it."""
    dock = Dock()
    async with open_pool(async_workers=1, max_queue_size=10) as pool:
        handles = [await pool.submit(dock.open.wait) for _ in range(11)]
        run = pool.start_pipeline(dock.pipeline, "d")
        await settled(pool)
        run.cancel()
        assert (await run).state is CANCELLED
        dock.open.set()
        for handle in handles:
            await handle
    assert dock.inside == []


@pytest.mark.requirement("req:J05")
async def test_a_stream_is_paused_and_cancelled_as_one() -> None:
    """Paused, none of its documents goes on; cancelled, those under way are given as cancelled and no more come."""
    dock = Dock()
    async with open_pool(async_workers=2) as pool:
        stream = pool.run_pipeline(dock.pipeline, [f"d{number}" for number in range(20)], in_flight=5)
        reading = asyncio.ensure_future(read(stream))
        await until(lambda: len(dock.inside) == 2, "two inside")
        stream.pause()
        dock.open.set()
        await until(lambda: counts(pool)[1] == 0, "what ran to end")
        await settled(pool)
        assert (stream.paused, len(dock.inside), counts(pool)[0]) == (True, 2, 3)
        stream.cancel()
        results = await reading
    assert [result.state for result in results] == [CANCELLED] * 5
    assert Counter(outcome.state for result in results for outcome in result.stages.values()) == {
        COMPLETED: 2,
        CANCELLED: 8,
    }
    assert len(dock.inside) == 2


async def read(stream: AsyncIterator[PipelineResult]) -> list[PipelineResult]:
    return [result async for result in stream]


async def test_stopping_lets_what_has_begun_end() -> None:
    """After `stop` no more documents are taken, those that wait are cancelled, what runs goes through all stages."""
    dock = Dock()
    async with open_pool(async_workers=2) as pool:
        stream = pool.run_pipeline(dock.pipeline, (f"d{number}" for number in range(20)), in_flight=5)
        reading = asyncio.ensure_future(read(stream))
        await until(lambda: len(dock.inside) == 2, "two inside")
        stream.stop()
        dock.open.set()
        results = await reading
    states = Counter(result.state for result in results)
    assert states == {COMPLETED: 2, CANCELLED: 3}
    assert sorted(dock.inside) == ["first d0", "first d1", "second d0", "second d1"]


@pytest.mark.parametrize("how", ["with", "aclose"])
async def test_closing_a_stream_cancels_what_is_left(how: str) -> None:
    """Leaving `async with` or closing ends what is queued or running, and the iteration; nothing of it stays behind."""
    dock = Dock()
    async with open_pool() as pool:
        stream = pool.run_pipeline(dock.pipeline, ["a", "b", "c"])
        async with stream:
            waiting = asyncio.ensure_future(anext(stream, None))
            await until(lambda: len(dock.inside) == 2, "two inside")
            if how == "aclose":
                await stream.aclose()
        assert await waiting is None
        assert await read(stream) == []
        await until(lambda: counts(pool) == (0, 0), "all to be cancelled")
        assert sorted(dock.cancelled) == sorted(dock.inside)
        await until(lambda: not pool._listeners, "nothing to listen for")
        assert pool._driver.engine._dispatch._lanes == {}


async def test_a_task_cancelled_by_somebody_else_is_its_stages_end() -> None:
    """pool.cancel of a stage's task ends a critical stage as cancelled, and with it the document."""
    dock = Dock()
    async with open_pool() as pool:
        run = pool.start_pipeline(dock.pipeline, "d")
        await until(lambda: dock.inside, "the first")
        task_id = run.stages["first"].task_id
        assert task_id is not None
        pool.cancel(task_id)
        result = await run
    assert (result.state, result.ended_by) == (CANCELLED, "first")
    assert result.stages["second"].state is TaskState.SKIPPED


# ---- the pool ends


async def test_a_pool_that_is_left_lets_runs_end() -> None:
    """Leaving the pool waits for runs through all their stages, a paused one too; so does wait_for_completion."""
    dock = Dock()
    async with open_pool() as pool:
        runs = [pool.start_pipeline(dock.pipeline, name) for name in ("a", "b")]
        assert not await pool.wait_for_completion(timeout=0.01)
        runs[1].pause()
        dock.open.set()
    assert [(await run).state for run in runs] == [COMPLETED, COMPLETED]

    async with open_pool() as pool:
        run = pool.start_pipeline(dock.pipeline, "c")
        assert await pool.wait_for_completion()
        assert run.done
    assert [(await run).state for run in runs] == [COMPLETED, COMPLETED]


@pytest.mark.parametrize("timeout", [0.0, 0.01])
async def test_a_pool_that_is_stopped_in_time_cancels_runs(timeout: float) -> None:
    """What has not ended within the time of `stop` is cancelled, and its result says so."""
    dock = Dock()
    async with open_pool() as pool:
        run = pool.start_pipeline(dock.pipeline, "d")
        await until(lambda: dock.inside, "the first")
        await pool.stop(timeout)
        assert (await run).state is CANCELLED
        with pytest.raises(PoolNotRunning):
            pool.start_pipeline(dock.pipeline, "late")


async def test_a_stop_that_is_cancelled_cancels_runs_and_closes() -> None:
    """Cancelled while it waits for runs, `stop` ends them, closes all there is, and then ends."""
    dock = Dock()
    async with open_pool() as pool:
        run = pool.start_pipeline(dock.pipeline, "d")
        await until(lambda: dock.inside, "the first")
        stopping = asyncio.ensure_future(pool.stop())
        await settled(pool)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert (await run).state is CANCELLED
        assert pool.summary is not None


async def test_a_stream_outlived_by_its_pool_tells_so() -> None:
    """A stream whose pool stops gives what had ended and raises PoolNotRunning."""
    dock = Dock()
    async with open_pool() as pool:
        stream = pool.run_pipeline(dock.pipeline, ["a", "b", "c"])
        reading = asyncio.ensure_future(read(stream))
        await until(lambda: len(dock.inside) == 2, "two inside")
        dock.open.set()
        await pool.stop()
        with pytest.raises(PoolNotRunning):
            await reading
        assert await read(stream) == []
    assert not pool._listeners


async def test_a_stream_that_is_let_go_is_closed() -> None:
    """`break` out of a stream that nobody holds cancels what runs and what is queued, and the pool is left at once."""
    dock, taken = Dock(), 0

    def documents() -> Iterator[str]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield f"d{number}"

    async with open_pool(async_workers=4) as pool:
        quick = Stage("quick", lambda context: 1, executor="inline", condition=lambda c: c.document_id == "d0")
        held = Stage("held", dock.pipeline.stages[0].processor, condition=lambda c: c.document_id != "d0")
        async for result in pool.run_pipeline(Pipeline("p", [quick, held]), documents(), in_flight=5):
            assert result.document_id == "d0"
            break
        await until(lambda: counts(pool) == (0, 0) and not pool._driver.cuts, "the end of what was left")
        so_far = taken
        await settled(pool)
    assert taken == so_far < 100
    assert not pool._listeners
