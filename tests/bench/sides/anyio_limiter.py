"""anyio: a task group, a CapacityLimiter for the bound."""

from __future__ import annotations

from time import perf_counter

import anyio
from work import CONCURRENCY, async_noop, check, warm_up_size


async def _all(n: int) -> list[int]:
    limiter = anyio.CapacityLimiter(CONCURRENCY)
    results: list[int] = []

    async def one(number: int) -> None:
        async with limiter:
            results.append(await async_noop(number))

    async with anyio.create_task_group() as group:
        for number in range(n):
            group.start_soon(one, number)
    return results


async def _measure(n: int) -> float:
    await _all(warm_up_size(n))
    began = perf_counter()
    results = await _all(n)
    took = perf_counter() - began
    check(results, n)
    return took


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    return anyio.run(_measure, n)
