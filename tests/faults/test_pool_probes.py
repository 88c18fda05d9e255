"""Probes that fail, in real runs: they cost themselves, and never a task."""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from longshore import RunSummary, Settings, TaskState, WorkerPool

pytestmark = pytest.mark.anyio

COUNT = 3000
DEADLINE_S = 30.0
CLOSING_S = 7.0
"""What a sink gets to close in is 5 s; nothing may keep `stop` longer."""


@pytest.fixture(autouse=True)
async def _deadline() -> AsyncIterator[None]:
    """No test of this file waits for longer than its deadline."""
    test = asyncio.all_tasks() - {asyncio.current_task()}  # on this loop there are the fixture and the test
    loop = asyncio.get_running_loop()
    timer = loop.call_later(DEADLINE_S, lambda: [task.cancel("past the test's deadline") for task in test])
    yield
    timer.cancel()


def settings(**given: Any) -> Settings:
    """Return settings that nothing of the user's plays into."""
    return Settings(**{"probes": (), **given})


async def work(number: int) -> int:
    if number % 10 == 3:
        raise ValueError(number)
    return number


async def run(pool: WorkerPool, count: int = COUNT) -> tuple[RunSummary, float]:
    """Run some tasks, hold their outcomes against what they must be, and stop; return summary and seconds to stop."""
    await pool.start()
    outcomes = [outcome async for outcome in pool.outcomes(work, range(count), ordered=True)]
    started = time.monotonic()
    summary = await pool.stop()
    took_s = time.monotonic() - started
    assert summary is not None
    assert [outcome.index for outcome in outcomes] == list(range(count))
    for outcome in outcomes:
        fails = outcome.index % 10 == 3
        assert outcome.state is (TaskState.FAILED if fails else TaskState.COMPLETED)
        assert outcome.value == (None if fails else outcome.index)
    counts = summary.snapshot
    assert (counts.submitted, counts.failed, counts.completed) == (count, count // 10, count - count // 10)
    assert summary.state == "completed"
    assert summary.error is None
    return summary, took_s


# ---- probes

PROBES = """
import threading
from longshore.hookspecs import hookimpl
from longshore.records import Reading

READ = threading.Semaphore(0)
GO = threading.Event()

class Raises:
    resources = ("cpu",)
    period_s = 0.005

    @hookimpl
    def read(self, request):
        READ.release()
        raise OSError("nothing to read")

class Hangs:
    resources = ("memory",)
    period_s = 0.005

    @hookimpl
    def read(self, request):
        READ.release()
        GO.wait(600)
        return Reading(usage={})

class Exits(Raises):
    @hookimpl
    def read(self, request):
        READ.release()
        raise SystemExit(3)

class NoPeriod:
    resources = ("cpu",)

    def __init__(self):
        self.broken = False

    @property
    def period_s(self):
        if self.broken:
            raise OSError("no period")
        return 0.005

    @hookimpl
    def read(self, request):
        self.broken = True
        READ.release()
        raise OSError("nothing to read")

class Nonsense(Raises):
    @hookimpl
    def read(self, request):
        READ.release()
        return None
"""
PROBE_NAMES = {
    "raises": "Raises", "hangs": "Hangs", "exits": "Exits", "noperiod": "NoPeriod", "nonsense": "Nonsense"
}  # fmt: skip


@pytest.mark.parametrize("name", list(PROBE_NAMES))
@pytest.mark.requirement("req:F09")
async def test_a_probe_that_fails(name: str, fake_distributions: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A probe that raises, exits, hangs or answers nonsense stops neither a task nor the end of the run."""
    module = importlib.import_module(fake_distributions.add("probes-of-a-test", PROBES, probes=PROBE_NAMES))
    try:
        with caplog.at_level(logging.CRITICAL):
            pool = WorkerPool(settings=settings(probes=(name,)))
            await pool.start()
            assert await asyncio.to_thread(module.READ.acquire, timeout=10)
            assert await (await pool.submit(work, 1)) == 1
            pool.get_stats()
            pool.snapshot()
            await pool.stop()
            _, took_s = await run(pool, 500)
        assert took_s < CLOSING_S
    finally:
        module.GO.set()
    deadline = time.monotonic() + 10
    while [thread for thread in threading.enumerate() if thread.name.startswith("longshore-probe")]:
        assert time.monotonic() < deadline, "a probe's thread does not end"
        await asyncio.sleep(0.002)
