"""Large results and a consumer that takes its time: what waits for it is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import longshore
import pytest
from longshore import WorkerConfig, WorkerPool

MB = 1_000_000
WAIT_S = 20.0


def give(number: int) -> bytes:
    """Return 4 MB."""
    return bytes([number % 256]) * (4 * MB)


class Items:
    """Numbers, and how many of them were asked for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pulled = 0

    def __iter__(self) -> Iterator[int]:
        for number in range(self.count):
            self.pulled += 1
            yield number


def private_mb() -> float:
    """Return what this process has in memory of its own."""
    _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
    return (int(resident) - int(shared)) * 4096 / MB


async def all_made(pool: WorkerPool, items: Items) -> None:
    """Wait until everything that was asked for has been made."""
    async with asyncio.timeout(WAIT_S):
        while (stats := pool.get_stats()).completed_tasks < items.pulled or stats.submitted_tasks < items.pulled:
            await asyncio.sleep(0.005)


@pytest.mark.slow
def test_a_slow_consumer_bounds_what_is_made() -> None:
    """fault:S4 While nobody takes them, results of 4 MB wait in their dozens, not in their thousands."""
    items = Items(10_000)

    async def go() -> None:
        async with WorkerPool(WorkerConfig(process_workers=2)) as pool:
            before = private_mb()
            async with pool.options(executor="processes").outcomes(give, items) as stream:
                taken = 0
                async for outcome in stream:
                    assert outcome.value[:1] == bytes([outcome.index % 256])
                    taken += 1
                    if taken == 150:
                        await all_made(pool, items)
                        assert items.pulled - taken <= 40  # two windows: what it was given last, and what waits
                        assert private_mb() - before < 4 * 100
                        break

    asyncio.run(go())


@pytest.mark.slow
def test_a_slow_caller_without_async_bounds_it_too() -> None:
    """fault:S4 The same for a plain loop, which is served from a thread."""
    items = Items(10_000)
    ticker = threading.Event()
    with longshore.map(give, items, executor="threads", workers=2) as values:
        for taken, value in enumerate(values):
            assert value[:1] == bytes([taken % 256])
            if taken > 100:
                break
            if taken == 100:
                until, last = monotonic() + WAIT_S, -1
                while monotonic() < until and items.pulled != last:
                    last = items.pulled
                    ticker.wait(0.3)
                assert items.pulled - taken < 100
