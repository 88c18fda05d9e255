"""The records of a run's history: what was measured over its time, when it was held back, and what of note happened.

Used by `records`, from where everybody has them. `RunHistory.to_state` is how a journal has it, as the state "history".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from msgspec import Struct, ValidationError, convert

T = TypeVar("T", bound=Struct)

HISTORY_STATE = "history"
"""The name of the state by which a journal has the history of a run."""
_DIGITS = 3  # milliseconds of a time, thousandths of anything else


class ResourceUse(Struct, frozen=True):
    """How far one resource of the machine was used."""

    percent: float | None
    """Of what there is; of I/O, whose bound nobody knows, of its limit. None without either."""
    limit: float | None = None
    """The limit above which nothing new starts, on the same scale; None for none."""
    used: float = 0.0
    """The same in `unit`."""
    unit: str = "%"
    """"%", "MB/s", or "MB" for the memory of GPUs."""


class WorkerCount(Struct, frozen=True):
    """The workers of one executor, and how many of them had a task."""

    total: int
    active: int


class MetricsPoint(Struct, frozen=True, kw_only=True):
    """A run at one moment, in numbers; counts are over the whole run so far, as in `TaskCounts`."""

    at: datetime
    """Timezone-aware."""
    submitted: int = 0
    queued: int = 0
    running: int = 0
    retrying: int = 0
    completed: int = 0
    failed: int = 0
    """Timed out ones included."""
    timed_out: int = 0
    cancelled: int = 0
    retried: int = 0
    rate_per_s: float = 0.0
    """Ended tasks per second over the last ten seconds."""
    mean_run_s: float = 0.0
    mean_wait_s: float = 0.0
    usage: Mapping[str, ResourceUse] = {}
    """By the names of the limits: cpu, memory, disk_io, network_io, gpu, gpu_memory; only what is measured."""
    workers: Mapping[str, WorkerCount] = {}
    """By executor."""
    queue: Mapping[str, Mapping[str, int]] = {}
    """How many waited, by executor and the name of the priority; where none did nothing is there."""


class ThrottleBand(Struct, frozen=True, kw_only=True):
    """A time in which tasks waited though a worker was free, or would have been."""

    reason: str
    """In plain words, with the figures of its beginning."""
    began: datetime
    ended: datetime | None = None
    """None while it lasts."""


class Happening(Struct, frozen=True, kw_only=True):
    """Something of note that happened in a run: one moment, or a time that began and ended."""

    type: str
    """The type of the event that told of it: worker_error, worker_blocked, resource_warning, workers_scaled, alert."""
    subject: str = ""
    """The worker, resource, executor or alert that it is about."""
    reason: str = ""
    """In plain words, at most 500 characters."""
    began: datetime
    ended: datetime | None = None
    """The same as `began` for a moment; None while it lasts."""


class RunHistory(Struct, frozen=True, kw_only=True):
    """What is remembered of a run over its time, each list oldest first and bounded: the oldest go first.

    Of a run that went on after a stop it spans all of its parts, with nothing between them.
    """

    fine_s: float = 0.0
    """Seconds from one of the fine points to the next."""
    minute_s: float = 0.0
    """The same of the others: a minute, unless settings say otherwise."""
    points_fine: Sequence[MetricsPoint] = ()
    """Of the last minutes only."""
    points_minute: Sequence[MetricsPoint] = ()
    """Of a day."""
    bands: Sequence[ThrottleBand] = ()
    happenings: Sequence[Happening] = ()

    def to_state(self) -> dict[str, Any]:  # Any: JSON-safe values
        """Return it in JSON-safe values, points as rows under one list of their fields; about 150 bytes a point."""
        rows = (self.points_fine, self.points_minute)
        return state_of(self, *([row_of(point) for point in points] for points in rows))

    @classmethod
    def from_state(cls, state: object) -> Self:
        """Return what a journal has as the state "history"; an empty one for what is none. Fields unknown are left out.

        Never raises: what of it can't be read is left out.
        """
        if not isinstance(state, Mapping):
            return cls()
        fields = state.get("fields")
        return cls(
            fine_s=_number(state.get("fine_s")),
            minute_s=_number(state.get("minute_s")),
            points_fine=_points(fields, state.get("fine")),
            points_minute=_points(fields, state.get("minute")),
            bands=_spans(state.get("bands"), ThrottleBand),
            happenings=_spans(state.get("happenings"), Happening),
        )


_FIELDS = MetricsPoint.__struct_fields__


def row_of(point: MetricsPoint) -> list[Any]:  # Any: JSON-safe values
    """Return a point as a row of JSON-safe values, in the order of its fields; times are seconds since 1970."""
    row: list[Any] = [_rounded(getattr(point, name)) for name in _FIELDS]  # Any: as above
    at, usage, workers = _FIELDS.index("at"), _FIELDS.index("usage"), _FIELDS.index("workers")
    row[at] = round(point.at.timestamp(), _DIGITS)
    row[usage] = {
        name: [_rounded(use.percent), _rounded(use.limit), _rounded(use.used), use.unit]
        for name, use in point.usage.items()
    }
    row[workers] = {name: [count.total, count.active] for name, count in point.workers.items()}
    return row


def state_of(
    history: RunHistory,
    fine: Sequence[list[Any]],  # Any: JSON-safe values
    minute: Sequence[list[Any]],  # Any: JSON-safe values
) -> dict[str, Any]:  # Any: JSON-safe values
    """Return the state of a history whose points are rows already."""
    return {
        "fine_s": history.fine_s,
        "minute_s": history.minute_s,
        "fields": list(_FIELDS),
        "fine": fine,
        "minute": minute,
        "bands": [_span(band) for band in history.bands],
        "happenings": [_span(happening) for happening in history.happenings],
    }


def _rounded(value: Any) -> Any:  # Any: a field of a point
    return round(value, _DIGITS) if isinstance(value, float) else value


def _span(one: ThrottleBand | Happening) -> dict[str, Any]:  # Any: JSON-safe values
    fields = {name: getattr(one, name) for name in one.__struct_fields__}
    ended = one.ended
    return {
        **fields,
        "began": round(one.began.timestamp(), _DIGITS),
        "ended": None if ended is None else round(ended.timestamp(), _DIGITS),
    }


def _points(fields: object, rows: object) -> tuple[MetricsPoint, ...]:
    """Return the points that rows under these fields are; what is none is left out."""
    if not isinstance(fields, Sequence) or not isinstance(rows, Sequence):
        return ()
    lists = [row for row in rows if isinstance(row, Sequence) and not isinstance(row, str)]
    read = [_read(dict(zip(map(str, fields), row, strict=False)), MetricsPoint) for row in lists]
    return tuple(point for point in read if point is not None)


def _nested(named: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON-safe values
    """Return what of a row stands for records, as mappings of their fields."""
    nested: dict[str, Any] = {}  # Any: as above
    for name, kind in (("usage", ResourceUse), ("workers", WorkerCount)):
        given = named.get(name)
        if isinstance(given, Mapping):
            fields = kind.__struct_fields__
            nested[name] = {key: dict(zip(fields, values, strict=False)) for key, values in given.items()}
    return nested


def _spans(given: object, kind: type[T]) -> tuple[T, ...]:
    """Return the spans of time there are in it."""
    rows = given if isinstance(given, Sequence) else ()
    read = [_read(row, kind) for row in rows if isinstance(row, Mapping)]
    return tuple(one for one in read if one is not None)


def _read(fields: Mapping[str, Any], kind: type[T]) -> T | None:  # Any: JSON-safe values
    """Return a record from its fields; None where they are not fit for it."""
    try:
        times = {name: _time(fields[name]) for name in ("at", "began", "ended") if fields.get(name) is not None}
        return convert({**fields, **_nested(fields), **times}, kind)
    except (ValidationError, TypeError, ValueError, OverflowError):
        return None


def _number(given: object) -> float:
    return float(given) if isinstance(given, int | float) else 0.0


def _time(seconds: Any) -> datetime:  # Any: whatever stands there
    return datetime.fromtimestamp(seconds, UTC)
