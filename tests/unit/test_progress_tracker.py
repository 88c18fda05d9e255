"""The tracker by itself: told by hand, told by events, asked, and tidied."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from longshore import EventBus, ProgressTracker, TaskProgress
from longshore.events import AnyEvent, Event

pytestmark = [pytest.mark.anyio, pytest.mark.accuracy]
DEADLINE_S = 10.0


class Heard:
    """A bus, and all that a subscriber was told there."""

    def __init__(self) -> None:
        self.bus = EventBus()
        self.events: list[AnyEvent] = []
        self.bus.subscribe(self.events.append)

    async def all(self) -> list[dict[str, Any]]:
        assert await self.bus.drain(DEADLINE_S)
        return [event.data for event in self.events]


@pytest.fixture
def heard() -> Iterator[Heard]:
    made = Heard()
    yield made
    made.bus.close()


def known(tracker: ProgressTracker, task_id: str) -> TaskProgress:
    found = tracker.get_task_progress(task_id)
    assert found is not None
    return found


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


@pytest.mark.requirement("req:H24")
def test_it_is_made_without_a_loop() -> None:
    """In plain code, with a bus or without one; statistics can be asked for at once."""
    bus = EventBus()
    for tracker in (ProgressTracker(), ProgressTracker(bus)):
        assert tracker.get_statistics() == {"total_tasks": 0}
        tracker.close()
    bus.close()
    with pytest.raises(TypeError, match="emit or publish"):
        ProgressTracker(object())


@pytest.mark.requirement("req:H09")
async def test_a_task_starts_at_nothing() -> None:
    """Started, it is processing at 0, with its stamp and steps."""
    tracker, before = ProgressTracker(), datetime.now(UTC)
    await tracker.start_task("t1", "ocr", "doc-1", total_steps=4)
    task = known(tracker, "t1")
    assert (task.status, task.progress, task.total_steps) == ("processing", 0.0, 4)
    assert task.started_at is not None
    assert before <= task.started_at <= datetime.now(UTC)
    assert (task.processor_name, task.document_id) == ("ocr", "doc-1")
    await tracker.update_task("t1", 0.5)
    await tracker.start_task("t1", "ocr", "doc-1")
    assert (known(tracker, "t1").progress, known(tracker, "t1").total_steps) == (0.0, None)


@pytest.mark.requirement("req:H10")
async def test_an_update_changes_only_what_is_given() -> None:
    """What is left out stays, "" keeps the message, and an unknown id is no error."""
    tracker = ProgressTracker()
    await tracker.start_task("t1", "ocr", "doc-1")
    await tracker.update_task("t1", 0.3, "page 3", "reading", 3, 50.0, 120.0, total_steps=10)
    await tracker.update_task("t1", 0.4)
    task = known(tracker, "t1")
    assert (task.progress, task.message, task.current_step) == (0.4, "page 3", "reading")
    assert (task.completed_steps, task.total_steps, task.cpu_usage, task.memory_usage) == (3, 10, 50.0, 120.0)
    await tracker.update_task("t1", message="page 4")
    assert (known(tracker, "t1").message, known(tracker, "t1").progress) == ("page 4", 0.4)
    await tracker.update_task("nobody", 0.5)
    await tracker.complete_task("nobody")
    await tracker.update_pipeline_stage("nobody", "a", 0.5)
    assert tracker.get_task_progress("nobody") is None
    assert tracker.get_pipeline_progress("nobody") is None


@pytest.mark.requirement("req:H08")
async def test_progress_is_kept_within_its_bounds_and_never_goes_back() -> None:
    """Below 0 and above 1 are taken in, a late lower value is ignored, and no number at all changes nothing."""
    tracker = ProgressTracker()
    await tracker.start_task("t1", "ocr", "doc-1")
    for told, shown in ((-3.0, 0.0), (0.8, 0.8), (0.2, 0.8), (float("nan"), 0.8), (7.0, 1.0)):
        await tracker.update_task("t1", told)
        assert known(tracker, "t1").progress == shown


@pytest.mark.requirement("req:H11")
async def test_steps_say_how_far_it_is() -> None:
    """Three of ten steps are 0.3, where no progress is given; what is given wins."""
    tracker = ProgressTracker()
    await tracker.start_task("t1", "ocr", "doc-1", total_steps=10)
    await tracker.update_task("t1", completed_steps=3)
    assert known(tracker, "t1").progress == pytest.approx(0.3)
    await tracker.update_task("t1", 0.7, completed_steps=4)
    assert known(tracker, "t1").progress == 0.7


@pytest.mark.requirement("req:H12")
async def test_an_end_is_final() -> None:
    """Completed is at 1, failed as far as it was and with its error; what comes later is ignored."""
    tracker = ProgressTracker()
    for task_id in ("good", "bad"):
        await tracker.start_task(task_id, "ocr", "doc-1")
        await tracker.update_task(task_id, 0.6)
    await tracker.complete_task("good")
    await tracker.complete_task("bad", success=False, error="it broke")
    for late in ("good", "bad"):
        await tracker.update_task(late, 0.9, "late")
        await tracker.complete_task(late, success=late == "bad")
    good, bad = known(tracker, "good"), known(tracker, "bad")
    assert (good.status, good.progress, good.error, good.message) == ("completed", 1.0, None, "")
    assert (bad.status, bad.progress, bad.error, bad.message) == ("failed", 0.6, "it broke", "")
    assert None not in (good.completed_at, bad.completed_at, good.duration)
    assert good.duration == known(tracker, "good").duration
    assert tracker.get_active_tasks() == []


@pytest.mark.requirement("req:H13")
async def test_every_change_is_told_on_the_bus(heard: Heard) -> None:
    """Start, update and end arrive at a subscriber, flat and JSON-safe, and are not taken in a second time."""
    tracker = ProgressTracker(heard.bus)
    await tracker.start_task("t1", "ocr", "doc-1", total_steps=4)
    await tracker.update_task("t1", 0.5, "half", "reading", 2)
    await until(lambda: len(heard.events) == 2)  # held back for a moment
    await tracker.complete_task("t1")
    told = await heard.all()
    assert {event.type for event in heard.events} == {"task_progress"}
    assert [(data["state"], data["progress"]) for data in told] == [
        ("processing", 0.0),
        ("processing", 0.5),
        ("completed", 1.0),
    ]
    assert (told[1]["task_id"], told[1]["message"], told[1]["current_step"]) == ("t1", "half", "reading")
    assert (told[1]["completed_steps"], told[1]["total_steps"]) == (2, 4)
    assert told[0]["estimated_remaining_s"] is None
    assert 0.0 < told[1]["estimated_remaining_s"] < DEADLINE_S
    assert told[2]["estimated_remaining_s"] == 0.0
    json.dumps(told)
    assert known(tracker, "t1").status == "completed"


@pytest.mark.update_rate
async def test_many_updates_are_few_events_and_the_last_is_among_them(heard: Heard) -> None:
    """Ten thousand updates are told ten times a second at most, in order; the last one without any other to follow."""
    tracker = ProgressTracker(heard.bus)
    began = time.monotonic()
    await tracker.start_task("t1", "ocr", "doc-1")
    for number in range(1, 10_001):
        await tracker.update_task("t1", number / 20_000)
    await until(lambda: bool(heard.events) and heard.events[-1].data["progress"] == 0.5)
    told = [data["progress"] for data in await heard.all()]
    assert len(told) <= 2 + 10 * (time.monotonic() - began)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 0.5)
    await tracker.complete_task("t1")
    await tracker.update_task("t1", 0.9)
    assert [data["state"] for data in await heard.all()][-2:] == ["processing", "completed"]


@pytest.mark.requirement("req:H20")
async def test_the_life_of_a_pipeline(heard: Heard) -> None:
    """Three stages, one after another, bring it to 1; it is listed while it goes on, and told on the bus."""
    tracker = ProgressTracker(heard.bus)
    await tracker.start_pipeline("p1", "doc-1", 3, ["a", "b", "c"])
    assert [pipeline.pipeline_id for pipeline in tracker.get_active_pipelines()] == ["p1"]
    shown = []
    for stage in "abc":
        await tracker.start_task(stage, "ocr", "doc-1")
        await tracker.update_task(stage, 0.5)
        assert [task.task_id for task in tracker.get_active_tasks()] == [stage]
        await tracker.update_pipeline_stage("p1", stage, known(tracker, stage))
        await tracker.complete_task(stage)
        await tracker.update_pipeline_stage("p1", stage, known(tracker, stage))
        pipeline = tracker.get_pipeline_progress("p1")
        assert pipeline is not None
        shown.append(pipeline.overall_progress)
    assert shown == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert (pipeline.status, pipeline.completed_stages, pipeline.current_stage) == ("completed", 3, "c")
    assert tracker.get_active_pipelines() == tracker.get_active_tasks() == []
    await heard.all()
    told = [event.data for event in heard.events if event.type == "pipeline_progress"]
    assert (told[0]["pipeline_id"], told[0]["document_id"], told[0]["total_stages"]) == ("p1", "doc-1", 3)
    assert (told[-1]["state"], told[-1]["progress"], told[-1]["completed_stages"]) == ("completed", 1.0, 3)
    with pytest.raises(ValueError, match="no stage 'd'"):
        await tracker.update_pipeline_stage("p1", "d", 0.5)
    json.dumps(told)


@pytest.mark.requirement("req:H26")
@pytest.mark.concurrency
async def test_many_tasks_at_once(heard: Heard) -> None:
    """500 tasks with 10 updates each, all at once, end as they should: nothing lost, nothing late."""
    tracker = ProgressTracker(heard.bus)

    async def life(number: int) -> None:
        await tracker.start_task(f"t{number}", f"p{number % 3}", "doc", total_steps=10)
        for step in range(1, 11):
            await tracker.update_task(f"t{number}", completed_steps=step, message=f"{number}:{step}")
            await asyncio.sleep(0)
        await tracker.complete_task(f"t{number}", success=number % 10 != 0, error="tenth" if number % 10 == 0 else None)

    await asyncio.gather(*map(life, range(500)))
    for number in range(500):
        task = known(tracker, f"t{number}")
        assert (task.status, task.error) == (("completed", None) if number % 10 else ("failed", "tenth"))
        assert (task.progress, task.completed_steps, task.message) == (1.0, 10, f"{number}:10")
    stats = tracker.get_statistics()
    assert (stats["total_tasks"], stats["failed_tasks"], stats["processors"]) == (450, 50, 3)
    ends = [data["task_id"] for data in await heard.all() if data["state"] != "processing"]
    assert sorted(ends) == sorted(f"t{number}" for number in range(500))


def test_loops_on_several_threads_share_a_tracker() -> None:
    """The methods may be awaited on any loop: four of them at once lose nothing."""
    tracker = ProgressTracker()

    async def lives(thread: int) -> None:
        for number in range(200):
            await tracker.start_task(f"{thread}-{number}", "ocr", "doc")
            await tracker.update_task(f"{thread}-{number}", 0.5)
            await tracker.complete_task(f"{thread}-{number}")

    threads = [threading.Thread(target=lambda n=n: asyncio.run(lives(n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert tracker.get_statistics()["total_tasks"] == 800


async def test_a_bus_of_others_is_told() -> None:
    """An object with `emit` alone, even a coroutine function, hears what is told by hand."""

    class Theirs:
        def __init__(self) -> None:
            self.heard: list[Any] = []

        async def emit(self, event: Any) -> None:
            self.heard.append(event)

    theirs = Theirs()
    tracker = ProgressTracker(theirs)
    await tracker.start_task("t1", "ocr", "doc")
    await tracker.complete_task("t1")
    await until(lambda: len(theirs.heard) == 2)
    assert [(event.type, event.data["state"]) for event in theirs.heard] == [
        ("task_progress", "processing"),
        ("task_progress", "completed"),
    ]
    tracker.close()


async def test_pipelines_are_followed_by_events(heard: Heard) -> None:
    """Of a pipeline that others tell of, the tracker knows how far it is, its stages, and that it is over."""
    tracker = ProgressTracker(heard.bus)

    def told(state: str, progress: float, done: int) -> Event:
        data = {"pipeline_id": "p1", "pipeline": "docs", "document_id": "doc-1", "state": state, "progress": progress}
        return Event("pipeline_progress", {**data, "current_stage": "b", "completed_stages": done, "total_stages": 2})

    stage = {"pipeline_id": "p1", "stage": "a", "state": "completed", "task_id": "t1", "duration_s": 2.0, "error": None}
    heard.bus.publish(Event("stage_completed", stage))
    heard.bus.publish(told("processing", 0.5, 1))
    await heard.all()
    (pipeline,) = tracker.get_active_pipelines()
    assert (pipeline.overall_progress, pipeline.completed_stages, pipeline.total_stages) == (0.5, 1, 2)
    assert pipeline.stage_progress["a"].duration == timedelta(seconds=2)
    heard.bus.publish(Event("stage_completed", {**stage, "stage": "b", "state": "failed", "error": "it broke"}))
    heard.bus.publish(told("failed", 0.5, 1))
    heard.bus.publish(told("processing", 0.9, 1))
    assert len(await heard.all()) == 5, "what was heard is not told again"
    over = tracker.get_pipeline_progress("p1")
    assert over is not None
    assert (over.status, over.overall_progress, over.completed_at is None) == ("failed", 0.5, False)
    assert (over.stage_progress["b"].error, tracker.get_active_pipelines()) == ("it broke", [])


async def test_a_tracker_that_was_closed_hears_nothing(heard: Heard) -> None:
    """After `close` it follows no bus, and what it knows can still be asked for."""
    tracker = ProgressTracker(heard.bus)
    started = {"task_id": "t1", "name": "f"}
    heard.bus.publish(Event("task_started", started))
    await heard.all()
    tracker.close()
    heard.bus.publish(Event("task_completed", {**started, "state": "completed"}))
    await heard.all()
    assert known(tracker, "t1").status == "processing"
