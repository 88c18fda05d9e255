"""Deadlines and a loop that is held up (fault:T5), deadlines that meet the end (T2), cancelling anywhere (T3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from longshore.task import TaskState

pytestmark = pytest.mark.anyio

ISOLATIONS = pytest.mark.parametrize("isolation", ["task", "shared"])
BLOCK_S = 0.75


async def naps(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "well"


async def naps_twice(seconds: float) -> str:
    await asyncio.sleep(seconds)
    await asyncio.sleep(seconds)
    return "well"


async def blocks(seconds: float) -> str:
    await asyncio.sleep(0)
    time.sleep(seconds)
    await asyncio.sleep(0)
    return "late"


@pytest.mark.slow
@ISOLATIONS
async def test_asyncio_a_loop_blocked_by_one_task_times_out_no_other(start: Any, isolation: str) -> None:
    """One that was ready when its deadline passed ends well, though it could not run; the blocker is timed out."""
    rig = await start(6)
    others = [rig.submit(naps, 0.02 * n, timeout_s=0.2, isolation=isolation) for n in range(1, 5)]
    blocker = rig.submit(blocks, BLOCK_S, timeout_s=0.2, isolation=isolation)
    for outcome in await rig.all_of(others):
        assert outcome.ok, outcome.error
    assert (await rig.outcome(blocker)).state is TaskState.TIMED_OUT
    assert (await rig.run(naps, 0.0, isolation=isolation)).ok


@pytest.mark.slow
async def test_asyncio_a_loop_blocked_by_a_stranger_times_out_nobody_who_was_ready(start: Any) -> None:
    """It is the same where no task of the executor blocks it, and whether the end was due before or after the look."""
    rig = await start(3)
    tasks = [rig.submit(naps, delay_s, timeout_s=0.2) for delay_s in (0.0, 0.1, 0.19)]
    await asyncio.sleep(0)
    time.sleep(BLOCK_S)
    for outcome in await rig.all_of(tasks):
        assert outcome.ok, outcome.error


@pytest.mark.slow
async def test_asyncio_a_turn_is_all_that_is_given(start: Any) -> None:
    """One that is not ready to end after a blocked loop times out as ever, and once."""
    rig = await start(2)
    task_id = rig.submit(naps_twice, 0.15, timeout_s=0.2)
    await asyncio.sleep(0)
    time.sleep(BLOCK_S)
    outcome = await rig.outcome(task_id)
    assert outcome.state is TaskState.TIMED_OUT
    assert rig.executor._armed == float("inf")


@ISOLATIONS
async def test_asyncio_a_deadline_that_meets_the_end_is_one_outcome(start: Any, isolation: str) -> None:
    """With a timeout as long as the task, each of many ends once, as completed or timed out, and nothing comes late."""
    rig = await start(50)
    ids = [rig.submit(naps, 0.02, timeout_s=0.02, isolation=isolation) for _ in range(1000)]
    outcomes = await rig.all_of(ids)
    assert {outcome.state for outcome in outcomes} <= {TaskState.COMPLETED, TaskState.TIMED_OUT}
    await rig.host.until(lambda: all(row.current_task is None for row in rig.executor.workers()))
    assert len(rig.host.outcomes) == 1000
    assert len(rig.executor.workers()) == 50
    assert (await rig.run(naps, 0.0, timeout_s=5)).ok


class Walk:
    """A coroutine with many await points, one of which is reached when the test says so."""

    def __init__(self, stop_at: int) -> None:
        self.stop_at = stop_at
        self.at = asyncio.Event()
        self.points = 0
        self.cleaned = False

    async def __call__(self) -> str:
        try:
            for wait in (self._sleep, self._future, self._nested, self._shielded, self._locked, self._grouped):
                if self.points == self.stop_at:
                    self.at.set()
                    await asyncio.Event().wait()
                await wait()
                self.points += 1
        finally:
            await asyncio.sleep(0)
            self.cleaned = True
        return "through"

    async def _sleep(self) -> None:
        await asyncio.sleep(0)

    async def _future(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, None)
        await future

    async def _nested(self) -> None:
        await asyncio.create_task(self._sleep())

    async def _shielded(self) -> None:
        await asyncio.shield(self._sleep())

    async def _locked(self) -> None:
        async with asyncio.Lock():
            await self._sleep()

    async def _grouped(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sleep())


@ISOLATIONS
@pytest.mark.parametrize("point", range(6))
async def test_asyncio_cancelling_at_every_await_point(start: Any, isolation: str, point: int) -> None:
    """Wherever it waits, the attempt ends as cancelled, once, after its clean-up, and its seat takes the next."""
    rig, walk = await start(1), Walk(point)

    async def run() -> str:
        return await walk()

    task_id = rig.submit(run, isolation=isolation)
    await walk.at.wait()
    rig.cancel(task_id)
    assert (await rig.outcome(task_id)).state is TaskState.CANCELLED
    assert walk.cleaned
    assert (await rig.run(naps, 0.0, isolation=isolation)).ok


@ISOLATIONS
@pytest.mark.parametrize("turns", range(8))
async def test_asyncio_cancelling_while_the_result_is_on_its_way(start: Any, isolation: str, turns: int) -> None:
    """A cancel that comes around the end changes nothing that has ended, and never hits the seat's next task."""
    rig = await start(1)

    async def short() -> str:
        await asyncio.sleep(0)
        return "well"

    first = rig.submit(short, isolation=isolation)
    second = rig.submit(naps, 0.01, isolation=isolation)
    for _ in range(turns):
        await asyncio.sleep(0)
    rig.cancel(first)
    states = [outcome.state for outcome in await rig.all_of([first, second])]
    assert states[0] in (TaskState.COMPLETED, TaskState.CANCELLED)
    assert states[1] is TaskState.COMPLETED


