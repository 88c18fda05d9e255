"""What becomes of a stream that nobody closes: letting go of it is enough."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from longshore import Pipeline, ProcessorContext, Settings, Stage, WorkerConfig, WorkerPool
from support.waiting import until

pytestmark = pytest.mark.anyio

DEADLINE_S = 20.0


@asynccontextmanager
async def open_pool() -> AsyncIterator[WorkerPool]:
    """A pool that nothing of the user's settings plays into, with a deadline over all that happens in it."""
    settings = Settings(probes=(), workers=WorkerConfig(async_workers=4))
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=settings) as pool:
        yield pool


class Result:
    """A result that can be told to be gone."""


class Work:
    """Gives `free` results, then holds; knows its results, by reference only, and who was cancelled."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.results: weakref.WeakSet[Result] = weakref.WeakSet()
        self.inside = self.cancelled = 0

    async def __call__(self, _: object) -> Result:
        if self.free > 0:
            self.free -= 1
            result = Result()
            self.results.add(result)
            return result
        self.inside += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError("let through")

    @property
    def all_gone(self) -> bool:
        """Whether no result is left, and all that ran was cancelled."""
        gc.collect()
        return not self.results and self.inside == self.cancelled > 0


def counts(pool: WorkerPool) -> tuple[int, int]:
    """Return how many tasks wait and how many run."""
    stats = pool.get_stats()
    return stats.queued_tasks, stats.running_tasks


async def at_rest(pool: WorkerPool, work: Work) -> None:
    """The pool runs on with nothing of the work left, and takes more of it."""
    await until(lambda: work.all_gone, "results to be freed and tasks to be cancelled")
    await until(lambda: counts(pool) == (0, 0), "the pool to have nothing left of it")
    assert await (await pool.submit(abs, -3)) == 3


def opened(pool: WorkerPool, how: str, work: Work) -> Any:
    """Return a stream of much work."""
    if how == "pipeline":

        async def stage(context: ProcessorContext) -> Result:
            return await work(context)

        return pool.run_pipeline(Pipeline("p", [Stage("a", stage)]), (f"d{n}" for n in range(100_000)))
    return pool.map(work, range(100_000)) if how == "map" else pool.outcomes(work, range(100_000))


KINDS = pytest.mark.parametrize("how", ["map", "outcomes", "pipeline"])


@pytest.mark.slow
@KINDS
async def test_a_loop_that_is_left_cancels_the_rest(how: str) -> None:
    """`break` out of a stream without a name frees its results and cancels its tasks, while the pool runs on."""
    work = Work(free=20)
    async with open_pool() as pool:
        async for _ in opened(pool, how, work):
            await until(lambda: work.inside == 4, "tasks to hold")
            break
        del _
        await at_rest(pool, work)


@pytest.mark.slow
@KINDS
async def test_a_consumer_that_runs_out_of_time_cancels_the_rest(how: str) -> None:
    """A time limit around the loop ends the tasks of the stream too, though it was waiting for the next result."""
    work = Work(free=20)

    async def consume(pool: WorkerPool) -> None:
        async with asyncio.timeout(DEADLINE_S) as limit:
            ending = asyncio.ensure_future(end(limit))
            async for _ in opened(pool, how, work):
                pass
        await ending

    async def end(limit: asyncio.Timeout) -> None:
        await until(lambda: work.inside == 4, "tasks to hold")
        limit.reschedule(0)

    async with open_pool() as pool:
        with pytest.raises(TimeoutError) as raised:
            await consume(pool)
        del raised
        await at_rest(pool, work)


@pytest.mark.slow
@KINDS
async def test_a_stream_that_is_held_goes_on_after_its_consumer_was_cancelled(how: str) -> None:
    """Who still holds a stream may go on with it: cancelled while it waits, its consumer has taken nothing away."""
    work = Work(free=1)
    async with open_pool() as pool:
        stream = opened(pool, how, work)
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await until(lambda: work.inside == 4, "tasks to hold")
        waiting.cancel()
        await asyncio.wait([waiting])
        gc.collect()
        await asyncio.sleep(0)
        assert (work.inside, work.cancelled) == (4, 0)
        del stream, waiting
        await at_rest(pool, work)


@pytest.mark.slow
@KINDS
async def test_a_stream_may_be_let_go_of_in_any_thread(how: str) -> None:
    """Wherever the last reference goes, the stream is closed on its pool's loop."""
    work = Work(free=1)
    async with open_pool() as pool:
        held = [opened(pool, how, work)]
        await anext(held[0])
        await until(lambda: work.inside == 4, "tasks to hold")
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join(DEADLINE_S)
        await at_rest(pool, work)


@pytest.mark.slow
@KINDS
def test_letting_go_after_the_pool_has_stopped_is_harmless(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that outlives its pool and the loop ends without a word."""

    async def leave() -> Any:
        pool = WorkerPool(settings=Settings(probes=(), workers=WorkerConfig(async_workers=4)))
        await pool.start()
        stream = opened(pool, how, Work(free=1))
        await anext(stream)
        await pool.stop(timeout=0)
        return [stream]

    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    left = asyncio.run(leave())
    left.clear()
    gc.collect()
    assert not complaints


FORSAKEN = """
import asyncio, gc
from longshore import Pipeline, Settings, Stage, WorkerConfig, WorkerPool

async def work(given):
    if given not in (0, "d0") and getattr(given, "document_id", "") != "d0":
        await asyncio.Event().wait()

async def leave():
    pool = WorkerPool(settings=Settings(probes=(), workers=WorkerConfig(async_workers=30)))
    await pool.start()
    pipeline = Pipeline("p", [Stage("a", work)])
    streams = [pool.map(work, range(9)), pool.run_pipeline(pipeline, [f"d{n}" for n in range(9)])]
    for stream in streams:
        await anext(stream)
    return pool, streams

pool, streams = asyncio.run(leave())
kept = streams.pop()
streams.clear()
gc.collect()
kept = None
gc.collect()
print("quiet")
"""


@pytest.mark.slow
def test_letting_go_after_the_loop_has_closed_is_harmless() -> None:
    """Nor does a stream complain whose pool was never stopped, and whose loop is closed; in a process of its own."""
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", FORSAKEN]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "quiet\n", "")
