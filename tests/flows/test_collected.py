"""Nothing vanishes while it runs (fault:T4): with the collector at work all the time, each submission has its end."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from longshore import Outcome, RetryPolicy, Settings, TaskState, WorkerConfig, WorkerPool

pytestmark = pytest.mark.anyio

DEADLINE_S = 40.0
TASKS = 60


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    """Collect garbage without end, from a thread beside the loop."""
    over = threading.Event()

    def collect() -> None:
        while not over.wait(0.001):
            gc.collect()

    thread = threading.Thread(target=collect)
    thread.start()
    yield
    over.set()
    thread.join(DEADLINE_S)


@asynccontextmanager
async def pool_of() -> AsyncIterator[WorkerPool]:
    async with asyncio.timeout(DEADLINE_S):
        workers = WorkerConfig(async_workers=4, thread_workers=2)
        async with WorkerPool(workers, settings=Settings(probes=())) as pool:
            yield pool


async def awaits_what_nobody_holds(number: int) -> int:
    """Wait for a future that only a timer refers to, in a task that only the loop refers to, weakly."""
    loop = asyncio.get_running_loop()

    async def inner() -> int:
        future: asyncio.Future[int] = loop.create_future()
        loop.call_later(0.001, future.set_result, number)
        return await future

    return await loop.create_task(inner())


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["task", "shared"])
async def test_every_coroutine_has_its_end_while_garbage_is_collected(isolation: str) -> None:
    """As many complete as were submitted, by stream and one by one, with handles that nobody keeps."""
    ended: list[int] = []
    async with pool_of() as pool:
        shared = pool.options(isolation=isolation)
        outcomes: list[Outcome] = [o async for o in shared.outcomes(awaits_what_nobody_holds, range(TASKS))]
        assert sorted(outcome.value for outcome in outcomes) == list(range(TASKS))

        async def note(number: int) -> None:
            ended.append(await awaits_what_nobody_holds(number))

        for number in range(TASKS):
            await shared.submit(note, number)
        assert await pool.wait_for_completion(DEADLINE_S)
    assert sorted(ended) == list(range(TASKS))


@pytest.mark.long
@pytest.mark.slow
async def test_futures_of_other_threads_come_while_garbage_is_collected() -> None:
    """What `submit_threadsafe` began on the loop is not lost, though only its future is held."""
    async with pool_of() as pool:

        def ask() -> list[int]:
            futures = [pool.submit_threadsafe(awaits_what_nobody_holds, number) for number in range(TASKS)]
            return [future.result(DEADLINE_S) for future in futures]

        assert await asyncio.to_thread(ask) == list(range(TASKS))


@pytest.mark.slow
async def test_timeouts_retries_and_cancels_come_to_their_ends_while_garbage_is_collected() -> None:
    """Nothing that is timed out, tried again or cancelled is lost."""
    async with pool_of() as pool:
        hanging = pool.options(timeout=0.02, retry=RetryPolicy(attempts=2, backoff=0.0))
        handles = [await hanging.submit(asyncio.sleep, DEADLINE_S) for _ in range(10)]
        cancelled = [await pool.submit(asyncio.sleep, DEADLINE_S) for _ in range(10)]
        for handle in cancelled:
            handle.cancel()
        assert {(await handle.outcome()).state for handle in handles} == {TaskState.TIMED_OUT}
        assert {(await handle.outcome()).state for handle in cancelled} == {TaskState.CANCELLED}
