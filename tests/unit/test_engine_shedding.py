"""Who is ended when memory runs out, and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.learning import KINDS_MOST
from longshore._engine.messages import ExecutorUp, InUse, Measured, Reported, Shed, Submit
from longshore._engine.shedding import Candidate, Shedding, shed_level, victim
from longshore.records import Load
from longshore.task import Attempt, Outcome, Priority, Resources, RetryPolicy, TaskSpec, TaskState


def work() -> None:
    """Stand for a user's function."""


def spec_of(**options: Any) -> TaskSpec:  # Any: options of a spec
    return TaskSpec(**{"function": work, "name": "work", "executor": "quay", **options})


def candidate(name: str, used: float, reserved: float = 0.0, ran: float = 1.0, **options: Any) -> Candidate:  # Any
    return Candidate(Attempt(name, spec_of(**options)), InUse(used, ran), reserved)


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ([candidate("a", 900, 100), candidate("b", 1000, 900)], "a"),
        ([candidate("a", 900, 1000, 9.0), candidate("b", 900, 1000, 1.0)], "b"),
        ([candidate("a", 900, 1000), candidate("b", 900, 1000, priority=Priority.LOW)], "b"),
        ([candidate("a", 900, 1000), candidate("b", 900, 1000, 9.0, retry=RetryPolicy(attempts=3))], "b"),
        ([candidate("a", 0.2)], None),
        ([], None),
    ],
    ids=["over", "youngest", "priority", "retriable", "small", "none"],
)
def test_who_is_ended(candidates: Sequence[Candidate], chosen: str | None) -> None:
    """Who is over what it reserved by most; else the least urgent, then who may be tried again, then the youngest."""
    found = victim(candidates)
    assert (found.attempt.task_id if found is not None else None) == chosen


def test_tasks_are_ended_well_above_the_limit_only() -> None:
    """The limit stops what is new; halfway from there to all there is, running tasks are ended."""
    assert shed_level(Load(0.0, 75.0)) == 87.5
    assert shed_level(Load(0.0, 95.0)) == 95.0
    assert shed_level(Load(0.0, 100.0)) == 100.0
    assert shed_level(Load(0.0, 500.0, unit="MB")) == 500.0


def test_an_executor_that_does_not_answer_stops_nothing() -> None:
    """A victim that does not end in ten seconds is no reason to let the machine run full."""
    shedding, one = Shedding(), candidate("a", 900.0)
    memory = Load(92.0, 75.0)
    seen = [shedding.see(memory, float(second), 2, lambda: [one]) for second in range(14)]
    assert [second for second, found in enumerate(seen) if found is not None] == [1, 11]


def test_names_that_come_and_go_while_memory_is_short_are_forgotten() -> None:
    """A pool that sees a new name with every task does not grow by them, nor do its lanes."""
    engine = Engine(EngineConfig(max_queue_size=100, capacity={"memory": 1000.0}))
    short = Measured({"memory": Load(66.0, 75.0, 65.0, 1.0, "%", 1000.0, 10.0)}, valid_s=1e9)
    engine.handle([ExecutorUp("quay", 2, True, True, True), short], 0.0)
    for number in range(1500):
        spec = TaskSpec(function=work, name=f"n{number}", executor="quay")
        attempt = Attempt(f"t{number}", spec, queued_at=number * 0.01)
        engine.handle([Submit(spec, [attempt])], number * 0.01)
        done = Outcome(attempt.task_id, None, 0, spec.name, TaskState.COMPLETED, ran_s=0.001)
        engine.handle([Reported("quay", [done])], number * 0.01)
    assert engine.idle
    assert len(engine._dispatch.aside.kinds) <= KINDS_MOST + 1
    assert not engine._dispatch._lanes


def test_a_victim_that_kept_to_what_it_reserved_reserves_no_more() -> None:
    """It was ended for others' sake: what it said it needs was enough."""
    engine = Engine(EngineConfig(capacity={"memory": 10_000.0}))
    spec = spec_of(executor="quay", resources=Resources(memory_mb=3000.0))
    up = ExecutorUp("quay", 4, True, True, True)
    engine.handle([up, Submit(spec, [Attempt("a", spec), Attempt("b", spec)])], 0.0)
    high = Measured({"memory": Load(92.0, 75.0, 65.0, 50.0, "%", 10_000.0, 133.3)}, tasks={"a": InUse(1000.0, 5.0)})
    engine.handle([high], 1.0)
    (shed,) = [command for command in engine.handle([high], 2.0) if isinstance(command, Shed)]
    assert tuple(shed.task_ids) == ("a",)
    assert engine._dispatch.aside.raised == {"a": 3000.0}
