"""What has happened, as records: single events for people and plugins, and batches of them for the way between.

The engine speaks in batches (one record for a thousand started tasks); `expand` turns a batch into the single, typed
events that subscribers and sinks get. Every event has `.type`, `.seq` (rising by one within a run), `.at` (aware) and
`.data` (a flat, JSON-safe dict). Per task: submitted < started < progress < one of completed, failed, cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, ClassVar, Protocol

from msgspec import Struct
from msgspec.structs import asdict

from longshore.task import Attempt, Outcome, Task, TaskSpec, TaskState

_EPOCH = datetime.fromtimestamp(0, UTC)


class AnyEvent(Protocol):
    """What every event offers."""

    @property
    def type(self) -> str:
        """Name in the catalogue, snake case."""

    @property
    def seq(self) -> int:
        """Place in the run's order."""

    @property
    def at(self) -> datetime:
        """When, timezone-aware."""

    @property
    def data(self) -> dict[str, Any]:
        """The flat, JSON-safe payload."""


class Event(Struct, frozen=True):
    """The open form: any type, any flat data."""

    type: str
    data: dict[str, Any] = {}  # Any: JSON-safe values
    seq: int = 0
    at: datetime = _EPOCH


class _Typed(Struct, frozen=True, gc=False):
    # Texts, numbers and a time: such a record can be in no cycle, so the collector need not look at it.
    seq: int
    at: datetime

    type: ClassVar[str] = ""

    @property
    def data(self) -> dict[str, Any]:  # Any: JSON-safe values
        """Return the fields that are set, less `seq` and `at`."""
        fields = asdict(self)
        del fields["seq"], fields["at"]
        return {name: value for name, value in fields.items() if value is not None}


class _OfTask(_Typed, frozen=True, gc=False):
    task_id: str
    name: str
    executor: str
    priority: int


class TaskSubmitted(_OfTask, frozen=True, gc=False):
    """A task was accepted into the queue."""

    type: ClassVar[str] = "task_submitted"
    key: str | None = None
    processor: str | None = None
    retry_of: str | None = None
    """The task that this one tries again, by `retry_task`."""
    parent_id: str | None = None
    """The task that submitted it, where one did."""
    group: str | None = None
    """Of a pipeline's stage: what the `pipeline_id` begins with, and `key` is its document."""
    traceparent: str | None = None
    """The span that it was submitted in, as W3C's Trace Context writes it, where OpenTelemetry is in use."""


class TaskStarted(_OfTask, frozen=True, gc=False):
    """An attempt was handed to its executor."""

    type: ClassVar[str] = "task_started"
    attempt: int = 1
    key: str | None = None
    processor: str | None = None
    parent_id: str | None = None
    traceparent: str | None = None
    """As in `TaskSubmitted`."""


class TaskProgress(_Typed, frozen=True, gc=False):
    """A running task said how far it is; `progress` never goes back."""

    type: ClassVar[str] = "task_progress"
    task_id: str
    attempt: int
    progress: float
    message: str = ""
    current_step: str | None = None
    completed_steps: int | None = None
    total_steps: int | None = None
    estimated_remaining_s: float | None = None
    state: str = "processing"


class TaskRetried(_OfTask, frozen=True, gc=False):
    """An attempt failed and another one is due after `delay_s`."""

    type: ClassVar[str] = "task_retried"
    attempt: int = 1
    delay_s: float = 0.0
    error: str | None = None
    message: str | None = None
    key: str | None = None
    wait_s: float | None = None
    """What the attempt that failed had waited; beside it what it ran, and where."""
    duration_s: float | None = None
    worker_id: str | None = None


class _Ended(_OfTask, frozen=True, gc=False):
    attempt: int = 1
    wait_s: float = 0.0
    duration_s: float = 0.0
    worker_id: str | None = None
    key: str | None = None
    processor: str | None = None
    parent_id: str | None = None
    cpu_s: float | None = None
    """Processor time of the last attempt, and beside it its peak of memory, where the executor measures them."""
    peak_memory_mb: float | None = None
    restored: bool | None = None
    """True where it was recorded before the run went on, and nothing was run for it now."""


