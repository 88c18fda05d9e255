"""The catalogue of events: for each type the fields of its `data`, as records, and their JSON Schema.

For whoever reads events from outside: a field that is None is left out by task events and null in the others; new
fields may come within a version, and none goes, or changes its meaning or type, without a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from longshore import events

EVENTS_VERSION = 1
"""Also in the data of `worker_pool_started`, so that a stored run says what its events mean."""


class _Payload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class WorkerPoolStarted(_Payload, frozen=True):
    """The pool takes work from now on; `config` is its WorkerConfig."""

    run: str
    config: dict[str, Any]  # Any: JSON-safe values
    events_version: int


class WorkerPoolStopped(_Payload, frozen=True):
    """The pool has stopped; the last event of a run."""

    run: str
    uptime_s: float


class WorkerHeartbeat(_Payload, frozen=True):
    """A worker lives, idle or at work; each `worker_heartbeat_interval`, for every worker."""

    worker_id: str
    worker_type: str
    executor: str
    status: str
    task_id: str | None


class WorkerError(_Payload, frozen=True):
    """A worker died, was killed, or was given up on; another takes its place. `killed_for` says why we killed it."""

    worker_id: str
    error: str
    task_id: str | None = None
    name: str | None = None
    pid: int | None = None
    killed_for: str | None = None
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    left_behind: int | None = None
    abandoned_threads: int | None = None


class WorkerBlocked(_Payload, frozen=True):
    """A coroutine kept the loop from turning; told as soon as it turns again. `where` is file and line."""

    worker_id: str
    task_id: str
    name: str
    blocked_s: float
    where: str
    error: str


class TaskOverdue(_Payload, frozen=True):
    """A task runs past its soft timeout, and goes on."""

    task_id: str
    worker_id: str | None = None
    name: str | None = None
    running_s: float | None = None
    attempt: int | None = None
    soft_timeout_s: float | None = None


class ResourceWarning(_Payload, frozen=True):
    """A resource crossed a level or came back below: `state` is "crossed" or "cleared", `level` "soft" or "hard".

    `message` says it in words, with units: the same that is said of tasks that wait for it.
    """

    resource: str
    usage: float
    threshold: float
    limit: float | None
    state: str
    level: str
    message: str


class WorkersScaled(_Payload, frozen=True):
    """An executor got more workers, or fewer, as its load asked for; `before` is how many it had."""

    executor: str
    workers: int
    before: int
    reason: str


class PipelineProgress(_Payload, frozen=True):
    """A document came a step further in its pipeline."""

    pipeline_id: str
    pipeline: str
    document_id: str
    state: str
    progress: float
    current_stage: str | None
    completed_stages: int
    total_stages: int


class StageCompleted(_Payload, frozen=True):
    """A stage of a document's pipeline ended, in whatever `state`, skipped included."""

    pipeline_id: str
    pipeline: str
    document_id: str
    stage: str
    state: str
    task_id: str | None
    duration_s: float | None
    error: str | None


class AlertEvent(_Payload, frozen=True):
    """Something that people should look at began or is over: `state` is "raised" or "cleared".

    `alert` is "error_rate", "resource" (`subject` says which), "throughput" or "stalled"; `value` and `threshold` are
    percent, tasks a second, or seconds without anything happening.
    """

    alert: str
    subject: str
    state: str
    message: str
    value: float
    threshold: float


class HealthCheck(_Payload, frozen=True):
    """How the pool is, as it looked at itself or was asked: what is wrong is in `reasons`."""

    healthy: bool
    reasons: list[str]


def _of_task(kind: type[Struct], name: str) -> type[Struct]:
    """Return the payload of one of our typed events: its fields less `seq` and `at`."""
    hints = get_type_hints(kind)
    own = [field for field in fields(kind) if field.name not in ("seq", "at")]
    given: list[tuple[str, Any] | tuple[str, Any, Any]] = [  # Any: types and defaults of whatever kind
        (field.name, hints[field.name])
        if field.default is NODEFAULT
        else (field.name, hints[field.name], field.default)
        for field in own
    ]
    return msgspec.defstruct(
        name, given, frozen=True, kw_only=True, forbid_unknown_fields=True, namespace={"__doc__": kind.__doc__}
    )


CATALOGUE: Mapping[str, type[Struct]] = {
    "worker_pool_started": WorkerPoolStarted,
    "worker_pool_stopped": WorkerPoolStopped,
    "worker_heartbeat": WorkerHeartbeat,
    "worker_error": WorkerError,
    "worker_blocked": WorkerBlocked,
    **{
        kind.type: _of_task(kind, kind.__name__)
        for kind in (events.TaskSubmitted, events.TaskStarted, events.TaskProgress)
    },
    "task_overdue": TaskOverdue,
    **{
        kind.type: _of_task(kind, kind.__name__)
        for kind in (events.TaskRetried, events.TaskCompleted, events.TaskFailed, events.TaskCancelled)
    },
    "resource_warning": ResourceWarning,
    "workers_scaled": WorkersScaled,
    "pipeline_progress": PipelineProgress,
    "stage_completed": StageCompleted,
    "alert": AlertEvent,
    "health_check": HealthCheck,
}
"""The type of each event we tell, and the record that its `data` fits."""


def events_schema() -> dict[str, Any]:  # Any: JSON Schema
    """Return the JSON Schema of an event as an object with `type`, `seq`, `at` and `data`; one variant a type."""
    _, parts = msgspec.json.schema_components(CATALOGUE.values(), ref_template="#/$defs/{name}")
    variants = [
        {
            "type": "object",
            "required": ["type", "seq", "at", "data"],
            "properties": {
                "type": {"const": kind},
                "seq": {"type": "integer"},
                "at": {"type": "string", "format": "date-time"},
                "data": {"$ref": f"#/$defs/{record.__name__}"},
            },
        }
        for kind, record in CATALOGUE.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of longshore",
        "version": EVENTS_VERSION,
        "oneOf": variants,
        "$defs": parts,
    }


__all__ = [
    "CATALOGUE",
    "EVENTS_VERSION",
    "AlertEvent",
    "HealthCheck",
    "PipelineProgress",
    "ResourceWarning",
    "StageCompleted",
    "TaskOverdue",
    "WorkerBlocked",
    "WorkerError",
    "WorkerHeartbeat",
    "WorkerPoolStarted",
    "WorkerPoolStopped",
    "WorkersScaled",
    "events_schema",
]
