"""From rows back to records; used by the journal for its own run, and by the archive for all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from longshore.errors import JournalError
from longshore.keeping import NOT_KEPT, Packed, unpack
from longshore.records import AttemptTrace, JournalQuery, TaskEntry, TaskKind, TaskTrace
from longshore.task import ErrorRecord, Outcome, TaskState

from longshore_sqlite._rows import unsealed
from longshore_sqlite._spool import Spool
from longshore_sqlite._text import read

_IN_MOST = 500
_OUTCOMES = (
    "SELECT task_id, key, idx, kind, state, form, value, spool, error, attempts, queued_s, ran_s, cpu_s, "
    "peak_memory_mb, worker FROM tasks WHERE state IS NOT NULL"
)
_ENTRIES = "SELECT task_id, kind, identity, key, idx, state, form, attempts, retry_of FROM tasks WHERE redone = 0"
_TRACES = (
    "SELECT task_id, kind, identity, key, idx, retry_of, redone, state, error, attempts, queued_s, ran_s, cpu_s, "
    "peak_memory_mb, worker, at FROM tasks WHERE 1"
)
_TRIES = (
    "SELECT number, started, state, error_type, reason, worker, ran_s FROM attempts WHERE task_id = ? ORDER BY number"
)


def outcomes(
    connection: sqlite3.Connection, query: JournalQuery, spool: Spool, key: bytes | None, *, kept_only: bool
) -> Iterator[Outcome]:
    """Yield recorded outcomes; the value of one that was not kept is None, or it is left out with `kept_only`."""
    kinds = kinds_of(connection)
    for row in _rows(connection, _OUTCOMES, query):
        if kept_only and row[5] == NOT_KEPT:
            continue
        with _named(row[0]):
            yield _outcome(row, kinds, spool, key)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Have what can't be read of a row be named as damage."""
    try:
        yield
    except (ValueError, TypeError, LookupError, msgspec.MsgspecError) as error:
        message = f"the journal is damaged: what it has of {what} can't be read ({error})"
        raise JournalError(message, reason="damaged") from error


def _outcome(row: Sequence[Any], kinds: dict[int, TaskKind], spool: Spool, key: bytes | None) -> Outcome:
    # Any: what SQLite stores
    task_id, name, index, kind, state, form, value, apart, error, attempts, *rest = row
    packed = None
    if form is not None and form != NOT_KEPT:
        packed = Packed(form, spool.read(apart) if apart is not None else unsealed(bytes(value)))
    try:
        result = unpack(packed, key) if packed is not None else None
    except JournalError as wrong:
        raise JournalError(
            f"task {task_id}: {wrong}", **{"reason": "damaged", **wrong.facts, "task_id": task_id}
        ) from wrong
    record = msgspec.json.decode(error, type=ErrorRecord) if error is not None else None
    queued_s, ran_s, cpu_s, peak_memory_mb, worker = rest
    return Outcome(
        task_id,
        read(name),
        index,
        kinds[kind].name,
        TaskState(state),
        result,
        record,
        attempts,
        queued_s,
        ran_s,
        cpu_s,
        peak_memory_mb,
        worker,
        restored=True,
    )


def entries(connection: sqlite3.Connection, query: JournalQuery) -> Iterator[TaskEntry]:
    """Yield recorded tasks that no other task does again, in the order in which they were recorded."""
    kinds = kinds_of(connection)
    ended = "SELECT task_id, count(*) FROM attempts WHERE state IS NOT NULL GROUP BY task_id"
    tried = dict(connection.execute(ended))
    deaths: dict[str, list[str]] = {}
    died = "SELECT task_id, reason FROM attempts WHERE error_type LIKE '%.WorkerDied' ORDER BY task_id, number"
    for task_id, reason in connection.execute(died):
        deaths.setdefault(task_id, []).append(reason or "unknown")
    for task_id, kind, identity, key, index, state, form, attempts, retry_of in _rows(connection, _ENTRIES, query):
        with _named(task_id):
            yield TaskEntry(
                task_id=task_id,
                kind=kinds[kind],
                identity=read(identity),
                key=read(key),
                index=index,
                state=TaskState(state) if state is not None else None,
                kept=state is not None and form != NOT_KEPT,
                attempts=attempts,
                lost=attempts - tried.get(task_id, 0) if state is None else 0,
                deaths=tuple(deaths.get(task_id, ())),
                retry_of=retry_of,
            )


