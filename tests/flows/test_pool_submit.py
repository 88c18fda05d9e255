"""What a pool does with what is submitted: order, bounds, limits, options, and what it refuses."""

from __future__ import annotations

import asyncio
import os
import random
import re
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from longshore import (
    PayloadError,
    Priority,
    QueueFull,
    ResourceLimits,
    Resources,
    ResourceUnavailable,
    RetryPolicy,
    Settings,
    TaskCancelled,
    TaskTimeout,
    WorkerConfig,
    WorkerPool,
    current_task,
)
from longshore.testing import RecordingSink
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.submission]

DEADLINE_S = 20.0


@asynccontextmanager
async def open_pool(
    *sinks: RecordingSink, limits: ResourceLimits | None = None, **workers: Any
) -> AsyncIterator[WorkerPool]:
    """A pool of one thread unless said otherwise, with a deadline over all that happens in it."""
    config = WorkerConfig(**{"thread_workers": 1, "process_workers": 1, **workers})
    settings = Settings(probes=(), workers=config, limits=limits or ResourceLimits())
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=settings, sinks=sinks) as pool:
        yield pool


async def held(pool: WorkerPool, gate: threading.Event) -> None:
    """Occupy the only thread."""
    began = threading.Event()

    def hold() -> None:
        began.set()
        gate.wait(DEADLINE_S)

    await pool.submit(hold)
    await until(began.is_set, "the held task to begin")


def add(a: int, b: int = 0) -> int:
    return a + b


def fail(*_: object) -> None:
    raise KeyError("mine")


