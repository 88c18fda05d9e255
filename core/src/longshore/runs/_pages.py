"""Tasks by pages: filtered, sorted, and gone on with from a row, so that a page costs the same wherever it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from longshore.runs._schema import COLUMNS, ROW
from longshore.runs._views import STATES, TaskFilter, TaskPage, TaskRow

FIELDS: Final = ("id", *COLUMNS)[:ROW]
SELECT: Final = f"SELECT {', '.join(FIELDS)} FROM tasks"  # noqa: S608 - our own names
_NUMBERS = frozenset(
    ("id", "attempt", "priority", "submitted", "started", "ended", "wait_s", "run_s", "cpu_s", "peak_memory_mb")
)
_TEXTS = frozenset(("task_id", "name", "state", "key", "executor", "worker", "error"))
_LIKE = " ESCAPE '\\'"


def row_of(values: Sequence[Any]) -> TaskRow:  # Any: what SQLite stores
    """Return the record of a row that `SELECT` gave."""
    return TaskRow(**dict(zip(FIELDS, values, strict=True)))


def page(
    reader: sqlite3.Connection, wanted: TaskFilter, sort: str, descending: bool, after: str | None, limit: int
) -> TaskPage:
    """Return the page after a row, in the order of `sort` and then of the rows' ids."""
    order = _order(sort)
    where, values = _where(wanted)
    [[total]] = reader.execute(f"SELECT count(*) FROM tasks{_conditions(where)}", values)  # noqa: S608
    if after is not None:
        value, row = _place(after, sort)
        sign = "<" if descending else ">"
        where = [*where, f"({order}, id) {sign} (?, ?)"]
        values = [*values, value, row]
    way = "DESC" if descending else "ASC"
    sql = f"{SELECT}{_conditions(where)} ORDER BY {order} {way}, id {way} LIMIT ?"
    found = [row_of(row) for row in reader.execute(sql, [*values, limit + 1])]
    rows, more = found[:limit], len(found) > limit
    return TaskPage(rows=rows, total=total, next=_mark(rows[-1], sort) if more else None)


def slowest(reader: sqlite3.Connection, limit: int, running: bool) -> list[TaskRow]:
    """Return the tasks that ran longest, or that have been running for longest."""
    which = (
        "WHERE state = 'processing' AND started IS NOT NULL ORDER BY started, id"
        if running
        else "WHERE run_s IS NOT NULL ORDER BY run_s DESC, id"
    )
    return [row_of(row) for row in reader.execute(f"{SELECT} {which} LIMIT ?", (limit,))]


def _order(sort: str) -> str:
    if sort == "id":
        return "id"
    if sort in _NUMBERS:
        return f"coalesce({sort}, -1.0)"
    if sort in _TEXTS:
        return f"coalesce({sort}, '')"
    raise ValueError(f"tasks can't be sorted by {sort!r}: choose one of {', '.join(sorted(_NUMBERS | _TEXTS))}")


def _mark(row: TaskRow, sort: str) -> str:
    value = getattr(row, sort)
    if value is None:
        value = -1.0 if sort in _NUMBERS else ""
    return msgspec.json.encode((sort, value, row.id)).decode()


def _place(after: str, sort: str) -> tuple[float | int | str, int]:
    try:
        by, value, row = msgspec.json.decode(after, type=tuple[str, float | int | str, int])
    except msgspec.MsgspecError as error:
        raise ValueError(f"{after[:80]!r} is not where a page ended") from error
    if by != sort:
        raise ValueError(f"this page is to go on by {sort!r}, and {after[:80]!r} ended one by {by!r}")
    return value, row


def _where(wanted: TaskFilter) -> tuple[list[str], list[Any]]:  # Any: what SQLite stores
    where: list[str] = []
    values: list[Any] = []
    if wanted.states is not None:
        unknown = [state for state in wanted.states if state not in STATES]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no state: choose among {', '.join(STATES)}")
        where.append(f"state IN ({', '.join('?' * len(wanted.states))})")
        values += wanted.states
    for name in ("name", "executor", "worker", "fingerprint"):
        value = getattr(wanted, name)
        if value is not None:
            where.append(f"{name} = ?")
            values.append(value)
    if wanted.text:
        text = wanted.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        where.append(f"(key LIKE ?{_LIKE} OR task_id LIKE ?{_LIKE} OR error LIKE ?{_LIKE} OR note LIKE ?{_LIKE})")
        values += [f"%{text}%"] * 4
    return where, values


def _conditions(where: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(where)}" if where else ""
