"""The specification's records of progress: of one task, and of one document in a pipeline; made by the tracker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore._tracking.pipelines import ENDS, Standing, standing
from longshore.task import TaskState


@dataclass
class TaskProgress:
    """How far one task is: a copy, as of when it was asked for. `status` is a value of TaskState."""

    task_id: str
    processor_name: str
    document_id: str
    status: str
    progress: float
    """0 to 1."""
    message: str = ""
    started_at: datetime | None = None
    completed_at: datetime | None = None
    """When it ended, however it did."""
    error: str | None = None
    current_step: str | None = None
    total_steps: int | None = None
    completed_steps: int = 0
    cpu_usage: float = 0.0
    """Percent of one core over its run, where the executor measures it; known when it has ended."""
    memory_usage: float = 0.0
    """Its peak in MB, likewise."""

    @property
    def duration(self) -> timedelta | None:
        """The time since the start, up to the end once there is one; None before the start."""
        return None if self.started_at is None else _elapsed(self.started_at, self.completed_at)

    @property
    def estimated_remaining(self) -> timedelta | None:
        """The time still needed at the pace so far; None while nothing is known, nothing once it has ended."""
        if self.status in ENDS or self.progress >= 1.0:
            return timedelta(0)
        if self.started_at is None or self.progress <= 0.0:
            return None
        return _elapsed(self.started_at) * ((1.0 - self.progress) / self.progress)

    def to_dict(self) -> dict[str, Any]:  # Any: JSON-safe values
        """Return the fourteen fields, JSON-safe: stamps in ISO 8601."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}


@dataclass
class PipelineProgress:
    """How far one document is in its pipeline. `overall_progress` never goes back, and never beyond 1."""

    pipeline_id: str
    document_id: str
    total_stages: int
    completed_stages: int = 0
    current_stage: str | None = None
    overall_progress: float = 0.0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    """When it came to an end, however it did."""
    stage_progress: dict[str, TaskProgress] = field(default_factory=dict)
    stage_order: list[str] = field(default_factory=list)
    """The stages' names, where they are known: then there are no others."""

    @property
    def status(self) -> str:
        """A value of TaskState: processing until it is over; then failed or cancelled if a stage is, else completed.

        It is over once all stages ended, or one failed or was cancelled and none is under way.
        """
        if self.completed_at is not None and not self.stage_progress:
            return TaskState.COMPLETED.value
        return self._standing().state

    @property
    def estimated_completion(self) -> datetime | None:
        """When it will be over at the pace so far; when it was, once it is; None while nothing is known."""
        if self.completed_at is not None:
            return self.completed_at
        if self.started_at is None or self.overall_progress <= 0.0:
            return None
        return self.started_at + _elapsed(self.started_at) / self.overall_progress

    def update_stage(self, stage_name: str, progress: TaskProgress) -> None:
        """Take in how far a stage is; one that has ended stays as it is. ValueError for a stage that there is not."""
        known = self.stage_order or list(self.stage_progress)
        if stage_name not in known and (self.stage_order or len(known) >= self.total_stages):
            raise ValueError(f"pipeline {self.pipeline_id} has no stage {stage_name!r} (stages: {', '.join(known)})")
        held = self.stage_progress.get(stage_name)
        if held is not None and held.status in ENDS:
            return
        self.stage_progress[stage_name] = progress
        self.current_stage = stage_name
        now = self._standing()
        self.completed_stages = now.completed_stages
        self.overall_progress = max(self.overall_progress, now.progress)
        self.completed_at = (progress.completed_at or datetime.now(UTC)) if now.over else None

    def to_dict(self) -> dict[str, Any]:  # Any: JSON-safe values
        """Return the ten fields, JSON-safe: stamps in ISO 8601, stages as dicts."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}

    def copy(self) -> PipelineProgress:
        """Return one that shares nothing with this."""
        stages = {name: replace(stage) for name, stage in self.stage_progress.items()}
        return replace(self, stage_progress=stages, stage_order=list(self.stage_order))

    def _standing(self) -> Standing:
        stages = [(stage.status, stage.progress) for stage in self.stage_progress.values()]
        return standing(stages, self.total_stages)


def _elapsed(since: datetime, until: datetime | None = None) -> timedelta:
    """Return the time between two stamps, or until now; a stamp without a zone is compared with the local time."""
    return max(timedelta(0), (until or datetime.now(since.tzinfo)) - since)


def _plain(value: Any) -> Any:  # Any: JSON-safe values
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, TaskProgress):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return list(value) if isinstance(value, list) else value
