"""Streams: many calls of one function, pulled lazily and given back, each once, in bounds."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
from collections.abc import AsyncIterator

import pytest
from longshore import RetryPolicy, Settings, TaskState, WorkerConfig, WorkerPool
from support.streams import Counting, Gate, call, collect, double, make_pool
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]

DEADLINE_S = 20.0
BOUND = 10_000
"""No more than this is pulled ahead of a consumer, whatever the tasks do: two of the widest windows, and some."""


# ---- what is given


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_each_item_has_one_outcome(asynchronous: bool) -> None:
    """`outcomes` gives one Outcome per item, each with its index and value, over plain and async iterables."""
    source = Counting(3000)
    async with make_pool() as pool:
        items = source.later() if asynchronous else source
        given = [outcome async for outcome in pool.outcomes(double, items)]
    assert sorted(outcome.index for outcome in given) == list(range(3000))
    assert all(outcome.ok and outcome.value == outcome.index * 2 for outcome in given)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_map_gives_results_in_input_order(asynchronous: bool) -> None:
    """`map` gives the results in the order of the input, whatever the order the tasks end in."""

    async def uneven(number: int) -> int:
        for _ in range(number * 7 % 5):
            await asyncio.sleep(0)
        return -number

    source = Counting(500)
    async with make_pool() as pool:
        given = [value async for value in pool.map(uneven, source.later() if asynchronous else source)]
    assert given == [-number for number in range(500)]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_starmap_spreads_each_item(asynchronous: bool) -> None:
    """`starmap` calls with all arguments an item holds."""

    def add(left: int, right: int) -> int:
        return left + right

    pairs = [(number, 1) for number in range(200)]

    async def later() -> AsyncIterator[tuple[int, int]]:
        for pair in pairs:
            yield pair

    async with make_pool() as pool:
        given = [value async for value in pool.starmap(add, later() if asynchronous else pairs)]
    assert given == list(range(1, 201))


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_failed_task_is_an_outcome(ordered: bool) -> None:
    """`outcomes` never raises for a task: it gives the failure with its own exception, and goes on."""

    def odd_fails(number: int) -> int:
        if number % 2:
            raise ZeroDivisionError(number)
        return number

    async with make_pool() as pool:
        given = [outcome async for outcome in pool.outcomes(odd_fails, range(200), ordered=ordered)]
    if ordered:
        assert [outcome.index for outcome in given] == list(range(200))
    failed = {outcome.index for outcome in given if outcome.state is TaskState.FAILED}
    assert failed == set(range(1, 200, 2))
    assert all(type(outcome.exception) is ZeroDivisionError for outcome in given if not outcome.ok)


async def test_unordered_gives_what_ends_first() -> None:
    """A task that takes long holds up no other's outcome unless `ordered` is asked for."""
    gate = Gate()

    async def first_holds(number: int) -> int:
        return await gate(number) if number == 0 else number

    async with make_pool() as pool, pool.outcomes(first_holds, range(100)) as stream:
        given = [(await anext(stream)).index for _ in range(99)]
        assert sorted(given) == list(range(1, 100))
        gate.open.set()
        assert (await anext(stream)).index == 0


async def test_ordered_waits_for_the_first() -> None:
    """With `ordered`, nothing overtakes the first item, and then all come in their order."""
    gate = Gate()
    others = 0

    async def first_holds(number: int) -> int:
        nonlocal others
        if number == 0:
            return await gate(number)
        others += 1
        return number

    async with make_pool() as pool, pool.outcomes(first_holds, range(50), ordered=True) as stream:
        waiting = asyncio.ensure_future(anext(stream))
        await until(lambda: others == 49, "all others to run")
        assert not waiting.done()
        gate.open.set()
        assert [(await waiting).index] + [outcome.index async for outcome in stream] == list(range(50))


async def test_key_names_the_items() -> None:
    """`key` names each item; the name is in its outcome."""
    async with make_pool() as pool:
        stream = pool.outcomes(double, range(20), key=lambda number: f"page {number}")
        given = {outcome.index: outcome.key async for outcome in stream}
    assert given == {number: f"page {number}" for number in range(20)}


async def test_a_key_that_raises_reaches_the_consumer() -> None:
    """What `key` raises reaches whoever iterates, as what the items raise does; the pool goes on."""

    def key(number: int) -> str:
        if number == 3:
            raise RuntimeError("no name for it")
        return str(number)

    async with make_pool() as pool:
        with pytest.raises(RuntimeError, match="no name for it"):
            async with asyncio.timeout(5):
                [outcome async for outcome in pool.outcomes(double, range(10), key=key)]
        assert await call(pool, double, 4) == 8


@pytest.mark.slow
async def test_total_is_what_progress_counts_towards() -> None:
    """`total` is known to snapshots, by itself where the items have a length, and unknown else."""
    async with make_pool() as pool:
        async for _ in pool.outcomes(double, range(10)):
            assert pool.snapshot().total == 10
        async for _ in pool.outcomes(double, iter(range(5)), total=5):
            assert pool.snapshot().total == 15
        async for _ in pool.outcomes(double, iter(range(5))):
            assert pool.snapshot().total is None


@pytest.mark.parametrize("ordered", [False, True])
async def test_empty_input_gives_nothing(ordered: bool) -> None:
    """A stream over nothing ends at once; plain, async, as outcomes and as a map."""
    async with make_pool() as pool:
        assert [outcome async for outcome in pool.outcomes(double, [], ordered=ordered)] == []
        assert [outcome async for outcome in pool.outcomes(double, Counting(0).later(), ordered=ordered)] == []
        assert [value async for value in pool.map(double, ())] == []
        assert [batch async for batch in pool.outcomes(double, []).batches()] == []


