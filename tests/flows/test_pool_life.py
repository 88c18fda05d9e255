"""A pool's life: start, stop, stop in time, and nothing left behind, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from longshore import (
    EventBus,
    Handle,
    JournalError,
    LongshoreError,
    PluginError,
    PoolNotRunning,
    Settings,
    SettingsError,
    TaskCancelled,
    TaskState,
    WorkerConfig,
    WorkerPool,
    current_task,
)
from longshore.events import AnyEvent
from longshore.records import Recalled, RunOpening
from longshore.testing import MemoryJournal, RecordingSink
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.lifecycle]

DEADLINE_S = 20.0
CLOSING_S = 2.0  # what stopping may take beyond its own time limit


def plain(**more: Any) -> Settings:
    return Settings(probes=(), workers=WorkerConfig(process_workers=1), **more)


def answer() -> int:
    return 42


async def answer_async() -> int:
    return 42


def hang(folder: Path) -> None:
    """Run until the file `go` appears."""
    current_task().progress(0.1)
    give_up = time.monotonic() + 30
    while not (folder / "go").exists() and time.monotonic() < give_up:
        time.sleep(0.005)


async def hang_async(folder: Path) -> None:
    current_task().progress(0.1)
    await asyncio.sleep(30)


async def hang_stubborn(folder: Path) -> None:
    """Ignore being cancelled until the file `go` appears."""
    current_task().progress(0.1)
    give_up = time.monotonic() + 30
    while not (folder / "go").exists() and time.monotonic() < give_up:
        try:
            await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            continue


HANGS: dict[str, tuple[str, Callable[..., Any]]] = {
    "asyncio": ("asyncio", hang_async),
    "stubborn": ("asyncio", hang_stubborn),
    "threads": ("threads", hang),
    "processes": ("processes", hang),
}
each = pytest.mark.parametrize("kind", HANGS)


async def running(pool: WorkerPool, count: int) -> None:
    """Wait until `count` tasks have said that they run."""

    def told() -> bool:
        return sum(task.progress is not None for task in pool.snapshot().slowest) >= count

    await until(told, f"{count} tasks to run")


async def ended(*handles: Handle[Any]) -> list[object]:
    return list(await asyncio.gather(*(_result(handle) for handle in handles)))


async def _result(handle: Awaitable[object]) -> object:
    try:
        return await handle
    except LongshoreError as error:
        return error


@asynccontextmanager
async def released(folder: Path) -> AsyncIterator[None]:
    """Let what hangs in this folder go at the end."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield
    finally:
        (folder / "go").touch()


@pytest.mark.requirement("req:C01")
def test_life_constructing_is_cheap() -> None:
    """Making a pool needs no loop, starts no thread and no process."""
    threads, children = set(threading.enumerate()), psutil.Process().children()
    pool = WorkerPool(settings=plain(), sinks=[RecordingSink()], event_bus=EventBus())
    assert not set(threading.enumerate()) - threads
    assert not set(psutil.Process().children()) - set(children)
    assert pool.summary is None


@pytest.mark.requirement("req:C02", "req:C11")
async def test_life_start_and_stop_twice() -> None:
    """A second start or stop does nothing, not even beside the first, and a stop before the start neither."""
    sink = RecordingSink()
    pool = WorkerPool(settings=plain(), sinks=[sink])
    assert await pool.stop() is None
    await asyncio.gather(pool.start(), pool.start())
    first, workers = pool.run_id, len(pool.get_worker_stats())
    await pool.start()
    assert (pool.run_id, len(pool.get_worker_stats())) == (first, workers)
    assert await (await pool.submit(answer)) == 42
    summary = await pool.stop()
    assert summary is not None
    assert (summary.state, summary.snapshot.completed) == ("completed", 1)
    assert await pool.stop() is None
    assert pool.summary == summary
    assert [event.type for event in sink.of_type("worker_pool_started", "worker_pool_stopped")] == [
        "worker_pool_started",
        "worker_pool_stopped",
    ]


