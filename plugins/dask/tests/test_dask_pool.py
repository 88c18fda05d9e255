"""One pool, one body, four executors: where tasks run is one word."""

from __future__ import annotations

import asyncio
import importlib
import time
from pathlib import Path
from typing import Any

import pytest
from longshore import (
    RetryPolicy,
    Settings,
    TaskCancelled,
    TaskTimeout,
    WorkerConfig,
    WorkerPool,
    current_task,
)
from longshore.testing import RecordingSink

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

QUICK = RetryPolicy(attempts=3, backoff=0.01, jitter=0.0)


TENANTS = """
from contextvars import ContextVar
tenant = ContextVar("tenant", default="nobody")

def who():
    return tenant.get()
"""


class Broken(Exception):
    """An exception of the user's own."""


def double(number: int) -> int:
    return 2 * number


def report() -> str:
    for page in range(1, 6):
        current_task().progress(page / 5, f"page {page} of 5")
    return "read"


def flaky() -> int:
    if current_task().attempt < 3:
        raise Broken(f"attempt {current_task().attempt}")
    return current_task().attempt


def nap() -> None:
    time.sleep(1.0)


async def nap_async() -> None:
    await asyncio.sleep(1.0)


def as_coroutine(function: Any) -> Any:
    async def call(*args: Any) -> Any:
        return function(*args)

    call.__name__ = function.__name__
    return call


@pytest.mark.parametrize("executor", ["asyncio", "threads", "processes", "dask"])
async def test_dask_one_word(executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order, progress, retries, time limits, cancelling and the submitter's context are the same on each."""
    monkeypatch.syspath_prepend(tmp_path)
    module = f"dask_tenants_{executor}"
    (tmp_path / f"{module}.py").write_text(TENANTS)
    tenants = importlib.import_module(module)
    sink = RecordingSink()
    config = WorkerConfig(async_workers=2, thread_workers=2, process_workers=2)
    form = as_coroutine if executor == "asyncio" else lambda function: function
    async with (
        asyncio.timeout(50.0),
        WorkerPool(settings=Settings(probes=(), workers=config), sinks=[sink]) as pool,
    ):
        on = pool.options(executor=executor)
        numbers = [number async for number in on.map(form(double), range(300))]
        assert numbers == [2 * number for number in range(300)]
        assert await (await on.submit(form(report))) == "read"
        retried = await on.options(retry=QUICK).submit(form(flaky))
        assert await retried == 3
        assert (await retried.outcome()).attempts == 3
        slow = nap_async if executor == "asyncio" else nap
        with pytest.raises(TaskTimeout):
            await (await on.options(timeout=0.2).submit(slow))
        cancelled = await on.submit(slow)
        cancelled.cancel()
        with pytest.raises(TaskCancelled):
            await cancelled
        tenants.tenant.set("acme")
        assert await (await on.options(context=(tenants.tenant,)).submit(form(tenants.who))) == "acme"
        stats = pool.get_stats()
        assert (stats.completed_tasks, stats.timed_out_tasks, stats.cancelled_tasks) == (303, 1, 1)
    messages = [event.data["message"] for event in sink.of_type("task_progress")]
    assert (messages[0], messages[-1]) == ("page 1 of 5", "page 5 of 5")