@pytest.mark.slow
async def test_batches_hold_everything_once() -> None:
    """`batches` gives the same as iterating, in lists that are never empty."""
    async with make_pool() as pool:
        given = [batch async for batch in pool.outcomes(double, range(2000)).batches()]
        in_order = [batch async for batch in pool.map(double, range(2000)).batches()]
    assert all(given)
    assert sorted(outcome.index for batch in given for outcome in batch) == list(range(2000))
    assert list(itertools.chain.from_iterable(in_order)) == [number * 2 for number in range(2000)]


async def test_batches_of_a_map_give_what_came_before_the_failure() -> None:
    """`batches` of a map gives every result before the first failure, then raises it."""

    def fails_at_30(number: int) -> int:
        if number == 30:
            raise ZeroDivisionError("thirty")
        return number

    given: list[list[int]] = []
    async with make_pool() as pool:
        with pytest.raises(ZeroDivisionError, match="thirty"):
            await collect(pool.map(fails_at_30, range(100)).batches(), given)
    assert list(itertools.chain.from_iterable(given)) == list(range(30))


# ---- lazy and bounded


@pytest.mark.slow
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_consumer_that_stops_leaves_the_rest_unpulled(asynchronous: bool) -> None:
    """Of 100,000 items, a bounded number is pulled when the consumer takes one result and stops."""
    source = Counting(100_000)
    async with make_pool() as pool, pool.outcomes(double, source.later() if asynchronous else source) as stream:
        assert (await anext(stream)).ok
        await pool.wait_for_completion(5)
        assert source.pulled <= BOUND
        stream.close()
        pulled = source.pulled
        await call(pool, double, 1)
    assert source.pulled <= pulled + 1, "a closed stream was pulled from"


@pytest.mark.slow
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_slow_consumer_bounds_what_is_pulled(ordered: bool) -> None:
    """However slow the consumer, what is pulled and not given back yet stays within a bound."""
    source = Counting(30_000)
    given = 0
    async with make_pool() as pool:
        async for _ in pool.outcomes(double, source, ordered=ordered):
            given += 1
            if given % 500 == 0:
                await pool.wait_for_completion(5)  # the tasks get as far ahead as they may
            assert source.pulled - given <= BOUND
    assert given == 30_000


async def test_slow_tasks_are_not_pulled_far_ahead() -> None:
    """While no task ends, no more is pulled than the first, small window."""
    source, gate = Counting(100_000), Gate()
    async with make_pool() as pool, pool.outcomes(gate, source) as stream:
        waiting = asyncio.ensure_future(anext(stream))
        await until(lambda: len(gate.inside) == 4, "four tasks to run")
        await call(pool.options(executor="inline"), int)
        assert source.pulled <= 200
        gate.open.set()
        await waiting


async def test_a_stream_starts_nothing_before_it_is_iterated() -> None:
    """Making a stream pulls nothing, and one that is never iterated is in nobody's way."""
    source = Counting(100)
    async with make_pool() as pool:
        stream = pool.outcomes(double, source)
        assert await call(pool, double, 2) == 4
        assert source.pulled == 0
        stream.close()
        assert [outcome async for outcome in stream] == []
    assert source.pulled == 0


@pytest.mark.long
@pytest.mark.slow
async def test_a_million_tasks_keep_memory_flat() -> None:
    """A million lazy no-op tasks need no more memory at the end than after the first of them."""

    def nothing(number: int) -> None:
        return None

    def peak_mb() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

    early = 0.0
    async with make_pool() as pool:
        async with asyncio.timeout(120):
            given = 0
            async for _ in pool.outcomes(nothing, (number for number in range(1_000_000))):
                given += 1
                if given == 50_000:
                    early = peak_mb()
    assert given == 1_000_000
    assert peak_mb() - early < 20


@pytest.mark.slow
async def test_a_stream_in_processes_keeps_each_task_apart_whatever_its_neighbours_do() -> None:
    """Of thousands sent together some raise, some end their worker, some have odd results: each is its own only."""
    config = WorkerConfig(process_workers=2)
    retry = RetryPolicy(attempts=2, backoff=0.01)
    async with WorkerPool(config, settings=Settings(probes=())) as pool:
        fast = pool.options(executor="processes", retry=retry)
        ends = {outcome.index: outcome async for outcome in fast.outcomes(mixed_fortunes, range(3000))}
        snapshot = pool.snapshot()
    assert sorted(ends) == list(range(3000))
    for number, outcome in ends.items():
        if number % 1000 == 999:
            assert (outcome.state, outcome.attempts) == (TaskState.FAILED, 2), outcome
        elif number % 50 == 7:
            assert (outcome.state, type(outcome.exception), outcome.attempts) == (TaskState.FAILED, KeyError, 2)
        elif number % 50 == 8:
            assert outcome.value == [number, {"of": number}]
        else:
            assert (outcome.value, outcome.attempts) == (number, 1)
    assert (snapshot.completed, snapshot.failed, snapshot.running, snapshot.queued) == (2937, 63, 0, 0)


def mixed_fortunes(number: int) -> object:
    """Return the number, or raise, or end the process, or return what is no plain value."""
    if number % 1000 == 999:
        os._exit(3)
    if number % 50 == 7:
        raise KeyError(number)
    return [number, {"of": number}] if number % 50 == 8 else number
