"""What the engine says of where a task is, by a clock of the test's own."""

from __future__ import annotations

from typing import Any

from longshore._engine.engine import Engine
from longshore._engine.messages import ExecutorUp, Submit
from longshore.task import Attempt, Priority, TaskSpec


def work() -> None:
    """Stand for a user's function."""


def submit(engine: Engine, *task_ids: str, now: float = 0.0, **options: Any) -> None:
    spec = TaskSpec(**{"function": work, "name": "work", "executor": "quay", **options})
    engine.handle([Submit(spec, [Attempt(task_id, spec, queued_at=now) for task_id in task_ids])], now)


def test_a_task_without_workers_says_so_and_shows_its_age() -> None:
    """Who has waited is served at a higher level, and counts as behind those that go before it then."""
    engine = Engine()
    submit(engine, "low", priority=Priority.LOW)
    submit(engine, "normal", now=3.5)
    assert engine.why("low", 4.0) == (
        "is queued for executor quay with priority LOW, has waited 4 s and is therefore served as HIGH: "
        "executor quay has no workers yet; no tasks ahead"
    )
    assert engine.why("normal", 4.0) == (
        "is queued for executor quay with priority NORMAL, and has waited 0.5 s: "
        "executor quay has no workers yet; 1 task ahead"
    )
    assert "has waited 1500 s and is therefore served as " in str(engine.why("low", 1500.0))
    assert engine.why("nosuch", 4.0) is None
    assert engine.find("nosuch") is None


def test_a_task_that_only_others_are_before_says_so() -> None:
    """With a free worker and nothing in its way, it is about to start, or those before it are."""
    engine = Engine()
    submit(engine, *(f"t{n}" for n in range(3)))
    engine._paused = True
    engine.handle([ExecutorUp("quay", 2)], 0.0)
    engine._paused = False
    assert str(engine.why("t0", 0.0)).endswith("has waited 0 s: it is about to start; no tasks ahead")
    assert str(engine.why("t2", 0.0)).endswith("has waited 0 s: those before it go first; 2 tasks ahead")
    assert engine.slots() == {"quay": 2}
