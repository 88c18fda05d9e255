"""The tables of `longshore top`: which columns there are, and what stands in them; nothing of a terminal in here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from longshore.cli.console import line
from longshore.cli.watched import Picture
from longshore.records import RunSnapshot
from longshore.runs import FailureView, StageView, TaskDetail, TaskRow, WorkerView

_TEXT_MOST = 60


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, and the value by which it sorts and from which its cell is made."""

    title: str
    value: Callable[[Any], Any]  # Any: a row of the table; what it sorts by
    cell: Callable[[Any], str] = lambda value: "" if value is None else str(value)  # Any: as above
    right: bool = True
    sort: str = ""
    """By what the server sorts it, where it does."""


def text(value: object) -> str:
    """Return a text that is safe to show, on one line and shortened."""
    told = line("" if value is None else str(value))
    return told if len(told) <= _TEXT_MOST else f"{told[: _TEXT_MOST - 1]}…"


def seconds(value: float | None) -> str:
    """Return a duration: 0.25s, 12.3s, 3m12s, 2h05m."""
    if value is None:
        return ""
    if value < 60:
        return f"{value:.2f}s" if value < 10 else f"{value:.1f}s"
    if value < 3600:
        return f"{int(value) // 60}m{int(value) % 60:02d}s"
    return f"{int(value) // 3600}h{int(value) // 60 % 60:02d}m"


def number(value: float | None) -> str:
    """Return a number with its thousands apart; nothing for None."""
    return "" if value is None else f"{value:,.0f}"


def mb(value: float | None) -> str:
    """Return an amount of memory."""
    return "" if value is None else f"{value:,.0f} MB"


STAGES: Sequence[Column] = (
    Column("stage", lambda row: row.name, text, right=False),
    Column("executor", lambda row: row.executor, text, right=False),
    Column("waiting", lambda row: row.pending + row.retrying, number),
    Column("running", lambda row: row.processing, number),
    Column("done", lambda row: row.completed, number),
    Column("failed", lambda row: row.failed + row.timed_out, number),
    Column("retried", lambda row: row.retried, number),
    Column("p50", lambda row: row.p50_s, seconds),
    Column("p95", lambda row: row.p95_s, seconds),
    Column("p99", lambda row: row.p99_s, seconds),
    Column("work", lambda row: row.run_s, seconds),
)
TASKS: Sequence[Column] = (
    Column("task", lambda row: row.key or row.task_id, text, right=False, sort="key"),
    Column("stage", lambda row: row.name, text, right=False, sort="name"),
    Column("state", lambda row: row.state, text, right=False, sort="state"),
    Column("try", lambda row: row.attempt, number, sort="attempt"),
    Column("ran", lambda row: row.run_s, seconds, sort="run_s"),
    Column("waited", lambda row: row.wait_s, seconds, sort="wait_s"),
    Column("cpu", lambda row: row.cpu_s, seconds, sort="cpu_s"),
    Column("peak", lambda row: row.peak_memory_mb, mb, sort="peak_memory_mb"),
    Column("worker", lambda row: row.worker, text, right=False, sort="worker"),
    Column("says", lambda row: row.note or row.error or "", text, right=False),
)
RUNNING: Sequence[Column] = (
    Column("task", lambda row: row.key or row.task_id, text, right=False),
    Column("stage", lambda row: row.name, text, right=False),
    Column("for", lambda row: None if row.started is None else max(0.0, time.time() - row.started), seconds),
    Column("try", lambda row: row.attempt, number),
    Column("progress", lambda row: row.progress, lambda value: "" if value is None else f"{value:.0%}"),
    Column("says", lambda row: row.note, text, right=False),
)
FAILURES: Sequence[Column] = (
    Column("count", lambda row: row.count, number),
    Column("type", lambda row: row.type, text, right=False),
    Column("message", lambda row: row.message, text, right=False),
    Column("stages", lambda row: ", ".join(row.names), text, right=False),
    Column("of", lambda row: ", ".join(row.keys), text, right=False),
)
WORKERS: Sequence[Column] = (
    Column("worker", lambda row: row.worker, text, right=False),
    Column("executor", lambda row: row.executor, text, right=False),
    Column("tasks", lambda row: row.tasks, number),
    Column("failed", lambda row: row.failed, number),
    Column("busy", lambda row: row.busy_s, seconds),
    Column("cpu", lambda row: row.cpu_s, seconds),
    Column("peak", lambda row: row.peak_memory_mb, mb),
    Column("runs", lambda row: row.current, text, right=False),
)

