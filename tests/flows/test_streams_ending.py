"""How a stream ends: by a failure of a task or of its items, or by its consumer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from longshore import Outcome, WorkerPool
from support.streams import Counting, Gate, all_of, call, collect, double, make_pool
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]

DEADLINE_S = 20.0
BOUND = 10_000
"""No more than this is pulled ahead of a consumer, whatever the tasks do: two of the widest windows, and some."""


# ---- failures


async def test_map_raises_the_first_failure_and_cancels_the_rest() -> None:
    """`map` raises the first failure in input order, unchanged; what still runs or waits of it is cancelled."""
    gate = Gate()
    mine = ZeroDivisionError("the first")

    async def fails_at_1(number: int) -> int:
        if number == 1:
            await until(lambda: gate.inside, "another one to run")
            raise mine
        return number if number == 0 else await gate(number)

    async def read(pool: WorkerPool) -> None:
        async with pool.map(fails_at_1, range(10_000)) as stream:
            await collect(stream, given)

    given: list[int] = []
    async with make_pool() as pool:
        with pytest.raises(ZeroDivisionError) as raised:
            await read(pool)
        assert raised.value is mine
        assert given == [0]
        assert await pool.wait_for_completion(5)
        assert gate.cancelled == gate.inside
        assert await call(pool, double, 3) == 6


async def test_a_map_without_a_context_cancels_the_rest_too() -> None:
    """The failure that ends a map cancels what is left of it, with no `async with` around it."""
    gate = Gate()

    async def fails_at_0(number: int) -> int:
        if number == 0:
            await until(lambda: gate.inside, "another one to run")
            raise ZeroDivisionError
        return await gate(number)

    async with make_pool() as pool:
        with pytest.raises(ZeroDivisionError):
            await all_of(pool.map(fails_at_0, range(1000)))
        assert await pool.wait_for_completion(5)
        assert gate.cancelled == gate.inside


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_source_that_raises_part_way(asynchronous: bool, ordered: bool) -> None:
    """Everything before the point where the items raise is given, then exactly that exception reaches the consumer."""
    source = Counting(10_000, raises_at=777)
    items = source.later() if asynchronous else source
    given: list[Outcome] = []
    async with make_pool() as pool:
        with pytest.raises(LookupError, match="broke at 777"):
            await collect(pool.outcomes(double, items, ordered=ordered), given)
        assert await call(pool, double, 3) == 6
    assert sorted(outcome.index for outcome in given) == list(range(777))


async def test_a_source_that_raises_at_once() -> None:
    """Items that raise before the first one give nothing but their exception; also in a map."""
    async with make_pool() as pool:
        with pytest.raises(LookupError, match="broke at 0"):
            [value async for value in pool.map(double, Counting(10, raises_at=0))]
        with pytest.raises(LookupError, match="broke at 0"):
            [batch async for batch in pool.outcomes(double, Counting(10, raises_at=0).later()).batches()]


# ---- ending early


@pytest.mark.parametrize("how", ["close", "aclose", "context", "cancelled"])
async def test_ending_a_stream_cancels_what_is_left(how: str) -> None:
    """Closed, left, or its consumer cancelled: what runs of a stream is cancelled, and what waits never runs."""
    gate = Gate()

    async def consume() -> None:
        async with pool.outcomes(gate, range(10_000)) as stream:
            waiting = asyncio.ensure_future(anext(stream))
            await until(lambda: len(gate.inside) == 4, "four tasks to run")
            if how == "cancelled":
                stopping.set()
            elif how == "close":
                stream.close()
            elif how == "aclose":
                await stream.aclose()
            if how == "context":
                waiting.cancel()
                return
            with pytest.raises(StopAsyncIteration):
                await waiting

    stopping = asyncio.Event()
    async with make_pool() as pool:
        consumer = asyncio.ensure_future(consume())
        if how == "cancelled":
            await stopping.wait()
            consumer.cancel()
        await asyncio.wait([consumer], timeout=10)
        assert consumer.cancelled() if how == "cancelled" else consumer.result() is None
        assert await pool.wait_for_completion(5)
        assert gate.cancelled == gate.inside
        assert len(gate.inside) == 4
        assert pool.get_stats().running_tasks == pool.get_stats().queued_tasks == 0
        assert await call(pool, double, 3) == 6


async def test_closing_twice_and_iterating_after_it_is_harmless() -> None:
    """A closed stream may be closed again, and gives nothing more."""
    async with make_pool() as pool:
        stream = pool.outcomes(double, range(1000))
        assert (await anext(stream)).ok
        stream.close()
        stream.close()
        assert [outcome async for outcome in stream] == []


async def test_closing_a_batch_iterator_closes_the_stream() -> None:
    """Closing what `batches` gives cancels what is left."""
    gate = Gate()

    async def first_free(number: int) -> int:
        return number if number == 0 else await gate(number)

    async with make_pool() as pool:
        iterator: Any = pool.outcomes(first_free, range(1000)).batches()
        async with aclosing(iterator) as batches:
            assert [outcome.index for outcome in await anext(batches)] == [0]
            await until(lambda: gate.inside, "others to run")
        assert await pool.wait_for_completion(5)
        assert gate.cancelled == gate.inside


async def test_an_async_source_is_closed_with_its_stream() -> None:
    """Closing a stream ends an async generator it pulls from: its `finally` runs, and not only once it is collected."""
    ended = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        try:
            for number in itertools.count():
                yield number
        finally:
            ended.set()

    async with make_pool() as pool:
        items = source()
        async with pool.outcomes(double, items) as stream:
            assert (await anext(stream)).ok
        async with asyncio.timeout(5):
            await ended.wait()


async def test_an_abandoned_stream_does_not_hang_the_pool() -> None:
    """A stream that was left by `break` and kept, never closed, keeps nobody from stopping."""
    source = Counting(100_000)
    pool = make_pool()
    await pool.start()
    stream = pool.outcomes(double, source)
    async for outcome in stream:
        assert outcome.ok
        break
    async with asyncio.timeout(10):
        summary = await pool.stop()
    assert summary is not None
    assert source.pulled <= 2 * BOUND


async def test_an_abandoned_stream_does_not_hold_up_another() -> None:
    """A stream that nobody reads any more takes no room from one that is read."""
    async with make_pool(max_queue_size=10) as pool:
        left = pool.outcomes(double, range(100_000))
        async for _ in left:
            break
        given = [outcome.value async for outcome in pool.outcomes(double, range(2000), ordered=True)]
        assert given == [number * 2 for number in range(2000)]
        left.close()
