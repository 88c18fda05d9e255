"""Progress from inside any lane to the tracker and the bus: by events alone, coalesced, nested, and measured."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from longshore import (
    EventBus,
    ProgressTracker,
    RetryPolicy,
    Settings,
    TaskProgress,
    WorkerConfig,
    WorkerPool,
    current_task,
    track,
)
from longshore.events import AnyEvent
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.accuracy]

DEADLINE_S = 20.0
LANES = ("asyncio", "threads", "processes")
each = pytest.mark.parametrize("executor", LANES)
each_and_inline = pytest.mark.parametrize("executor", [*LANES, "inline"])


class Watch:
    """A pool's bus with a tracker that knows nothing but the bus, and all `task_progress` that was told."""

    def __init__(self) -> None:
        self.bus = EventBus()
        self.tracker = ProgressTracker(self.bus)
        self.told: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.bus.subscribe(self._hear, "task_progress")

    def _hear(self, event: AnyEvent) -> None:
        self.told[event.data["task_id"]].append(event.data)

    def of(self, task_id: str) -> TaskProgress:
        found = self.tracker.get_task_progress(task_id)
        assert found is not None
        return found


@asynccontextmanager
async def watched(**workers: int) -> AsyncIterator[tuple[WorkerPool, Watch]]:
    """A pool, and what a watch on its bus sees; all of it once the pool has stopped."""
    watch = Watch()
    config = WorkerConfig(**{"async_workers": 4, "thread_workers": 2, "process_workers": 2, **workers})
    try:
        async with asyncio.timeout(DEADLINE_S):
            async with WorkerPool(event_bus=watch.bus, settings=Settings(probes=(), workers=config)) as pool:
                yield pool, watch
            assert await watch.bus.drain(DEADLINE_S)
    finally:
        watch.tracker.close()
        watch.bus.close()