Row = StageView | TaskRow | FailureView | WorkerView
TABLES = {"stages": STAGES, "running": RUNNING, "tasks": TASKS, "failures": FAILURES, "workers": WORKERS}
"""The tables by name, in the order in which they are shown."""


def rows_of(picture: Picture, name: str) -> Sequence[Row]:
    """Return the rows of a table that are part of the picture."""
    rows: Sequence[Row] = getattr(picture, name)
    return rows


def matches(columns: Sequence[Column], row: Row, wanted: str) -> bool:
    """Tell whether a row has the text in one of its cells; capitals do not matter."""
    low = wanted.casefold()
    return not low or any(low in column.cell(column.value(row)).casefold() for column in columns)


def ordered(columns: Sequence[Column], rows: Iterable[Row], by: int | None, descending: bool) -> list[Row]:
    """Return rows by a column, those without a value last; as they come where it is none."""
    if by is None:
        return list(rows)
    value = columns[by].value
    known = [row for row in rows if value(row) is not None]
    return sorted(known, key=value, reverse=descending) + [row for row in rows if value(row) is None]


def headline(picture: Picture) -> str:
    """Return the line above all tables."""
    shot = picture.snapshot
    share = f" of {shot.total:,} ({shot.ended / shot.total:.0%})" if shot.total else ""
    parts = [
        f"{text(shot.name)} {shot.run_id}",
        picture.state,
        seconds(shot.elapsed_s),
        f"{shot.ended:,}{share} ended",
        f"{shot.completed:,} ok",
        f"{shot.failed:,} failed",
        f"{shot.running:,} running",
    ]
    if picture.live:
        parts += [f"{shot.rate_per_s:.1f}/s", *_eta(shot)]
    return "  ".join(parts)


def _eta(shot: RunSnapshot) -> list[str]:
    if shot.eta_low_s is None or shot.eta_high_s is None:
        return []
    low, high = seconds(shot.eta_low_s), seconds(shot.eta_high_s)
    return [f"eta {low}" if low == high else f"eta {low} to {high}"]


def detail_of(detail: TaskDetail) -> str:
    """Return all that is known of a task, as lines."""
    row = detail.task
    told = {
        "task": row.task_id,
        "key": row.key,
        "stage": f"{row.name} on {row.executor}",
        "state": row.state,
        "attempt": str(row.attempt),
        "waited": seconds(row.wait_s),
        "ran": seconds(row.run_s),
        "cpu": seconds(row.cpu_s),
        "peak memory": mb(row.peak_memory_mb),
        "worker": row.worker,
        "says": row.note,
        "error": row.error,
        "reason": row.reason,
        "tries again": detail.retry_of,
        "submitted by": detail.parent_id,
    }
    lines = [f"{name + ':':14}{line(value)}" for name, value in told.items() if value]
    for one in detail.attempts:
        ran = seconds(one.ended - one.started) if one.started is not None and one.ended is not None else "?"
        lines.append(f"attempt {one.number}:    {one.state} after {ran}  {text(one.error)}  {text(one.message)}")
    for title, body in (("message", detail.message), ("traceback", detail.traceback), ("wrote", detail.output_tail)):
        if body:
            lines += ["", f"{title}:", *(f"  {line(one)}" for one in body.splitlines())]
    if detail.related:
        lines += ["", "belongs to:", *(f"  {one.state:12}{text(one.name)}  {text(one.key)}" for one in detail.related)]
    return "\n".join(lines)
