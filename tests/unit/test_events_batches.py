"""From a batch to single events: each with its own numbers, in order, and none for the collector to look at."""

from __future__ import annotations

import gc
from datetime import UTC, datetime

import pytest
from longshore.events import AnyEvent, TasksSettled, TasksStarted, TasksSubmitted
from longshore.task import Attempt, ErrorRecord, Outcome, Priority, TaskSpec, TaskState

AT = datetime(2026, 1, 1, tzinfo=UTC)
SPECS = [
    TaskSpec(function=print, name=name, executor=executor, priority=priority, processor=name)
    for name, executor, priority in (("a", "threads", Priority.HIGH), ("b", "asyncio", Priority.LOW))
]


def attempts(spec: TaskSpec, count: int) -> list[Attempt]:
    return [Attempt(f"{spec.name}{i}", spec, (i,), None, i, f"k{i}", i + 1) for i in range(count)]


def outcome(task: Attempt, state: TaskState) -> Outcome:
    error = None if state is TaskState.COMPLETED else ErrorRecord(type="x.Y", message="why", traceback="T", exit_code=3)
    return Outcome(task.task_id, task.key, task.index, "a", state, None, error, 2, 0.5, 0.25, 0.1, 7.0, "w")


@pytest.mark.events
def test_started_events_tell_of_each_attempt_what_its_own_spec_says() -> None:
    """A batch may mix tasks of several kinds: numbers go on, and names, executors and priorities are each one's own."""
    mixed = [*attempts(SPECS[0], 2), *attempts(SPECS[1], 1), *attempts(SPECS[0], 1)]
    events = TasksStarted(mixed).expand(10, AT)
    assert [event.seq for event in events] == [10, 11, 12, 13]
    told = [[event.data[name] for name in ("task_id", "name", "executor", "priority", "attempt")] for event in events]
    assert told == [
        ["a0", "a", "threads", 1, 1],
        ["a1", "a", "threads", 1, 2],
        ["b0", "b", "asyncio", 3, 1],
        ["a0", "a", "threads", 1, 1],
    ]


@pytest.mark.events
def test_ends_are_told_as_they_were() -> None:
    """Each outcome of a batch becomes the one event of its end, with how long it took and what went wrong."""
    states = (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED, TaskState.TIMED_OUT)
    tasks = attempts(SPECS[0], 4)
    ended = [outcome(task, state) for task, state in zip(tasks, states, strict=True)]
    events = TasksSettled(SPECS[0], ended).expand(5, AT)
    assert [(event.seq, event.type, event.data["state"]) for event in events] == [
        (5, "task_completed", "completed"),
        (6, "task_failed", "failed"),
        (7, "task_cancelled", "cancelled"),
        (8, "task_failed", "timed_out"),
    ]
    common = {"wait_s": 0.5, "duration_s": 0.25, "worker_id": "w", "attempt": 2, "cpu_s": 0.1, "peak_memory_mb": 7.0}
    assert all(common.items() <= event.data.items() for event in events)
    assert [event.data.get("message") for event in events] == [None, "why", "why", "why"]
    assert [event.data.get("exit_code") for event in events] == [None, 3, None, 3]


@pytest.mark.events
def test_events_of_tasks_are_none_of_the_collectors_business() -> None:
    """They hold texts and numbers only, so however many a subscriber keeps, the collector looks at none of them."""
    tasks = attempts(SPECS[0], 2)
    ended = [outcome(tasks[0], TaskState.COMPLETED), outcome(tasks[1], TaskState.FAILED)]
    events: list[AnyEvent] = []
    for batch in (TasksSubmitted(SPECS[0], tasks), TasksStarted(tasks), TasksSettled(SPECS[0], ended)):
        events += batch.expand(1, AT)
    assert [event.type for event in events if gc.is_tracked(event)] == []
