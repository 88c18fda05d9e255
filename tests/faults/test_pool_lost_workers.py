"""Workers that die, hang or cannot be started: what becomes of their task, their place, and the pool."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from longshore import PluginError, Settings, TaskState, WorkerConfig, WorkerPool
from longshore.testing import RecordingSink
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.lifecycle]

DEADLINE_S = 30.0


@asynccontextmanager
async def open_pool(*sinks: RecordingSink, **workers: Any) -> AsyncIterator[WorkerPool]:
    config = {"async_workers": 1, "thread_workers": 1, "process_workers": 1, **workers}
    settings = Settings(probes=(), workers=WorkerConfig(**config))
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=settings, sinks=sinks) as pool:
        yield pool


def hang(folder: Path) -> None:
    """Say that it runs, and run until the file `go` appears."""
    (folder / f"pid-{os.getpid()}").touch()
    give_up = time.monotonic() + 30
    while not (folder / "go").exists() and time.monotonic() < give_up:
        time.sleep(0.005)


async def hang_stubborn(folder: Path) -> None:
    """The same, and ignore being cancelled."""
    (folder / f"pid-{os.getpid()}").touch()
    give_up = time.monotonic() + 30
    while not (folder / "go").exists() and time.monotonic() < give_up:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.005)


async def answer() -> int:
    return 42


LANES: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    "asyncio": (hang_stubborn, answer, ()),
    "threads": (hang, abs, (-42,)),
    "processes": (hang, abs, (-42,)),
}


@pytest.mark.parametrize("executor", LANES)
@pytest.mark.requirement("req:F02")
async def test_lost_workers_are_replaced(executor: str, tmp_path: Path) -> None:
    """A worker that hangs for good or is killed is told of, its task fails once, and another takes its place."""
    hangs, works, args = LANES[executor]
    sink = RecordingSink()
    try:
        async with open_pool(sink) as pool:
            before = Counter(row.worker_type for row in pool.get_worker_stats())
            on = pool.options(executor=executor)
            lost = await on.options(timeout=None if executor == "processes" else 0.05).submit(hangs, tmp_path)
            waiting = [await on.submit(works, *args) for _ in range(3)]
            if executor == "processes":
                await until(lambda: any(tmp_path.glob("pid-*")), "the task to begin")
                (mark,) = tmp_path.glob("pid-*")
                os.kill(int(mark.name[4:]), signal.SIGKILL)
            outcome = await lost.outcome()
            assert outcome.state is (TaskState.FAILED if executor == "processes" else TaskState.TIMED_OUT)
            assert [await handle for handle in waiting] == [42] * 3
            assert Counter(row.worker_type for row in pool.get_worker_stats()) == before
            assert outcome.worker not in {row.worker_id for row in pool.get_worker_stats()}
            await until(lambda: bool(sink.of_type("worker_error")), "the loss to be told of")
            (event,) = sink.of_type("worker_error")
            assert (event.data["worker_id"], event.data["task_id"]) == (outcome.worker, lost.task_id)
            stats = pool.get_stats()
            assert (stats.completed_tasks, stats.failed_tasks) == (3, 1)
    finally:
        (tmp_path / "go").touch()


def always_fails(number: int) -> None:
    kinds: list[type[BaseException]] = [ValueError, SystemExit, MemoryError, KeyboardInterrupt, RecursionError]
    raise kinds[number % len(kinds)](number)


@pytest.mark.parametrize("executor", ["threads", "processes", "inline"])
@pytest.mark.requirement("req:F01")
async def test_lost_workers_none_though_every_task_fails(executor: str) -> None:
    """After a stream of nothing but failures the pool serves the next good task."""
    async with open_pool() as pool:
        on = pool.options(executor=executor)
        states = Counter([outcome.state async for outcome in on.outcomes(always_fails, range(200))])
        assert states == {TaskState.FAILED: 200}
        assert await (await on.submit(abs, -42)) == 42
        assert pool.get_stats().failed_tasks == 200


@pytest.mark.requirement("req:C03")
async def test_lost_workers_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool whose processes cannot start does not start: a typed error, nothing left open, and a later try works."""

    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "longshore-processes":
            raise RuntimeError("no more of them")
        start(thread)

    sink = RecordingSink()
    settings = Settings(probes=(), workers=WorkerConfig(process_workers=1))
    pool = WorkerPool(settings=settings, sinks=[sink])
    tasks, threads, descriptors = asyncio.all_tasks(), set(threading.enumerate()), open_descriptors()

    def undone() -> bool:
        more = asyncio.all_tasks() - tasks or set(threading.enumerate()) - threads
        return not more and open_descriptors() <= descriptors

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(PluginError, match="executor processes could not start: RuntimeError: no more of them"):
            await pool.start()
    await until(undone, "all to be undone")
    assert await pool.stop() is None
    assert sink.events == []
    async with asyncio.timeout(DEADLINE_S), pool:
        assert await (await pool.options(executor="processes").submit(abs, -42)) == 42


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0


@pytest.mark.slow
@pytest.mark.requirement("req:C09", "req:C10")
async def test_lost_workers_do_not_hold_up_the_stop(tmp_path: Path) -> None:
    """With a hung task in each executor at once, `stop(2)` is over within 3 s, and a ticker of 20 ms goes on."""
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.02)
            gaps.append(time.monotonic() - before)

    try:
        pool = WorkerPool(settings=Settings(probes=(), workers=WorkerConfig(process_workers=1)))
        await pool.start()
        handles = [
            await pool.options(executor=executor).submit(LANES[executor][0], tmp_path / str(number))
            for number, executor in enumerate(LANES)
            if (tmp_path / str(number)).mkdir() is None
        ]
        await until(lambda: len(list(tmp_path.glob("*/pid-*"))) == 3, "three tasks to run")
        waiting = [asyncio.create_task(handle.outcome()) for handle in handles]
        ticker = asyncio.create_task(tick())
        began = time.monotonic()
        summary = await pool.stop(2)
        took = time.monotonic() - began
        ticker.cancel()
        assert took <= 3.0
        assert len(gaps) > 60
        assert max(gaps) < 0.3
        assert [(await one).state for one in waiting] == [TaskState.CANCELLED] * 3
        assert summary is not None
        assert summary.state == "stopped"
    finally:
        for number in range(3):
            (tmp_path / str(number) / "go").touch()