class TaskCompleted(_Ended, frozen=True, gc=False):
    """A task ended with a result."""

    type: ClassVar[str] = "task_completed"
    state: str = "completed"


class TaskFailed(_Ended, frozen=True, gc=False):
    """A task ended without one; `state` is "failed" or "timed_out", `error` the type, `message` its text."""

    type: ClassVar[str] = "task_failed"
    state: str = "failed"
    error: str | None = None
    message: str | None = None
    reason: str | None = None
    traceback: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    output_tail: str | None = None
    """What it wrote last, where its executor can tell."""


class TaskCancelled(_Ended, frozen=True, gc=False):
    """A task was cancelled, queued or running."""

    type: ClassVar[str] = "task_cancelled"
    state: str = "cancelled"
    message: str | None = None


class ProgressUpdate(Struct, frozen=True):
    """What a worker sends of a running attempt, coalesced at the source to ten a second."""

    task_id: str
    attempt: int
    progress: float
    message: str = ""
    current_step: str | None = None
    completed_steps: int | None = None
    total_steps: int | None = None
    estimated_remaining_s: float | None = None
    """At the attempt's pace so far; None while it has done nothing."""


class TasksSubmitted(Struct, frozen=True):
    """A batch: `tasks` of one spec were accepted."""

    spec: TaskSpec
    tasks: Sequence[Task]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.tasks)

    def expand(self, seq: int, at: datetime) -> list[AnyEvent]:
        """Return one TaskSubmitted per task, numbered from `seq`."""
        spec = self.spec
        name, executor, priority = spec.name, spec.executor, int(spec.priority)
        processor, retry_of, parent_id, group = spec.processor, spec.retry_of, spec.parent, spec.group
        return [
            TaskSubmitted(i, at, t.task_id, name, executor, priority, t.key, processor, retry_of, parent_id, group,
                spec.traceparent or (t.traceparent if isinstance(t, Attempt) else None))
            for i, t in enumerate(self.tasks, seq)
        ]  # fmt: skip


class TasksStarted(Struct, frozen=True):
    """A batch: `attempts` were handed to their executor."""

    attempts: Sequence[Attempt]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.attempts)

    def expand(self, seq: int, at: datetime) -> list[AnyEvent]:
        """Return one TaskStarted per attempt, numbered from `seq`."""
        events: list[AnyEvent] = []
        for spec, attempts in groupby(self.attempts, _spec_of):
            name, executor, priority = spec.name, spec.executor, int(spec.priority)
            processor, parent_id = spec.processor, spec.parent
            events += [
                TaskStarted(i, at, a.task_id, name, executor, priority, a.number, a.key, processor, parent_id,
                    spec.traceparent or a.traceparent)
                for i, a in enumerate(attempts, seq + len(events))
            ]  # fmt: skip
        return events


class TasksProgressed(Struct, frozen=True):
    """A batch: running tasks said how far they are."""

    updates: Sequence[ProgressUpdate]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.updates)

    def expand(self, seq: int, at: datetime) -> list[AnyEvent]:
        """Return one TaskProgress per update, numbered from `seq`."""
        return [
            TaskProgress(
                seq + i,
                at,
                u.task_id,
                u.attempt,
                u.progress,
                u.message,
                u.current_step,
                u.completed_steps,
                u.total_steps,
                u.estimated_remaining_s,
            )
            for i, u in enumerate(self.updates)
        ]


