"""`explain`: where a task is and why it waits, in plain words."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from longshore import Priority, ResourceLimits, Resources, RetryPolicy, TaskNotFound
from longshore._engine.wording import amount
from support.waiting import until

pytestmark = pytest.mark.anyio

Opener = Callable[..., Any]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def same(value: object) -> object:
    return value


def fail(_: object) -> None:
    raise KeyError("mine")


async def test_it_tells_the_place_in_the_queue_and_the_busy_worker(open_pool: Opener, gate: Any) -> None:
    """How many go before it, at which priority, since when, and that all workers are taken."""
    async with open_pool(max_concurrent_tasks=10) as pool:
        (held,) = await gate.hold(pool)
        low = await pool.submit_task("low", 1, same, Priority.LOW)
        high = (await pool.options(priority=Priority.HIGH).submit(same, 2)).task_id
        await until(lambda: pool.get_stats().queued_tasks == 2, "both to be queued")
        assert re.fullmatch(
            f"task {held} is with executor threads, attempt 1 of 1, on worker thread-0", pool.explain(held)
        )
        assert re.search(
            r"is queued for executor threads with priority LOW, and has waited \S+ s: "
            r"1 of 1 workers of threads are busy; 1 task ahead$",
            pool.explain(low),
        )
        assert "priority HIGH, " in pool.explain(high)
        assert pool.explain(high).endswith("; no tasks ahead")
        gate.set()
        assert await pool.get_task_result(low) == 1
        assert re.search(r"\(low\) completed after 1 attempt, the last of \S+ s on worker thread-0$", pool.explain(low))
        for unknown in (high, "nosuch"):
            with pytest.raises(TaskNotFound, match="there is no task"):
                pool.explain(unknown)


async def test_it_names_what_holds_a_task_back(open_pool: Opener, gate: Any) -> None:
    """Paused, a limit of its name, its rate, its resources, or the cap over all."""
    whole = ResourceLimits(max_cpu_percent=100)
    async with open_pool(limits=whole, thread_workers=4, max_concurrent_tasks=3) as pool:

        async def waiting(**options: Any) -> str:
            """Submit one that runs and one that waits for it; return what is said of the second."""
            given = pool.options(**options)
            handles = [await given.submit(gate.wait, 20) for _ in range(2)]
            await until(lambda: pool.get_stats().queued_tasks >= 1, "the second to wait")
            said = pool.explain(handles[1].task_id)
            handles[0].cancel()
            handles[1].cancel()
            assert await pool.wait_for_completion(10)
            return said

        assert "at most 1 of few run at once, and so many do" in await waiting(name="few", concurrent_limit=1)
        assert re.search(r"at most 0\.1 of slow start in a second, the next in \S+ s", await waiting(
            name="slow", max_per_second=0.1
        ))  # fmt: skip
        said = await waiting(resources=Resources(cpu=CORES))
        every = amount("cpu", CORES)
        assert f"waits for cpu: needs {every}, 0 cores free of {every}; no tasks ahead" in said
        await gate.hold(pool, workers=3)
        fourth = await pool.submit_task("fourth", 1, same)
        await until(lambda: pool.get_stats().queued_tasks == 1, "the fourth to wait")
        assert pool.explain(fourth).endswith("3 tasks run, as many as max_concurrent_tasks allows; no tasks ahead")
        gate.set()
        await pool.wait_for_completion()
        pool.pause()
        paused = await pool.submit_task("paused", 1, same)
        await until(lambda: pool.get_stats().queued_tasks == 1, "it to be queued")
        assert pool.explain(paused).endswith("the pool is paused; no tasks ahead")
        pool.unpause()


async def test_it_tells_when_a_retry_is_due_and_how_it_ended(open_pool: Opener) -> None:
    """A task between its attempts says when the next is due; one that failed says with what."""
    policy = RetryPolicy(attempts=3, backoff=30.0, jitter=0.0)
    async with open_pool() as pool:
        task_id = await pool.submit_task("fail", 1, fail, retry=policy)
        await until(lambda: pool.get_stats().retrying_tasks == 1, "the first attempt to fail")
        assert re.search(
            r"waits for its retry: attempt 1 failed, attempt 2 of 3 is due in (29|30)", pool.explain(task_id)
        )
        pool.cancel(task_id)
        failed = await pool.submit_task("fail", 1, fail)
        assert await pool.wait_for_completion(10)
        assert "(fail) failed after 1 attempt" in pool.explain(failed)
        assert pool.explain(failed).endswith("KeyError: 'mine'")
        assert "cancelled" in pool.explain(task_id)


async def test_a_task_that_was_submitted_just_now_says_so(open_pool: Opener) -> None:
    """Before the pool has looked at it there is no more to tell."""
    async with open_pool() as pool:
        task_id = await pool.submit_task("sleep", 0, asyncio.sleep)
        assert pool.explain(task_id) == f"task {task_id} was submitted just now"


async def test_a_task_is_known_from_the_moment_it_is_submitted(open_pool: Opener) -> None:
    """Asked right after `submit` has returned, it says so, and nobody is told that there is no such task."""
    async with open_pool() as pool:
        handle = await pool.submit(same, 1)
        assert pool.explain(handle.task_id) == f"task {handle.task_id} was submitted just now"
        await handle
        with pytest.raises(TaskNotFound):
            pool.explain(handle.task_id)
