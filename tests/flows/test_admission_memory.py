"""Memory of real worker processes: what a task takes is seen, and one that is ended for it has its result later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from longshore import MemoryLimitExceeded, ResourceMonitor, RetryPolicy, Settings, WorkerConfig, WorkerPool
from longshore._measuring import Growth
from longshore.hookspecs import hookimpl
from longshore.records import Reading, ReadRequest, Usage, WorkerStats, WorkerStatus, WorkerUsage
from support.waiting import until

pytestmark = pytest.mark.anyio

DEADLINE_S = 30.0
MB = 1 << 20


class Scales:
    """A probe of a machine of 10 GB, on which each worker process holds 50 MB, and what it is said to have grown by."""

    resources = ("memory",)
    period_s = 0.02

    def __init__(self) -> None:
        self.percent = 10.0
        self.grown_mb: dict[int, float] = {}
        self.reads = 0

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        self.reads += 1
        workers = {pid: WorkerUsage(0.0, 50.0 + self.grown_mb.get(pid, 0.0)) for pid in request.worker_pids}
        return Reading(datetime.now(UTC), {"memory": Usage(self.percent * 100.0, 10_000.0, 500.0)}, workers)


@asynccontextmanager
async def weighed(**config: Any) -> AsyncIterator[tuple[WorkerPool, Scales]]:  # Any: of a WorkerConfig
    scales = Scales()
    monitor = ResourceMonitor(None, 0.02, [scales])
    workers = WorkerConfig(**{"process_workers": 2, **config})
    pool = WorkerPool(workers, None, monitor, settings=Settings(probes=()))
    async with asyncio.timeout(DEADLINE_S), pool:
        yield pool, scales


def wait_for(gate: str) -> str:
    """Return when a file is there."""
    give_up = time.monotonic() + DEADLINE_S
    while not Path(gate).exists():
        assert time.monotonic() < give_up
        time.sleep(0.005)
    return gate


def take(mb: float, hold_s: float = 0.3) -> float:
    """Hold so much memory for a while."""
    held = bytearray(int(mb * MB))
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(hold_s)
    return mb


@pytest.mark.slow
async def test_when_memory_runs_out_one_is_ended_and_gives_its_result_later(tmp_path: Path) -> None:
    """Of two tasks the one that grew is ended; it costs no retry, waits for room, and both complete (fault:M3)."""
    gate = tmp_path / "gate"
    async with weighed() as (pool, scales):
        fast = pool.options(executor="processes")
        first, second = [await fast.submit(wait_for, str(gate)) for _ in range(2)]
        await until(lambda: sum((row.running_s or 0) > 0.1 for row in pool.get_worker_stats()) == 2, "both to run")
        before = scales.reads
        await until(lambda: scales.reads > before + 5, "both to be weighed")
        grown = next(row for row in pool.get_worker_stats() if row.current_task == second.task_id)
        assert grown.pid is not None
        scales.grown_mb[grown.pid] = 900.0
        scales.percent = 92.0
        await until(lambda: second.state == "queued", "one of them to be ended")
        assert first.state == "processing"
        assert "waits for memory: needs " in str(pool.explain(second.task_id))
        scales.percent = 20.0
        await until(lambda: second.state == "processing", "it to run again")
        gate.touch()
        assert [await first, await second] == [str(gate)] * 2
        assert ((await first.outcome()).attempts, (await second.outcome()).attempts) == (1, 2)


@pytest.mark.slow
async def test_a_task_that_took_too_much_is_tried_again_with_room_for_more() -> None:
    """Where the policy names it: killed above its limit, then run with one and a half of what it was seen to take."""
    async with weighed(task_memory_limit_mb=64) as (pool, _):
        retry = RetryPolicy(attempts=4, backoff=0.0, retry_on=(MemoryLimitExceeded,))
        handle = await pool.options(executor="processes", retry=retry).submit(take, 150)
        assert await handle == 150
        assert 2 <= (await handle.outcome()).attempts <= 4


@pytest.mark.slow
async def test_what_real_tasks_take_is_learnt_and_set_aside() -> None:
    """On a machine with 7.5 GB to lend, two workers: 600 MB each are counted once they were seen."""
    async with weighed(task_memory_limit_mb=2000) as (pool, _):
        fast = pool.options(executor="processes")
        assert [await (await fast.submit(take, 600.0)) for _ in range(2)] == [600.0, 600.0]
        running = await fast.submit(take, 600.0, 2.0)
        await until(lambda: running.state == "processing", "the third to run")
        lent = pool._driver.engine.lent_to(running.task_id)
        assert lent["memory"] == pytest.approx(600.0 * 1.15 * 1.048576, rel=0.15)
        assert await running == 600.0
        assert pool._driver.engine.learnt()["kinds"][0][0] == "take"


def row_of(pid: int, task: str | None, running_s: float | None = 1.0) -> WorkerStats:
    return WorkerStats(
        worker_id=f"w{pid}",
        worker_type="process",
        status=WorkerStatus.BUSY,
        current_task=task,
        running_s=running_s,
        pid=pid,
    )


def test_what_a_task_uses_is_what_its_worker_grew_by() -> None:
    """From what the worker held while idle; of one that was never seen idle, from the least it was seen to hold."""
    growth = Growth()
    usage = {1: WorkerUsage(0.0, 100.0), 2: WorkerUsage(0.0, 300.0)}
    assert growth.see(usage, [row_of(1, None), row_of(2, "b")])["b"].memory_mb == 0.0
    usage = {1: WorkerUsage(0.0, 150.0), 2: WorkerUsage(0.0, 500.0)}
    seen = growth.see(usage, [row_of(1, "a"), row_of(2, "b", 7.0)])
    assert (seen["a"].memory_mb, seen["b"].memory_mb, seen["b"].running_s) == (50.0, 200.0, 7.0)
    growth.see({1: WorkerUsage(0.0, 140.0)}, [row_of(1, None)])
    assert growth.see({1: WorkerUsage(0.0, 150.0)}, [row_of(1, "c")])["c"].memory_mb == 10.0


def test_a_task_that_has_just_begun_is_not_weighed() -> None:
    """The reading may be of the task before it; a worker without a process is not weighed either."""
    growth = Growth()
    usage = {1: WorkerUsage(0.0, 100.0)}
    thread = WorkerStats(worker_id="t", worker_type="thread", status=WorkerStatus.BUSY, current_task="t")
    assert growth.see(usage, [row_of(1, "a", 0.01), row_of(9, "gone"), thread]) == {}
