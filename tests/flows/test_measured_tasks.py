"""What is measured of each task: its processor time and, in processes, its memory."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest
from longshore import Outcome, Settings, WorkerPool

pytestmark = pytest.mark.anyio


def burn(seconds: float) -> int:
    """Use so much processor time, and some memory."""
    kept = b"x" * (30 << 20)
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return len(kept)


def fail_after_burning(seconds: float) -> None:
    burn(seconds)
    raise ValueError("burnt")


async def outcome_of(executor: str, function: object, seconds: float) -> Outcome:
    async with WorkerPool(settings=Settings()) as pool:
        handle = await pool.options(executor=executor).submit(function, seconds)  # type: ignore[arg-type]
        return await handle.outcome()


@pytest.mark.requirement("req:H23")
@pytest.mark.parametrize("executor", ["threads", "processes", "inline"])
@pytest.mark.parametrize("function", [burn, fail_after_burning])
async def test_a_task_that_computes_shows_processor_time(executor: str, function: object) -> None:
    """A task that computes is told to have used that much processor time, and a process task its memory."""
    outcome = await outcome_of(executor, function, 0.05)
    assert outcome.cpu_s is not None
    assert 0.045 <= outcome.cpu_s <= outcome.ran_s * 1.1
    if executor == "processes" and sys.platform == "linux":
        assert outcome.peak_memory_mb is not None
        assert 25 < outcome.peak_memory_mb < 200


class Heavy:
    """A function that computes while it is unpickled, as one whose module is imported then."""

    def __call__(self, seconds: float) -> int:
        return burn(seconds)

    def __setstate__(self, state: dict[str, float]) -> None:
        burn(state["seconds"])

    def __getstate__(self) -> dict[str, float]:
        return {"seconds": 0.2}


async def test_what_a_worker_needs_to_get_ready_is_no_task_s() -> None:
    """What is computed while a function is brought to its worker is not counted to the first task of it."""
    outcome = await outcome_of("processes", Heavy(), 0.05)
    assert outcome.cpu_s is not None
    assert 0.045 <= outcome.cpu_s <= outcome.ran_s * 1.1


@pytest.mark.parametrize("executor", ["threads", "processes", "inline"])
async def test_a_task_that_waits_shows_none(executor: str) -> None:
    """Time slept is no processor time."""
    outcome = await outcome_of(executor, time.sleep, 0.1)
    assert outcome.cpu_s is not None
    assert outcome.cpu_s < 0.05


async def test_coroutines_are_not_measured() -> None:
    """The loop's processor time cannot be told apart by coroutine: nothing is claimed."""
    outcome = await outcome_of("asyncio", asyncio.sleep, 0.01)
    assert outcome.cpu_s is None
    assert outcome.peak_memory_mb is None


@pytest.mark.slow
async def test_short_tasks_before_a_long_one_are_not_counted_as_its_own() -> None:
    """A thread that ran many short tasks claims nothing of theirs for a long one: it tells less, never a wrong sum."""

    def work(seconds: float) -> None:
        until = time.perf_counter() + 0.0005
        while time.perf_counter() < until:
            pass
        time.sleep(seconds)

    async with WorkerPool(settings=Settings()) as pool:
        seconds = [0.0] * 400 + [0.02] * 20
        longer = [outcome async for outcome in pool.outcomes(work, seconds) if outcome.index >= 400]
    told = [outcome.cpu_s for outcome in longer if outcome.cpu_s is not None]
    assert len(longer) == 20
    assert told
    assert max(told) < 0.02
