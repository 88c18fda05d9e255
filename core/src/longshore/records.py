"""The other records that travel: what a probe reads, what a sink and a journal are told, what a run looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct, to_builtins

from longshore._health_records import LIVE_CHECKS, READY_CHECKS, Alert, Health
from longshore._history_records import (
    HISTORY_STATE,
    Happening,
    MetricsPoint,
    ResourceUse,
    RunHistory,
    ThrottleBand,
    WorkerCount,
)
from longshore._journal_records import (
    Accepted,
    AttemptTrace,
    CommitBatch,
    JournalQuery,
    Recalled,
    RunOpening,
    RunRecord,
    Settled,
    Started,
    TaskEntry,
    TaskKind,
    TaskTrace,
    Tried,
)
from longshore._readings import Bound, Device, Load, Reading, ReadRequest, Usage, WorkerUsage
from longshore._setup_records import PluginEntry, RunSetup, SettingEntry
from longshore._spans import SpanPlace, SpanRules, TaskSpans
from longshore._workers import LeftBehind, StackTrace, WorkerStats, WorkerStatus, WorkerType
from longshore.task import ErrorRecord, Priority, Resources, TaskState


class ResourceSnapshot(Struct, frozen=True, kw_only=True):
    """The machine and the pools that measure it, at one moment; the specification's ten fields.

    Rates are MB/s over the time between two readings, MB is 10**6 bytes. What no probe reads is 0.0.
    """

    timestamp: datetime
    """Timezone-aware."""
    cpu_percent: float = 0.0
    """Of the cores there are, or that a control group allows."""
    memory_percent: float = 0.0
    """Of the machine's memory, or of the tightest control group."""
    memory_mb: float = 0.0
    """What this process and its workers hold; all that is used where that is not known."""
    disk_io_read_mb: float = 0.0
    disk_io_write_mb: float = 0.0
    network_io_sent_mb: float = 0.0
    network_io_recv_mb: float = 0.0
    active_tasks: int = 0
    queued_tasks: int = 0

    def to_dict(self) -> dict[str, Any]:  # Any: JSON-safe values
        """Return the fields as a plain dict, the time as ISO text."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return {**fields, "timestamp": self.timestamp.isoformat()}


class TaskCounts(Struct, frozen=True, kw_only=True):
    """Where tasks are: submitted = queued + running + retrying + completed + failed + cancelled."""

    submitted: int = 0
    queued: int = 0
    running: int = 0
    retrying: int = 0
    """Those with a failed attempt that wait for their next one, until it starts."""
    completed: int = 0
    failed: int = 0
    """Timed out ones included."""
    timed_out: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        """How many tasks have reached an end."""
        return self.completed + self.failed + self.cancelled


class StageSnapshot(TaskCounts, frozen=True, kw_only=True):
    """The tasks of one name (a function, a processor or a pipeline stage)."""

    name: str
    executor: str
    mean_s: float | None = None
    """Mean run time of completed tasks."""
    rate_per_s: float = 0.0
    """Ended tasks per second over the last seconds."""
    retries: Mapping[str, int] = {}
    """How many attempts were followed by another, by the type of their error; past 100 types by "(other)"."""


class RunningTask(Struct, frozen=True, kw_only=True):
    """One task that is running now."""

    task_id: str
    name: str
    executor: str
    running_s: float
    attempt: int = 1
    label: str = ""
    """What it works on: its key where it has one, else its id."""
    progress: float | None = None
    message: str = ""
    overdue: bool = False
    """Whether it was told of as past its soft timeout."""


class FailureGroup(Struct, frozen=True, kw_only=True):
    """Failures that are the same but for their input: see `ErrorRecord.fingerprint`."""

    type: str
    message: str
    """Of the first one seen."""
    reason: str | None
    count: int
    labels: Sequence[str] = ()
    """What the first few worked on."""
    fingerprint: str = ""
    """The id that they have in common, in every run; empty for those that are too many kinds to tell apart."""


class SinkHealth(Struct, frozen=True, kw_only=True):
    """How telling one sink went."""

    name: str
    delivered: int = 0
    dropped: int = 0
    waiting: int = 0
    """Of a sink: the events of a call that it has not come back from. Of an event handler: how many it is still to be
    told of; handlers that share a thread share them."""
    errors: int = 0
    failing: int = 0
    """How many calls in a row have raised, the last one included."""
    last_error: str | None = None
    state: str = "ok"
    """"ok", "slow" (events were dropped, or waited when the pool stopped), "failing" (it raised), "quarantined" or
    "stuck" (a sink that did not close in time; a handler that is in one call for long while more waits)."""


class RunSnapshot(TaskCounts, frozen=True, kw_only=True):
    """A run at one moment: all a live view needs. Folding the run's events again gives the same counts."""

    run_id: str
    name: str
    started: datetime
    elapsed_s: float
    total: int | None = None
    """How many tasks there will be in all, where that is known."""
    retried: int = 0
    overdue: int = 0
    """How many of those that run are past their soft timeout."""
    mean_wait_s: float = 0.0
    mean_run_s: float = 0.0
    rate_per_s: float = 0.0
    """Ended tasks per second over the last seconds."""
    eta_low_s: float | None = None
    eta_high_s: float | None = None
    stages: Sequence[StageSnapshot] = ()
    slowest: Sequence[RunningTask] = ()
    """The longest-running tasks now, longest first."""
    failures: Sequence[FailureGroup] = ()
    """Most frequent first."""
    throttled: str | None = None
    """Why nothing more is started, in plain words; None when it is."""
    paused: bool = False
    """Whether somebody has it start nothing new."""
    usage: Mapping[str, Usage] = {}
    loads: Mapping[str, Load] = {}
    """The same beside the limits, and the pressures, as `ResourceMonitor.loads`; empty where nothing measures."""
    sinks: Sequence[SinkHealth] = ()
    alerts: Sequence[Alert] = ()
    """Those that stand, the oldest first."""


