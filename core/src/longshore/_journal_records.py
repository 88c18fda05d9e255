"""What a journal is given, and what it gives back: runs, tasks, attempts, outcomes, and named states.

A task keeps its id over every restart of its run. Its *identity* says which work it is (function, version, content of
the input), so that a run that goes on finds it again whatever came before it. Everything here but the values of
outcomes is JSON-safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from longshore.task import ErrorRecord, Outcome, TaskState


class RunOpening(Struct, frozen=True, kw_only=True):
    """What a journal is opened with: a run that begins, or one that goes on."""

    run_id: str
    at: float
    """Seconds since 1970, as all times of this module."""
    resume: bool = False
    """Whether the run is to be there already; else it must not be."""
    name: str = "longshore"
    host: str = ""
    pid: int = 0
    command: Sequence[str] = ()
    versions: Mapping[str, str] = {}
    """Of Python, of ours, of the journal: by name."""
    settings: Mapping[str, Any] = {}  # Any: JSON-safe values
    states: Mapping[str, Any] = {}  # Any: JSON-safe values
    """Named states that are recorded in one step with the run's beginning, each in the place of what had its name."""


class RunRecord(Struct, frozen=True, kw_only=True):
    """A run, as it is recorded."""

    run_id: str
    started: float
    name: str = "longshore"
    state: str = "running"
    """"running" (as far as is recorded: its controller may be dead), "completed", "stopped" or "failed"."""
    ended: float | None = None
    generation: int = 1
    """How often it was begun: 1, and one more with each time it went on."""
    held: bool = False
    """Whether a controller holds it now, as far as can be told from here."""
    host: str = ""
    pid: int = 0
    """Of the controller that began it last."""
    command: Sequence[str] = ()
    versions: Mapping[str, str] = {}
    settings: Mapping[str, Any] = {}  # Any: JSON-safe values
    counts: Mapping[str, int] = {}
    """Recorded tasks by their state; "unfinished" are those without an outcome."""


class TaskKind(Struct, frozen=True, kw_only=True):
    """What the tasks of one call have in common; equal ones are one kind."""

    name: str
    function: str = ""
    """Qualified name of what is called."""
    version: str | None = None
    """The user's own tag; what has another one is other work."""
    code: str | None = None
    """Digest of the function's code; None where it can't be told. It counts only where there is no version."""
    executor: str = ""
    processor: str | None = None
    parent: str | None = None
    """The task that submitted these."""
    group: str | None = None
    """The run of a pipeline that they belong to; `name` is the stage then."""
    at_most_once: bool = False
    """Whether an attempt that began and did not end is not to be tried again."""


class Accepted(Struct, frozen=True, kw_only=True):
    """A task that has not ended yet."""

    task_id: str
    kind: TaskKind
    identity: str | None = None
    key: str | None = None
    index: int = 0
    retry_of: str | None = None
    """The recorded task that this one does again."""


class Started(Struct, frozen=True):
    """An attempt that began; of a task the numbers rise, over restarts too."""

    task_id: str
    number: int
    at: float


class Tried(Struct, frozen=True, kw_only=True):
    """An attempt that ended, and will be followed by another."""

    task_id: str
    number: int
    state: TaskState
    error_type: str = ""
    reason: str | None = None
    worker: str | None = None
    ran_s: float = 0.0
    started: float | None = None
    """When it began, for where that was not recorded before; None: nobody knows."""


class Settled(Struct, frozen=True):
    """How tasks of one kind ended, with their identities in the same order; they need not have been told of before."""

    kind: TaskKind
    outcomes: Sequence[Outcome]
    identities: Sequence[str | None]


class CommitBatch(Struct, frozen=True, kw_only=True):
    """What is to be made to last together, all or none, before anybody is told of the outcomes in it.

    The parts belong to be written in the order of the fields. A task that has an outcome keeps it: a second one, one of
    an older attempt, and anything else that comes for it later, changes nothing.
    """

    run_id: str
    at: float = 0.0
    accepted: Sequence[Accepted] = ()
    started: Sequence[Started] = ()
    tried: Sequence[Tried] = ()
    settled: Sequence[Settled] = ()
    states: Mapping[str, Any] = {}  # Any: JSON-safe values
    """States by name, such as "learnt": each in the place of what had its name."""
    ended: str | None = None
    """The run's end: "completed" or "stopped"; nothing comes after."""

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes in it, in order."""
        return [outcome for group in self.settled for outcome in group.outcomes]


class JournalQuery(Struct, frozen=True, kw_only=True):
    """Which recorded tasks are wanted; None means all."""

    run_id: str | None = None
    task_ids: Sequence[str] | None = None
    states: Sequence[TaskState] | None = None
    since: float | None = None
    """Only tasks whose outcome was recorded then or later, or that have none; in seconds since 1970."""


class TaskEntry(Struct, frozen=True, kw_only=True):
    """A recorded task, less its value: what a run that goes on has to know of it."""

    task_id: str
    kind: TaskKind
    identity: str | None = None
    key: str | None = None
    index: int = 0
    state: TaskState | None = None
    """How it ended; None while it has no outcome."""
    kept: bool = False
    """Whether its outcome can be given again; a result that could not be stored can't."""
    attempts: int = 0
    """The highest number of an attempt that is recorded; 0: none has begun."""
    lost: int = 0
    """How many of them have no recorded end."""
    deaths: Sequence[str] = ()
    """How workers died under it: the reasons, such as "signal 9"."""
    retry_of: str | None = None
    stale: bool = False
    """Whether what it worked on is another by now, so that it runs again; said by whoever knows, not by journals."""


class AttemptTrace(Struct, frozen=True, kw_only=True):
    """A recorded attempt; the last one of a task that ended has no end of its own: it ended as the task did."""

    number: int
    started: float | None = None
    """Seconds since 1970; None where its beginning was not recorded, as it isn't of most short ones."""
    state: TaskState | None = None
    """How it ended, where another one followed it."""
    error_type: str = ""
    reason: str | None = None
    worker: str | None = None
    ran_s: float | None = None


class TaskTrace(Struct, frozen=True, kw_only=True):
    """All that is recorded of a task but its value: what happened to it, when, and what it took."""

    task_id: str
    kind: TaskKind
    identity: str | None = None
    key: str | None = None
    index: int = 0
    retry_of: str | None = None
    redone: bool = False
    """Whether another task does it again."""
    state: TaskState | None = None
    """How it ended; None while it has no outcome, and then so are the others of an outcome."""
    error: ErrorRecord | None = None
    attempts: int = 0
    """The highest number of an attempt that is recorded; 0: none has begun."""
    queued_s: float | None = None
    ran_s: float | None = None
    """Of its last attempt, as the other measures."""
    cpu_s: float | None = None
    peak_memory_mb: float | None = None
    worker: str | None = None
    ended_at: float | None = None
    """When its outcome was committed, in seconds since 1970."""
    tries: Sequence[AttemptTrace] = ()
    """By number, those of which anything is recorded: of most tasks that ended soon, none."""


class Recalled(Struct, frozen=True, kw_only=True):
    """What is recorded of a run that goes on."""

    tasks: Iterable[TaskEntry] = ()
    """In the order in which they were recorded; iterated once, before anything is committed."""
    states: Mapping[str, Any] = {}  # Any: JSON-safe values
    notes: Sequence[str] = ()
    """What a person should be told, such as that the file system is one that needs care."""
