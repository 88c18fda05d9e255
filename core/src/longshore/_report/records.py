"""A report as records, which become its JSON as they are: `report_schema()` is published, and only grows.

Times are seconds since 1970, durations seconds, memory MB (10**6 bytes), shares from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from longshore.runs import FailureView, TaskRow, Throughput, Timeline, WorkerView

REPORT_VERSION = 1
"""Within a version fields may come; none goes, or changes its meaning or type."""


class RunFacts(Struct, frozen=True, kw_only=True):
    """Which run it is."""

    run_id: str
    name: str
    state: str
    """"completed", "stopped", "failed", "interrupted", or "running" where it had not ended when this was written."""
    started: float
    ended: float | None = None
    generation: int = 1
    """How often it was begun."""
    host: str = ""
    command: Sequence[str] = ()
    error: str | None = None
    """Why it failed, where it did and that is recorded."""
    error_type: str = ""
    commanded: bool = False
    """Whether `longshore run` began it, and not a program of its own."""


class Verdict(Struct, frozen=True, kw_only=True):
    """The whole in a sentence or two."""

    text: str
    good: bool
    """Whether all went well."""
    exit_code: int | None = None
    """What `longshore run` ended with, where it was that and its tasks tell."""


class Totals(Struct, frozen=True, kw_only=True):
    """All tasks together."""

    tasks: int
    completed: int = 0
    failed: int = 0
    """Without those that timed out."""
    timed_out: int = 0
    cancelled: int = 0
    unfinished: int = 0
    retried: int = 0
    """Attempts that were followed by another."""
    failed_inputs: int = 0
    """Inputs of `longshore run` that failed, or timed out, though no task of theirs did; in none of the others."""
    left_inputs: int = 0
    """Inputs of `longshore run` that had no result as it was stopped, or failed."""
    left_out: int = 0
    """Tasks that are counted nowhere else, for they were too many to look at."""
    wall_s: float = 0.0
    """From the first task to the last end."""
    rate_per_s: float = 0.0
    """Ended tasks per second of that."""
    wait_s: float = 0.0
    run_s: float = 0.0
    cpu_s: float = 0.0


class StageUse(Struct, frozen=True, kw_only=True):
    """The tasks of one name on one executor, and where their time went."""

    name: str
    executor: str
    tasks: int
    completed: int
    failed: int
    timed_out: int
    cancelled: int
    unfinished: int
    retried: int
    wait_s: float
    """In the queue, all tasks together."""
    start_s: float | None
    """From leaving the queue to beginning in a worker: its start, its initializer, and what it was given before. None
    where that is not recorded."""
    run_s: float
    cpu_s: float
    lost_s: float
    """Run in attempts that were followed by another."""
    work_share: float
    """Its part of what all stages ran."""
    mean_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    mean_concurrency: float
    """Attempts that ran at once, over the time between its first start and its last end."""
    first_started: float | None
    last_ended: float | None


class ExecutorUse(Struct, frozen=True, kw_only=True):
    """The workers of one executor."""

    name: str
    workers: int
    """The most that lived at once, as far as workers are named by tasks."""
    busy_s: float
    busy_share: float
    """Of the workers' time between the run's beginning and end."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that decided how long the run took, with the reason."""

    kind: str
    """"longest", "workers", "throttled", "retries", "waits", "handover", "feeding" or "mixed"."""
    text: str
    share: float
    """Of the wall time; by it findings are sorted."""


class WhatIf(Struct, frozen=True, kw_only=True):
    """How long a run of the same work could take with another number of workers."""

    workers: int
    least_s: float
    most_s: float


class Forecast(Struct, frozen=True, kw_only=True):
    """What more workers could give, by the laws of work and span."""

    executor: str
    workers: int
    work_s: float
    span_s: float
    """The longest that had to be done one after the other: a task, or the stages of a document."""
    span_of: str
    text: str
    options: Sequence[WhatIf] = ()


class Throttle(Struct, frozen=True, kw_only=True):
    """How long work was held back for one reason."""

    reason: str
    seconds: float
    times: int


class Band(Struct, frozen=True, kw_only=True):
    """A time in which work was held back."""

    reason: str
    start: float
    end: float


class Retries(Struct, frozen=True, kw_only=True):
    """What attempts cost that were followed by another."""

    attempts: int
    run_s: float
    share: float
    """Of all that was run."""
    wait_s: float = 0.0
    """Between the end of an attempt and the beginning of the next, in all. Of an attempt that failed, when it left the
    queue is recorded: its way to a worker is in this. 0 for a run that was begun more than once, where it may be time
    with nobody at work."""
    longest_wait_s: float = 0.0
    """The most of it for one task, between all its attempts."""
    longest_wait_of: str | None = None
    """What that task works on: its key, else its id."""


class Line(Struct, frozen=True, kw_only=True):
    """One resource over time, against its limit."""

    resource: str
    unit: str
    at: Sequence[float]
    values: Sequence[float | None]
    peak: float
    peak_at: float
    limit: float | None = None


class Series(Struct, frozen=True, kw_only=True):
    """How many attempts ran at once, by stage; the mean of each step."""

    start: float
    step_s: float
    names: Sequence[str]
    running: Sequence[Sequence[float]]


class FailedTask(Struct, frozen=True, kw_only=True):
    """One task that failed, or an input that did though no task of its failed: that has no name, and no id but -1."""

    id: int
    task_id: str
    """Empty for an input."""
    name: str
    key: str | None
    state: str
    attempt: int
    run_s: float | None
    error: str | None
    fingerprint: str | None
    message: str


class Environment(Struct, frozen=True, kw_only=True):
    """With what the run was done."""

    versions: Mapping[str, str]
    settings: Mapping[str, Any]  # Any: JSON-safe values
    """Those that are not the defaults; what looks like a secret is masked."""
    settings_hash: str
    """SHA-256 of all settings: two runs with the same one were set the same."""


class Report(Struct, frozen=True, kw_only=True):
    """All that is said of a run."""

    run: RunFacts
    verdict: Verdict
    totals: Totals
    environment: Environment
    report_version: int = REPORT_VERSION
    written: float = 0.0
    stages: Sequence[StageUse] = ()
    executors: Sequence[ExecutorUse] = ()
    findings: Sequence[Finding] = ()
    forecast: Forecast | None = None
    throttled: Sequence[Throttle] = ()
    bands: Sequence[Band] = ()
    retries: Retries | None = None
    resources: Sequence[Line] = ()
    failures: Sequence[FailureView] = ()
    """The hundred most frequent kinds."""
    failed_tasks: Sequence[FailedTask] = ()
    """2,000 at most."""
    failed_left_out: int = 0
    slowest: Sequence[TaskRow] = ()
    """Twenty."""
    workers: Sequence[WorkerView] = ()
    """The 200 busiest."""
    workers_left_out: int = 0
    running: Series | None = None
    throughput: Throughput | None = None
    timeline: Timeline | None = None
    notes: Sequence[str] = ()


def report_schema() -> dict[str, Any]:  # Any: JSON Schema
    """Return the JSON Schema of `--json`."""
    return schema_of(Report, "A report of longshore on a run")


def schema_of(record: type[Struct], title: str) -> dict[str, Any]:  # Any: JSON Schema
    """Return the JSON Schema of a record."""
    (root,), parts = msgspec.json.schema_components((record,), ref_template="#/$defs/{name}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **root, "$defs": parts}
