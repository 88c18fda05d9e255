"""Streams that share a pool, and streams whose pool ends under them."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from longshore import Outcome, PoolNotRunning, TaskState
from support.streams import Counting, Gate, all_of, call, collect, double, make_pool
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]

DEADLINE_S = 20.0


async def _take(stream: AsyncIterator[Any], count: int) -> None:
    for _ in range(count):
        await anext(stream)


# ---- together


@pytest.mark.slow
async def test_two_streams_both_progress() -> None:
    """Of two streams at once, neither waits for the other to end: both keep giving in turns."""
    given: list[str] = []

    async def step(_: int) -> None:
        await asyncio.sleep(0)

    async def consume(name: str, count: int) -> None:
        async for _ in pool.outcomes(step, range(count)):
            given.append(name)

    async with make_pool() as pool:
        await asyncio.gather(consume("a", 12_000), consume("b", 12_000))
    assert given.count("a") == given.count("b") == 12_000
    half = given[:12_000]
    assert 1000 <= half.count("a") <= 11_000


@pytest.mark.slow
async def test_a_long_stream_does_not_starve_a_short_one() -> None:
    """A stream that comes while an endless one runs ends long before it."""
    async with make_pool() as pool:
        async with pool.outcomes(double, itertools.count()) as endless:
            for _ in range(1000):
                await anext(endless)
            short = asyncio.ensure_future(all_of(pool.outcomes(double, range(1000))))
            taken = 0
            async for _ in endless:
                taken += 1
                if short.done():
                    break
                assert taken < 50_000, "the short stream was starved"
        assert len(await short) == 1000


@pytest.mark.slow
async def test_handles_and_streams_share_the_pool() -> None:
    """A task submitted by itself is not held up by an endless stream."""
    async with make_pool() as pool, pool.outcomes(double, itertools.count()) as endless:
        reading = asyncio.ensure_future(_take(endless, 1_000_000))
        async with asyncio.timeout(5):
            for number in range(20):
                assert await call(pool, double, number) == number * 2
        reading.cancel()


# ---- and the pool's end


async def test_the_pool_stops_while_a_stream_is_iterated() -> None:
    """What was accepted is given to the end; then the stream says that the pool takes no more."""
    gate = Gate()
    pool = make_pool()
    await pool.start()
    given: list[Outcome] = []

    consumer = asyncio.ensure_future(collect(pool.outcomes(gate, itertools.count()), given))
    await until(lambda: len(gate.inside) == 4, "four tasks to run")
    stopping = asyncio.ensure_future(pool.stop())
    await asyncio.sleep(0)
    gate.open.set()
    async with asyncio.timeout(10):
        summary = await stopping
        with pytest.raises(PoolNotRunning):
            await consumer
    assert summary is not None
    assert summary.state == "completed"
    counts = summary.snapshot
    assert counts.submitted == counts.completed == len(given) >= 4
    assert all(outcome.ok for outcome in given)


async def test_the_pool_is_stopped_at_once_while_a_stream_is_iterated() -> None:
    """Stopped without patience, a pool cancels what the stream has under way, and its consumer does not hang."""
    gate = Gate()
    pool = make_pool()
    await pool.start()
    given: list[Outcome] = []

    consumer = asyncio.ensure_future(collect(pool.outcomes(gate, itertools.count()), given))
    await until(lambda: len(gate.inside) == 4, "four tasks to run")
    async with asyncio.timeout(10):
        summary = await pool.stop(0.0)
        with pytest.raises(PoolNotRunning):
            await consumer
    assert summary is not None
    assert summary.state == "stopped"
    assert all(outcome.state is TaskState.CANCELLED for outcome in given)
    assert gate.cancelled == gate.inside


async def test_a_finite_stream_is_served_to_its_end_on_leaving() -> None:
    """A stream whose items are all accepted is given whole, though the pool stops meanwhile."""
    gate = Gate()
    pool = make_pool()
    await pool.start()
    consumer = asyncio.ensure_future(all_of(pool.outcomes(gate, range(20))))
    await until(lambda: len(gate.inside) == 4, "four tasks to run")
    stopping = asyncio.ensure_future(pool.stop())
    await asyncio.sleep(0)
    gate.open.set()
    async with asyncio.timeout(10):
        await stopping
        assert sorted(outcome.index for outcome in await consumer) == list(range(20))


@pytest.mark.parametrize("use", ["outcomes", "map", "starmap"])
async def test_a_stopped_pool_gives_no_stream(use: str) -> None:
    """After the pool's end, and before its start, every kind of stream raises PoolNotRunning."""
    pool = make_pool()
    with pytest.raises(PoolNotRunning):
        await all_of(getattr(pool, use)(double, [(1,)]))
    await pool.start()
    await pool.stop()
    with pytest.raises(PoolNotRunning):
        await all_of(getattr(pool, use)(double, [(1,)]))


async def test_a_stream_first_iterated_after_the_end() -> None:
    """A stream made while the pool ran and first iterated after its end raises PoolNotRunning, and pulls nothing."""
    source = Counting(10)
    pool = make_pool()
    await pool.start()
    stream = pool.outcomes(double, source)
    await pool.stop()
    async with asyncio.timeout(5):
        with pytest.raises(PoolNotRunning):
            await anext(stream)
    assert source.pulled == 0


async def test_a_stream_goes_on_after_its_pool_ended() -> None:
    """A half-read stream of a pool that is over gives what had ended, or says that the pool is over; it never hangs."""
    pool = make_pool()
    await pool.start()
    given: list[Outcome] = []
    stream = pool.outcomes(double, range(100_000))
    assert (await anext(stream)).ok
    await pool.stop()
    async with asyncio.timeout(5):
        with pytest.raises(PoolNotRunning):
            await collect(stream, given)
    assert all(outcome.ok for outcome in given)


async def test_an_exception_out_of_the_block_cancels_streams() -> None:
    """An exception that leaves the pool's block ends its streams with it, at once."""
    gate = Gate()
    consumers = []

    async def block() -> None:
        async with asyncio.timeout(10), make_pool() as pool:
            consumers.append(asyncio.ensure_future(all_of(pool.outcomes(gate, itertools.count()))))
            await until(lambda: len(gate.inside) == 4, "four tasks to run")
            raise KeyError

    with pytest.raises(KeyError):
        await block()
    with pytest.raises(PoolNotRunning):
        await asyncio.wait_for(consumers[0], 5)
    assert gate.cancelled == gate.inside


@pytest.mark.slow
async def test_a_read_stream_leaves_nothing_behind() -> None:
    """A thousand streams that ended leave no trace in the pool: neither arguments nor results are kept."""

    class Argument:
        pass

    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, Argument) for thing in gc.get_objects())

    async def give_back(argument: Argument) -> Argument:
        return argument

    async with make_pool() as pool:
        for _ in range(100):
            assert len(await all_of(pool.outcomes(give_back, [Argument() for _ in range(10)]))) == 10
        assert alive() <= 20
