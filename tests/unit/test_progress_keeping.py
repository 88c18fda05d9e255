"""What the tracker keeps: statistics of all tasks, and of the tasks themselves the last ones."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest
from longshore import EventBus, ProgressTracker
from longshore._tracking.shelf import ACTIVE_MOST, Shelf
from longshore.events import Event, ProgressUpdate, TasksProgressed, TasksSettled, TasksStarted, TasksSubmitted
from longshore.task import Attempt, Outcome, Task, TaskSpec, TaskState

pytestmark = pytest.mark.anyio
WARM = 3000
AT = datetime(2024, 1, 1, tzinfo=UTC)


class Time:
    """A clock and a calendar that stand still until moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.utc = datetime(2024, 1, 1, tzinfo=UTC)

    def move(self, seconds: float) -> None:
        self.now += seconds
        self.utc += timedelta(seconds=seconds)

    def tracker(self, **more: Any) -> ProgressTracker:
        return ProgressTracker(clock=lambda: self.now, utc=lambda: self.utc, **more)


@pytest.mark.requirement("req:H15")
async def test_statistics_of_a_known_series() -> None:
    """10, 15 and 12 s have a mean of 12.333 and a median of 12; by name likewise; nothing is known of nothing."""
    moment = Time()
    tracker = moment.tracker()
    assert tracker.get_statistics() == {"total_tasks": 0}
    assert tracker.get_statistics("ocr") == {}
    for number, (name, took_s) in enumerate((("ocr", 10), ("ocr", 15), ("ocr", 12), ("chunk", 1))):
        await tracker.start_task(f"t{number}", name, "doc")
        moment.move(took_s)
        await tracker.complete_task(f"t{number}")
    ocr = tracker.get_statistics("ocr")
    assert (ocr["processor"], ocr["total_tasks"], ocr["min_duration"], ocr["max_duration"]) == ("ocr", 3, 10.0, 15.0)
    assert ocr["average_duration"] == pytest.approx(12.333, abs=0.001)
    assert ocr["median_duration"] == 12.0
    assert ocr["std_duration"] == pytest.approx(2.5166, abs=0.001)
    whole = tracker.get_statistics()
    assert (whole["total_tasks"], whole["processors"], whole["average_duration"]) == (4, 2, 9.5)
    assert (whole["median_duration"], whole["min_duration"], whole["max_duration"]) == (11.0, 1.0, 15.0)
    assert {name: one["total_tasks"] for name, one in whole["per_processor"].items()} == {"ocr": 3, "chunk": 1}
    json.dumps(whole)


@pytest.mark.requirement("req:H16")
async def test_failures_are_counted_apart() -> None:
    """How long failed and cancelled tasks took is in no duration, with one of each or beside completed ones."""
    moment = Time()
    tracker = moment.tracker()
    await tracker.start_task("bad", "ocr", "doc")
    moment.move(500)
    await tracker.complete_task("bad", success=False)
    assert tracker.get_statistics("ocr") == {
        "processor": "ocr",
        "total_tasks": 0,
        "failed_tasks": 1,
        "cancelled_tasks": 0,
    }
    assert tracker.get_statistics()["total_tasks"] == 0
    await tracker.start_task("good", "ocr", "doc")
    moment.move(2)
    await tracker.complete_task("good")
    ocr = tracker.get_statistics("ocr")
    assert (ocr["total_tasks"], ocr["failed_tasks"], ocr["max_duration"]) == (1, 1, 2.0)


@pytest.mark.requirement("req:H18")
async def test_what_ended_long_ago_is_forgotten() -> None:
    """Tasks and pipelines that ended a day ago go, those of an hour ago and those that go on stay; so do statistics."""
    moment = Time()
    tracker = moment.tracker(keep_hours=1000)
    for name in ("old", "new"):
        for state in ("done", "open"):
            await tracker.start_task(f"{name}-{state}", "ocr", "doc")
            await tracker.start_pipeline(f"{name}-{state}", "doc", ["a"])
        await tracker.complete_task(f"{name}-done")
        await tracker.update_pipeline_stage(f"{name}-done", "a", 1.0)
        moment.move(25 * 3600 if name == "old" else 3600)
    assert tracker.cleanup_completed(hours=24) == 2
    for find in (tracker.get_task_progress, tracker.get_pipeline_progress):
        assert find("old-done") is None
        assert None not in (find("old-open"), find("new-done"), find("new-open"))
    assert tracker.get_statistics()["total_tasks"] == 2
    assert tracker.cleanup_completed(hours=0.5) == 2


@pytest.mark.requirement("req:H17")
async def test_ended_tasks_leave_by_number_and_by_age() -> None:
    """Without anybody tidying, only the last ones are kept, and none for longer than was said."""
    moment = Time()
    tracker = moment.tracker(keep_finished=3, keep_hours=1)
    for number in range(5):
        await tracker.start_task(f"t{number}", "ocr", "doc")
        await tracker.complete_task(f"t{number}")
    assert [number for number in range(5) if tracker.get_task_progress(f"t{number}")] == [2, 3, 4]
    moment.move(3601)
    assert [number for number in range(5) if tracker.get_task_progress(f"t{number}")] == []
    assert tracker.get_statistics()["total_tasks"] == 5


