"""`get_task_result`: each way it can end, and how long results are kept."""

from __future__ import annotations

import asyncio
import gc
import time
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from statistics import median
from typing import Any

import pytest
from longshore import (
    PoolNotRunning,
    ResultLimits,
    ResultNotReady,
    TaskCancelled,
    TaskNotFound,
    TaskState,
    TaskTimeout,
)

pytestmark = pytest.mark.anyio

Opener = Callable[..., Any]


class Broken(Exception):
    """An exception of the user's own."""


def same(value: object) -> object:
    return value


async def same_async(value: object) -> object:
    return value


def fail(_: object) -> None:
    raise Broken("the lid is broken", 7)


@pytest.mark.requirement("req:D11")
async def test_each_way_a_result_can_be_asked_for(open_pool: Opener, gate: Any) -> None:
    """The value, the task's own exception, not ready, timed out, cancelled and unknown are told apart."""
    kept = Broken("mine")

    async def raises(_: object) -> None:
        raise kept

    async with open_pool() as pool:
        (held,) = await gate.hold(pool)
        with pytest.raises(ResultNotReady, match="processing, and goes on") as early:
            await pool.get_task_result(held, timeout=0.01)
        assert isinstance(early.value, TimeoutError)
        assert not isinstance(early.value, TaskTimeout)
        for timeout in (0, -1):
            with pytest.raises(ResultNotReady):
                await pool.get_task_result(held, timeout)
        failing = await pool.submit_task("raises", None, raises)
        for _ in range(2):
            with pytest.raises(Broken) as caught:
                await pool.get_task_result(failing)
            assert caught.value is kept
        hanging = await pool.submit_task("sleep", 30, asyncio.sleep, timeout=0.02)
        with pytest.raises(TaskTimeout):
            await pool.get_task_result(hanging, timeout=10)
        waiting = await pool.submit_task("same", 1, same)
        pool.cancel(waiting)
        with pytest.raises(TaskCancelled):
            await pool.get_task_result(waiting)
        for unknown in ("nosuch", "", (await pool.submit(same_async, 1)).task_id):
            with pytest.raises(TaskNotFound, match="there is no task"):
                await pool.get_task_result(unknown)
        gate.set()
        assert await pool.get_task_result(held, timeout=10) == "held"
        assert await pool.get_task_result(held, timeout=0) == "held"


@pytest.mark.slow
@pytest.mark.requirement("req:D11")
async def test_reading_a_failure_often_keeps_no_reader_alive(open_pool: Opener) -> None:
    """However often a failure is read, and by whom, it has its own traceback and the newest reader's, and no more."""
    readers: list[weakref.ref[Broken]] = []

    async def reads(ask: Callable[[], Any]) -> int:
        mine = Broken("what a reader holds")
        readers.append(weakref.ref(mine))
        try:
            await ask()
        except Broken as caught:
            return len(traceback.extract_tb(caught.__traceback__))
        raise AssertionError("it was to fail")

    async with open_pool() as pool:
        by_id = await pool.submit_task("fail", None, fail)
        handle = await pool.submit(fail, None)
        outcome = await (await pool.submit(fail, None)).outcome()

        async def unwrap() -> Any:
            return outcome.unwrap()

        for ask in (lambda: pool.get_task_result(by_id), lambda: handle, unwrap):
            readers.clear()
            lengths = {await reads(ask) for _ in range(10)}
            gc.collect()
            assert len(lengths) == 1
            assert sum(reader() is not None for reader in readers) <= 1


@pytest.mark.requirement("req:D11")
async def test_several_may_wait_and_one_may_give_up(open_pool: Opener, gate: Any) -> None:
    """Each waiter gets the result; one that is cancelled takes nothing from the others, nor from the task."""
    async with open_pool() as pool:
        (held,) = await gate.hold(pool)
        waiters = [asyncio.create_task(pool.get_task_result(held)) for _ in range(5)]
        await asyncio.sleep(0)
        waiters[2].cancel()
        gate.set()
        given = await asyncio.gather(*waiters, return_exceptions=True)
    assert [value for value in given if value == "held"] == ["held"] * 4
    assert isinstance(given[2], asyncio.CancelledError)


@pytest.mark.requirement("req:D11")
async def test_who_waits_is_woken_by_the_end(open_pool: Opener) -> None:
    """The result is there within 2 ms of the function's return, as nothing looks for it from time to time."""

    async def now(_: object) -> float:
        await asyncio.sleep(0.003)
        return time.monotonic()

    async def usually_late_s(pool: Any) -> float:
        late: list[float] = []
        for _ in range(20):
            returned = await pool.get_task_result(await pool.submit_task("now", None, now))
            late.append(time.monotonic() - returned)
        return median(late)

    async with open_pool() as pool:
        give_up = time.monotonic() + 10
        while (late_s := await usually_late_s(pool)) >= 0.002:  # the machine may be busy with something else just then
            assert time.monotonic() < give_up, f"usually woken after {late_s} s"


