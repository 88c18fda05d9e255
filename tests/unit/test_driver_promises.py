"""Room in the queue that the driver has promised to somebody is there when he comes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import Cancel, ExecutorUp
from longshore._runtime.driver import Driver
from longshore.errors import LongshoreError
from longshore.events import EventBatch, TasksSettled
from longshore.hookspecs import CancelRequest
from longshore.task import Attempt, Outcome, Priority, RetryPolicy, Task, TaskSpec, TaskState

pytestmark = pytest.mark.anyio

SPEC = TaskSpec(function=print, name="work", executor="quay", retry=RetryPolicy(attempts=2, backoff=60.0))


class Quay:
    """An executor that keeps what it is given."""

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Keep."""

    def cancel(self, request: CancelRequest) -> None:
        """Keep."""


class Owner:
    """Notes what was refused."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Take them."""

    def refuse(self, tasks: Sequence[Task], error: LongshoreError) -> None:
        """Note them."""
        self.refused += [task.task_id for task in tasks]


@pytest.mark.requirement("req:D15")
async def test_a_retry_takes_no_room_that_was_promised() -> None:
    """A task fails and waits for its retry just as the last room was given to a caller, who gets in all the same."""

    def publish(batch: EventBatch) -> None:
        if isinstance(batch, TasksSettled):  # the one that was cancelled: its room is about to be given away
            driver.reported("quay", [Outcome("running", None, 0, "work", TaskState.FAILED)])

    driver = Driver(Engine(EngineConfig(max_queue_size=1)), publish=publish, notice=print)
    owner = driver.others = Owner()
    driver.executors["quay"] = Quay()  # type: ignore[assignment]  # as much of an executor as is asked of it here

    async def come() -> None:
        await driver.wait_for_room(Priority.NORMAL)
        driver.submit(SPEC, [Attempt("late", SPEC)])

    driver.stimulate(ExecutorUp("quay", 1, False))
    for task_id in ("running", "queued"):
        driver.submit(SPEC, [Attempt(task_id, SPEC)])
        await asyncio.sleep(0.001)
    coming = asyncio.create_task(come())
    await asyncio.sleep(0.001)
    driver.stimulate(Cancel(("queued",)))
    async with asyncio.timeout(5):
        await coming
        while driver.unseen or driver.engine.state("running") is not TaskState.PENDING:
            await asyncio.sleep(0.001)
    assert owner.refused == []
    assert driver.engine.is_running("late")
    driver.close()
