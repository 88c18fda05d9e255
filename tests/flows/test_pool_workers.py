"""Workers as a pool tells of them: how many, what they are at, that they live, and what they have done."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from longshore import PoolStats, Settings, TaskState, WorkerConfig, WorkerPool, WorkerStats, WorkerStatus, WorkerType
from longshore.testing import RecordingSink
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.coordination]

DEADLINE_S = 20.0


@asynccontextmanager
async def open_pool(*sinks: RecordingSink, **workers: Any) -> AsyncIterator[WorkerPool]:
    settings = Settings(probes=(), workers=WorkerConfig(**workers))
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=settings, sinks=sinks) as pool:
        yield pool


def row(pool: WorkerPool, kind: str) -> WorkerStats:
    (only,) = [one for one in pool.get_worker_stats() if one.worker_type == kind]
    return only


async def nap_async(seconds: float) -> None:
    await asyncio.sleep(seconds)


LANES: dict[str, tuple[str, Callable[..., Any]]] = {
    "asyncio": ("async", nap_async),
    "threads": ("thread", time.sleep),
    "processes": ("process", time.sleep),
}
each = pytest.mark.parametrize("executor", LANES)


@pytest.mark.requirement("req:A01", "req:B01")
async def test_workers_are_as_many_as_configured() -> None:
    """From the start on there is a row for each configured worker, of its own kind, idle and with an id of its own."""
    async with open_pool(async_workers=3, thread_workers=2, process_workers=2) as pool:
        rows = pool.get_worker_stats()
        assert Counter(one.worker_type for one in rows) == {
            WorkerType.ASYNC: 3,
            WorkerType.THREAD: 2,
            WorkerType.PROCESS: 2,
        }
        assert {type(one.worker_type) for one in rows} == {WorkerType}
        assert {one.status for one in rows} == {WorkerStatus.IDLE}
        assert len({one.worker_id for one in rows}) == 7
        await (await pool.options(executor="processes").submit(abs, -1))
        assert Counter(one.worker_type for one in pool.get_worker_stats())["process"] == 2
        stats = pool.get_stats()
        assert (stats.total_workers, stats.active_workers, stats.idle_workers) == (7, 0, 7)


async def test_workers_none_are_asked_for_and_none_told_of() -> None:
    """Without process workers, or threads, there are none; `inline` has its one worker once it is used."""
    async with open_pool(async_workers=1, thread_workers=0) as pool:
        assert [one.worker_type for one in pool.get_worker_stats()] == ["async"]
        await (await pool.options(executor="inline").submit(abs, -1))
        inline = row(pool, "inline")
        assert (inline.status, inline.tasks_completed, inline.current_task) == ("idle", 1, None)


@pytest.mark.slow
@each
@pytest.mark.requirement("req:A07", "req:B02", "req:B05")
async def test_workers_beat_while_they_are_busy(executor: str) -> None:
    """Through a long task its worker is busy, never in error; it beats at the interval, and its last beat is fresh."""
    kind, function = LANES[executor]
    sink, interval_s, task_s = RecordingSink(), 0.05, 0.6
    seen: list[WorkerStats] = []
    async with open_pool(
        sink, async_workers=1, thread_workers=1, process_workers=1, worker_heartbeat_interval=interval_s
    ) as pool:
        assert row(pool, kind).current_task is None
        await (await pool.options(executor=executor).submit(function, 0.0))
        began = time.monotonic()
        handle = await pool.options(executor=executor).submit(function, task_s)
        await until(lambda: row(pool, kind).status == "busy", "the task to begin")
        while handle.state is not TaskState.COMPLETED:
            seen.append(row(pool, kind))
            await asyncio.sleep(0.01)
        took_s = time.monotonic() - began
        ages = [(datetime.now(UTC) - one.last_heartbeat).total_seconds() for one in seen[-1:] if one.last_heartbeat]
    busy = [one for one in seen if one.current_task == handle.task_id]
    assert len(busy) > 10
    assert {one.status for one in busy} == {WorkerStatus.BUSY}
    assert {one.status for one in seen} <= {WorkerStatus.BUSY, WorkerStatus.IDLE}
    assert len({one.last_heartbeat for one in busy}) > 4
    assert ages[0] < 1.0
    beats = [event.data for event in sink.of_type("worker_heartbeat") if event.data["task_id"] == handle.task_id]
    assert 4 <= len(beats) <= took_s / interval_s + 1
    assert beats[0] == {
        "worker_id": busy[0].worker_id,
        "worker_type": kind,
        "executor": executor,
        "status": "busy",
        "task_id": handle.task_id,
    }


@pytest.mark.requirement("req:A07")
async def test_workers_all_beat() -> None:
    """Idle workers beat as well, all of them at each interval; a process that was not started yet does not."""
    sink = RecordingSink()
    async with open_pool(
        sink, async_workers=2, thread_workers=2, process_workers=1, worker_heartbeat_interval=0.02
    ) as pool:
        await until(lambda: len(sink.of_type("worker_heartbeat")) >= 20, "five beats of four workers")
        ids = {one.worker_id for one in pool.get_worker_stats() if one.worker_type != "process"}
        beats = Counter(event.data["worker_id"] for event in sink.of_type("worker_heartbeat"))
    assert set(beats) == ids
    assert max(beats.values()) - min(beats.values()) <= 1


@pytest.mark.requirement("req:B02")
async def test_workers_stop_through_stopping(gate: threading.Event) -> None:
    """A pool that drains shows its workers stopping, then stopped until it starts again, with what they have done."""
    seen: set[tuple[str, str]] = set()
    async with asyncio.timeout(DEADLINE_S):
        pool = WorkerPool(WorkerConfig(async_workers=1, thread_workers=1), settings=Settings(probes=()))
        await pool.start()
        await (await pool.submit(abs, -1))
        held = await pool.submit(gate.wait, DEADLINE_S)
        await until(lambda: row(pool, "thread").current_task == held.task_id, "the thread to take it")
        stopping = asyncio.create_task(pool.stop())
        await asyncio.sleep(0)
        draining = pool.get_worker_stats()
        assert {one.status for one in draining} == {WorkerStatus.STOPPING}
        assert row(pool, "thread").current_task == held.task_id
        assert pool.get_stats().active_workers == 1
        gate.set()
        while not stopping.done():
            seen |= {(one.worker_id, one.status) for one in pool.get_worker_stats()}
            await asyncio.sleep(0)
        after = pool.get_worker_stats()
        assert {one.worker_id for one in after} == {one.worker_id for one in draining}
        assert {(one.status, one.current_task) for one in after} == {(WorkerStatus.STOPPED, None)}
        assert row(pool, "thread").tasks_completed == 2
        assert pool.get_stats().total_workers == 0
        assert {status for _, status in seen} <= {WorkerStatus.STOPPING, WorkerStatus.STOPPED}
        async with pool:
            assert {one.status for one in pool.get_worker_stats()} == {WorkerStatus.IDLE}
            assert row(pool, "thread").tasks_completed == 0


def fail(seconds: float) -> None:
    time.sleep(seconds)
    raise KeyError("mine")


async def fail_async(seconds: float) -> None:
    await asyncio.sleep(seconds)
    raise KeyError("mine")


@each
@pytest.mark.requirement("req:B03", "req:B04")
async def test_workers_mean_is_of_what_completed(executor: str) -> None:
    """What fails or times out is counted, and its time is not: the mean is of completed tasks only."""
    kind, function = LANES[executor]
    async with open_pool(async_workers=1, thread_workers=1, process_workers=1) as pool:
        on = pool.options(executor=executor)
        assert row(pool, kind).average_processing_time == 0.0
        outcomes = [await (await on.submit(function, 0.02)).outcome() for _ in range(3)]
        failing = fail_async if executor == "asyncio" else fail
        assert not (await (await on.submit(failing, 0.1)).outcome()).ok
        stats = row(pool, kind)
        assert (stats.tasks_completed, stats.tasks_failed) == (3, 1)
        ran = sum(outcome.ran_s for outcome in outcomes)
        assert stats.total_processing_time == pytest.approx(ran, abs=0.005)
        assert stats.average_processing_time == pytest.approx(ran / 3, abs=0.002)


def test_workers_mean_of_scripted_numbers() -> None:
    """Five tasks of a hundred seconds are twenty each; none is 0.0."""
    some = WorkerStats(
        worker_id="w", worker_type="thread", status=WorkerStatus.IDLE, tasks_completed=5, total_processing_time=100.0
    )
    assert some.average_processing_time == 20.0
    assert WorkerStats(worker_id="w", worker_type="thread", status=WorkerStatus.IDLE).average_processing_time == 0.0


@pytest.mark.slow
@pytest.mark.requirement("req:B07")
async def test_workers_mean_wait() -> None:
    """With one worker, two tasks of 0.2 s wait 0 and 0.2 s: 0.1 in the mean."""
    async with open_pool(thread_workers=1) as pool:
        handles = [pool.submit_nowait(time.sleep, 0.2) for _ in range(2)]
        assert pool.get_stats().average_wait_time == 0.0
        for handle in handles:
            await handle
        assert pool.get_stats().average_wait_time == pytest.approx(0.1, abs=0.03)


@pytest.mark.requirement("req:B06", "req:L01")
async def test_workers_stats_of_a_scripted_run(gate: threading.Event) -> None:
    """Each of the nine fields is what the script makes it, while it runs and afterwards."""
    async with open_pool(async_workers=2, thread_workers=1) as pool:
        for _ in range(4):
            await (await pool.submit(abs, -1))
        await (await pool.submit(fail, 0.0)).outcome()
        held = await pool.submit(gate.wait, DEADLINE_S)
        napping = await pool.submit(nap_async, 30.0)
        waiting = [await pool.submit(abs, -2) for _ in range(3)]
        await until(lambda: pool.get_stats().active_workers == 2, "two workers to be busy")
        stats = pool.get_stats()
        assert (stats.total_workers, stats.active_workers, stats.idle_workers) == (3, 2, 1)
        assert (stats.queued_tasks + stats.running_tasks, stats.completed_tasks, stats.failed_tasks) == (5, 4, 1)
        gate.set()
        assert [await handle for handle in [held, *waiting]] == [True, 2, 2, 2]
        napping.cancel()
        await napping.outcome()
        stats = pool.get_stats()
        assert (stats.active_workers, stats.idle_workers, stats.queued_tasks) == (0, 3, 0)
        assert (stats.completed_tasks, stats.failed_tasks, stats.cancelled_tasks) == (8, 1, 1)
        assert stats.average_processing_time > 0.0
        assert stats.average_wait_time > 0.0
        assert stats.resource_utilization == {}
        nine = set(stats.to_dict()) & set(PoolStats.__struct_fields__[:9])
        assert len(nine) == 9


@pytest.mark.slow
@pytest.mark.requirement("req:A03")
async def test_workers_processes_share_the_load() -> None:
    """So many process workers are so many processes, none of them ours, and all of them work under load."""
    async with open_pool(process_workers=3) as pool:
        on = pool.options(executor="processes")
        handles = [await on.submit(pid_after, 0.05) for _ in range(18)]
        pids = {await handle for handle in handles}
        assert len(pids) == 3
        assert os.getpid() not in pids


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


class Count:
    """How many tasks run now, and ran at most."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0

    def __enter__(self) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.now -= 1


