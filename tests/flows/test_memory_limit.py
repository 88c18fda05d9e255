"""The memory limit of tasks, from the settings to the outcome."""

from __future__ import annotations

import sys
import time

import pytest
from longshore import MemoryLimitExceeded, Resources, RetryPolicy, Settings, WorkerConfig, WorkerPool
from longshore.errors import LongshoreError
from longshore.task import Outcome, TaskState
from pydantic import ValidationError

MB = 1 << 20
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process uses"),
]


def take(taken_mb: int) -> int:
    """Fill so much memory, and keep it for a moment that is long enough to be seen."""
    kept = b"x" * (taken_mb * MB)
    time.sleep(0.3 if taken_mb > 9 else 0.0)
    return len(kept) // MB


async def taken(_: int) -> int:
    return 0


def pool_with(limit_mb: int) -> WorkerPool:
    return WorkerPool(WorkerConfig(process_workers=2, task_memory_limit_mb=limit_mb), settings=Settings())


@pytest.mark.slow
@pytest.mark.requirement("req:A09")
async def test_a_task_above_the_limit_fails_and_the_pool_lives() -> None:
    """With twice its memory limit a process task fails with a memory error of its own; the others are not harmed."""
    assert WorkerConfig().task_memory_limit_mb == 1024
    with pytest.raises(ValidationError):
        WorkerConfig(task_memory_limit_mb=63)
    async with pool_with(64) as pool:
        fast = pool.options(executor="processes")
        outcomes = [outcome async for outcome in fast.outcomes(take, [0, 1, 128, 2, 0], ordered=True)]
        assert [outcome.ok for outcome in outcomes] == [True, True, False, True, True]
        with pytest.raises(MemoryLimitExceeded, match="may take 64"):
            outcomes[2].unwrap()
        assert outcomes[2].peak_memory_mb is not None
        assert outcomes[2].peak_memory_mb >= 64
        assert await (await fast.submit(take, 3)) == 3


@pytest.mark.slow
@pytest.mark.requirement("req:A09")
async def test_where_nobody_is_held_to_it_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """In threads and coroutines a limit that was asked for is advice: that is logged, once for each executor."""

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if "for advice" in record.getMessage()]

    async with pool_with(64) as pool:
        for executor, function in (("threads", take), ("asyncio", taken), ("threads", take), ("processes", take)):
            assert await (await pool.options(executor=executor).submit(function, 0)) == 0
        said = told()
        by_worker = {row.worker_id: row.memory_limit_by for row in pool.get_worker_stats() if row.started}
    assert [text.split()[1] for text in said] == ["threads", "asyncio"]
    assert "belong on executor 'processes'" in said[0]
    held = {name for name, rung in by_worker.items() if rung is not None}
    assert held
    assert all(name.startswith("process-") for name in held)
    caplog.clear()
    async with WorkerPool(WorkerConfig(thread_workers=1), settings=Settings()) as pool:
        assert await (await pool.options(executor="threads").submit(take, 0)) == 0
    assert not told()


@pytest.mark.slow
async def test_who_declares_more_may_take_more() -> None:
    """Resources(memory_mb=...) above the general limit is the limit of those tasks."""
    async with pool_with(64) as pool:
        handle = await pool.options(executor="processes", resources=Resources(memory_mb=400)).submit(take, 128)
        assert await handle == 128


async def attempts_of(retry: RetryPolicy) -> Outcome:
    async with pool_with(64) as pool:
        return await (await pool.options(executor="processes", retry=retry).submit(take, 128)).outcome()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("retry_on", "attempts"), [((Exception,), 1), ((MemoryLimitExceeded,), 2), ((ValueError, LongshoreError), 2)]
)
async def test_it_is_not_tried_again_unless_named(retry_on: tuple[type[Exception], ...], attempts: int) -> None:
    """What took too much memory would do so again: only a policy that names the error tries it once more."""
    outcome = await attempts_of(RetryPolicy(attempts=2, backoff=0.0, retry_on=retry_on))
    assert outcome.state is TaskState.FAILED
    assert outcome.attempts == attempts
