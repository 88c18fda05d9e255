"""Pools on machines whose limits move and whose work waits for memory: what is measured is what follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from longshore import Event, ResourceMonitor, Resources, Settings, WorkerConfig, WorkerPool
from longshore.hookspecs import Probe
from longshore.records import Reading, Usage
from longshore.testing import FakeSystem, ScriptedProbe
from longshore_psutil import PsutilProbe
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.throttling]

DEADLINE_S = 20.0
GROUP, MB = "/sys/fs/cgroup/job", 1_000_000


@asynccontextmanager
async def pool_with(probe: Probe) -> AsyncIterator[tuple[WorkerPool, list[str]]]:
    """A pool that asks a probe every few milliseconds, what crossed its limit, and a deadline over all that happens."""
    monitor = ResourceMonitor(None, 0.005, [probe])
    pool = WorkerPool(WorkerConfig(thread_workers=4), None, monitor, settings=Settings(probes=()))
    crossed: list[str] = []

    def told(event: Event) -> None:
        if event.data["level"] == "hard" and event.data["state"] == "crossed":
            crossed.append(event.data["resource"])

    pool.events.subscribe(told, types=["resource_warning"])
    async with asyncio.timeout(DEADLINE_S), pool:
        yield pool, crossed


@pytest.mark.requirement("req:G18")
async def test_where_nothing_gets_on_for_want_of_memory_nothing_new_starts() -> None:
    """Pressure holds work back like a resource over its limit, and lets it go when it is over (fault:M3)."""

    def pressed(percent: float) -> Reading:
        return Reading(datetime.now(UTC), {"pressure.memory.full": Usage(percent, 100.0)})

    probe = ScriptedProbe([pressed(30.0)], period_s=0.005)
    async with pool_with(probe) as (pool, crossed):
        await until(lambda: crossed == ["pressure.memory.full"], "the brake")
        waiting = await pool.submit(int, "7")
        held = "pressure.memory.full 30 % is over the limit of 20 %: nothing new starts"
        await until(lambda: pool.snapshot().throttled == held, "a reason")
        assert pool.get_stats().queued_tasks == 1
        probe.then(pressed(1.0))
        assert await waiting == 7


@pytest.mark.requirement("req:G18", "req:G04")
async def test_a_group_whose_limit_is_lowered_while_the_pool_runs_holds_work_back(tmp_path: Path) -> None:
    """One reading later nothing new starts, and when the limit is raised again it does (fault:M6)."""
    # So large that what this process itself takes, which is real, is little of it.
    system = FakeSystem(tmp_path, total_mb=100_000, available_mb=90_000)
    system.member("0::/job")
    system.mount("/sys/fs/cgroup")
    system.group(GROUP, {"memory.max": 40_000 * MB, "memory.current": 10_000 * MB, "memory.stat": "inactive_file 0\n"})
    async with pool_with(PsutilProbe(proc=str(system.proc))) as (pool, crossed):
        needs = pool.options(resources=Resources(memory_mb=15_000))
        assert await (await needs.submit(int, "1")) == 1
        system.write(f"{GROUP}/memory.max", 11_000 * MB)
        await until(lambda: crossed == ["memory"], "the brake")
        waiting = await pool.submit(int, "2")
        await until(lambda: "memory 90.9 %" in (pool.snapshot().throttled or ""), "a reason")
        assert pool.get_stats().queued_tasks == 1
        system.write(f"{GROUP}/memory.max", 40_000 * MB)
        assert await waiting == 2
