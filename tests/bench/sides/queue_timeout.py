"""asyncio alone: a hundred workers on one asyncio.Queue, each task under asyncio.timeout."""

from __future__ import annotations

import asyncio
from time import perf_counter

from work import CONCURRENCY, async_noop, check, warm_up_size

TIMEOUT_S = 300.0


async def _worker(queue: asyncio.Queue[int | None], results: list[int]) -> None:
    while (number := await queue.get()) is not None:
        async with asyncio.timeout(TIMEOUT_S):
            results.append(await async_noop(number))


async def _all(n: int) -> list[int]:
    queue: asyncio.Queue[int | None] = asyncio.Queue()
    results: list[int] = []
    for number in range(n):
        queue.put_nowait(number)
    for _ in range(CONCURRENCY):
        queue.put_nowait(None)
    await asyncio.gather(*(_worker(queue, results) for _ in range(CONCURRENCY)))
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
    return asyncio.run(_measure(n))
