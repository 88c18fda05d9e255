"""Tasks that submit to their own pool and wait (fault:T6): helped as far as workers may be lent, then told."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from longshore import Outcome, Settings, TaskFailed, WorkerConfig, WorkerPool, current_task
from longshore.errors import PayloadError, WrongPlace

pytestmark = pytest.mark.anyio

DEADLINE_S = 30.0


@asynccontextmanager
async def small_pool(**config: Any) -> AsyncIterator[WorkerPool]:
    """A pool of one worker of each kind, whose end has a deadline."""
    workers = WorkerConfig(**{"async_workers": 1, "thread_workers": 1, **config})
    async with asyncio.timeout(DEADLINE_S):
        async with WorkerPool(workers, settings=Settings(probes=())) as pool:
            yield pool


@pytest.mark.parametrize("isolation", ["task", "shared"])
async def test_coroutines_that_wait_for_coroutines_of_their_pool_never_lock_it(isolation: str) -> None:
    """With one worker, a chain of twenty tasks that each submit the next and await it comes to its end."""

    async def depth(left: int) -> int:
        if not left:
            return 0
        return 1 + await (await pool.options(isolation=isolation).submit(depth, left - 1))

    async with small_pool() as pool:
        assert await (await pool.options(isolation=isolation).submit(depth, 20)) == 20
        assert len(pool.get_worker_stats()) == 2, "what was lent is given back"


@pytest.mark.parametrize("way", ["result", "exception", "wait", "as_completed"])
async def test_functions_in_threads_that_wait_for_their_pool_never_lock_it(way: str) -> None:
    """With one thread, a chain of ten goes through, however each waits for the future of the next."""

    def depth(left: int) -> int:
        if not left:
            return 0
        future = pool.submit_threadsafe(depth, left - 1)
        if way == "exception":
            assert future.exception() is None
        elif way == "wait":
            concurrent.futures.wait([future])
        elif way == "as_completed":
            assert list(concurrent.futures.as_completed([future])) == [future]
        return 1 + int(future.result())

    async with small_pool() as pool:
        assert await (await pool.submit(depth, 10)) == 10


async def test_a_tree_of_tasks_over_both_executors_comes_to_its_end() -> None:
    """Coroutines that await threads that wait for coroutines, three at a time, with one worker of each kind."""

    def leaf(level: int) -> int:
        return int(pool.submit_threadsafe(node, level - 1).result()) if level else 1

    async def node(level: int) -> int:
        return sum(await asyncio.gather(*[await pool.submit(leaf, level) for _ in range(3)]))

    async with small_pool() as pool:
        assert await (await pool.submit(node, 2)) == 27


async def test_a_stream_inside_a_task_lends_its_worker_too() -> None:
    """A task that maps over its own pool, and one that waits by the task's id, get their results with one worker."""

    async def double(number: int) -> int:
        return 2 * number

    async def total() -> int:
        return sum([value async for value in pool.map(double, range(50))])

    async def by_id() -> int:
        value: int = await pool.get_task_result(await pool.submit_task("double", 21, double))
        return value

    async with small_pool() as pool:
        assert await (await pool.submit(total)) == 2450
        assert await (await pool.submit(by_id)) == 42


async def test_waiting_for_room_in_the_queue_lends_the_worker_too() -> None:
    """A task that submits more than the queue takes does not wait for itself."""

    async def one(number: int) -> int:
        return number

    async def many() -> int:
        handles = [await pool.submit(one, number) for number in range(40)]
        return sum([await handle for handle in handles])

    async with small_pool(max_queue_size=10) as pool:
        assert await (await pool.submit(many)) == 780


async def test_no_more_run_at_once_than_there_are_workers() -> None:
    """Lent workers stand in for those whose tasks wait: of what these wait for no more run than before, but for one.

    For a moment: the worker that stood in for a task whose wait has just ended may be at another one by then.
    """
    running, most = 0, 0
    lock = threading.Lock()

    def child() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1

    def parent() -> None:
        for future in [pool.submit_threadsafe(child) for _ in range(6)]:
            future.result()

    async with small_pool(thread_workers=2) as pool:
        handles = [await pool.submit(parent) for _ in range(4)]
        for handle in handles:
            await handle
    assert most <= 3