class TaskRetrying(Struct, frozen=True):
    """A batch of one: attempt `outcome.attempts` failed, and the next is due after `delay_s`."""

    spec: TaskSpec
    outcome: Outcome
    delay_s: float

    def __len__(self) -> int:
        """Return the number of events."""
        return 1

    def expand(self, seq: int, at: datetime) -> list[AnyEvent]:
        """Return the TaskRetried event, numbered `seq`."""
        spec, outcome, error = self.spec, self.outcome, self.outcome.error
        return [
            TaskRetried(
                seq,
                at,
                outcome.task_id,
                spec.name,
                spec.executor,
                int(spec.priority),
                outcome.attempts,
                self.delay_s,
                error.type if error else None,
                error.message if error else None,
                outcome.key,
                outcome.queued_s,
                outcome.ran_s,
                outcome.worker,
            )
        ]


class TasksSettled(Struct, frozen=True):
    """A batch: tasks of one spec reached their end, and the journal, if there is one, has it."""

    spec: TaskSpec
    outcomes: Sequence[Outcome]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.outcomes)

    def expand(self, seq: int, at: datetime) -> list[AnyEvent]:
        """Return one terminal event per outcome, numbered from `seq`."""
        spec = self.spec
        name, executor, priority = spec.name, spec.executor, int(spec.priority)
        processor, parent_id = spec.processor, spec.parent
        return [
            TaskCompleted(i, at, o.task_id, name, executor, priority, o.attempts, o.queued_s, o.ran_s, o.worker, o.key,
                processor, parent_id, o.cpu_s, o.peak_memory_mb, o.restored or None)
            if o.state is _COMPLETED
            else _ended_badly(spec, o, i, at)
            for i, o in enumerate(self.outcomes, seq)
        ]  # fmt: skip


class Happened(Struct, frozen=True):
    """A batch of one open event, such as `worker_pool_started`."""

    type: str
    data: dict[str, Any]  # Any: JSON-safe values

    def __len__(self) -> int:
        """Return the number of events."""
        return 1

    def expand(self, seq: int, at: datetime) -> list[AnyEvent]:
        """Return the event, numbered `seq`."""
        return [Event(self.type, self.data, seq, at)]


EventBatch = TasksSubmitted | TasksStarted | TasksProgressed | TaskRetrying | TasksSettled | Happened
"""What travels from the engine to the tracker, the bus and the mailboxes."""

TERMINAL_TYPES = frozenset({"task_completed", "task_failed", "task_cancelled"})


_COMPLETED = TaskState.COMPLETED  # an Enum's member costs 70 ns to get at on Python 3.11
_spec_of: Callable[[Task], TaskSpec] = attrgetter("spec")


def _ended_badly(spec: TaskSpec, outcome: Outcome, seq: int, at: datetime) -> AnyEvent:
    common = (
        seq,
        at,
        outcome.task_id,
        spec.name,
        spec.executor,
        int(spec.priority),
        outcome.attempts,
        outcome.queued_s,
        outcome.ran_s,
        outcome.worker,
        outcome.key,
        spec.processor,
        spec.parent,
        outcome.cpu_s,
        outcome.peak_memory_mb,
        outcome.restored or None,
    )
    error = outcome.error
    if outcome.state is TaskState.CANCELLED:
        return TaskCancelled(*common, "cancelled", error.message if error else None)
    return TaskFailed(
        *common,
        outcome.state.value,
        error.type if error else None,
        error.message if error else None,
        error.reason if error else None,
        (error.traceback or None) if error else None,
        error.exit_code if error else None,
        error.signal if error else None,
        (error.output_tail or None) if error else None,
    )


__all__ = [
    "TERMINAL_TYPES",
    "AnyEvent",
    "Event",
    "EventBatch",
    "Happened",
    "ProgressUpdate",
    "TaskCancelled",
    "TaskCompleted",
    "TaskFailed",
    "TaskProgress",
    "TaskRetried",
    "TaskRetrying",
    "TaskStarted",
    "TaskSubmitted",
    "TasksProgressed",
    "TasksSettled",
    "TasksStarted",
    "TasksSubmitted",
]
