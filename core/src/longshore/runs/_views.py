"""What views of a run are handed: rows, pages and sums, as records that become JSON as they are.

Times are seconds since 1970, durations seconds, memory MB (10**6 bytes). Texts are the tasks' own, shortened but not
escaped: that is for whoever shows them, and depends on where.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

STATES = ("pending", "processing", "retrying", "completed", "failed", "timed_out", "cancelled")
"""The states of a row: those of tasks that stand alone, and "retrying" for one that waits for its next attempt."""
SORTS = (
    "id",
    "name",
    "state",
    "key",
    "executor",
    "worker",
    "submitted",
    "started",
    "ended",
    "wait_s",
    "run_s",
    "cpu_s",
)
"""By what a page of tasks may be sorted, beside "peak_memory_mb" and "attempt"."""


class TaskRow(Struct, frozen=True, kw_only=True):
    """One task, in a table of them."""

    id: int
    """Its place in the order in which tasks became known; what a page goes on from."""
    task_id: str
    name: str
    executor: str
    state: str
    key: str | None = None
    priority: int = 2
    attempt: int = 0
    """The newest; 0 before any has begun."""
    submitted: float | None = None
    started: float | None = None
    """Of the newest attempt."""
    ended: float | None = None
    wait_s: float | None = None
    """What the newest attempt waited."""
    run_s: float | None = None
    """What the newest attempt ran; None until it has ended."""
    cpu_s: float | None = None
    peak_memory_mb: float | None = None
    worker: str | None = None
    progress: float | None = None
    """From 0 to 1; None where the task says nothing of it."""
    note: str = ""
    """What the task says of itself, or how its end is told."""
    error: str | None = None
    """Qualified name of the exception's class."""
    reason: str | None = None
    fingerprint: str | None = None


class AttemptRow(Struct, frozen=True, kw_only=True):
    """An attempt that was followed by another."""

    number: int
    state: str
    started: float | None = None
    ended: float | None = None
    worker: str | None = None
    error: str | None = None
    message: str | None = None


class TaskDetail(Struct, frozen=True, kw_only=True):
    """One task with all that is known of it."""

    task: TaskRow
    attempts: Sequence[AttemptRow] = ()
    """Earlier attempts; the newest is the task itself."""
    processor: str | None = None
    parent_id: str | None = None
    retry_of: str | None = None
    group: str | None = None
    message: str | None = None
    traceback: str | None = None
    output_tail: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    related: Sequence[TaskRow] = ()
    """The other stages of its document, the tasks it submitted, and those that tried it again; 200 at most."""


class TaskFilter(Struct, frozen=True, kw_only=True):
    """Which tasks are wanted; None means all."""

    states: Sequence[str] | None = None
    name: str | None = None
    executor: str | None = None
    worker: str | None = None
    fingerprint: str | None = None
    text: str | None = None
    """Part of the key, the id or the error's message; capitals do not matter in ASCII."""


class TaskPage(Struct, frozen=True, kw_only=True):
    """Some rows, and where to go on."""

    rows: Sequence[TaskRow]
    total: int
    """How many tasks the filter lets through in all."""
    next: str | None = None
    """What to give as `after` for the next page; None on the last."""


class StageView(Struct, frozen=True, kw_only=True):
    """The tasks of one name on one executor, in sum."""

    name: str
    executor: str
    pending: int = 0
    processing: int = 0
    retrying: int = 0
    completed: int = 0
    failed: int = 0
    """Without those that timed out."""
    timed_out: int = 0
    cancelled: int = 0
    retried: int = 0
    """Attempts that were followed by another."""
    wait_s: float = 0.0
    """Waited in all, by the newest attempts of tasks that have ended; beside it what they ran, and took of the CPU."""
    run_s: float = 0.0
    cpu_s: float = 0.0
    mean_s: float | None = None
    """Of completed tasks, as the three quantiles."""
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    first_started: float | None = None
    last_ended: float | None = None

    @property
    def total(self) -> int:
        """How many tasks there are."""
        return self.left + self.completed + self.failed + self.timed_out + self.cancelled

    @property
    def left(self) -> int:
        """How many have not ended."""
        return self.pending + self.processing + self.retrying


class Throughput(Struct, frozen=True, kw_only=True):
    """Tasks that ended, by time and stage."""

    start: float
    step_s: float
    names: Sequence[str]
    counts: Sequence[Sequence[int]]
    """For each name one number a step."""
    failures: Sequence[int]
    """Of all names together: failed and timed out, one number a step."""


class FailureView(Struct, frozen=True, kw_only=True):
    """Failures that are the same but for their input."""

    fingerprint: str
    type: str
    message: str
    """Of the newest one, as are the texts below."""
    reason: str | None
    count: int
    first: float | None
    last: float | None
    names: Sequence[str] = ()
    keys: Sequence[str] = ()
    """What the first few worked on: their keys, or ids."""
    state: str = "failed"
    died: bool = False
    """Whether a worker died of it: by a signal, its own exit, or for memory."""
    traceback: str | None = None
    output_tail: str | None = None
    example: str | None = None
    """The id of the newest such task."""


class WorkerView(Struct, frozen=True, kw_only=True):
    """What one worker did."""

    worker: str
    executor: str
    tasks: int
    failed: int
    busy_s: float
    cpu_s: float
    peak_memory_mb: float | None
    first: float | None
    """When its first task began."""
    last: float | None
    """When its last task ended."""
    current: str | None = None
    """The task it runs now, where that is known: workers are named when a task ends."""


class Bar(Struct, frozen=True, array_like=True):
    """One attempt on a lane; as JSON an array in this order."""

    lane: int
    start: float
    end: float
    state: str
    name: int
    """The place of its name in `Timeline.names`."""
    row: int
    """The `id` of the task's row."""
    wait_s: float | None


class Bin(Struct, frozen=True, array_like=True):
    """All that happened on a lane within one step of time; as JSON an array in this order."""

    lane: int
    start: float
    busy: float
    """How much of the step was worked in, from 0 to 1 for each that works at once."""
    tasks: int
    """How many ended within it."""
    failed: int
    name: int
    """The name of the longest one in it."""
    longest_s: float


class Timeline(Struct, frozen=True, kw_only=True):
    """Attempts over time: each one, or, where they are too many to draw, sums by step."""

    start: float
    end: float
    lanes: Sequence[str]
    names: Sequence[str]
    bars: Sequence[Bar] = ()
    bins: Sequence[Bin] = ()
    step_s: float | None = None
    """The width of a bin; None where the attempts themselves are here."""
    total: int = 0
    """How many attempts there are within these bounds."""
    lanes_left_out: int = 0
    """Lanes that are too many to draw; what happened on them is not here."""


By = Literal["workers", "stages"]