@pytest.mark.slow
async def test_what_can_never_go_on_is_told_to_the_task_that_waits() -> None:
    """A task of which one may run at once, and that waits for another of its kind, gets an error that says so."""

    async def again(left: int) -> int:
        return 1 if not left else await (await only_one.submit(again, left - 1))

    def threaded(left: int) -> int:
        return 1 if not left else int(only_one.submit_threadsafe(threaded, left - 1).result())

    async with small_pool() as pool:
        only_one = pool.options(concurrent_limit=1)
        for function in (again, threaded):
            outcome: Outcome = await (await only_one.submit(function, 1)).outcome()
            assert isinstance(outcome.exception, WrongPlace)
            assert "at most 1 of" in str(outcome.exception)
            assert await pool.wait_for_completion(DEADLINE_S), "what it waited for is run all the same"


async def test_a_task_cannot_wait_for_the_completion_of_its_pool() -> None:
    """That would wait for the task itself, and is refused as a stop is."""

    async def wait() -> bool:
        return await pool.wait_for_completion()

    async with small_pool() as pool:
        with pytest.raises(WrongPlace, match="cannot wait for the completion"):
            await (await pool.submit(wait))


async def test_a_pool_cannot_be_sent_to_a_process() -> None:
    """A task in a process has no way to its pool, and giving it one says so."""
    async with small_pool() as pool:
        handle = await pool.options(executor="processes").submit(repr, pool)
        outcome = await handle.outcome()
    assert isinstance(outcome.exception, PayloadError)
    assert "a pool cannot be sent to another process" in str(outcome.exception)


async def test_others_may_wait_without_lending_anything() -> None:
    """A coroutine that is no task of the pool waits as it always did, also for a task that fails."""

    async def fails() -> None:
        raise KeyError(current_task().name)

    async with small_pool() as pool:
        handle = await pool.submit(fails)
        with pytest.raises((KeyError, TaskFailed)):
            await handle
        assert not pool._driver.engine._nested.used


@pytest.mark.parametrize("executor", ["asyncio", "threads"])
async def test_a_pool_stops_while_its_tasks_wait_for_each_other(executor: str) -> None:
    """A stop without time cancels the whole chain, and a resize meanwhile neither loses nor lends for ever."""

    async def chain(left: int) -> int:
        return await (await pool.submit(chain if left else asyncio.sleep, left - 1 if left else DEADLINE_S))

    def threaded(left: int) -> int:
        future = pool.submit_threadsafe(threaded, left - 1) if left else pool.submit_threadsafe(asyncio.sleep, 60)
        return int(future.result())

    async with small_pool() as pool:
        handle = await pool.submit(chain if executor == "asyncio" else threaded, 5)
        while len([row for row in pool.get_worker_stats() if row.current_task]) < 6:
            await asyncio.sleep(0.002)
        pool.resize(executor, 2)
        while pool._driver.engine.slots()[executor] < 7:
            await asyncio.sleep(0.002)
        summary = await pool.stop(0.0)
        assert summary is not None
        assert summary.snapshot.running == 0
        assert (await handle.outcome()).state.value == "cancelled"


async def test_a_closed_stream_and_a_cancelled_future_end_their_waits() -> None:
    """Whoever stops waiting, for whatever reason, gives the worker back."""

    async def closes() -> str:
        async with pool.outcomes(asyncio.sleep, [DEADLINE_S]) as stream:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await anext(aiter(stream))
        return "closed"

    def gives_up() -> str:
        future = pool.submit_threadsafe(asyncio.sleep, DEADLINE_S)
        with pytest.raises(TimeoutError):
            future.result(0.02)
        assert future.cancel()
        return "gave up"

    async with small_pool() as pool:
        assert await (await pool.submit(closes)) == "closed"
        assert await (await pool.submit(gives_up)) == "gave up"
        assert await pool.wait_for_completion(DEADLINE_S)
        while len(pool.get_worker_stats()) > 2:
            await asyncio.sleep(0.002)
