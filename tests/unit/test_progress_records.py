"""The records of progress: what they say of time, and how stages add up."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from longshore import PipelineProgress, TaskProgress

pytestmark = pytest.mark.accuracy


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def task(status: str = "processing", progress: float = 0.0, **more: object) -> TaskProgress:
    return TaskProgress("t1", "ocr", "doc-1", status, progress, **more)  # type: ignore[arg-type]


def seconds(span: timedelta | None) -> float:
    assert span is not None
    return span.total_seconds()


@pytest.mark.requirement("req:H01")
def test_a_task_has_the_fourteen_fields_of_the_specification() -> None:
    """`to_dict` gives exactly the fields named, steps and measurements among them, and JSON takes it."""
    names = [
        *("task_id", "processor_name", "document_id", "status", "progress", "message", "started_at", "completed_at"),
        *("error", "current_step", "total_steps", "completed_steps", "cpu_usage", "memory_usage"),
    ]
    record = task(progress=0.5, message="half", started_at=ago(1), current_step="two", total_steps=4, completed_steps=2)
    told = json.loads(json.dumps(record.to_dict()))
    assert list(told) == names == [one.name for one in fields(TaskProgress)]
    assert (told["progress"], told["message"], told["current_step"], told["total_steps"]) == (0.5, "half", "two", 4)
    assert datetime.fromisoformat(told["started_at"]) == record.started_at
    defaults = task().to_dict()
    assert (defaults["message"], defaults["completed_steps"], defaults["cpu_usage"], defaults["memory_usage"]) == (
        "",
        0,
        0.0,
        0.0,
    )


@pytest.mark.requirement("req:H02")
def test_a_duration_is_frozen_at_the_end() -> None:
    """None before the start, growing while it runs, and what it was once it has ended."""
    assert task().duration is None
    running = task(started_at=ago(20))
    assert 20 <= seconds(running.duration) < 21
    began = ago(100)
    assert task("failed", started_at=began, completed_at=began + timedelta(seconds=3)).duration == timedelta(seconds=3)


@pytest.mark.requirement("req:H03")
def test_what_remains_follows_the_pace() -> None:
    """Nothing is known at 0, nothing remains at 1 or after an end, and 40 % after 20 s leaves 30 s."""
    assert task(started_at=ago(20)).estimated_remaining is None
    assert task(progress=0.5).estimated_remaining is None
    assert seconds(task(progress=1.0, started_at=ago(20)).estimated_remaining) == 0.0
    for end in ("completed", "failed", "timed_out", "cancelled", "skipped"):
        assert seconds(task(end, 0.4, started_at=ago(20), completed_at=ago(1)).estimated_remaining) == 0.0
    assert seconds(task(progress=0.4, started_at=ago(20)).estimated_remaining) == pytest.approx(30, abs=1)


def test_a_stamp_without_a_zone_is_local_time() -> None:
    """A record made with naive stamps answers too."""
    naive = datetime.now() - timedelta(seconds=20)
    assert 20 <= seconds(task(started_at=naive).duration) < 21


@pytest.mark.requirement("req:H04")
def test_a_pipeline_has_the_ten_fields_of_the_specification() -> None:
    """`to_dict` gives exactly the fields named, stages as dicts, and JSON takes it."""
    names = [
        *("pipeline_id", "document_id", "total_stages", "completed_stages", "current_stage", "overall_progress"),
        *("started_at", "completed_at", "stage_progress", "stage_order"),
    ]
    pipeline = PipelineProgress("p1", "doc-1", 2, started_at=ago(1), stage_order=["a", "b"])
    pipeline.update_stage("a", task("completed", 1.0))
    told = json.loads(json.dumps(pipeline.to_dict()))
    assert list(told) == names == [one.name for one in fields(PipelineProgress)]
    assert told["stage_progress"]["a"]["status"] == "completed"
    assert told["stage_order"] == ["a", "b"]


@pytest.mark.requirement("req:H05")
def test_stages_add_up() -> None:
    """One of three done is a third, half of the second more is a half; the stage at hand is named."""
    pipeline = PipelineProgress("p1", "doc-1", 3, started_at=ago(1), stage_order=["a", "b", "c"])
    pipeline.update_stage("a", task("completed", 1.0))
    assert pipeline.overall_progress == pytest.approx(1 / 3)
    pipeline.update_stage("b", task("processing", 0.5))
    assert pipeline.overall_progress == pytest.approx(0.5)
    assert (pipeline.completed_stages, pipeline.current_stage, pipeline.status) == (1, "b", "processing")


@pytest.mark.requirement("req:H06")
@pytest.mark.parametrize(("end", "state"), [("failed", "failed"), ("timed_out", "failed"), ("cancelled", "cancelled")])
def test_a_stage_that_ends_badly_ends_the_pipeline(end: str, state: str) -> None:
    """With one stage done and the other failed or cancelled, the pipeline is over, and says how."""
    pipeline = PipelineProgress("p1", "doc-1", 2, started_at=ago(9))
    pipeline.update_stage("a", task("completed", 1.0))
    assert pipeline.completed_at is None
    pipeline.update_stage("b", task(end, 0.5))
    assert pipeline.completed_at is not None
    assert (pipeline.status, pipeline.completed_stages, pipeline.overall_progress) == (state, 1, 0.75)


@pytest.mark.requirement("req:H06")
def test_a_failure_ends_the_pipeline_unless_others_go_on() -> None:
    """It is over with the first failure where nothing else is under way; a stage that begins then opens it again."""
    pipeline = PipelineProgress("p1", "doc-1", 3, started_at=ago(9))
    pipeline.update_stage("a", task("processing", 0.1))
    pipeline.update_stage("b", task("failed", 0.0))
    assert (pipeline.status, pipeline.completed_at) == ("processing", None)
    pipeline.update_stage("a", task("skipped", 0.1))
    assert pipeline.status == "failed"
    pipeline.update_stage("c", task("processing", 0.5))
    assert (pipeline.status, pipeline.completed_at) == ("processing", None)
    pipeline.update_stage("c", task("completed", 1.0))
    assert (pipeline.status, pipeline.completed_at is None) == ("failed", False)


@pytest.mark.requirement("req:H06")
def test_skipped_stages_end_a_pipeline_and_it_never_passes_one() -> None:
    """Skipped stages are done with; whatever stages claim, the whole is 1 at most; a third of two is refused."""
    pipeline = PipelineProgress("p1", "doc-1", 2, started_at=ago(9))
    pipeline.update_stage("a", task("processing", 7.0))
    assert pipeline.overall_progress == 0.5
    pipeline.update_stage("b", task("skipped"))
    assert pipeline.overall_progress == 1.0
    with pytest.raises(ValueError, match="no stage 'c'"):
        pipeline.update_stage("c", task("completed", 1.0))
    pipeline.update_stage("a", task("completed", 1.0))
    assert (pipeline.status, pipeline.overall_progress) == ("completed", 1.0)
    named = PipelineProgress("p2", "doc-1", 2, stage_order=["a", "b"])
    with pytest.raises(ValueError, match="no stage 'x'"):
        named.update_stage("x", task())
    assert named.stage_progress == {}


@pytest.mark.requirement("req:H08")
def test_a_pipeline_never_goes_back() -> None:
    """A lower value that comes late, and news of a stage that has ended, change nothing of the whole."""
    pipeline = PipelineProgress("p1", "doc-1", 2, started_at=ago(9))
    pipeline.update_stage("a", task("processing", 0.8))
    pipeline.update_stage("a", task("processing", 0.2))
    assert pipeline.overall_progress == pytest.approx(0.4)
    pipeline.update_stage("a", task("completed", 1.0))
    pipeline.update_stage("a", task("processing", 0.1))
    assert (pipeline.stage_progress["a"].status, pipeline.overall_progress) == ("completed", 0.5)


@pytest.mark.requirement("req:H07")
def test_when_a_pipeline_will_be_over_follows_its_pace() -> None:
    """At 40 % after 60 s it will be over 150 s after its start; once over, it was when it was; before, nobody knows."""
    began = ago(60)
    pipeline = PipelineProgress("p1", "doc-1", 1, started_at=began)
    assert pipeline.estimated_completion is None
    pipeline.update_stage("a", task("processing", 0.4))
    will = pipeline.estimated_completion
    assert will is not None
    assert (will - began).total_seconds() == pytest.approx(150, abs=2)
    ended = datetime.now(UTC)
    pipeline.update_stage("a", task("completed", 1.0, completed_at=ended))
    assert pipeline.estimated_completion == pipeline.completed_at == ended
    assert PipelineProgress("p2", "d", 1, overall_progress=0.5).estimated_completion is None