def lane(executor: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as the executor takes it."""
    if executor != "asyncio":
        return function

    async def as_coroutine(*args: Any) -> Any:
        return function(*args)

    return as_coroutine


def half(label: str) -> str:
    current_task().progress(0.5, label, step="middle")
    return current_task().task_id


def hurried(updates: int) -> float:
    began = time.monotonic()
    for number in range(1, updates + 1):
        current_task().progress(number / (2 * updates), str(number))
    return time.monotonic() - began


def page_by_page(folder: str, pages: int, stops: list[int]) -> None:
    for page in track(range(1, pages + 1)):
        if page in stops:
            _wait_for(Path(folder) / str(page))


async def page_by_page_async(folder: str, pages: int, stops: list[int]) -> None:
    for page in track(range(1, pages + 1)):
        while page in stops and not (Path(folder) / str(page)).exists():
            await asyncio.sleep(0.002)


def _wait_for(path: Path) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not path.exists() and time.monotonic() < give_up:
        time.sleep(0.002)


def _steps(watch: Watch, task_id: str) -> int:
    task = watch.tracker.get_task_progress(task_id)
    return task.completed_steps if task is not None else 0


def burn(seconds: float) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while time.process_time() < seconds and time.monotonic() < give_up:
        sum(range(1000))


@pytest.mark.requirement("req:H21")
@pytest.mark.events
async def test_the_tracker_follows_a_pool_by_its_bus_alone() -> None:
    """Not passed to the pool, it knows of each task: queued, begun, tried again, ended, and what that took."""
    tries: list[int] = []
    go = asyncio.Event()

    async def held() -> None:
        await go.wait()

    def second_time() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not yet")

    def bad() -> None:
        raise KeyError("lost")

    async with watched(async_workers=1, thread_workers=1) as (pool, watch):
        running = await pool.options(key="doc-1").submit(held)
        queued = await pool.submit(held)
        await until(lambda: watch.tracker.get_task_progress(queued.task_id), "both")
        await until(lambda: watch.of(running.task_id).status == "processing", "the first to begin")
        assert [task.task_id for task in watch.tracker.get_active_tasks()] == [running.task_id]
        assert (watch.of(queued.task_id).status, watch.of(queued.task_id).duration) == ("queued", None)
        assert watch.of(running.task_id).document_id == "doc-1"
        queued.cancel()
        retried = await pool.options(retry=RetryPolicy(attempts=2, backoff=0.01)).submit(second_time)
        failed = await pool.submit(bad)
        go.set()
    ends = {handle: watch.of(handle.task_id) for handle in (running, queued, retried, failed)}
    assert [task.status for task in ends.values()] == ["completed", "cancelled", "completed", "failed"]
    assert [task.progress for task in ends.values()] == [1.0, 0.0, 1.0, 0.0]
    assert "KeyError" in str(ends[failed].error)
    assert "lost" in str(ends[failed].error)
    assert all(task.completed_at is not None for task in ends.values())
    stats = watch.tracker.get_statistics()
    assert (stats["total_tasks"], stats["failed_tasks"], stats["cancelled_tasks"]) == (2, 1, 1)
    assert watch.tracker.get_active_tasks() == []


@pytest.mark.slow
@each_and_inline
@pytest.mark.requirement("req:H22")
async def test_a_task_reports_from_any_lane(executor: str) -> None:
    """What a task says of itself is told of it, and of no other, whatever runs it."""
    async with watched() as (pool, watch):
        handles = [await pool.options(executor=executor).submit(lane(executor, half), f"n{n}") for n in range(8)]
        ids = [await handle for handle in handles]
    assert ids == [handle.task_id for handle in handles]
    for number, task_id in enumerate(ids):
        (told,) = watch.told[task_id]
        assert (told["progress"], told["message"], told["current_step"]) == (0.5, f"n{number}", "middle")
        assert told["estimated_remaining_s"] >= 0.0
        assert (watch.of(task_id).message, watch.of(task_id).progress) == (f"n{number}", 1.0)


@each_and_inline
@pytest.mark.requirement("req:H14")
@pytest.mark.update_rate
async def test_ten_thousand_updates_are_told_at_a_set_rate(executor: str) -> None:
    """Of 10,000 updates in a rush at most ten a second are told, in order, the first and the last of them always."""
    async with watched() as (pool, watch):
        handle = await pool.options(executor=executor).submit(lane(executor, hurried), 10_000)
        took_s = await handle
    told = watch.told[handle.task_id]
    assert len(told) <= 2 + 10 * took_s
    assert [data["progress"] for data in told] == sorted(data["progress"] for data in told)
    assert (told[0]["message"], told[-1]["message"], told[-1]["progress"]) == ("1", "10000", 0.5)
    task = watch.of(handle.task_id)
    assert (task.status, task.message, task.progress) == ("completed", "10000", 1.0)


@each_and_inline
@pytest.mark.requirement("req:H14", "req:H26")
@pytest.mark.concurrency
async def test_many_tasks_that_tell_much_lose_nothing(executor: str) -> None:
    """Of 500 tasks with 20 updates each, every first, last and end arrives, in order, at the set rate."""
    async with watched() as (pool, watch):
        work = lane(executor, hurried)
        took = [outcome async for outcome in pool.options(executor=executor).outcomes(work, [20] * 500)]
    assert len(took) == 500
    for outcome in took:
        told = watch.told[outcome.task_id]
        assert (told[0]["message"], told[-1]["message"]) == ("1", "20")
        assert [data["progress"] for data in told] == sorted(data["progress"] for data in told)
        assert len(told) <= 2 + 10 * outcome.ran_s
        assert watch.of(outcome.task_id).status == "completed"


@pytest.mark.slow
@each
@pytest.mark.requirement("req:H25")
async def test_the_fraction_told_is_the_work_done(executor: str, tmp_path: Path) -> None:
    """A task of 100 steps, looked at while it stands still in one of them, is shown exactly where it is."""
    stops = [2, 37, 50, 99, 100]
    work = page_by_page_async if executor == "asyncio" else page_by_page
    async with watched() as (pool, watch):
        handle = await pool.options(executor=executor).submit(work, str(tmp_path), 100, stops)
        for stop in stops:
            await until(lambda done=stop - 1: _steps(watch, handle.task_id) == done, f"step {stop}")  # type: ignore[misc]
            assert watch.of(handle.task_id).progress == pytest.approx((stop - 1) / 100)
            (tmp_path / str(stop)).touch()
        await handle
    assert watch.told[handle.task_id][-1]["completed_steps"] == 100


@pytest.mark.slow
@pytest.mark.requirement("req:H23")
@pytest.mark.utilisation
async def test_what_a_task_used_is_measured() -> None:
    """A task that computes in a process shows the processor's time it took, one that sleeps next to none."""
    async with watched(process_workers=1) as (pool, watch):
        busy = await pool.options(executor="processes").submit(burn, 0.2)
        idle = await pool.options(executor="processes").submit(time.sleep, 0.2)
        await asyncio.gather(busy, idle)
    assert watch.of(busy.task_id).cpu_usage > watch.of(idle.task_id).cpu_usage
    assert watch.of(busy.task_id).cpu_usage > 0.0
    assert watch.of(idle.task_id).cpu_usage < 50.0


@pytest.mark.requirement("req:H13")
async def test_what_is_told_by_hand_and_by_the_pool_is_one_record() -> None:
    """A function that tells the tracker itself is heard on the pool's bus, in one record with what the pool tells."""
    async with watched() as (pool, watch):

        async def work() -> str:
            task_id = current_task().task_id
            await until(lambda: watch.tracker.get_task_progress(task_id), "its start to be heard")
            await watch.tracker.update_task(task_id, 0.4, "by hand", "reading")
            return task_id

        task_id = await (await pool.submit(work))
    assert [(data["progress"], data["message"]) for data in watch.told[task_id]] == [(0.4, "by hand")]
    assert (watch.of(task_id).status, watch.of(task_id).current_step) == ("completed", "reading")


async def test_a_drained_tracker_knows_the_end_of_what_was_awaited() -> None:
    """Once somebody has a result, and has drained the pool's own bus, the tracker has the task as completed."""
    tracker = ProgressTracker()
    pool = WorkerPool(progress_tracker=tracker, settings=Settings(probes=()))
    async with asyncio.timeout(DEADLINE_S), pool:
        for number in range(50):
            task_id = await pool.submit_task("mine", -number, abs)
            assert await pool.get_task_result(task_id) == number
            assert await pool.events.drain(DEADLINE_S)
            known = tracker.get_task_progress(task_id)
            assert known is not None
            assert (known.status, known.progress) == ("completed", 1.0)


async def test_a_tracker_may_be_passed_to_the_pool() -> None:
    """Passed as `progress_tracker`, it follows each run of the pool, and twice the same bus is once."""
    tracker = ProgressTracker()
    pool = WorkerPool(progress_tracker=tracker, settings=Settings(probes=()))
    for run in (1, 2):
        async with asyncio.timeout(DEADLINE_S), pool:
            tracker.follow(pool.events)
            heard: list[AnyEvent] = []
            pool.events.subscribe(heard.append, "task_progress")
            await tracker.start_task(f"by-hand-{run}", "f", "doc")
            handle = await pool.submit(half, "once")
            await handle
        assert [event.data["progress"] for event in heard] == [0.0, 0.5]
        assert tracker.get_statistics()["total_tasks"] == run
        assert pool.summary is not None
        assert pool.summary.notes == []
    last = tracker.get_task_progress(handle.task_id)
    assert last is not None
    assert (last.status, last.message) == ("completed", "once")