class Peak:
    """A function that knows how many calls of it ran at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, fails: bool = False) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.01)
        with self._lock:
            self.now -= 1
        if fails:
            raise KeyError("mine")


# ---- order and bounds


@pytest.mark.requirement("req:D02", "req:D03", "req:D04")
async def test_submit_priorities(gate: threading.Event) -> None:
    """With one worker all five priorities order execution, first in, first out within one."""
    order: list[tuple[int, int]] = []
    wanted = [(priority, n) for n in range(20) for priority in Priority]
    random.Random(7).shuffle(wanted)
    async with open_pool() as pool:
        await held(pool, gate)
        for priority, n in wanted:
            await pool.options(priority=priority).submit(order.append, (int(priority), n))
        gate.set()
        assert await pool.wait_for_completion(DEADLINE_S)
    assert order == sorted(wanted, key=lambda pair: pair[0])


@pytest.mark.requirement("req:A04", "req:A05", "req:D15")
async def test_submit_bounds(gate: threading.Event) -> None:
    """A full queue raises QueueFull and counts nothing; critical tasks have a bound of their own."""
    async with open_pool(max_queue_size=10, priority_queue_size=12) as pool:
        urgent = pool.options(priority=Priority.CRITICAL)
        await held(pool, gate)
        handles = [pool.submit_nowait(add, n) for n in range(10)]
        with pytest.raises(QueueFull, match="add"):
            pool.submit_nowait(add, 10)
        handles += [urgent.submit_nowait(add, n) for n in range(12)]
        with pytest.raises(QueueFull):
            urgent.submit_nowait(add, 12)
        await until(lambda: pool.get_stats().submitted_tasks == 23, "all to be accepted")
        before = pool.get_stats()
        for on in (pool, urgent):
            with pytest.raises(QueueFull):
                on.submit_nowait(add, 99)
        await asyncio.sleep(0)
        after = pool.get_stats()
        assert (after.submitted_tasks, after.queued_tasks) == (before.submitted_tasks, before.queued_tasks) == (23, 22)
        gate.set()
        assert [await handle for handle in handles] == [*range(10), *range(12)]


@pytest.mark.requirement("req:D15")
async def test_submit_waits_for_room_in_order(gate: threading.Event) -> None:
    """`submit` waits while the queue is full, and those who wait are let in in the order they came."""
    order: list[int] = []
    async with open_pool(max_queue_size=10) as pool:
        await held(pool, gate)
        for n in range(10):
            pool.submit_nowait(order.append, n)
        waiting = [asyncio.create_task(pool.submit(order.append, n)) for n in range(10, 30)]
        await until(lambda: pool.get_stats().queued_tasks == 10, "a full queue")
        assert not any(task.done() for task in waiting)
        waiting[5].cancel()
        gate.set()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await pool.wait_for_completion(DEADLINE_S)
    assert order == [n for n in range(30) if n != 15]


@pytest.mark.requirement("req:D16")
async def test_submit_from_threads() -> None:
    """Eight threads may submit at once, and each gets its own results and exceptions."""

    def client(pool: WorkerPool, number: int) -> list[int]:
        futures = [pool.submit_threadsafe(add, number * 1000, n) for n in range(200)]
        assert isinstance(pool.submit_threadsafe(fail).exception(DEADLINE_S), KeyError)
        return [future.result(DEADLINE_S) for future in futures]

    with ThreadPoolExecutor(8) as threads:
        async with open_pool(thread_workers=2, max_queue_size=50) as pool:
            loop = asyncio.get_running_loop()
            told = await asyncio.gather(*(loop.run_in_executor(threads, client, pool, n) for n in range(8)))
            stats = pool.get_stats()
    assert told == [[number * 1000 + n for n in range(200)] for number in range(8)]
    assert (stats.submitted_tasks, stats.completed_tasks, stats.failed_tasks) == (1608, 1600, 8)


# ---- handles and options


async def test_submit_handle_awaited_by_several(gate: threading.Event) -> None:
    """A handle may be awaited by many and again; a waiter that gives up takes nothing from the others."""
    async with open_pool() as pool:
        await held(pool, gate)
        handle, failing = await pool.submit(add, 1, b=2), await pool.submit(fail)
        waiters = [asyncio.create_task(_wait(handle)) for _ in range(5)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        gate.set()
        assert await asyncio.gather(*waiters[1:]) == [3] * 4
        assert await handle == 3
        for _ in range(2):
            with pytest.raises(KeyError, match="mine"):
                await failing
        assert (await handle.outcome()) is (await handle.outcome())


async def _wait(handle: Any) -> Any:
    return await handle


async def test_submit_handle_as_argument() -> None:
    """Handles among the arguments are awaited first, by place or by name; their failure is the caller's.

    Nothing is queued then, the task that was cancelled is named, and handles inside of collections are left alone.
    """
    async with open_pool() as pool:
        one, two = await pool.submit(add, 1), await pool.submit(add, 2)
        assert await (await pool.submit(add, one, b=two)) == 3
        failing, cancelled = await pool.submit(fail), await pool.options(executor="asyncio").submit(asyncio.sleep, 30)
        cancelled.cancel("not wanted")
        for handle, error in ((failing, KeyError), (cancelled, TaskCancelled)):
            with pytest.raises(error, match="mine" if error is KeyError else f"{cancelled.task_id}.*not wanted"):
                await pool.submit(add, handle, b=two)
        assert pool.get_stats().submitted_tasks == 5
        (inside,) = await (await pool.submit(list, [one]))
        assert inside is one
        with pytest.raises(TypeError, match="submit"):
            pool.submit_nowait(add, one)


@pytest.mark.requirement("req:D07")
async def test_submit_options() -> None:
    """Options add up, a submitter may be kept, and what does not exist or can't be meant is refused."""
    async with open_pool() as pool:
        base = pool.options(timeout=30.0, name="base")
        named = base.options(name="ocr", key="doc-17")

        def left() -> float | None:
            return current_task().time_remaining()

        handle = await named.submit(left)
        assert 0 < await handle <= 30.0
        outcome = await handle.outcome()
        assert (outcome.name, outcome.key) == ("ocr", "doc-17")
        plain = await (await base.submit(left)).outcome()
        assert (plain.name, plain.key) == ("base", None)
        with pytest.raises(TypeError, match="timeuot"):
            pool.options(timeuot=3)
        for wrong in ({"timeout": 0}, {"timeout": -1.0}, {"deadline": 0}, {"max_per_second": 0}, {"isolation": "none"}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                pool.options(**wrong)


# ---- refusals


async def coroutine() -> int:
    return os.getpid()


@pytest.mark.requirement("req:E11")
async def test_submit_refuses_what_cannot_be_honoured() -> None:
    """What an executor cannot do is refused at submit with what to do instead, and nothing is counted."""
    lock = threading.Lock()
    async with open_pool() as pool:
        with pytest.raises(ValueError, match="asyncio"):
            await pool.options(executor="threads").submit(coroutine)
        with pytest.raises(ValueError, match="threads"):
            await pool.options(executor="asyncio").submit(add, 1)
        with pytest.raises(PayloadError, match="lock"):
            await pool.options(executor="processes").submit(lambda: lock.locked())
        with pytest.raises(ValueError, match="isolation"):
            await pool.options(executor="processes", isolation="shared").submit(add, 1)
        assert pool.get_stats().submitted_tasks == 0
        assert await (await pool.options(executor="processes").submit(abs, -3)) == 3
        assert pool.get_stats().completed_tasks == 1
    async with open_pool(thread_workers=0) as pool:
        with pytest.raises(ValueError, match="thread_workers"):
            await pool.submit(add, 1)


async def test_submit_arguments_that_cannot_travel_fail_their_task() -> None:
    """Arguments are packed once a worker is there for them: what can't be packed is accepted, and fails its task."""
    async with open_pool() as pool:
        on = pool.options(executor="processes")
        handle = await on.submit(add, threading.Lock())
        with pytest.raises(PayloadError, match="lock"):
            await handle
        assert await (await on.submit(abs, -3)) == 3
        stats = pool.get_stats()
    assert (stats.submitted_tasks, stats.failed_tasks, stats.completed_tasks) == (2, 1, 1)


def disguised() -> Any:
    """Return a coroutine, which nothing about this function tells beforehand."""
    return coroutine()


async def test_submit_says_how_to_await_what_a_plain_function_returns() -> None:
    """A plain function that returns a coroutine is told the same by each executor, and what is told works."""
    advice = re.escape("`async def call(*args): return await f(*args)`")
    async with open_pool() as pool:
        for executor in ("inline", "threads", "processes"):
            with pytest.raises(TypeError, match=advice):
                await (await pool.options(executor=executor).submit(disguised))
        with pytest.raises(ValueError, match=advice):
            await pool.options(executor="asyncio").submit(disguised)
        for executor in (None, "asyncio"):
            assert await (await pool.options(executor=executor).submit(awaiting)) == os.getpid()


async def awaiting(*args: Any) -> Any:
    return await disguised(*args)


@pytest.mark.requirement("req:D08")
async def test_submit_refuses_what_never_fits() -> None:
    """What can never be lent is refused with the figures, and nothing is queued or reserved."""
    async with open_pool() as pool:
        with pytest.raises(ResourceUnavailable, match=r"cpu: needs 10000 cores, \S+ cores? (is|are) all"):
            await pool.options(resources=Resources(cpu=10_000)).submit(add, 1)
        with pytest.raises(ResourceUnavailable, match=r"gpu: needs 1 GPU, none is visible"):
            pool.options(resources=Resources(gpu=1)).submit_nowait(add, 1)
        with pytest.raises(ResourceUnavailable, match=r"memory: needs 1000000000000 MB, \d"):
            pool.options(resources=Resources(memory_mb=1e12)).outcomes(add, [1])
        with pytest.raises(
            ResourceUnavailable, match=r"gpu: needs 1 GPU, none is visible: unavailable; cpu: needs 10000 cores, \d"
        ):
            await pool.options(resources=Resources(gpu=1) | Resources(cpu=10_000)).submit(add, 1)
        assert pool.get_stats().submitted_tasks == 0
        assert await (await pool.submit(add, 1)) == 1


# ---- limits


@pytest.mark.requirement("req:G14")
async def test_submit_reservations(gate: threading.Event) -> None:
    """Tasks that reserve all cores run one by one, and give them back however they end."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    async with open_pool(thread_workers=4, limits=ResourceLimits(max_cpu_percent=100)) as pool:
        peak = Peak()
        greedy = pool.options(resources=Resources(cpu=cores))
        for n in range(12):
            await greedy.submit(peak, n % 2 == 0)
        assert await pool.wait_for_completion(DEADLINE_S)
        assert peak.most == 1
        stats = pool.get_stats()
        assert (stats.completed_tasks, stats.failed_tasks) == (6, 6)
        stuck = await greedy.options(timeout=0.05).submit(gate.wait, DEADLINE_S)
        with pytest.raises(TaskTimeout):
            await stuck
        assert await (await greedy.submit(add, 1)) == 1
        barrier = threading.Barrier(3)  # what reserves nothing is not held up by it
        for handle in [await pool.submit(barrier.wait, DEADLINE_S) for _ in range(3)]:
            await handle


async def test_submit_max_per_second() -> None:
    """No more than so many tasks of one kind start in a second; others are not held up by it."""
    began: list[float] = []
    async with open_pool() as pool:
        slow = pool.options(max_per_second=20.0)

        def mark() -> None:
            began.append(time.monotonic())

        for _ in range(6):
            await slow.submit(mark)
        assert await (await pool.submit(add, 1)) == 1
        assert len(began) < 6
        assert await pool.wait_for_completion(DEADLINE_S)
    assert 0.8 * 5 / 20 <= began[-1] - began[0] < 2.0


@pytest.mark.slow
@pytest.mark.requirement("req:F04")
async def test_submit_deadline(gate: threading.Event) -> None:
    """A deadline is over all attempts, the waits between them and the wait in the queue included."""

    async def hang() -> None:
        await asyncio.sleep(30)

    async with open_pool() as pool:
        often = pool.options(retry=RetryPolicy(attempts=100, backoff=0.4, max_backoff=0.4, jitter=0.0))
        failing = await often.options(deadline=0.6).submit(fail)
        soon = RetryPolicy(attempts=100, backoff=0.02, max_backoff=0.02, jitter=0.0)
        hanging = await pool.options(retry=soon, deadline=0.3, timeout=0.1).submit(hang)
        with pytest.raises(KeyError, match="mine"):
            await failing
        with pytest.raises(TaskTimeout):
            await hanging
        assert 2 <= (await failing.outcome()).attempts < 100
        assert 2 <= (await hanging.outcome()).attempts <= 4
        await held(pool, gate)
        late = await pool.options(deadline=0.05).submit(fail)
        with pytest.raises(TaskTimeout, match=r"0\.05 s"):
            await late
        assert (await late.outcome()).ran_s == 0.0
        gate.set()