def test_what_never_ends_is_bounded_too() -> None:
    """Where ends are never told, the oldest that go on are forgotten past a bound."""
    shelf: Shelf[int] = Shelf(10, timedelta(hours=1))
    for number in range(ACTIVE_MOST + 5):
        shelf.put(str(number), number)
    assert len(shelf) == ACTIVE_MOST
    assert (shelf.get("4"), shelf.get("5")) == (None, 5)


@pytest.mark.requirement("req:H23")
def test_what_an_executor_measured_is_in_the_record() -> None:
    """A terminal event's processor time is shown as percent of the time it took, its peak of memory in MB."""
    bus = EventBus()
    tracker = ProgressTracker(bus)
    ended = {
        "task_id": "t1",
        "name": "f",
        "state": "completed",
        "duration_s": 2.0,
        "cpu_s": 0.5,
        "peak_memory_mb": 64.5,
    }
    bus.publish(Event("task_completed", ended))
    assert asyncio.run(bus.drain(10.0))
    task = tracker.get_task_progress("t1")
    assert task is not None
    assert (task.cpu_usage, task.memory_usage) == (25.0, 64.5)
    tracker.close()
    bus.close()


def _lives(tracker: ProgressTracker, bus: EventBus, numbers: range) -> None:
    """Have tasks live on the bus, heard before the next thousand."""
    spec = TaskSpec(function=print, name="f", executor="threads")
    for first in numbers[::1000]:
        tasks = [Task(f"t{first + n}", spec, (), None, 0, f"doc-{first + n}") for n in range(1000)]
        bus.publish_batch(TasksSubmitted(spec, tasks), 0, AT)
        bus.publish_batch(TasksStarted([Attempt.of(task) for task in tasks]), 0, AT)
        updates = [ProgressUpdate(task.task_id, 1, 0.5, "half") for task in tasks[:100]]
        bus.publish_batch(TasksProgressed(updates), 0, AT)
        ends = [
            Outcome(task.task_id, task.key, 0, "f", TaskState.COMPLETED, ran_s=0.001 * (n % 977))
            for n, task in enumerate(tasks)
        ]
        bus.publish_batch(TasksSettled(spec, ends), 0, AT)
        assert asyncio.run(bus.drain(30.0))


def _grown(tasks: int, measure: Callable[[], int]) -> float:
    """Return by how many MB memory grows over as many tasks, once as many are kept as will be."""
    bus = EventBus(limit_events=100_000)
    tracker = ProgressTracker(bus, keep_finished=2000)
    _lives(tracker, bus, range(WARM))
    gc.collect()
    before = measure()
    _lives(tracker, bus, range(WARM, WARM + tasks))
    gc.collect()
    grown = measure() - before
    stats = tracker.get_statistics("f")
    assert stats["total_tasks"] == WARM + tasks
    assert stats["median_duration"] == pytest.approx(0.4765, rel=0.0101)
    assert tracker.get_active_tasks() == []
    tracker.close()
    bus.close()
    return grown / 1e6


@pytest.mark.slow
@pytest.mark.requirement("req:H17")
def test_memory_is_flat_over_many_tasks() -> None:
    """Six thousand tasks leave behind what two thousand of them take: nothing is kept of the others."""
    tracemalloc.start()
    try:
        assert _grown(6000, lambda: tracemalloc.get_traced_memory()[0]) < 1.0
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.requirement("req:H17")
def test_memory_is_flat_over_a_million_tasks() -> None:
    """A million tasks, followed by events, leave the process no larger than it was, but for what the system keeps."""
    process = psutil.Process()
    assert _grown(1_000_000, lambda: process.memory_info().rss) < 30.0


@pytest.mark.requirement("req:B12")
@pytest.mark.parametrize("jump_s", [-3600.0, 0.0, 3600.0])
@pytest.mark.parametrize("attempts", [1, 2])
async def test_durations_do_not_jump_with_the_wall_clock(jump_s: float, attempts: int) -> None:
    """A task that ran for 0.2 s took that, wherever the wall clock was set meanwhile; with a retry never less."""
    bus = EventBus()
    tracker = ProgressTracker(bus, utc=lambda: AT)
    for attempt in range(1, attempts + 1):
        bus.publish(Event("task_started", {"task_id": "t", "name": "f", "attempt": attempt}, at=AT))
    data = {"task_id": "t", "name": "f", "state": "completed", "duration_s": 0.2, "attempt": attempts}
    bus.publish(Event("task_completed", data, at=AT + timedelta(seconds=0.2 + jump_s)))
    assert await bus.drain(5)
    task = tracker.get_task_progress("t")
    assert task is not None
    assert task.duration is not None
    took_s = task.duration.total_seconds()
    assert took_s >= 0.2
    assert attempts > 1 or took_s == 0.2
    tracker.close()
    bus.close()