@pytest.mark.requirement("req:C06", "req:C13")
async def test_life_events() -> None:
    """Subscribers are told once that the pool started, with its settings, and once that it stopped."""
    told: list[AnyEvent] = []
    bus = EventBus()
    bus.subscribe(told.append)
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=plain(), event_bus=bus) as pool:
        await (await pool.submit(answer_async))
    bus.close()
    assert told[0].type == "worker_pool_started"
    assert told[0].data["config"]["process_workers"] == 1
    assert told[-1].type == "worker_pool_stopped"
    assert told[-1].data["uptime_s"] > 0
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    assert len([event for event in told if event.type.startswith("worker_pool_")]) == 2


@pytest.mark.requirement("req:C12")
async def test_life_restart() -> None:
    """A stopped pool may be started again and counts anew; its workers are not doubled."""
    pool = WorkerPool(settings=plain())
    runs = set()
    async with asyncio.timeout(DEADLINE_S):
        for _ in range(3):
            async with pool:
                assert await (await pool.submit(answer)) == 42
                assert await (await pool.submit(answer_async)) == 42
                stats = pool.get_stats()
                assert (stats.submitted_tasks, stats.completed_tasks) == (2, 2)
                config = pool.config
                assert stats.total_workers == config.async_workers + config.thread_workers + config.process_workers
                runs.add(pool.run_id)
    assert len(runs) == 3


@pytest.mark.requirement("req:C14")
async def test_life_submit_when_not_running(tmp_path: Path) -> None:
    """Before the start, while it stops and after that, a pool refuses work with PoolNotRunning."""
    pool = WorkerPool(settings=plain())
    with pytest.raises(PoolNotRunning):
        await pool.submit(answer)
    with pytest.raises(PoolNotRunning):
        pool.submit_nowait(answer)
    async with released(tmp_path):
        await pool.start()
        held = await pool.submit(hang, tmp_path)
        stopping = asyncio.create_task(pool.stop())
        await asyncio.sleep(0)
        with pytest.raises(PoolNotRunning):
            await pool.submit(answer)
        (tmp_path / "go").touch()
        await stopping
        assert held.state is TaskState.COMPLETED
        with pytest.raises(PoolNotRunning):
            await pool.submit(answer)
        with pytest.raises(PoolNotRunning):
            pool.submit_nowait(answer)
        with pytest.raises(PoolNotRunning):
            pool.options(priority=0).outcomes(answer, [])


@pytest.mark.requirement("req:C08")
async def test_life_stop_drains(tmp_path: Path) -> None:
    """Stopping lets what runs and what is queued end."""
    async with released(tmp_path):
        pool = WorkerPool(WorkerConfig(thread_workers=1), settings=plain())
        await pool.start()
        handles = [await pool.submit(hang, tmp_path)]
        handles += [await pool.submit(answer) for _ in range(6)]
        stopping = asyncio.create_task(pool.stop(DEADLINE_S))
        await running(pool, 1)
        (tmp_path / "go").touch()
        summary = await stopping
        assert await ended(*handles) == [None, *[42] * 6]
        assert summary is not None
        assert (summary.state, summary.snapshot.completed) == ("completed", 7)


@pytest.mark.slow
@each
@pytest.mark.requirement("req:C09")
async def test_life_stop_in_time(kind: str, tmp_path: Path) -> None:
    """With tasks that hang, `stop(timeout)` ends in time, and every waiter is told."""
    executor, function = HANGS[kind]
    async with released(tmp_path):
        pool = WorkerPool(WorkerConfig(async_workers=1, thread_workers=1, process_workers=1), settings=plain())
        await pool.start()
        on = pool.options(executor=executor)
        handles = [await on.submit(function, tmp_path) for _ in range(3)]
        waiting = asyncio.create_task(ended(*handles))
        await running(pool, 1)
        began = time.monotonic()
        summary = await pool.stop(0.2)
        assert time.monotonic() - began < 0.2 + CLOSING_S
        results = await asyncio.wait_for(waiting, 1.0)
        assert [type(result) for result in results] == [TaskCancelled] * 3
        assert summary is not None
        assert (summary.state, summary.snapshot.cancelled) == ("stopped", 3)
        assert summary.error is None


