"""What is called at a task's end and misbehaves (fault:T7): it is reported, and the pool goes on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from longshore import Settings, WorkerPool
from longshore.events import AnyEvent

pytestmark = pytest.mark.anyio

DEADLINE_S = 30.0


@asynccontextmanager
async def pool_of(**options: Any) -> AsyncIterator[WorkerPool]:
    async with asyncio.timeout(DEADLINE_S):
        async with WorkerPool(settings=Settings(probes=()), **options) as pool:
            yield pool


def value(number: int) -> int:
    return number


def exits(*_: object) -> None:
    sys.exit(3)


def raises(*_: object) -> None:
    raise ValueError("of a callback")


@pytest.mark.parametrize("callback", [exits, raises])
async def test_a_callback_of_a_future_that_exits_or_raises_is_logged(
    callback: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It runs on the pool's loop, which goes on; the next callbacks are called, and the log names what raised."""
    called = threading.Event()
    async with pool_of() as pool:

        def ask() -> int:
            future = pool.submit_threadsafe(value, 1)
            future.add_done_callback(callback)
            future.add_done_callback(lambda _: called.set())
            return int(future.result(DEADLINE_S))

        assert await asyncio.to_thread(ask) == 1
        assert await asyncio.to_thread(called.wait, DEADLINE_S)
        assert await (await pool.submit(value, 2)) == 2
    assert callback.__name__ in caplog.text


async def test_a_callback_of_a_future_may_submit() -> None:
    """On the pool's own loop it can submit without waiting, also from another thread's future."""
    more: concurrent.futures.Future[int] = concurrent.futures.Future()
    async with pool_of() as pool:

        def again(_: object) -> None:
            pool.submit_threadsafe(value, 5).add_done_callback(lambda done: more.set_result(done.result()))

        future = pool.submit_threadsafe(value, 1)
        future.add_done_callback(again)
        assert await asyncio.wrap_future(more) == 5


@pytest.mark.parametrize("handler", [exits, raises])
async def test_a_handler_of_events_that_exits_or_raises_costs_the_pool_nothing(
    handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Every task ends as it would have, and health says that a handler raised."""
    caplog.set_level(logging.CRITICAL)
    async with pool_of() as pool:
        pool.events.subscribe(handler, ["task_completed"])
        assert [number async for number in pool.map(value, range(20))] == list(range(20))
        assert await (await pool.submit(value, 7)) == 7
        while pool.events.is_healthy():  # it is told beside the pool
            await asyncio.sleep(0.005)


async def test_a_handler_of_events_may_submit() -> None:
    """A task that follows from another's end is a task like any other."""
    followed: list[int] = []
    async with pool_of() as pool:

        async def follow(event: AnyEvent) -> None:
            if event.data.get("name") == "first":
                followed.append(await (await pool.submit(value, 9)))

        pool.events.subscribe(follow, ["task_completed"])
        await (await pool.options(name="first").submit(value, 1))
        async with asyncio.timeout(DEADLINE_S):
            while not followed:
                await asyncio.sleep(0.005)
    assert followed == [9]
