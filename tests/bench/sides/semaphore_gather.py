"""asyncio alone: a Task per item, a Semaphore for the bound, gather for the results."""

from __future__ import annotations

import asyncio
from time import perf_counter

from work import CONCURRENCY, async_noop, check, warm_up_size


async def _all(n: int) -> list[int]:
    semaphore = asyncio.Semaphore(CONCURRENCY)

    async def one(number: int) -> int:
        async with semaphore:
            return await async_noop(number)

    return await asyncio.gather(*(one(number) for number in range(n)))


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
