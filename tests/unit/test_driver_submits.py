"""What is submitted one by one reaches the engine together, and where it is in a hurry, at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import ExecutorUp
from longshore._runtime.driver import Driver
from longshore.events import EventBatch, TasksSettled, TasksSubmitted
from longshore.hookspecs import Capabilities
from longshore.task import Attempt, Outcome, TaskSpec, TaskState

pytestmark = pytest.mark.anyio

NEAR = TaskSpec(function=print, name="near", executor="near")
FAR = TaskSpec(function=print, name="far", executor="far")


class Quay:
    """An executor that keeps what it is given."""

    def __init__(self, pickles: bool) -> None:
        self.capabilities = Capabilities(
            worker_type="process", runs=frozenset({"function"}), timeout="kill", pickles=pickles
        )
        self.given: list[str] = []

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Keep."""
        self.given += [attempt.task_id for attempt in attempts]


class Pool:
    """A driver of two executors, one in this process and one that is not, and what it tells."""

    def __init__(self) -> None:
        self.told: list[EventBatch] = []
        self.near, self.far = Quay(False), Quay(True)
        self._ids = count()
        engine = Engine(EngineConfig(max_queue_size=10_000))
        self.driver = Driver(engine, publish=self.told.append, notice=print)
        self.driver.executors.update(near=self.near, far=self.far)  # type: ignore[arg-type]  # as much as is asked of it
        self.driver.stimulate(ExecutorUp("near", 2))
        self.driver.stimulate(ExecutorUp("far", 2))
        self.step()

    def submit(self, spec: TaskSpec, *, hurry: bool = False) -> None:
        self.driver.submit(spec, (Attempt(f"t{next(self._ids)}", spec),), hurry=hurry)

    def step(self) -> None:
        """Do what the loop would do next."""
        self.driver._step()

    def end(self, task_id: str) -> None:
        """Report a task, in a task's own code: that does not go on at once."""
        self.driver.reported("far", [Outcome(task_id, None, 0, "far", TaskState.COMPLETED)])

    def submitted(self) -> list[list[str]]:
        return [[task.task_id for task in batch.tasks] for batch in self.told if isinstance(batch, TasksSubmitted)]


async def test_neighbours_of_one_spec_are_accepted_together() -> None:
    """They are one batch, in the order they came; another spec between them begins another, and so does a step."""
    pool = Pool()
    for spec in (NEAR, NEAR, FAR, NEAR):
        pool.submit(spec)
    pool.step()
    pool.submit(NEAR)
    pool.step()
    assert pool.submitted() == [["t0", "t1"], ["t2"], ["t3"], ["t4"]]
    assert pool.driver.idle is False
    pool.driver.close()


async def test_a_callers_own_list_stays_as_it_was() -> None:
    """What is added to a batch is not added to what the first of it were given in."""
    pool = Pool()
    mine = [Attempt("mine", NEAR)]
    pool.driver.submit(NEAR, mine)
    pool.submit(NEAR)
    assert [attempt.task_id for attempt in mine] == ["mine"]
    pool.driver.close()


async def test_a_lone_task_in_a_hurry_is_with_its_executor_at_once() -> None:
    """Where tasks run in other processes; not here, not without hurry, and not while anything else is under way."""
    pool = Pool()
    pool.submit(NEAR, hurry=True)
    assert not pool.near.given
    pool.step()
    pool.near.given.clear()
    pool.driver.reported("near", [Outcome("t0", None, 0, "near", TaskState.COMPLETED)])
    pool.step()
    pool.submit(FAR)
    assert not pool.far.given
    pool.step()
    pool.end("t1")
    pool.step()
    pool.submit(FAR, hurry=True)
    assert pool.far.given == ["t1", "t2"]
    pool.submit(FAR, hurry=True)
    assert pool.far.given == ["t1", "t2"]
    pool.step()
    assert pool.far.given == ["t1", "t2", "t3"]
    pool.driver.close()


async def test_a_burst_does_not_keep_workers_waiting() -> None:
    """Whoever submits without a break has some of it given out before he takes one."""
    pool = Pool()
    for _ in range(1000):
        pool.submit(FAR, hurry=True)
    assert pool.far.given == ["t0", "t1"]
    assert [len(batch) for batch in pool.submitted()[:2]] == [1, 128]
    pool.end("t0")
    for _ in range(128):
        pool.submit(FAR, hurry=True)
    assert any(isinstance(batch, TasksSettled) for batch in pool.told)
    assert len(pool.far.given) > 2
    pool.driver.close()