@pytest.mark.slow
@pytest.mark.requirement("req:C10")
async def test_life_stop_never_blocks_the_loop(tmp_path: Path) -> None:
    """While a pool with a stuck thread and a stuck process stops, the loop goes on."""
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - before)

    async with released(tmp_path):
        pool = WorkerPool(settings=plain())
        await pool.start()
        for executor in ("threads", "processes"):
            await pool.options(executor=executor).submit(hang, tmp_path)
        await running(pool, 2)
        ticker = asyncio.create_task(tick())
        await pool.stop(0.3)
        ticker.cancel()
        assert len(gaps) >= 10
        assert max(gaps) < 0.25


async def test_life_left_by_an_exception(tmp_path: Path) -> None:
    """Left by an exception, `async with` cancels what is left, the run has failed by it, and it goes through."""
    handles: list[Handle[Any]] = []
    pool = WorkerPool(WorkerConfig(async_workers=1), settings=plain())
    async with released(tmp_path):
        began = time.monotonic()

        async def leave() -> None:
            async with pool:
                handles.extend([await pool.submit(hang_async, tmp_path) for _ in range(3)])
                await running(pool, 1)
                raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await leave()
        assert time.monotonic() - began < CLOSING_S
        assert [handle.state for handle in handles] == [TaskState.CANCELLED] * 3
        assert pool.summary is not None
        assert (pool.summary.state, pool.summary.error) == ("failed", "KeyError: 'mine'")


class ClosedJournal(MemoryJournal):
    """A journal that cannot be opened."""

    def open(self, run: RunOpening) -> Recalled:
        raise OSError("the disk is gone")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"sinks": ("nobody",)}, PluginError),
        ({"sinks": {"jsonl": {"pathh": "x"}}}, (PluginError, SettingsError)),
        ({"journal": "nowhere"}, PluginError),
        ({"probes": ("unheard-of",)}, PluginError),
        ({"hooks": ("unheard-of",)}, (PluginError, SettingsError)),
    ],
    ids=["sink", "sink-settings", "journal", "probe", "hook"],
)
@pytest.mark.requirement("req:C03")
async def test_life_start_fails(wrong: dict[str, Any], kind: type[Exception], holdings: Any) -> None:
    """A start that fails says why in our own words, and leaves nothing behind."""
    held = holdings()
    pool = WorkerPool(settings=Settings.model_validate({"probes": (), **wrong}), sinks=[RecordingSink()])
    with pytest.raises(kind):
        await pool.start()
    assert not held.more()
    assert await pool.stop() is None
    with pytest.raises(PoolNotRunning):
        await pool.submit(answer)


@pytest.mark.slow
@pytest.mark.requirement("req:C03")
async def test_life_start_fails_with_its_journal(holdings: Any) -> None:
    """A journal that cannot be opened is a JournalError, and its thread ends; a later start may succeed."""
    held = holdings()
    pool = WorkerPool(settings=plain(), journal=ClosedJournal(), sinks=[RecordingSink()])
    with pytest.raises(JournalError, match="the disk is gone"):
        await pool.start()
    await held.again()
    assert await pool.stop() is None


@pytest.mark.slow
@pytest.mark.requirement("req:C03")
async def test_life_unknown_executor(holdings: Any) -> None:
    """An executor that is not installed is refused at submit, and the pool goes on."""
    held = holdings()
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=plain()) as pool:
        with pytest.raises(PluginError, match="steamboat"):
            await pool.options(executor="steamboat").submit(answer)
        assert await (await pool.submit(answer)) == 42
        assert pool.get_stats().submitted_tasks == 1
    await held.again()
