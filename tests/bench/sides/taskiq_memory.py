"""taskiq: its in-memory broker, every result kept and read."""

from __future__ import annotations

import asyncio
from time import perf_counter

from taskiq import InMemoryBroker
from work import CONCURRENCY, async_noop, check, warm_up_size


async def _all(n: int) -> list[int]:
    broker = InMemoryBroker(max_async_tasks=CONCURRENCY, max_stored_results=-1)
    task = broker.task("noop")(async_noop)
    await broker.startup()
    handles = [await task.kiq(number) for number in range(n)]
    await broker.wait_all()
    results = [(await handle.get_result()).return_value for handle in handles]
    await broker.shutdown()
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
