"""Nothing is left of a pool that has stopped, however often it was started: no task, thread, process or descriptor."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from longshore import EventBus, Settings, TaskCancelled, WorkerConfig, WorkerPool
from longshore.testing import MemoryJournal, RecordingSink

pytestmark = [pytest.mark.anyio, pytest.mark.lifecycle]

DEADLINE_S = 30.0


async def answer() -> int:
    return 42


async def sleep_long() -> None:
    await asyncio.sleep(60)


def new_pool(**more: Any) -> WorkerPool:
    config = WorkerConfig(async_workers=2, thread_workers=2, process_workers=1, worker_heartbeat_interval=0.01)
    settings = Settings(workers=config, **more)
    return WorkerPool(settings=settings, journal=MemoryJournal(), sinks=[RecordingSink()])


async def use(pool: WorkerPool) -> None:
    """Have each kind of worker do something, a subscriber of each kind listen, and leave something undone."""
    await pool.start()
    handles = [await pool.options(executor=executor).submit(abs, -42) for executor in ("threads", "processes")]
    handles.append(await pool.submit(answer))
    assert [await handle for handle in handles] == [42] * 3
    undone = await pool.submit(sleep_long)
    await pool.stop(0.0)
    with pytest.raises(TaskCancelled):
        await undone


async def cycles(count: int, holdings: Any) -> None:
    async def hear(event: object) -> None: ...

    async with asyncio.timeout(DEADLINE_S + count * 4):
        pool, bus = new_pool(), EventBus()
        for each in (pool.events, bus):
            each.subscribe(lambda event: None)
            each.subscribe(hear)
        await use(pool)
        held = holdings()
        for _ in range(count):
            await use(pool)
            await use(WorkerPool(event_bus=bus, settings=pool.settings))
        await held.again()


@pytest.mark.requirement("req:C07", "req:C12", "req:C16")
@pytest.mark.slow
async def test_leaks_of_five_restarts(holdings: Any) -> None:
    """After five starts and stops of one pool, and of five others on one bus, nothing is left that was not before."""
    await cycles(5, holdings)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.requirement("req:C16")
async def test_leaks_of_fifty_cycles(holdings: Any) -> None:
    """After fifty cycles of asyncio, threads and processes together, psutil sees no task, thread or process more."""
    process = psutil.Process()
    await cycles(1, holdings)
    before = process.num_threads(), process.num_fds(), len(process.children(recursive=True))
    await cycles(25, holdings)
    give_up = asyncio.get_running_loop().time() + 3.0
    while (process.num_threads(), process.num_fds(), len(process.children(recursive=True))) != before:
        assert asyncio.get_running_loop().time() < give_up
        await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.requirement("req:C05")
async def test_leaks_none_unnamed() -> None:
    """Every thread that a pool has begins with `longshore` in its name, and so does each thread of its workers."""
    before = set(threading.enumerate())
    pool = new_pool(probes=("psutil",))
    pool.events.subscribe(lambda event: None)
    async with asyncio.timeout(DEADLINE_S), pool:
        await (await pool.submit(answer))
        name = await (await pool.options(executor="threads").submit(thread_name))
        await (await pool.options(executor="processes", timeout=5).submit(abs, -1))
        made = {thread.name for thread in set(threading.enumerate()) - before}
    assert name.startswith("longshore-thread-")
    assert len(made) >= 6
    assert {one for one in made if not one.startswith("longshore")} == set()


def thread_name() -> str:
    return threading.current_thread().name


def look_around() -> tuple[int, int, bool]:
    """Return this process's id, how many threads it has that it did not start, and whether a lock is taken here."""
    unknown = psutil.Process().num_threads() - threading.active_count()
    return os.getpid(), unknown, tempfile._once_lock.locked()  # type: ignore[attr-defined]  # any lock of a module


@pytest.mark.slow
@pytest.mark.requirement("req:C04")
async def test_leaks_nothing_into_processes() -> None:
    """A worker process comes with its first task, and has none of the controller's threads and locks."""
    look: Callable[[], Any] = look_around
    async with asyncio.timeout(DEADLINE_S), new_pool() as pool:
        assert [row.started for row in pool.get_worker_stats() if row.worker_type == "process"] == [False]
        with tempfile._once_lock:  # type: ignore[attr-defined]  # as above
            pid, unknown_threads, locked = await (await pool.options(executor="processes").submit(look))
        assert pid != os.getpid()
        assert (unknown_threads, locked) == (0, False)
        assert [row.started for row in pool.get_worker_stats() if row.worker_type == "process"] == [True]
