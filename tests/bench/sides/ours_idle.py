"""longshore: what a pool with asyncio, thread and process workers up costs while nothing is asked of it."""

from __future__ import annotations

import asyncio
import time
from time import perf_counter

import psutil
from ours import make_pool, values
from work import async_noop, noop

SETTLE_S = 1.0
"""Quiet before the window, for what follows the last task."""


def measure(n: int) -> float:
    """Return the CPU time of this process and its children over n idle seconds, in percent of one core."""
    return asyncio.run(_measure(n))


async def _measure(seconds: int) -> float:
    async with make_pool() as pool:
        await values(pool, async_noop, 100, "asyncio", "task")
        await values(pool, noop, 100, "threads", "task")
        await values(pool, noop, 100, "processes", "task")
        await asyncio.sleep(SETTLE_S)
        pids = [process.pid for process in (psutil.Process(), *psutil.Process().children(recursive=True))]
        began, before = perf_counter(), sum(map(_cpu_s, pids))
        await asyncio.sleep(seconds)
        return 100.0 * (sum(map(_cpu_s, pids)) - before) / (perf_counter() - began)


def _cpu_s(pid: int) -> float:
    if psutil.LINUX:  # the process's own CPU clock, in ns: /proc counts in ticks, too coarse here
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
