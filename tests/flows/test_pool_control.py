"""Control of a pool that runs, where its work goes, what it counts, and the order in which it tells."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from longshore import (
    Handle,
    Outcome,
    PoolStats,
    Priority,
    RetryPolicy,
    Settings,
    TaskState,
    WorkerConfig,
    WorkerPool,
    current_task,
)
from longshore.events import AnyEvent
from longshore.testing import RecordingSink
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.coordination]

DEADLINE_S = 20.0
TERMINAL = ("task_completed", "task_failed", "task_cancelled")


@asynccontextmanager
async def open_pool(*sinks: RecordingSink, executor: str | None = None, **workers: Any) -> AsyncIterator[WorkerPool]:
    """A pool of one thread unless said otherwise, with a deadline over all that happens in it."""
    config = WorkerConfig(**{"thread_workers": 1, "process_workers": 1, **workers})
    settings = Settings(probes=(), workers=config, executor=executor)
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=settings, sinks=sinks) as pool:
        yield pool


def whole(stats: PoolStats) -> bool:
    """Tell whether every submitted task is counted in exactly one place."""
    live = (stats.queued_tasks, stats.running_tasks, stats.retrying_tasks)
    ended = stats.completed_tasks + stats.failed_tasks + stats.cancelled_tasks
    return min(live) >= 0 and stats.submitted_tasks == sum(live) + ended


def add(a: int, b: int = 0) -> int:
    return a + b


def fail() -> None:
    raise KeyError("mine")


async def nap(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return os.getpid()


# ---- control


async def test_control_pause(gate: threading.Event) -> None:
    """While paused nothing new starts, what runs goes on, and the snapshot says why; `unpause` starts it all."""
    async with open_pool(thread_workers=2) as pool:
        running = await pool.submit(gate.wait, DEADLINE_S)
        await until(lambda: running.state is TaskState.PROCESSING, "the first to run")
        pool.pause()
        waiting = [await pool.submit(add, n) for n in range(5)]
        gate.set()
        assert await running is True
        assert pool.snapshot().throttled == "paused"
        assert pool.snapshot().paused
        assert {handle.state for handle in waiting} == {TaskState.QUEUED}
        assert not await pool.wait_for_completion(0.02)
        pool.unpause()
        assert [await handle for handle in waiting] == [0, 1, 2, 3, 4]
        assert pool.snapshot().throttled is None
        assert not pool.snapshot().paused


async def test_control_cancel_all(gate: threading.Event) -> None:
    """Everything queued or running is cancelled, and the pool goes on taking work."""
    async with open_pool() as pool:
        handles = [await pool.submit(gate.wait, DEADLINE_S) for _ in range(4)]
        handles += [await pool.submit(nap, 30.0) for _ in range(8)]
        await until(lambda: pool.get_stats().running_tasks >= 2, "some to run")
        pool.cancel_all("enough")
        outcomes = await asyncio.gather(*(handle.outcome() for handle in handles))
        assert {outcome.state for outcome in outcomes} == {TaskState.CANCELLED}
        assert all(outcome.error is not None and "enough" in outcome.error.message for outcome in outcomes)
        assert await (await pool.submit(add, 1, 2)) == 3
        assert pool.get_stats().cancelled_tasks == 12


@pytest.mark.requirement("req:L08")
@pytest.mark.parametrize("executor", ["asyncio", "threads"])
async def test_control_resize(executor: str) -> None:
    """After `resize` that many tasks run at once, fewer after the next; nothing is lost on the way."""
    async with open_pool(thread_workers=1, async_workers=1) as pool:
        meet = threading.Barrier(3)
        arrived: list[int] = []

        async def meet_async(_: float) -> None:
            arrived.append(1)
            await until(lambda: len(arrived) >= 3, "three to meet")

        function: Callable[..., Any] = meet_async if executor == "asyncio" else meet.wait
        first = await pool.options(executor=executor).submit(function, DEADLINE_S)
        pool.resize(executor, 3)
        handles = [first] + [await pool.options(executor=executor).submit(function, DEADLINE_S) for _ in range(2)]
        for handle in handles:
            await handle
        pool.resize(executor, 1)
        kind = "async" if executor == "asyncio" else "thread"
        await until(
            lambda: [worker.worker_type for worker in pool.get_worker_stats()].count(kind) == 1, "the others to go"
        )
        assert pool.get_stats().completed_tasks == 3
        for wrong in (0, 2.5, "3", True):
            with pytest.raises(ValueError, match="a whole number of at least 1, not"):
                pool.resize(executor, wrong)  # type: ignore[arg-type]  # that is what is refused


@pytest.mark.requirement("req:C15")
async def test_control_wait_for_completion(gate: threading.Event) -> None:
    """True at once when idle, False when it takes longer than asked, True as soon as all has ended."""
    async with open_pool() as pool:
        for timeout in (0.0, -1.0, 0.1, None):
            assert await pool.wait_for_completion(timeout)
        await pool.submit(gate.wait, DEADLINE_S)
        await pool.submit(add, 1)
        began = time.monotonic()
        assert not await pool.wait_for_completion(0.0)
        assert not await pool.wait_for_completion(0.05)
        assert time.monotonic() - began < 1.0
        waiting = asyncio.create_task(pool.wait_for_completion(DEADLINE_S))
        gate.set()
        assert await waiting
        assert pool.get_stats().completed_tasks == 2


# ---- routing


async def where(handle: Handle[Any]) -> str | None:
    worker = (await handle.outcome()).worker
    return None if worker is None else worker.split("-")[0]


class Callers:
    """Callable things of other kinds."""

    async def method(self) -> None:
        """Do nothing, as a coroutine."""

    async def __call__(self) -> None:
        """Do nothing, as a coroutine."""


@pytest.mark.requirement("req:E04", "req:E05")
async def test_control_routing() -> None:
    """Where nothing is named, coroutine functions of any kind go to asyncio, all others to threads."""
    async with open_pool() as pool:
        for coroutine in (partial(nap, 0.0), Callers().method, Callers()):
            assert await where(await pool.submit(coroutine)) == "async"
        for plain in (partial(add, 1), add.__get__(1), os.getpid):
            assert await where(await pool.submit(plain)) == "thread"


async def test_control_routing_by_settings() -> None:
    """`settings.executor` takes what it can run, and what it cannot goes where it can; a named executor wins."""
    async with open_pool(executor="processes") as pool:
        pid = await pool.submit(os.getpid)
        assert await pid != os.getpid()
        assert await where(pid) == "process"
        assert await where(await pool.submit(nap, 0.0)) == "async"
        assert await where(await pool.options(executor="threads").submit(os.getpid)) == "thread"


# ---- counting and telling


@pytest.mark.requirement("req:B06")
async def test_control_stats() -> None:
    """Every end is counted once, in its own place."""
    async with open_pool(async_workers=2) as pool:
        handles = [await pool.submit(add, n) for n in range(3)]
        handles += [await pool.submit(fail) for _ in range(2)]
        handles.append(await pool.options(timeout=0.05).submit(nap, 30.0))
        handles.append(await pool.submit(nap, 30.0))
        handles[-1].cancel()
        outcomes = await asyncio.gather(*(handle.outcome() for handle in handles))
        stats = pool.get_stats()
        assert (stats.submitted_tasks, stats.completed_tasks, stats.failed_tasks) == (7, 3, 3)
        assert (stats.timed_out_tasks, stats.cancelled_tasks) == (1, 1)
        assert (stats.queued_tasks, stats.running_tasks, stats.retrying_tasks) == (0, 0, 0)
        done = [outcome.ran_s for outcome in outcomes if outcome.ok]
        assert stats.average_processing_time == pytest.approx(sum(done) / 3)
        assert 0.0 < stats.uptime_s < DEADLINE_S
        assert stats.to_dict()["submitted_tasks"] == 7


@pytest.mark.requirement("req:L07")
async def test_control_queue_depths(gate: threading.Event) -> None:
    """How many wait is told by executor and priority, as they come, go and are cancelled; nothing is told of none."""
    async with open_pool(async_workers=1) as pool:
        assert pool.get_stats().queue == {}
        busy = [await pool.submit(gate.wait, DEADLINE_S), await pool.submit(nap, DEADLINE_S)]
        await until(lambda: pool.get_stats().running_tasks == 2, "both workers to be busy")
        wanted = {"threads": {"HIGH": 3, "LOW": 1, "CRITICAL": 2}, "asyncio": {"NORMAL": 4}}
        held = []
        for executor, depths in wanted.items():
            task = add if executor == "threads" else nap
            for name, count in depths.items():
                options = pool.options(executor=executor, priority=Priority[name])
                held += [await options.submit(task, 0) for _ in range(count)]
        await until(lambda: pool.get_stats().queue == wanted, f"{wanted} to wait")
        held[0].cancel()
        await held[0].outcome()
        assert pool.get_stats().queue == {**wanted, "threads": {"HIGH": 2, "LOW": 1, "CRITICAL": 2}}
        assert pool.get_stats().to_dict()["queue"]["asyncio"] == {"NORMAL": 4}
        gate.set()
        busy[1].cancel()
        await pool.wait_for_completion(DEADLINE_S)
        assert pool.get_stats().queue == {}


@pytest.mark.slow
async def test_control_sinks_ask_the_pool() -> None:
    """A sink can ask for statistics, workers and loads from its own thread, during the run and after it."""
    sink = RecordingSink()
    pool = WorkerPool({"async_workers": 1, "thread_workers": 1}, settings=Settings(), sinks=[sink])
    async with pool:
        await (await pool.options(executor="processes").submit(abs, -1))
        await until(lambda: pool.snapshot().loads.get("memory") is not None, "the machine to be measured")
        assert sink.run is not None
        stats, workers = await asyncio.to_thread(lambda: (sink.run.stats(), sink.run.workers()))  # type: ignore[union-attr]
        assert stats.completed_tasks == 1
        assert {worker.executor for worker in workers} == {"asyncio", "threads", "processes"}
        measured = [worker for worker in pool.get_worker_stats() if worker.memory_mb is not None]
        assert all(worker.executor == "processes" and worker.memory_mb for worker in measured)
    assert sink.run.stats().completed_tasks == 1


@pytest.mark.slow
@pytest.mark.requirement("req:B03", "req:B05")
async def test_control_worker_stats(gate: threading.Event) -> None:
    """Each worker tells its kind, what it runs and what it has done."""
    async with open_pool(async_workers=1) as pool:
        await (await pool.submit(nap, 0.01))
        await (await pool.options(executor="processes").submit(abs, -1))
        for task in (add, fail):
            await (await pool.submit(task, *([1] if task is add else []))).outcome()
        held = await pool.submit(gate.wait, DEADLINE_S)
        await until(
            lambda: (
                [worker.current_task for worker in pool.get_worker_stats() if worker.status == "busy"] == [held.task_id]
            ),
            "the held task to be the only one",
        )
        workers = {worker.worker_type: worker for worker in pool.get_worker_stats()}
        assert set(workers) == {"async", "thread", "process"}
        thread = workers["thread"]
        assert (thread.status, thread.current_task) == ("busy", held.task_id)
        assert (thread.tasks_completed, thread.tasks_failed) == (1, 1)
        assert (workers["async"].status, workers["async"].current_task) == ("idle", None)
        assert workers["async"].average_processing_time >= 0.005
        stats = pool.get_stats()
        assert (stats.total_workers, stats.active_workers, stats.idle_workers) == (3, 1, 2)
        gate.set()


@pytest.mark.requirement("req:F04")
async def test_control_waiting_retry() -> None:
    """A task that waits for its next attempt is counted as such, holds no worker, and can be cancelled."""
    async with open_pool() as pool:
        policy = RetryPolicy(attempts=2, backoff=30.0, jitter=0.0)
        waiting = await pool.options(retry=policy).submit(fail)
        await until(lambda: pool.get_stats().retrying_tasks == 1, "the first attempt to fail")
        assert waiting.state is TaskState.PENDING
        stats = pool.get_stats()
        assert (stats.retrying_tasks, stats.running_tasks, stats.queued_tasks) == (1, 0, 0)
        assert await (await pool.submit(add, 1)) == 1
        waiting.cancel()
        assert (await waiting.outcome()).state is TaskState.CANCELLED
        assert pool.get_stats().retrying_tasks == 0


def sometimes(number: int) -> int:
    """Fail now and then: for good, at first, by leaving, or by taking too long."""
    kind = number % 8
    if kind == 0:
        raise KeyError(number)
    if kind == 1 and current_task().attempt < 3:
        raise ValueError(number)
    if kind == 2:
        raise SystemExit(number)
    if kind == 3:
        time.sleep(0.002)
    current_task().progress(1.0)
    return number


async def sometimes_async(number: int) -> int:
    if number % 16 == 3:
        await asyncio.sleep(30)
    await asyncio.sleep(random.Random(number).random() * 0.003)
    return sometimes(number)


async def chaos(pool: WorkerPool) -> list[Outcome]:
    """Submit all kinds of work everywhere, cancel some of it, and return how it ended."""
    dice = random.Random(11)
    policy = RetryPolicy(attempts=3, backoff=0.005, jitter=0.0)
    handles = []
    for number in range(250):
        executor = dice.choice(["asyncio", "threads", "threads", "processes"])
        on = pool.options(executor=executor, retry=policy, priority=dice.choice(list(Priority)))
        if executor == "asyncio":
            on = on.options(timeout=0.05, retry=None) if number % 16 == 3 else on
        handles.append(await on.submit(sometimes_async if executor == "asyncio" else sometimes, number))
        if dice.random() < 0.1:
            dice.choice(handles).cancel()
    return list(await asyncio.gather(*(handle.outcome() for handle in handles)))


@pytest.mark.slow
@pytest.mark.requirement("req:B09", "req:I03")
async def test_control_conservation_and_order() -> None:
    """At any time each task is in one place, and each is told of in order, with exactly one end."""
    sink = RecordingSink()
    looks = [0]

    async def look(pool: WorkerPool) -> None:
        while True:
            assert whole(pool.get_stats()), pool.get_stats()
            looks[0] += 1
            await asyncio.sleep(0.0005)

    async with open_pool(sink, thread_workers=2, max_queue_size=60) as pool:
        looking = asyncio.create_task(look(pool))
        outcomes = await chaos(pool)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        assert looks[0] > 50
        stats = pool.get_stats()
        assert (stats.queued_tasks, stats.running_tasks, stats.retrying_tasks) == (0, 0, 0)
        assert whole(stats)
    states = [outcome.state for outcome in outcomes]
    assert stats.submitted_tasks == len(outcomes) == 250
    assert stats.completed_tasks == states.count(TaskState.COMPLETED) > 60
    assert stats.timed_out_tasks == states.count(TaskState.TIMED_OUT) > 0
    assert stats.failed_tasks == states.count(TaskState.FAILED) + stats.timed_out_tasks
    assert stats.cancelled_tasks == states.count(TaskState.CANCELLED) > 0
    check_order(sink.events, {outcome.task_id: outcome for outcome in outcomes})


def check_order(events: list[AnyEvent] | Any, outcomes: dict[str, Outcome]) -> None:
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    told: dict[str, list[AnyEvent]] = defaultdict(list)
    for event in events:
        if "task_id" in event.data and event.type.startswith("task_"):
            told[event.data["task_id"]].append(event)
    assert set(told) == set(outcomes)
    for task_id, mine in told.items():
        types = [event.type for event in mine]
        assert types[0] == "task_submitted"
        assert types[-1] in TERMINAL
        assert sum(kind in TERMINAL for kind in types) == types.count("task_submitted") == 1
        assert mine[-1].data["state"] == outcomes[task_id].state
        if len(types) > 2:
            assert types[1] == "task_started"
        starts = [event.data["attempt"] for event in mine if event.type == "task_started"]
        assert starts == list(range(1, len(starts) + 1))
