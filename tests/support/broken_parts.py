"""A run beside parts that fail: whatever they do, its tasks come out as they must."""

from __future__ import annotations

import time
from typing import Any

from longshore import RunSummary, Settings, TaskState, WorkerPool

COUNT = 3000


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
