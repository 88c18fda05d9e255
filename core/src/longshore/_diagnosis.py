"""The record of a diagnosis: all that is known of a pool at one moment, for whoever looks at one that hangs.

JSON-safe by msgspec. It names tasks, functions and files, and has no arguments, results, environment or secrets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from longshore.records import LeftBehind, RunningTask, SinkHealth, StackTrace, TaskCounts, WorkerStats


class QueueDepth(Struct, frozen=True, kw_only=True):
    """How many tasks wait for one executor with one priority."""

    executor: str
    priority: str
    tasks: int


class WaitingTask(Struct, frozen=True, kw_only=True):
    """The task that has waited longest, and why it does."""

    task_id: str
    name: str
    executor: str
    priority: str
    waited_s: float
    why: str
    """In the words of `pool.explain`."""


class Reservation(Struct, frozen=True, kw_only=True):
    """One resource: what is lent of it, against what is measured and may be lent."""

    resource: str
    """In the units of `Resources`: cpu in cores, memory in MB."""
    lent: float
    """What running tasks have reserved together."""
    taken: float
    """What counts as taken: measured use, and what running tasks may still take of theirs."""
    limit: float | None = None
    """How much may be lent and in use together, less what is kept in reserve; None: without bound."""


class JournalState(Struct, frozen=True, kw_only=True):
    """How the journal stands."""

    state: str
    """"none", "open", or "closed": a journal that failed fails its pool, and the notes say so."""
    uncommitted: int = 0
    """How many outcomes wait to be committed; nobody is told of them before."""


class Diagnosis(Struct, frozen=True, kw_only=True):
    """All that is known of a pool at one moment; bounded, however much waits or runs."""

    run_id: str
    name: str
    at: datetime
    pid: int
    host: str
    uptime_s: float
    loop: str
    """"answers", or in words that it does not: then what the pool decides was read beside it, and may not add up."""
    notes: Sequence[str] = ()
    """What went wrong with the pool, and what could not be found out in time."""
    counts: TaskCounts = TaskCounts()
    concurrency: int = 0
    """How many tasks may run at once, with the machine as it was measured."""
    held: str | None = None
    """Why nothing more is started; None when it is, or nothing waits."""
    queues: Sequence[QueueDepth] = ()
    running: Sequence[RunningTask] = ()
    """Those that have run longest, longest first."""
    reserved: Mapping[str, Mapping[str, float]] = {}
    """What each of these has reserved, by task id."""
    waiting: WaitingTask | None = None
    reservations: Sequence[Reservation] = ()
    limits: Mapping[str, Any] = {}  # Any: JSON-safe values
    usage: Mapping[str, float] = {}
    """In the units of the limits."""
    workers: Sequence[WorkerStats] = ()
    """The first 200; `more_workers` says how many there are beside them."""
    more_workers: int = 0
    left_behind: Sequence[LeftBehind] = ()
    complaints: Sequence[str] = ()
    """What executors say is wrong with them."""
    sinks: Sequence[SinkHealth] = ()
    journal: JournalState = JournalState(state="none")
    settings: Mapping[str, Any] = {}  # Any: JSON-safe values
    """Those that are not the defaults; what may be a secret is left out."""
    versions: Mapping[str, str] = {}
    stacks: Sequence[StackTrace] = ()
    """Of the controller's threads, of asyncio tasks, of worker processes, in this order."""