@pytest.mark.slow
@pytest.mark.concurrency
@pytest.mark.requirement("req:A08")
async def test_workers_are_held_to_one_cap() -> None:
    """`max_concurrent_tasks` bounds what runs over all executors, however many workers there are."""
    count = Count()

    def plain() -> None:
        with count:
            time.sleep(0.005)

    async def coroutine() -> None:
        with count:
            await asyncio.sleep(0.005)

    async with open_pool(async_workers=15, thread_workers=15, max_concurrent_tasks=2) as pool:
        handles = [await pool.submit(function) for _ in range(15) for function in (plain, coroutine)]
        for handle in handles:
            await handle
    assert count.most == 2


@pytest.mark.concurrency
@pytest.mark.requirement("req:A01", "req:E01")
async def test_workers_of_the_loop_overlap() -> None:
    """As many coroutines sleep at once as there are workers for them, and never more."""
    count = Count()

    async def coroutine() -> None:
        with count:
            await asyncio.sleep(0.02)

    async with open_pool(async_workers=3) as pool:
        for handle in [await pool.submit(coroutine) for _ in range(9)]:
            await handle
    assert count.most == 3


@pytest.mark.requirement("req:A02")
async def test_workers_without_threads() -> None:
    """With no thread workers, what would go to threads is refused at submit with advice; named elsewhere it runs."""
    before = threading.active_count()
    async with open_pool(thread_workers=0) as pool:
        with pytest.raises(ValueError, match=r"thread_workers is 0.*name another executor"):
            await pool.submit(abs, -1)
        assert await (await pool.options(executor="inline").submit(abs, -1)) == 1
        assert await (await pool.options(executor="processes").submit(abs, -1)) == 1
        await (await pool.submit(nap_async, 0.0))
        assert pool.get_stats().submitted_tasks == 3
        names = {thread.name for thread in threading.enumerate()}
        assert not [name for name in names if name.startswith(("longshore-thread-", "asyncio_"))]
    await until(lambda: threading.active_count() <= before, "the threads to end")
