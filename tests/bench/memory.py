"""How much the controller's resident memory grows while tasks flow through it and no result is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psutil
from ours import make_pool, values, with_all_on

WARM_UP = 20_000
"""Tasks before the measured ones, so that what is allocated once is not counted as growth."""
EVERY = 10_000
"""Tasks between two looks at the memory."""
MB = 1_000_000


def growth_mb(n: int, function: Callable[[int], Any], executor: str, isolation: str) -> float:
    """Return the highest resident memory during n lazy tasks, less that before them. (Any: the results.)"""
    return asyncio.run(_growth_mb(n, function, executor, isolation))


async def _growth_mb(n: int, function: Callable[[int], Any], executor: str, isolation: str) -> float:
    process = psutil.Process()
    async with make_pool() as pool:
        await values(pool, function, min(n, WARM_UP), executor, isolation)
        before = top = process.memory_info().rss
        fast = with_all_on(pool, executor, isolation=isolation)
        seen = 0
        async for _ in fast.outcomes(function, iter(range(n))):
            seen += 1
            if seen % EVERY == 0:
                top = max(top, process.memory_info().rss)
        top = max(top, process.memory_info().rss)
    if seen != n:
        raise AssertionError(f"{n} tasks gave {seen} outcomes")
    return (top - before) / MB
