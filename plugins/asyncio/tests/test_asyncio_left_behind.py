"""Coroutines that go on past their deadline: when they are reported, and what becomes of their seat."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from longshore.task import TaskState
from longshore.worker import current_task

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("isolation", ["task", "shared"])


async def tells() -> int:
    current_task().progress(0.5)
    return 1


@both
async def test_asyncio_one_that_goes_on_is_reported_at_its_deadline(
    start: Any, stubborn: Any, isolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for one that clears up or ignores its cancellation; it is listed, and its seat is its own meanwhile.

    When it ends in the time it has for that, the next one sits in that seat, and nothing is told of it any more.
    """
    monkeypatch.setattr("longshore_asyncio._deadlines.grace_s", lambda attempt: 1000.0)
    rig = await start(1)
    first = rig.submit(stubborn, isolation=isolation, timeout_s=0.05)
    (late,) = await rig.all_of([first])
    assert (late.state, late.error.reason) == (TaskState.TIMED_OUT, "timeout")
    assert "did not end at once" in late.error.message
    (left,) = rig.executor.left_behind()
    assert (left.task_id, left.worker_id) == (first, late.worker)
    second = rig.submit(tells, isolation=isolation)
    await asyncio.sleep(0)
    assert not rig.of(second)
    stubborn.gate.set()
    (good,) = await rig.all_of([second])
    assert (good.value, good.worker) == (1, late.worker)
    assert rig.executor.left_behind() == []
    assert (len(rig.of(first)), rig.host.notices) == (1, [])
    assert {update.task_id for update in rig.host.updates} == {second}
    (worker,) = rig.executor.workers()
    assert (worker.tasks_completed, worker.tasks_failed) == (1, 1)


@both
async def test_asyncio_tasks_within_tasks_end_at_once(start: Any, isolation: str) -> None:
    """A coroutine that only passes its cancellation on is not left behind, however deep that goes."""

    async def nested(depth: int) -> None:
        if not depth:
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(nested(depth - 1))

    rig = await start(1)
    (late,) = await rig.all_of([rig.submit(nested, 2, isolation=isolation, timeout_s=0.5)])
    assert late.state is TaskState.TIMED_OUT
    assert "left behind" not in late.error.message
