"""What a pool uses of the CPU itself is no reason to use less, with the limits that hold where nobody sets any."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
from longshore import Event, Settings, WorkerConfig, WorkerPool

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="/proc/stat is read")]

DEADLINE_S = 60.0
BURN_S = 1.0
ROUNDS = 4


def burn(cpu_s: float) -> float:
    """Use so much CPU time, and return how much it was."""
    began = time.process_time()
    while time.process_time() - began < cpu_s:
        pass
    return time.process_time() - began


def busy_s() -> float:
    """Return how many seconds all CPUs of this machine have been busy."""
    ticks = [int(field) for field in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
@pytest.mark.throttling
@pytest.mark.requirement("req:G17")
async def test_tasks_that_use_all_cores_are_not_held_back_for_it() -> None:
    """All that they use is known for ours; and where others use less than the warning level, nothing is held back."""
    cores = os.cpu_count() or 1
    pool = WorkerPool(WorkerConfig(process_workers=cores), settings=Settings(probes=("psutil",)))
    crossed: list[Event] = []
    own: list[float] = []
    async with asyncio.timeout(DEADLINE_S), pool:
        await (await pool.options(executor="processes").submit(burn, 0.0))
        pool.events.subscribe(crossed.append, types=["resource_warning"])
        began, before_s = time.monotonic(), busy_s()
        handles = [await pool.options(executor="processes").submit(burn, BURN_S) for _ in range(cores * ROUNDS)]
        while pool.get_stats().completed_tasks < len(handles):
            await asyncio.sleep(0.25)
            own.append(pool.snapshot().usage["cpu"].own or 0.0)
        ours_s = sum([await handle for handle in handles])
        took_s = time.monotonic() - began
        others = max(0.0, busy_s() - before_s - ours_s) / took_s / cores
    measured = sorted(own)[len(own) // 2]
    assert measured >= 0.7 * ours_s / took_s, f"of {ours_s / took_s:.2f} cores that tasks used {measured:.2f} are ours"
    held = [event.data["message"] for event in crossed if event.data["resource"] == "cpu"]
    assert others >= 0.4 or not held, f"others used {others:.0%} of the machine, and it says {held}"
