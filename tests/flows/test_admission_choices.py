"""Pools whose tasks reserve one thing or another, and parts of the user's own."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from longshore import ResourceLimits, Resources, ResourceUnavailable, Settings, WorkerConfig, WorkerPool

pytestmark = pytest.mark.anyio

DEADLINE_S = 20.0
LIMITS = ResourceLimits(max_cpu_percent=100, custom={"licence": 1})


class Peak:
    """A function that knows how many calls of it ran at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.005)
        with self._lock:
            self.now -= 1
        return self.most


@pytest.mark.requirement("req:D08")
async def test_a_task_takes_what_can_be_had_and_parts_of_a_pool_of_one_s_own() -> None:
    """One that wants a GPU or a little CPU runs without a GPU; two hold half of a licence at once, none holds two."""
    settings = Settings(probes=(), workers=WorkerConfig(thread_workers=4), limits=LIMITS)
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=settings) as pool:
        either = Resources(gpu=1, cpu=0.01) | Resources(cpu=0.01)
        assert await (await pool.options(resources=either).submit(int, "7")) == 7
        half, peak = pool.options(resources=Resources(custom={"licence": 0.5})), Peak()
        handles = [await half.submit(peak) for _ in range(12)]
        assert max([await handle for handle in handles]) == 2
        with pytest.raises(ResourceUnavailable, match="licence: needs 2, 1 is all there is"):
            await pool.options(resources=Resources(custom={"licence": 2})).submit(int, "7")
        assert not pool._driver.engine.lent()