class RunSummary(Struct, frozen=True, kw_only=True):
    """A run that is over."""

    snapshot: RunSnapshot
    state: str
    """"completed", "stopped" (before all was done) or "failed" (the pool itself, or an exception left its block;
    `error` says why)."""
    error: str | None = None
    notes: Sequence[str] = ()
    """Lines a person should see: quarantined sinks, abandoned threads, discarded late results."""
    late: Sequence[str] = ()
    """Those of them that came up while sinks were closed, and which so no sink was told."""


class RunControl(Protocol):
    """What a sink may do to a run, where settings allow it; callable from any thread."""

    def cancel(self, task_id: str) -> None:
        """Cancel one task."""

    def pause(self) -> None:
        """Start nothing new until `unpause`."""

    def unpause(self) -> None:
        """Start work again."""

    def resize(self, executor: str, workers: int) -> None:
        """Change the number of workers of an executor."""


def _not_looked_at() -> Health:
    return Health(healthy=True)


def _not_over() -> RunSummary | None:
    return None


class RunInfo(Struct, frozen=True, kw_only=True):
    """What a sink is opened with; all that can be called may be called from any thread."""

    run_id: str
    started: datetime
    snapshot: Callable[[], RunSnapshot]
    control: RunControl | None = None
    """None for a sink that does not say that it may steer the run: see `hookspecs.Sink`."""
    name: str = "longshore"
    interactive: bool = False
    """Whether a person's command line is behind it, so that a view may be drawn."""
    view: str = "auto"
    """How the command line asked for progress to be shown: auto, live, lines, json or none."""
    health: Callable[[], Health] = _not_looked_at
    """How the pool is, as `WorkerPool.health`, but without an event that tells of it: it may be asked often. It waits a
    second at most. Of a run that no pool is behind, such as a recorded one, nothing is looked at."""
    history: Callable[[], RunHistory] = RunHistory
    """What is remembered of the run so far; empty where nobody does."""
    stats: Callable[[], PoolStats] = lambda: PoolStats()
    """The pool's statistics, as `WorkerPool.get_stats`; all nothing where no pool is behind the run."""
    workers: Callable[[], Sequence[WorkerStats]] = list
    """What each worker is doing, as `WorkerPool.get_worker_stats`."""
    spans: TaskSpans | None = None
    """Where the spans of its tasks are; None unless a sink makes them."""
    setup: Callable[[], RunSetup] = RunSetup
    """What the run is done with: takes a while, and changes little."""
    summary: Callable[[], RunSummary | None] = _not_over
    """How a recorded run ended, where it has; None while a run goes on, whose end is told to `Sink.close`."""


class PoolInfo(Struct, frozen=True, kw_only=True):
    """What hooks are told of a pool that has started."""

    run_id: str
    executors: Mapping[str, int]
    """Workers by executor."""
    settings: Mapping[str, Any] = {}  # Any: JSON-safe values


class WorkerScale(Struct, frozen=True, kw_only=True):
    """How many workers an executor has that grows and shrinks with its load; see `WorkerConfig.scaling`."""

    workers: int
    min_workers: int
    max_workers: int
    grown: int = 0
    """How many workers it was given since the pool began."""
    shrunk: int = 0
    """How many were taken from it."""
    last: str | None = None
    """Why it last changed; None if it never did."""


