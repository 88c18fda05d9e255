"""Progress for programs to read: the tracker of tasks and pipelines, told by hand or by a pool's events.

`TaskProgress` here is the specification's record; the event of that name is `longshore.events.TaskProgress`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore._delivery import Coalescer, EventBus, ForeignBus, Subscription
from longshore._progress import PipelineProgress, TaskProgress
from longshore._tracking.pipelines import ENDS
from longshore._tracking.shelf import Shelf
from longshore._tracking.tasks import Entry, TaskBook
from longshore.events import TERMINAL_TYPES, AnyEvent, Event
from longshore.task import TaskState

PERIOD_S = 0.1
"""Of one task or pipeline, events are told at most this often."""
_HEARD = (
    "task_submitted",
    "task_started",
    "task_progress",
    "task_retried",
    *TERMINAL_TYPES,
    "pipeline_progress",
    "stage_completed",
)


class _Told(Event, frozen=True):
    """An event of a tracker's own, which it does not take in again."""

    teller: Any = None  # Any: the tracker; an event is no place for its type


class ProgressTracker:
    """What is known of tasks and pipelines: told by hand, by the events of a bus, or both.

    Needs no loop to be made. Given an EventBus, it follows every pool that tells there; what is told by hand is told
    on the bus, as `task_progress` and `pipeline_progress`, at most ten times a second for each task, the first and the
    last always; of another object with `emit` or `publish`, that is called. The async methods may be awaited on any
    loop, the others called from any thread, all of them at the same time. Progress never goes back, an end is final,
    and what nobody has started is ignored. The last `keep_finished` tasks and pipelines that ended are kept, for
    `keep_hours`; statistics of all of them, in fixed space.
    """

    def __init__(
        self,
        event_bus: object | None = None,
        *,
        keep_finished: int = 10_000,
        keep_hours: float = 24.0,
        clock: Callable[[], float] = time.monotonic,
        utc: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Know of nothing yet; TypeError for an object that is no bus. `clock` and `utc` are for tests."""
        self._clock, self._utc = clock, utc
        self._lock = threading.Lock()
        self._tasks = TaskBook(keep_finished, timedelta(hours=keep_hours))
        self._pipelines: Shelf[PipelineProgress] = Shelf(keep_finished, timedelta(hours=keep_hours))
        self._follows: dict[EventBus, Subscription] = {}
        self._out: EventBus | None = None
        self._coalescer = Coalescer(self._publish, period_s=PERIOD_S)
        if isinstance(event_bus, EventBus):
            self._out = event_bus
            self.follow(event_bus)
        elif event_bus is not None:
            self._out = EventBus()
            ForeignBus(event_bus).attach(self._out)

    # ---- tasks, by hand

    async def start_task(
        self, task_id: str, processor_name: str, document_id: str, total_steps: int | None = None
    ) -> None:
        """Have a task begin, at 0; one of this id that was known begins anew."""
        with self._lock:
            entry = Entry(task_id, processor_name, document_id)
            self._tasks.start(entry, self._utc(), self._clock(), total_steps)
            self._tell_task(entry)

    async def update_task(
        self,
        task_id: str,
        progress: float | None = None,
        message: str = "",
        current_step: str | None = None,
        completed_steps: int | None = None,
        cpu_usage: float | None = None,
        memory_usage: float | None = None,
        *,
        total_steps: int | None = None,
    ) -> None:
        """Change what is given of a task that goes on; "" keeps the message.

        `progress` is taken into 0 to 1, and what is lower than before is ignored. Where it is not given, completed of
        total steps say it.
        """
        with self._lock:
            entry = self._tasks.update(
                task_id,
                progress,
                message,
                current_step=current_step,
                completed_steps=completed_steps,
                total_steps=total_steps,
                cpu_usage=cpu_usage,
                memory_usage=memory_usage,
            )
            if entry is not None:
                self._tell_task(entry)

    async def complete_task(self, task_id: str, success: bool = True, error: str | None = None) -> None:
        """Have a task end: completed, at 1, or failed, as far as it was. What comes later of it is ignored."""
        state = TaskState.COMPLETED if success else TaskState.FAILED
        with self._lock:
            entry = self._tasks.end(task_id, state.value, self._utc(), self._clock(), error)
            if entry is not None:
                self._tell_task(entry)

    # ---- pipelines, by hand

    async def start_pipeline(
        self, pipeline_id: str, document_id: str, total_stages: int | Sequence[str], stage_order: Sequence[str] = ()
    ) -> None:
        """Have a document begin its way through so many stages, or the stages of these names."""
        order = list(stage_order if isinstance(total_stages, int) else total_stages)
        total = total_stages if isinstance(total_stages, int) else len(order)
        pipeline = PipelineProgress(pipeline_id, document_id, total, stage_order=order)
        with self._lock:
            pipeline.started_at = self._utc()
            self._pipelines.put(pipeline_id, pipeline)
            self._tell_pipeline(pipeline)

    async def update_pipeline_stage(
        self, pipeline_id: str, stage_name: str, progress: TaskProgress | float, *, status: str | None = None
    ) -> None:
        """Have a stage be as far as the record, or the number and the status, say; ValueError for no stage of it.

        A number is processing below 1 and completed at 1, unless `status` says otherwise. A stage that has ended stays
        as it is, and what comes of an unknown pipeline is ignored.
        """
        with self._lock:
            pipeline = self._pipelines.get(pipeline_id)
            if pipeline is None:
                return
            if isinstance(progress, TaskProgress):
                stage = replace(progress)
            else:
                stage = self._stage(pipeline, stage_name, progress, status)
            pipeline.update_stage(stage_name, stage)
            self._shelve(pipeline)
            self._tell_pipeline(pipeline)

    # ---- asking

    def get_task_progress(self, task_id: str) -> TaskProgress | None:
        """Return how far a task is, None if nothing is known of it."""
        with self._lock:
            self._tasks.shelf.age(self._utc())
            entry = self._tasks.shelf.get(task_id)
            return None if entry is None else _record(entry)

    def get_pipeline_progress(self, pipeline_id: str) -> PipelineProgress | None:
        """Return how far a pipeline is, None if nothing is known of it."""
        with self._lock:
            self._pipelines.age(self._utc())
            pipeline = self._pipelines.get(pipeline_id)
            return None if pipeline is None else pipeline.copy()

    def get_active_tasks(self) -> list[TaskProgress]:
        """Return the tasks that have begun and not ended, first come first."""
        with self._lock:
            return [_record(entry) for entry in self._tasks.shelf.all_active() if entry.started_at is not None]

    def get_active_pipelines(self) -> list[PipelineProgress]:
        """Return the pipelines that have not ended, first come first."""
        with self._lock:
            return [pipeline.copy() for pipeline in self._pipelines.all_active()]

    def get_statistics(self, processor_name: str | None = None) -> dict[str, Any]:  # Any: numbers, names, dicts of them
        """Return how long tasks took, of one processor or over all with `per_processor`; JSON-safe.

        `total_tasks` and the durations (average, median, min, max and std, in seconds) are of completed tasks only:
        `failed_tasks` and `cancelled_tasks` are counted apart. Medians of more than a hundred are within 1 %.
        """
        with self._lock:
            return self._tasks.statistics(processor_name)

    def cleanup_completed(self, hours: float = 24) -> int:
        """Forget tasks and pipelines that ended longer ago than this; return how many. Statistics stay."""
        with self._lock:
            before = self._utc() - timedelta(hours=hours)
            return self._tasks.shelf.forget(before) + self._pipelines.forget(before)

    # ---- the bus

    def follow(self, bus: EventBus) -> Callable[[], None]:
        """Take in what a bus tells from now on, until the function returned is called; twice is once.

        What was told before that call, and waits, is still taken in.

        A tracker that was made without a bus tells there what it is told by hand.
        """
        if bus in self._follows:
            return lambda: None
        self._follows[bus] = bus.subscribe(self._hear, _HEARD, name="progress_tracker")
        self._out = self._out or bus
        return lambda: self._unfollow(bus)

    def close(self) -> None:
        """Tell what is held back, and follow no bus any more; what is known can still be asked for."""
        self._coalescer.flush()
        for unfollow in [self._follows.pop(bus) for bus in list(self._follows)]:
            unfollow()

    def _unfollow(self, bus: EventBus) -> None:
        subscription = self._follows.pop(bus, None)
        if subscription is not None:
            subscription.finish()

    def _hear(self, event: AnyEvent) -> None:
        if isinstance(event, _Told) and event.teller is self:
            return
        with self._lock:
            if event.type == "pipeline_progress":
                self._hear_pipeline(event.data, event.at)
            elif event.type == "stage_completed":
                self._hear_stage(event.data, event.at)
            else:
                self._tasks.fold(event.type, event.data, event.at, self._clock())

    def _hear_pipeline(self, data: Mapping[str, Any], at: datetime) -> None:  # Any: an event's
        pipeline = self._pipeline(data, at)
        if pipeline is None:
            return
        pipeline.total_stages = data.get("total_stages") or pipeline.total_stages
        pipeline.completed_stages = data.get("completed_stages") or pipeline.completed_stages
        pipeline.current_stage = data.get("current_stage") or pipeline.current_stage
        pipeline.overall_progress = min(1.0, max(pipeline.overall_progress, data.get("progress") or 0.0))
        if data.get("state") in ENDS:
            pipeline.completed_at = at
            self._pipelines.end(pipeline.pipeline_id, at)

    def _hear_stage(self, data: Mapping[str, Any], at: datetime) -> None:  # Any: an event's
        pipeline = self._pipeline(data, at)
        if pipeline is None:
            return
        stage = self._stage(pipeline, data["stage"], 0.0, data["state"])
        stage.task_id = data.get("task_id") or stage.task_id
        stage.started_at, stage.completed_at = at - timedelta(seconds=data.get("duration_s") or 0.0), at
        stage.error = data.get("error")
        pipeline.stage_progress[data["stage"]] = stage  # how far it is as a whole is told beside it

    def _pipeline(self, data: Mapping[str, Any], at: datetime) -> PipelineProgress | None:  # Any: an event's
        """Return the pipeline an event tells of, made on first sight; None for one that has ended."""
        pipeline_id = data["pipeline_id"]
        if self._pipelines.has_ended(pipeline_id):
            return None
        pipeline = self._pipelines.active(pipeline_id)
        if pipeline is None:
            pipeline = PipelineProgress(pipeline_id, data.get("document_id") or "", 0, started_at=at)
            self._pipelines.put(pipeline_id, pipeline)
        return pipeline

    def _stage(self, pipeline: PipelineProgress, name: str, progress: float, status: str | None) -> TaskProgress:
        """Return the record of a stage of which only a number and a state are known."""
        if status is None:
            status = (TaskState.COMPLETED if progress >= 1.0 else TaskState.PROCESSING).value
        held, now = pipeline.stage_progress.get(name), self._utc()
        return TaskProgress(
            f"{pipeline.pipeline_id}:{name}",
            name,
            pipeline.document_id,
            str(status),
            1.0 if status == TaskState.COMPLETED else min(1.0, max(0.0, progress, held.progress if held else 0.0)),
            started_at=held.started_at if held else now,
            completed_at=now if status in ENDS else None,
        )

    def _shelve(self, pipeline: PipelineProgress) -> None:
        """Have a pipeline among those it belongs to: ended, or not."""
        if pipeline.completed_at is None:
            self._pipelines.put(pipeline.pipeline_id, pipeline)
        else:
            self._pipelines.end(pipeline.pipeline_id, pipeline.completed_at)

    def _tell_task(self, entry: Entry) -> None:
        record = _record(entry)
        remaining = record.estimated_remaining
        data = {
            "task_id": entry.task_id,
            "state": entry.status,
            "progress": entry.progress,
            "message": entry.message,
            "current_step": entry.current_step,
            "completed_steps": entry.completed_steps,
            "total_steps": entry.total_steps,
            "estimated_remaining_s": None if remaining is None else remaining.total_seconds(),
            "error": entry.error,
        }
        self._tell("task_progress", f"task {entry.task_id}", data)

    def _tell_pipeline(self, pipeline: PipelineProgress) -> None:
        data = {
            "pipeline_id": pipeline.pipeline_id,
            "pipeline": pipeline.pipeline_id,
            "document_id": pipeline.document_id,
            "state": pipeline.status,
            "progress": pipeline.overall_progress,
            "current_stage": pipeline.current_stage,
            "completed_stages": pipeline.completed_stages,
            "total_stages": pipeline.total_stages,
        }
        self._tell("pipeline_progress", f"pipeline {pipeline.pipeline_id}", data)

    def _tell(self, kind: str, key: str, data: dict[str, Any]) -> None:  # Any: JSON-safe values
        if self._out is not None:
            event = _Told(kind, data, at=datetime.now(UTC), teller=self)
            self._coalescer.put(key, event, last=data["state"] in ENDS)

    def _publish(self, event: AnyEvent) -> None:
        if self._out is not None:
            self._out.publish(event)


def _record(entry: Entry) -> TaskProgress:
    return TaskProgress(**{name: getattr(entry, name) for name in _FIELDS})


_FIELDS = tuple(one.name for one in fields(TaskProgress))


__all__ = ["PERIOD_S", "PipelineProgress", "ProgressTracker", "TaskProgress"]
