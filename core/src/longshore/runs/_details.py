"""What is known of one task, and of failures that are the same."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from longshore.runs._pages import FIELDS, SELECT, row_of
from longshore.runs._schema import COLUMNS
from longshore.runs._views import AttemptRow, FailureView, TaskDetail, TaskRow

_RELATED_MOST: Final = 200
_EXAMPLES: Final = 5
_ATTEMPTS = (
    "SELECT number, state, started, ended, worker, error, message FROM attempts WHERE task_id = ? ORDER BY number"
)
_TEXTS = "SELECT message, traceback, output_tail, exit_code, signal FROM texts WHERE task_id = ?"
_GROUPS = (
    "SELECT fingerprint, count(*), min(ended), max(ended) FROM tasks INDEXED BY tasks_failed "
    "WHERE fingerprint IS NOT NULL GROUP BY fingerprint ORDER BY 2 DESC, 3, 1 LIMIT ?"
)
_DEATHS = ("WorkerDied", "MemoryLimitExceeded", "PoisonTask", "WorkerNotReady")


def task(reader: sqlite3.Connection, task_id: str) -> TaskDetail | None:
    """Return one task with its earlier attempts, its texts, and the tasks that belong to it."""
    extra = COLUMNS[len(FIELDS) - 1 :]
    found = reader.execute(
        f"SELECT {', '.join((*FIELDS, *extra))} FROM tasks WHERE task_id = ?",  # noqa: S608 - our own names
        (task_id,),
    ).fetchone()
    if found is None:
        return None
    row = row_of(found[: len(FIELDS)])
    processor, parent_id, retry_of, group = found[len(FIELDS) :]
    attempts = [AttemptRow(**_named(values)) for values in reader.execute(_ATTEMPTS, (task_id,))]
    texts = reader.execute(_TEXTS, (task_id,)).fetchone() or (None,) * 5
    return TaskDetail(
        task=row,
        attempts=attempts,
        processor=processor,
        parent_id=parent_id,
        retry_of=retry_of,
        group=group,
        message=texts[0] or row.note or None,
        traceback=texts[1],
        output_tail=texts[2],
        exit_code=texts[3],
        signal=texts[4],
        related=_related(reader, row, group, parent_id, retry_of),
    )


def _named(values: Any) -> dict[str, Any]:  # Any: what SQLite stores
    return dict(zip(("number", "state", "started", "ended", "worker", "error", "message"), values, strict=True))


def _related(
    reader: sqlite3.Connection, row: TaskRow, group: str | None, parent_id: str | None, retry_of: str | None
) -> list[TaskRow]:
    where, values = ["parent_id = ?", "retry_of = ?"], [row.task_id, row.task_id]
    if group is not None:
        where.append("(grp = ? AND key IS ?)")
        values += [group, row.key]  # type: ignore[list-item]  # IS takes a null
    where += ["task_id = ?"] * sum(name is not None for name in (parent_id, retry_of))
    values += [name for name in (parent_id, retry_of) if name is not None]
    parts = [f"SELECT id FROM tasks WHERE {one}" for one in where]  # noqa: S608 - each by an index of its own
    sql = f"{SELECT} WHERE id IN ({' UNION '.join(parts)}) AND task_id != ? ORDER BY submitted, id LIMIT ?"
    return [row_of(found) for found in reader.execute(sql, [*values, row.task_id, _RELATED_MOST])]


def failures(reader: sqlite3.Connection, limit: int) -> list[FailureView]:
    """Return the most frequent failures, with the texts of the newest one of each that has any."""
    return [_group(reader, *group) for group in reader.execute(_GROUPS, (limit,)).fetchall()]


def _group(
    reader: sqlite3.Connection, fingerprint: str, count: int, first: float | None, last: float | None
) -> FailureView:
    of_it = "FROM tasks WHERE fingerprint = ?"
    newest = reader.execute(
        "SELECT t.task_id, t.state, t.error, t.reason, coalesce(x.message, t.note), x.traceback, x.output_tail, "
        "x.exit_code, x.signal FROM tasks t LEFT JOIN texts x USING (task_id) WHERE t.fingerprint = ? "
        "ORDER BY x.task_id IS NULL, t.ended DESC, t.id DESC LIMIT 1",
        (fingerprint,),
    ).fetchone()
    task_id, state, kind, reason, message, traceback, output_tail, exit_code, signal = newest
    names = [name for (name,) in reader.execute(f"SELECT DISTINCT name {of_it} LIMIT 20", (fingerprint,))]
    keys = reader.execute(
        f"SELECT coalesce(key, task_id) {of_it} ORDER BY id LIMIT ?",
        (fingerprint, _EXAMPLES),
    )
    return FailureView(
        fingerprint=fingerprint,
        type=kind or "",
        message=message or "",
        reason=reason,
        count=count,
        first=first,
        last=last,
        names=sorted(names),
        keys=[key for (key,) in keys],
        state=state,
        died=(kind or "").rpartition(".")[2] in _DEATHS or signal is not None or exit_code is not None,
        traceback=traceback,
        output_tail=output_tail,
        example=task_id,
    )