class PoolStats(Struct, frozen=True, kw_only=True):
    """Statistics for the entire pool: the specification's nine fields, and ours."""

    total_workers: int = 0  # those that have stopped left out
    active_workers: int = 0  # those that have a task
    idle_workers: int = 0
    queued_tasks: int = 0
    completed_tasks: int = 0
    failed_tasks: int = 0
    """Timed out ones included."""
    average_wait_time: float = 0.0
    average_processing_time: float = 0.0
    """Over completed tasks only."""
    resource_utilization: Mapping[str, float] = {}
    submitted_tasks: int = 0
    running_tasks: int = 0
    retrying_tasks: int = 0
    cancelled_tasks: int = 0
    timed_out_tasks: int = 0
    left_behind: int = 0
    """What goes on in workers though its task has ended: see `WorkerPool.left_behind`."""
    uptime_s: float = 0.0
    throttled_s: Mapping[str, float] = {}
    """For how many seconds tasks waited while the machine was short, by what it was short of; to the last reading."""
    scaling: Mapping[str, WorkerScale] = {}
    """Executors that grow and shrink, by name."""
    queue: Mapping[str, Mapping[str, int]] = {}
    """How many tasks wait, by executor and the name of the priority; where none does nothing is there."""

    def to_dict(self) -> dict[str, Any]:  # Any: JSON-safe values
        """Return the fields as a plain dict."""
        return {**{name: getattr(self, name) for name in self.__struct_fields__}, "scaling": to_builtins(self.scaling)}


class TaskRecord(Struct, frozen=True, kw_only=True, eq=False):
    """What is known of one task that `submit_task` was given, as it was when asked for.

    Stamps are timezone-aware and all follow from `submitted_at` by the monotonic clock, so none is before another.
    """

    task_id: str
    processor_name: str
    context: Any  # Any: the user's own, usually a ProcessorContext
    processor_func: Callable[..., Any]
    priority: Priority
    timeout: float | None
    """Seconds one attempt may run, the default included."""
    executor: str
    state: TaskState
    submitted_at: datetime
    started_at: datetime | None = None
    """When its first attempt began; None before, and if none ever did."""
    completed_at: datetime | None = None
    """When it ended, however it did."""
    attempts: int = 0
    """How many have begun."""
    result: Any = None  # Any: the user's own
    error: ErrorRecord | None = None
    worker_id: str | None = None
    """The worker that runs it, or ran its last attempt."""
    wait_time: float | None = None
    """Seconds from being submitted to the start of the first attempt; None before that."""
    duration_s: float | None = None
    """Seconds the last attempt ran; None before the end."""
    cpu_s: float | None = None
    peak_memory_mb: float | None = None
    resources: Resources | None = None
    key: str | None = None
    retry_of: str | None = None
    """The task that this one tries again, by `retry_task`."""

    def error_report(self) -> dict[str, Any] | None:  # Any: JSON-safe values
        """Return all that is known of a failure in JSON-safe values; None while there is none."""
        error = self.error
        if error is None:
            return None
        return {
            "task_id": self.task_id,
            "processor": self.processor_name,
            "state": self.state.value,
            **{name: getattr(error, name) for name in error.__struct_fields__},
            "attempts": self.attempts,
            "executor": self.executor,
            "wait_s": self.wait_time,
            "duration_s": self.duration_s,
            "cpu_s": self.cpu_s,
            "resources": self.resources.amounts() if self.resources is not None else {},
        }


__all__ = [
    "HISTORY_STATE",
    "LIVE_CHECKS",
    "READY_CHECKS",
    "Accepted",
    "Alert",
    "AttemptTrace",
    "Bound",
    "CommitBatch",
    "Device",
    "FailureGroup",
    "Happening",
    "Health",
    "JournalQuery",
    "LeftBehind",
    "Load",
    "MetricsPoint",
    "PluginEntry",
    "PoolInfo",
    "PoolStats",
    "ReadRequest",
    "Reading",
    "Recalled",
    "ResourceSnapshot",
    "ResourceUse",
    "RunControl",
    "RunHistory",
    "RunInfo",
    "RunOpening",
    "RunRecord",
    "RunSetup",
    "RunSnapshot",
    "RunSummary",
    "RunningTask",
    "SettingEntry",
    "Settled",
    "SinkHealth",
    "SpanPlace",
    "SpanRules",
    "StackTrace",
    "StageSnapshot",
    "Started",
    "TaskCounts",
    "TaskEntry",
    "TaskKind",
    "TaskRecord",
    "TaskSpans",
    "TaskTrace",
    "ThrottleBand",
    "Tried",
    "Usage",
    "WorkerCount",
    "WorkerScale",
    "WorkerStats",
    "WorkerStatus",
    "WorkerType",
    "WorkerUsage",
]
