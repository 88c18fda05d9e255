"""From where a pool may be called: its own loop; what is called from elsewhere, or from within, is refused at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from longshore import ResourceLimits, Settings, WorkerConfig, WorkerPool, WrongPlace
from longshore.errors import LongshoreError

pytestmark = pytest.mark.lifecycle

DEADLINE_S = 20.0


def pool_of() -> WorkerPool:
    return WorkerPool(
        settings=Settings(probes=(), workers=WorkerConfig(async_workers=2, thread_workers=1), limits=ResourceLimits())
    )


def same(value: object) -> object:
    return value


async def elsewhere(call: Callable[[], Coroutine[Any, Any, object]]) -> BaseException | None:
    """Run a coroutine on a loop of a thread's own; return what it raises."""

    def run() -> BaseException | None:
        try:
            asyncio.run(asyncio.wait_for(call(), DEADLINE_S / 2))
        except BaseException as error:
            return error
        return None

    return await asyncio.to_thread(run)


@pytest.mark.anyio
async def test_what_would_wait_on_another_loop_is_refused() -> None:
    """Every call that waits is refused on a loop of another thread, naming what helps, and the pool goes on."""
    gate = threading.Event()
    async with asyncio.timeout(DEADLINE_S), pool_of() as pool:
        try:
            held = await pool.submit_task("held", None, lambda _: gate.wait(DEADLINE_S))
            calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
                lambda: pool.stop(1),
                pool.start,
                lambda: pool.get_task_result(held),
                pool.wait_for_completion,
                lambda: pool.submit(same, 1),
                lambda: pool.submit_task("same", 1, same),
            ]
            refused = [await elsewhere(call) for call in calls]
        finally:
            gate.set()
        for error in refused:
            assert isinstance(error, WrongPlace), refused
            assert isinstance(error, LongshoreError)
            assert isinstance(error, RuntimeError)
            assert "submit_threadsafe" in str(error)
            assert "run_coroutine_threadsafe" in str(error)
        assert await pool.get_task_result(held) is True
        assert await elsewhere(lambda: pool.get_task_result(held)) is None
        assert await asyncio.to_thread(lambda: pool.submit_threadsafe(same, 2).result(DEADLINE_S)) == 2
        assert await (await pool.submit(same, 3)) == 3


def test_a_pool_whose_loop_was_closed_is_started_anew() -> None:
    """Left running when its loop closed, it refuses what is called, and after a start on another loop it works."""
    pool = pool_of()

    async def leave_open() -> str:
        await pool.start()
        assert await (await pool.submit(same, 1)) == 1
        return await pool.submit_task("same", 1, same)

    async def go_on() -> int:
        for call in (lambda: pool.submit(same, 2), lambda: pool.stop(1)):
            with pytest.raises(WrongPlace, match="start the pool anew"):
                await call()
        first = pool.run_id
        await pool.start()
        assert pool.run_id != first
        result = await (await pool.submit(same, 2))
        await pool.stop()
        return int(result)

    before = set(threading.enumerate())
    asyncio.run(leave_open())
    assert asyncio.run(go_on()) == 2
    assert set(threading.enumerate()) <= before


@pytest.mark.anyio
async def test_a_task_cannot_stop_its_own_pool() -> None:
    """In a coroutine and in a thread, a stop of the pool that runs it is refused at once, saying so; work goes on."""
    async with asyncio.timeout(DEADLINE_S), pool_of() as pool:

        async def stops(timeout_s: float | None) -> None:
            await pool.stop(timeout_s)

        def stops_in_a_thread(timeout_s: float | None) -> None:
            asyncio.run_coroutine_threadsafe(pool.stop(timeout_s), pool.loop).result(DEADLINE_S)

        for function in (stops, stops_in_a_thread):
            for timeout_s in (None, 0.0):
                with pytest.raises(WrongPlace, match="cannot stop the pool that runs it"):
                    await (await pool.submit(function, timeout_s))
        assert await (await pool.submit(same, 3)) == 3
    assert pool.summary is not None
    assert pool.summary.state == "completed"


@pytest.mark.anyio
async def test_a_task_may_stop_another_pool() -> None:
    """What a task may not do to its own pool it may do to one that it has started itself."""

    async def uses_another() -> object:
        async with pool_of() as inner:
            return await (await inner.submit(same, 4))

    async with asyncio.timeout(DEADLINE_S), pool_of() as pool:
        assert await (await pool.submit(uses_another)) == 4
