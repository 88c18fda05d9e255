"""Executors that grow and shrink with their load, with real workers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from longshore import Event, Settings, WorkerConfig, WorkerPool

pytestmark = [pytest.mark.anyio, pytest.mark.scaling, pytest.mark.slow]
_DEADLINE_S = 30.0


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


async def doze(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def _until(pool: WorkerPool, executor: str, workers: int) -> None:
    give_up = time.monotonic() + _DEADLINE_S
    while _wanted(pool, executor) != workers or pool._driver.engine.slots()[executor] != workers:
        assert time.monotonic() < give_up, pool.get_stats().scaling
        await asyncio.sleep(0.05)


def _wanted(pool: WorkerPool, executor: str) -> int | None:
    scale = pool.get_stats().scaling.get(executor)
    return scale.workers if scale is not None else None  # processes come with their first work


@pytest.mark.timeout(120)
@pytest.mark.requirement("req:L08")
@pytest.mark.parametrize(
    ("executor", "function"),
    [
        pytest.param("asyncio", doze, marks=pytest.mark.long),
        pytest.param("threads", nap, marks=pytest.mark.long),
        ("processes", nap),
    ],
)
async def test_an_executor_grows_with_what_waits_and_shrinks_when_it_is_idle(executor: str, function: Any) -> None:
    """From one worker to three and back, by events and statistics as well; every task ends."""
    told: list[Event] = []
    config = WorkerConfig.model_validate(
        {"async_workers": 1, "thread_workers": 1, "scaling": {executor: {"max_workers": 3, "idle_s": 0.5}}}
    )
    async with WorkerPool(config, settings=Settings(probes=())) as pool:
        pool.events.subscribe(told.append, types=["workers_scaled"])
        on = pool.options(executor=executor)
        handles = [on.submit_nowait(function, 0.3) for _ in range(30)]
        await _until(pool, executor, 3)
        assert [await handle for handle in handles] == [0.3] * 30
        await _until(pool, executor, 1)
        stats = pool.get_stats()
        assert stats.to_dict()["scaling"][executor]["grown"] == stats.scaling[executor].shrunk == 2
        pool.resize(executor, 2)
        await on.submit_nowait(function, 0.0)
        assert not pool.get_stats().scaling
    assert [event.data["workers"] for event in told][-1] == 1
    assert {event.data["executor"] for event in told} == {executor}
