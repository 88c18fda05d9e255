"""aiometer: amap with max_at_once."""

from __future__ import annotations

import asyncio
from time import perf_counter

import aiometer
from work import CONCURRENCY, async_noop, check, warm_up_size


async def _all(n: int) -> list[int]:
    async with aiometer.amap(async_noop, range(n), max_at_once=CONCURRENCY) as results:
        return [result async for result in results]


async def _measure(n: int) -> float:
    await _all(warm_up_size(n))
    began = perf_counter()
    results = await _all(n)
    took = perf_counter() - began
    check(results, n)
    return took


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    return asyncio.run(_measure(n))
