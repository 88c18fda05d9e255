"""A box with little memory for each worker: who takes more than is set aside is ended, and runs again with more."""

from __future__ import annotations

from typing import Any

import pytest
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.learning import Kind, Learning
from longshore._engine.messages import Command, ExecutorUp, Reported, Settle, Start, Submit, Tell
from longshore.events import TaskRetrying
from longshore.task import Attempt, ErrorRecord, Outcome, TaskSpec, TaskState


def spec_of(**options: Any) -> TaskSpec:  # Any: options of a spec
    return TaskSpec(function=print, name="work", executor="quay", **options)


class Rig:
    """An engine that may use so much memory, with four workers, and what it was told to do."""

    def __init__(self, limit_mb: float = 10_000.0) -> None:
        self.engine = Engine(EngineConfig(capacity={"memory": limit_mb}))
        self.running: dict[str, Attempt] = {}
        self.commands: list[Command] = []
        self.now = 0.0
        self.tell(ExecutorUp("quay", 4, True, True, True))

    def tell(self, stimulus: Any) -> None:  # Any: a stimulus
        self.now += 0.01
        self.commands = self.engine.handle([stimulus], self.now)
        for command in self.commands:
            if isinstance(command, Start):
                self.running |= {attempt.task_id: attempt for attempt in command.attempts}

    def submit(self, spec: TaskSpec, *ids: str) -> None:
        self.tell(Submit(spec, [Attempt(task_id, spec, queued_at=self.now) for task_id in ids]))

    def report(self, *ids: str, state: TaskState = TaskState.COMPLETED, **facts: Any) -> None:  # Any: of an outcome
        ended = [self.running.pop(task_id) for task_id in ids]
        outcomes = [
            Outcome(one.task_id, None, 0, "work", state, attempts=one.number, ran_s=1.0, **facts) for one in ended
        ]
        self.tell(Reported("quay", outcomes))

    def exceed(self, task_id: str, seen_mb: float) -> None:
        record = ErrorRecord(type="longshore.errors.MemoryLimitExceeded", message="too much", peak_memory_mb=seen_mb)
        self.report(task_id, state=TaskState.FAILED, error=record)

    def aside_mb(self, task_id: str) -> float:
        return self.engine.lent_to(task_id).get("memory", 0.0)

    def settled(self) -> list[Outcome]:
        return [outcome for command in self.commands if isinstance(command, Settle) for outcome in command.outcomes]

    def limits_mb(self) -> list[float | None]:
        return [attempt.memory_limit_mb for attempt in self.running.values()]


def test_where_little_is_there_for_each_worker_who_takes_more_is_ended_and_runs_again() -> None:
    """What all may take together is never more than there is, from the first task on; a raised try costs no retry."""
    rig = Rig(1600.0)
    spec = spec_of(memory_limit_mb=1500.0)
    rig.submit(spec, *"abcde")
    assert list(rig.running) == ["a", "b", "c", "d"]
    assert rig.limits_mb() == [400.0] * 4
    assert rig.engine.lent() == {"memory": 1600.0}
    rig.exceed("b", 400.0)
    (told,) = [
        command.batch
        for command in rig.commands
        if isinstance(command, Tell) and isinstance(command.batch, TaskRetrying)
    ]
    assert told.delay_s == 0.0
    rig.report("a", "c", "d", peak_memory_mb=50.0)
    assert list(rig.running) == ["e"], "the raised one wants all there is, and waits until nothing runs"
    rig.report("e", peak_memory_mb=50.0)
    assert rig.aside_mb("b") == 1600.0
    assert rig.limits_mb() == [1500.0], "what its spec allows is the most it may take"
    rig.report("b", peak_memory_mb=1000.0)
    assert rig.settled()[0].state is TaskState.COMPLETED
    rig.submit(spec, "f", "g")
    rig.exceed("f", 400.0)
    rig.report("g", peak_memory_mb=50.0)
    assert rig.aside_mb("f") == pytest.approx(1150.0), "by now it is known what the large ones of its kind take"


def test_the_limit_that_somebody_set_is_no_guess() -> None:
    """Who takes more than its own limit fails as ever, also where it was held to less before."""
    rig = Rig(1600.0)
    rig.submit(spec_of(memory_limit_mb=300.0), "a")
    assert rig.limits_mb() == [None]
    rig.exceed("a", 310.0)
    assert [outcome.state for outcome in rig.settled()] == [TaskState.FAILED]


def test_with_room_for_each_worker_nobody_is_held_to_a_guess() -> None:
    """On a machine with enough memory a task may take what its spec allows, whatever its kind was seen to take."""
    rig = Rig()
    for number in range(20):
        rig.submit(spec_of(), f"t{number}")
        rig.report(f"t{number}", peak_memory_mb=3000.0)
    rig.submit(spec_of(memory_limit_mb=8000.0), "a")
    assert [attempt.memory_limit_mb for attempt in rig.running.values()] == [None]


def test_a_kind_with_two_humps_is_given_what_costs_least() -> None:
    """One of ten is large: the small ones are not served as if they were, and the large ones run twice."""
    taken = Learning().saw(Kind("two"), 50.0)
    for number in range(1, 50):
        taken.saw(1500.0 if number % 10 == 0 else 50.0)
    assert taken.memory_mb == pytest.approx(1725.0)
    assert taken.first_mb == pytest.approx(57.5)
    for _ in range(30):
        taken.saw(1500.0)
    assert taken.first_mb == pytest.approx(1725.0), "most are large by now"


def test_a_task_whose_worker_the_kernel_ended_for_memory_runs_again_but_not_for_ever() -> None:
    """At no limit of its own: that was for others' sake, twice; then it counts as what it was."""
    rig = Rig()
    rig.submit(spec_of(), "a")
    for number in (1, 2, 3):
        assert rig.running["a"].number == number
        record = ErrorRecord(type="longshore.errors.WorkerDied", message="no memory", reason="out_of_memory", signal=9)
        rig.report("a", state=TaskState.FAILED, error=record)
    assert [outcome.state for outcome in rig.settled()] == [TaskState.FAILED]