def traces(connection: sqlite3.Connection, query: JournalQuery) -> Iterator[TaskTrace]:
    """Yield what is recorded of tasks but their values, in the order in which they were recorded."""
    kinds = kinds_of(connection)
    for row in _rows(connection, _TRACES, query):
        with _named(row[0]):
            # Reads at the same moment of the run as the rows of the tasks: their statement has not come to its end.
            yield _trace(row, kinds, connection.execute(_TRIES, (row[0],)))


def _trace(row: Sequence[Any], kinds: dict[int, TaskKind], tries: Iterable[Sequence[Any]]) -> TaskTrace:
    # Any: what SQLite stores
    task_id, kind, identity, key, index, retry_of, redone, state, error, attempts, *measured = row
    queued_s, ran_s, cpu_s, peak_memory_mb, worker, at = measured
    return TaskTrace(
        task_id=task_id,
        kind=kinds[kind],
        identity=read(identity),
        key=read(key),
        index=index,
        retry_of=retry_of,
        redone=bool(redone),
        state=TaskState(state) if state is not None else None,
        error=msgspec.json.decode(error, type=ErrorRecord) if error is not None else None,
        attempts=attempts,
        queued_s=queued_s,
        ran_s=ran_s,
        cpu_s=cpu_s,
        peak_memory_mb=peak_memory_mb,
        worker=worker,
        ended_at=at,
        tries=tuple(_attempt(*one) for one in tries),
    )


def _attempt(
    number: int,
    started: float | None,
    state: str | None,
    error_type: str | None,
    reason: str | None,
    worker: str | None,
    ran_s: float | None,
) -> AttemptTrace:
    return AttemptTrace(
        number=number,
        started=started,
        state=TaskState(state) if state is not None else None,
        error_type=error_type or "",
        reason=reason,
        worker=worker,
        ran_s=ran_s,
    )


def states(connection: sqlite3.Connection, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the states that are kept, by name; of these `names`, if they are given. Any: JSON-safe values."""
    rows: Iterable[tuple[str, str]] = connection.execute("SELECT name, value FROM states")
    if names is not None:
        one = "SELECT name, value FROM states WHERE name = ?"
        rows = (row for name in names for row in connection.execute(one, (name,)))
    with _named("what was learnt"):
        return {name: msgspec.json.decode(value) for name, value in rows}


def kinds_of(connection: sqlite3.Connection) -> dict[int, TaskKind]:
    """Return the kinds of tasks, by number."""
    rows = connection.execute("SELECT id, kind FROM kinds")
    with _named("the kinds of tasks"):
        return {number: msgspec.json.decode(text, type=TaskKind) for number, text in rows}


def _rows(connection: sqlite3.Connection, statement: str, query: JournalQuery) -> Iterator[Sequence[Any]]:
    """Yield rows that a query asks for. Any: what SQLite stores."""
    values: list[Any] = []
    if query.states is not None:
        statement += f" AND state IN ({', '.join('?' * len(query.states))})"
        values += [state.value for state in query.states]
    if query.since is not None:
        statement += " AND (at IS NULL OR at >= ?)"
        values.append(query.since)
    if query.task_ids is None:
        yield from connection.execute(f"{statement} ORDER BY seq", values)
        return
    ids = list(dict.fromkeys(query.task_ids))
    for at in range(0, len(ids), _IN_MOST):
        part = ids[at : at + _IN_MOST]
        places = ", ".join("?" * len(part))
        yield from connection.execute(f"{statement} AND task_id IN ({places}) ORDER BY seq", [*values, *part])