@pytest.mark.requirement("req:D12")
async def test_more_than_a_thousand_results_stay_readable(open_pool: Opener) -> None:
    """Results that nobody has read are all there after 1500 tasks, also when the pool has stopped."""
    async with open_pool() as pool:
        ids = [await pool.submit_task("same", n, same_async) for n in range(1500)]
        assert await pool.wait_for_completion(20)
        assert [await pool.get_task_result(task_id) for task_id in ids[:750]] == list(range(750))
    assert [await pool.get_task_result(task_id) for task_id in ids[750:]] == list(range(750, 1500))


@pytest.mark.requirement("req:D12")
async def test_an_expired_result_says_so(open_pool: Opener) -> None:
    """Past its time or its bytes a result is gone, and whoever asks is told that it has expired."""
    async with open_pool(results=ResultLimits(max_mb=0.05)) as pool:
        ids = [await pool.submit_task("large", None, lambda _: "x" * 20_000) for _ in range(5)]
        assert await pool.wait_for_completion(20)
        assert len(await pool.get_task_result(ids[-1])) == 20_000
        for ask in (pool.get_task, pool.explain):
            with pytest.raises(TaskNotFound, match="expired"):
                ask(ids[0])
        for again in (pool.get_task_result, pool.retry_task):
            with pytest.raises(TaskNotFound, match="expired"):
                await again(ids[0])
        assert len(pool.tasks()) == 2


@pytest.mark.requirement("req:D12", "req:D13")
async def test_what_is_not_submitted_by_id_is_not_kept(open_pool: Opener) -> None:
    """Handles and streams hold their own results: the pool keeps nothing of them, and no live id at the end."""
    async with open_pool() as pool:
        assert await (await pool.submit(same, 1)) == 1
        assert [value async for value in pool.map(same, range(10))] == list(range(10))
        assert pool.tasks() == []
        ids = [await pool.submit_task("same", n, fail if n % 2 else same) for n in range(10)]
        assert await pool.wait_for_completion(20)
        assert len(pool.tasks()) == len(ids)
        assert pool._kept.live == {}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.requirement("req:D12")
async def test_a_million_results_hold_no_more_memory_than_they_may(open_pool: Opener) -> None:
    """Over a million tasks whose results nobody reads, memory stays within the bound and what the pool itself takes."""
    bound_mb = 20.0
    async with open_pool(results=ResultLimits(max_mb=bound_mb), deadline_s=280) as pool:

        async def many(count: int) -> float:
            for n in range(count):
                await pool.submit_task("same", n, same_async)
            assert await pool.wait_for_completion(60)
            return _resident_mb()

        before_mb = await many(50_000)
        after_mb = await many(950_000)
        assert after_mb - before_mb < bound_mb
        assert pool.get_stats().completed_tasks == 1_000_000


def _resident_mb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e6


async def test_results_of_a_pool_that_was_aborted(open_pool: Opener, gate: Any) -> None:
    """After a stop that cancels, waiters and those who ask later are told that the task was cancelled."""
    async with open_pool() as pool:
        (held,) = await gate.hold(pool)
        waiting = asyncio.create_task(pool.get_task_result(held))
        await asyncio.sleep(0)
        await pool.stop(0.0)
        for result in (waiting, pool.get_task_result(held)):
            with pytest.raises((TaskCancelled, PoolNotRunning)):
                await result
        assert pool.get_task(held).state in (TaskState.CANCELLED, TaskState.FAILED)


async def test_results_of_a_pool_that_has_failed(open_pool: Opener, gate: Any) -> None:
    """When the pool fails, those who wait and those who ask later are told why; what had ended is still there."""
    with suppress(PoolNotRunning):  # leaving the pool says so once more
        async with open_pool() as pool:
            before = await pool.submit_task("same", 1, same)
            await pool.get_task_result(before)
            (held,) = await gate.hold(pool)
            waiting = asyncio.create_task(pool.get_task_result(held))
            await asyncio.sleep(0)
            pool._driver.fail(RuntimeError("the quay is flooded"))
            for result in (waiting, pool.get_task_result(held)):
                with pytest.raises(PoolNotRunning, match="flooded"):
                    await result
            record = pool.get_task(held)
            assert (record.state, record.error, record.completed_at is None) == (TaskState.FAILED, None, False)
            assert await pool.get_task_result(before) == 1
            assert "flooded" in pool.health().reasons[0]
            gate.set()