# ---- what ignores being cancelled


async def swallows(gate: asyncio.Event) -> None:
    while not gate.is_set():
        try:
            await gate.wait()
        except BaseException:  # what a coroutine should not do
            continue


async def shields(gate: asyncio.Event) -> None:
    try:
        await asyncio.shield(gate.wait())
    except asyncio.CancelledError:
        await gate.wait()


@ISOLATIONS
@pytest.mark.parametrize("function", [swallows, shields])
async def test_asyncio_what_ignores_being_cancelled_is_listed_while_it_goes_on(
    start: Any, isolation: str, function: Callable[[asyncio.Event], Any]
) -> None:
    """It times out, its seat is replaced, and it can be seen with its task and the line it waits at until it ends."""
    rig, gate = await start(1), asyncio.Event()
    task_id = rig.submit(function, gate, timeout_s=0.05, isolation=isolation)
    outcome = await rig.outcome(task_id)
    assert outcome.state is TaskState.TIMED_OUT
    assert (await rig.run(naps, 0.0, isolation=isolation)).ok, "its seat was not replaced"
    if function is swallows:
        (left,) = rig.executor.left_behind()
        assert (left.task_id, left.name, left.worker_type) == (task_id, "task", "async")
        assert left.since_s >= 0
        assert any("test_asyncio_fairness.py" in place and "swallows" in place for place in left.stack)
    gate.set()
    await rig.host.until(lambda: not rig.executor.left_behind())


# ---- initializers


@ISOLATIONS
async def test_asyncio_an_initializer_has_a_limit_of_its_own(start: Any, isolation: str) -> None:
    """One that does not end times its task out after `initializer_timeout_s`, and the next task tries again."""
    tries: list[int] = []

    async def load() -> None:
        tries.append(len(tries))
        await asyncio.sleep(30 if len(tries) == 1 else 0)

    rig = await start(1, initializer_timeout_s=0.1)
    outcome = await rig.run(naps, 0.0, initializer=load, isolation=isolation)
    assert outcome.state is TaskState.TIMED_OUT
    assert outcome.error.reason == "initializer"
    assert "initializer" in outcome.error.message
    assert (await rig.run(naps, 0.0, initializer=load, isolation=isolation)).ok


@ISOLATIONS
async def test_asyncio_an_initializers_time_is_not_the_tasks(start: Any, isolation: str) -> None:
    """A task with a short timeout may have an initializer that takes longer; its own time begins after that."""

    async def load() -> None:
        await asyncio.sleep(0.3)

    rig = await start(1)
    outcome = await rig.run(naps, 0.0, initializer=load, timeout_s=0.1, isolation=isolation)
    assert outcome.ok, outcome.error
    assert outcome.ran_s < 0.2
    assert (await rig.run(naps, 1.0, initializer=load, timeout_s=0.1, isolation=isolation)).state is TaskState.TIMED_OUT
