"""What a pool tells a sink, made by hand: an event of every type, the lives of tasks, a run and its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT
from msgspec.structs import fields

from longshore import events
from longshore.catalogue import CATALOGUE
from longshore.events import AnyEvent, Event, TaskCancelled, TaskCompleted, TaskFailed, TaskStarted, TaskSubmitted
from longshore.records import (
    Alert,
    FailureGroup,
    RunControl,
    RunInfo,
    RunningTask,
    RunSnapshot,
    RunSummary,
    SinkHealth,
    SpanRules,
    StageSnapshot,
    TaskSpans,
    Usage,
)

AT: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
RUN_ID: Final = "01CONFORMANCE"
HOSTILE: Final = (
    "\x1b[2J\x1b]0;gone\x07",
    "two\nlines\rback\x00\x7f\x85",
    "[/x][bold] </script><b>&amp;' --",
    "\u202egnp.exe\u2066 zero\u200bwidth",
    "caf\udce9.txt",
    "岸 🚢 é",
    "long " * 20_000,
)
"""Names and messages as tasks, files and exceptions have them: some would act on a terminal, in HTML, on an encoder."""
_TRACEPARENT: Final = f"00-{1:032x}-{2:016x}-01"
_MEANT: Final[Mapping[str, Any]] = {  # Any: JSON-safe values
    "executor": "threads",
    "worker_id": "threads-1",
    "worker_type": "thread",
    "status": "idle",
    "traceparent": _TRACEPARENT,
    "priority": 2,
    "signal": 9,
    "events_version": 1,
    "task_id": "01CONFORMANCE-t1",
    "parent_id": None,
    "retry_of": None,
    "restored": None,
    "level": "soft",
    "alert": "stalled",
}
_STATES: Final = {
    "resource_warning": "crossed",
    "pipeline_progress": "processing",
    "stage_completed": "completed",
    "alert": "raised",
}
_KINDS: Final = {
    kind.type: kind
    for kind in (
        *(events.TaskSubmitted, events.TaskStarted, events.TaskProgress, events.TaskRetried),
        *(events.TaskCompleted, events.TaskFailed, events.TaskCancelled),
    )
}
_SAMPLES: Final[Mapping[type, Any]] = {  # Any: JSON-safe values
    str: "quay",
    int: 1,
    float: 0.5,
    bool: True,
    dict: {"async_workers": 4},
    list: ["a reason"],
}


def one_of_each(*, bare: bool = False) -> list[AnyEvent]:
    """Return a valid event of each type of the catalogue, in its order; `bare`: nothing in it that may be left out."""
    return [_event(kind, seq, bare=bare) for seq, kind in enumerate(CATALOGUE, 1)]


def life_of(number: int, ended: str = "completed", *, name: str = "work", text: str | None = None) -> list[AnyEvent]:
    """Return the events of a task from its submission to its end: "completed", "failed", "timed_out", "cancelled"."""
    seq, task_id = 3 * number, f"{RUN_ID}-t{number:x}"
    at = AT + timedelta(seconds=number)
    task: Any = {"task_id": task_id, "name": name, "executor": "threads", "priority": 2, "key": text}  # Any: fields
    end: Any = {**task, "seq": seq + 3, "at": at, "wait_s": 0.1, "duration_s": 0.2, "worker_id": "threads-1"}  # Any: so
    started = [TaskSubmitted(seq=seq + 1, at=at, **task), TaskStarted(seq=seq + 2, at=at, **task)]
    if ended == "completed":
        return [*started, TaskCompleted(**end)]
    if ended == "cancelled":
        return [*started, TaskCancelled(message=text, **end)]
    return [*started, TaskFailed(state=ended, error="ValueError", message=text, traceback=text, **end)]


def run_info(
    snapshot: Callable[[], RunSnapshot] | None = None,
    *,
    name: str = "conformance",
    control: RunControl | None = None,
    rules: SpanRules | None = None,
) -> RunInfo:
    """Return a run as a pool opens a sink with; `rules` are those of a sink that makes spans."""
    return RunInfo(
        run_id=RUN_ID,
        started=AT,
        snapshot=snapshot or snapshot_of,
        control=control,
        name=name,
        spans=None if rules is None else TaskSpans.begin(rules, None, bytes(range(1, 25))),
    )


def snapshot_of(name: str = "conformance", text: str = "quay") -> RunSnapshot:
    """Return a run in the middle, with something of all that there can be."""
    return RunSnapshot(
        run_id=RUN_ID,
        name=name,
        started=AT,
        elapsed_s=2.0,
        total=8,
        submitted=6,
        running=1,
        queued=1,
        completed=2,
        failed=1,
        cancelled=1,
        rate_per_s=1.5,
        eta_low_s=1.0,
        eta_high_s=3.0,
        stages=[StageSnapshot(name=name, executor="threads", submitted=6, completed=2, retries={"ValueError": 1})],
        slowest=[RunningTask(task_id="t1", name=name, executor="threads", running_s=1.0, label=text, message=text)],
        failures=[FailureGroup(type="ValueError", message=text, reason=None, count=1, labels=[text], fingerprint="f1")],
        throttled=text,
        usage={"cpu": Usage(1.0, 2.0, 0.5), "memory": Usage(500.0, 1000.0), "disk_io.read": Usage(3.0)},
        sinks=[SinkHealth(name="other", delivered=1, dropped=2, errors=3, last_error=text, state="failing")],
        alerts=[Alert(name="stalled", message=text, since=AT, value=9.0, threshold=5.0)],
    )


def summaries() -> Mapping[str, RunSummary]:
    """Return the ends that a run can have, by what they are called here."""
    empty = RunSnapshot(run_id=RUN_ID, name="conformance", started=AT, elapsed_s=0.0)
    return {
        "all went well": RunSummary(snapshot=empty, state="completed"),
        "with failures, notes and late ones": RunSummary(
            snapshot=snapshot_of(), state="completed", notes=["a thread was left behind"], late=["sink x is stuck"]
        ),
        "stopped before all was done": RunSummary(snapshot=snapshot_of(), state="stopped"),
        "the pool failed": RunSummary(snapshot=snapshot_of(), state="failed", error="JournalError: the disk is full"),
        "never started": RunSummary(snapshot=empty, state="failed", error="not started"),
        "with texts of any kind": RunSummary(
            snapshot=snapshot_of("".join(HOSTILE), "".join(HOSTILE)), state="failed", error=HOSTILE[0], notes=HOSTILE
        ),
    }


def _event(kind: str, seq: int, *, bare: bool) -> AnyEvent:
    record = CATALOGUE[kind]
    hints = get_type_hints(record)
    data = {
        field.name: _value(kind, field.name, hints[field.name], bare=bare)
        for field in fields(record)
        if field.default is NODEFAULT or not (bare or field.name == "state")
    }
    typed = _KINDS.get(kind)
    return Event(kind, data, seq, AT) if typed is None else typed(seq=seq, at=AT, **data)


def _value(kind: str, name: str, hint: Any, *, bare: bool) -> Any:  # Any: a type hint; JSON-safe values
    choices = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if bare and NoneType in choices:
        return None
    if name == "state":
        return _STATES[kind]
    if name in _MEANT:
        return _MEANT[name]
    plain = [get_origin(choice) or choice for choice in choices]
    return next(sample for known, sample in _SAMPLES.items() if known in plain)
