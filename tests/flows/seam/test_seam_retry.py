"""`retry_task` and `cancel`: a task by its id, in each executor."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from longshore import (
    PoolNotRunning,
    Priority,
    TaskCancelled,
    TaskNotFound,
    TaskState,
    TaskTimeout,
)
from longshore.events import AnyEvent
from support.waiting import until

pytestmark = pytest.mark.anyio

Opener = Callable[..., Any]


class Broken(Exception):
    """An exception of the user's own."""


def same(value: object) -> object:
    return value


def fail(_: object) -> None:
    raise Broken("the lid is broken", 7)


@pytest.mark.requirement("req:F05")
async def test_a_failed_task_is_tried_again_by_its_id(open_pool: Opener, gate: Any) -> None:
    """It is submitted as it was, under a new id that names the old one in its record and in its event."""
    told: list[AnyEvent] = []
    broken = threading.Event()
    broken.set()

    def mended(context: dict[str, int]) -> int:
        if broken.is_set():
            raise Broken
        return context["a"]

    async with open_pool() as pool:
        pool.events.subscribe(told.append, {"task_submitted"})
        first = await pool.submit_task("mended", {"a": 5}, mended, Priority.HIGH, 7.0, key="doc")
        with pytest.raises(Broken):
            await pool.get_task_result(first)
        broken.clear()
        second = await pool.retry_task(first)
        assert second != first
        assert await pool.get_task_result(second) == 5
        old, new = pool.get_task(first), pool.get_task(second)
        assert (old.state, old.retry_of, new.retry_of) == (TaskState.FAILED, None, first)
        assert (new.processor_name, new.context, new.priority, new.timeout, new.key) == (
            "mended", {"a": 5}, Priority.HIGH, 7.0, "doc",
        )  # fmt: skip
    assert [(event.data["task_id"], event.data.get("retry_of")) for event in told] == [(first, None), (second, first)]


@pytest.mark.requirement("req:F05")
async def test_what_can_be_tried_again_and_what_not(open_pool: Opener, gate: Any) -> None:
    """What was cancelled or timed out can, any number of times; what goes on, completed or is unknown can't."""
    async with open_pool() as pool:
        (held,) = await gate.hold(pool)
        cancelled = await pool.submit_task("same", 1, same)
        pool.cancel(cancelled)
        with pytest.raises(TaskCancelled):
            await pool.get_task_result(cancelled)
        late = await pool.submit_task("sleep", 30, asyncio.sleep, timeout=0.02)
        with pytest.raises(TaskTimeout):
            await pool.get_task_result(late)
        third = await pool.retry_task(cancelled)
        again = await pool.retry_task(late)
        with pytest.raises(TaskTimeout):
            await pool.get_task_result(again)
        once_more = await pool.retry_task(again)
        assert pool.get_task(once_more).retry_of == again
        with pytest.raises(ValueError, match="processing"):
            await pool.retry_task(held)
        with pytest.raises(TaskNotFound):
            await pool.retry_task("nosuch")
        gate.set()
        assert await pool.get_task_result(third) == 1
        with pytest.raises(ValueError, match="completed"):
            await pool.retry_task(third)


@pytest.mark.requirement("req:F05")
async def test_a_task_is_tried_again_in_the_next_run(open_pool: Opener) -> None:
    """What failed before the pool was stopped can be tried again after it was started anew."""
    async with open_pool() as pool:
        first = await pool.submit_task("fail", 3, fail)
        await pool.stop()
        with pytest.raises(PoolNotRunning):
            await pool.retry_task(first)
        await pool.start()
        second = await pool.retry_task(first)
        with pytest.raises(Broken):
            await pool.get_task_result(second)
        assert pool.get_task(second).retry_of == first


@pytest.mark.parametrize("executor", ["asyncio", "threads", "processes", "inline"])
@pytest.mark.requirement("req:D14")
async def test_a_task_is_cancelled_by_its_id(open_pool: Opener, executor: str, tmp_path: Path) -> None:
    """Queued it never runs, running it ends as its executor can; either way the last event is `task_cancelled`."""
    told: list[AnyEvent] = []
    function = touch_and_hold_async if executor == "asyncio" else touch_and_hold
    async with open_pool(async_workers=1) as pool:
        pool.events.subscribe(told.append)
        if executor == "inline":  # nothing can be done while it runs: only what waits can be cancelled
            running = None
            pool.pause()
        else:
            running = await pool.submit_task("hold", tmp_path / "running", function, executor=executor)
            await until((tmp_path / "running").exists, "the first task to run")
        queued = await pool.submit_task("hold", tmp_path / "queued", function, executor=executor)
        for task_id in filter(None, (queued, running)):
            pool.cancel(task_id)
            with pytest.raises(TaskCancelled):
                await pool.get_task_result(task_id)
            assert pool.get_task(task_id).state is TaskState.CANCELLED
        pool.unpause()
        assert await pool.wait_for_completion(10)
        pool.cancel("nosuch")
        (tmp_path / "go").touch()
    assert not (tmp_path / "queued").exists()
    of_tasks = [event for event in told if event.type.startswith("task_")]  # a worker that is lost is told of as well
    types = {t: [event.type for event in of_tasks if event.data.get("task_id") == t] for t in (queued, running)}
    assert types[queued] == ["task_submitted", "task_cancelled"]
    if running is not None:
        assert types[running] == ["task_submitted", "task_started", "task_cancelled"]


def touch_and_hold(path: Path) -> None:
    path.touch()
    give_up = time.monotonic() + 20
    while not (path.parent / "go").exists() and time.monotonic() < give_up:
        time.sleep(0.005)


async def touch_and_hold_async(path: Path) -> None:
    path.touch()
    await asyncio.sleep(20)
