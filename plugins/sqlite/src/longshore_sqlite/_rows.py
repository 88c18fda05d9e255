"""From the records of a batch to rows, many with one statement.

SQLite works without Python's lock while a statement runs, and takes it again for each one: a statement a row would wait
for the lock as often as there are rows, behind a loop that is busy. So rows go in by hundreds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final
from zlib import crc32

import msgspec
from longshore.keeping import Packed
from longshore.records import Accepted, CommitBatch, Settled, Started, TaskKind, Tried
from longshore.task import Outcome, TaskState

from longshore_sqlite._text import json_text, shown, stored

Store = Callable[[Any], tuple[Packed, str | None]]
"""Packs a value; the second is its name where it is kept apart. Any: the user's result."""

_CHUNKS: Final = (1024, 128, 16, 1)
_encode = msgspec.json.Encoder().encode
_COMPLETED = TaskState.COMPLETED
_JSON = "json"
_SMALL = frozenset({type(None), bool, int})
_ACCEPT = (
    "INSERT INTO tasks (task_id, kind, identity, key, idx, retry_of) VALUES {rows} ON CONFLICT (task_id) DO UPDATE SET "
    "identity = coalesce(tasks.identity, excluded.identity), key = coalesce(tasks.key, excluded.key), "
    "retry_of = coalesce(tasks.retry_of, excluded.retry_of)"
)
_PLAIN = (
    "INSERT INTO tasks (kind, at, state, form, attempts, task_id, identity, idx, value, queued_s, ran_s, cpu_s, "
    "worker) VALUES {rows} ON CONFLICT (task_id) DO UPDATE SET at = excluded.at, state = excluded.state, "
    "form = excluded.form, attempts = excluded.attempts, identity = coalesce(tasks.identity, excluded.identity), "
    "idx = excluded.idx, value = excluded.value, queued_s = excluded.queued_s, ran_s = excluded.ran_s, "
    "cpu_s = excluded.cpu_s, worker = excluded.worker "
    "WHERE tasks.state IS NULL AND tasks.redone = 0 AND excluded.attempts >= tasks.attempts"
)
_FULL = (
    "INSERT INTO tasks (kind, at, state, form, attempts, task_id, identity, key, idx, value, spool, error, queued_s, "
    "ran_s, cpu_s, peak_memory_mb, worker) VALUES {rows} ON CONFLICT (task_id) DO UPDATE SET at = excluded.at, "
    "state = excluded.state, form = excluded.form, attempts = excluded.attempts, "
    "identity = coalesce(tasks.identity, excluded.identity), key = coalesce(tasks.key, excluded.key), "
    "idx = excluded.idx, value = excluded.value, spool = excluded.spool, error = excluded.error, "
    "queued_s = excluded.queued_s, ran_s = excluded.ran_s, cpu_s = excluded.cpu_s, "
    "peak_memory_mb = excluded.peak_memory_mb, worker = excluded.worker "
    "WHERE tasks.state IS NULL AND tasks.redone = 0 AND excluded.attempts >= tasks.attempts"
)
_START = (
    "INSERT INTO attempts (generation, task_id, number, started) VALUES {rows} ON CONFLICT (task_id, number) DO NOTHING"
)
_RAISE = "UPDATE tasks SET attempts = max(attempts, ?) WHERE task_id = ? AND state IS NULL"
_TRIED = (
    "INSERT INTO attempts (generation, task_id, number, state, error_type, reason, worker, ran_s, started) "
    "VALUES {rows} ON CONFLICT (task_id, number) DO UPDATE SET "
    "state = excluded.state, error_type = excluded.error_type, reason = excluded.reason, "
    "worker = excluded.worker, ran_s = excluded.ran_s, "
    "started = coalesce(attempts.started, excluded.started) WHERE attempts.state IS NULL"
)
_SEAL_BYTES: Final = 4
Row = tuple[Any, ...]  # Any: what SQLite stores

Packs = dict[TaskKind, tuple[list[Row], list[Row]]]


def sealed(data: bytes) -> bytes:
    """Return a value as it stands in its row, where a bit that has flipped is seen: SQLite looks at no content."""
    return data + crc32(data).to_bytes(_SEAL_BYTES, "big")


def unsealed(stored: bytes) -> bytes:
    """Return the value that stands in a row; ValueError if it is not what was written."""
    data, seal = stored[:-_SEAL_BYTES], stored[-_SEAL_BYTES:]
    if crc32(data).to_bytes(_SEAL_BYTES, "big") != seal:
        raise ValueError("a recorded result is not what was written")
    return data


class Rows:
    """Writes batches within a transaction that somebody else begins and ends."""

    def __init__(self, connection: sqlite3.Connection, generation: int, store: Store) -> None:
        """Write by `connection`, for the run as it was begun the `generation`th time."""
        self._connection = connection
        self._generation = generation
        self._store = store
        self._kinds: dict[TaskKind, int] = {}

    def pack(self, batch: CommitBatch) -> Packs:
        """Return the rows of the outcomes by kind: values packed, large ones stored, which takes no transaction.

        Of tasks that completed as most do, and of the others, in full.
        """
        packed: Packs = {}
        for group in batch.settled:
            self._pack(group, *packed.setdefault(group.kind, ([], [])))
        return packed

    def write(self, batch: CommitBatch, packed: Packs) -> None:
        """Write it all, in the order of the fields."""
        self._accept(batch.accepted)
        self._start(batch.started)
        self._tried(batch.tried)
        for kind, (plain, full) in packed.items():
            head = (self._kind(kind), batch.at)
            self._many(_PLAIN, (*head, _COMPLETED.value, _JSON, 1), plain)
            self._many(_FULL, head, full)
        execute = self._connection.execute
        for name, value in batch.states.items():
            execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?)", (name, _encode(value), batch.at))
        if batch.ended is not None:
            execute("UPDATE run SET state = ?, ended = ?", (batch.ended, batch.at))

    def _pack(self, group: Settled, plain: list[Row], full: list[Row]) -> None:
        add = plain.append
        for outcome, identity in zip(group.outcomes, group.identities, strict=True):
            value = outcome.value
            if (
                outcome.state is _COMPLETED
                and outcome.attempts == 1
                and outcome.key is None
                and outcome.peak_memory_mb is None
                and type(value) in _SMALL
                and (type(value) is not int or -(2**63) <= value < 2**64)
            ):
                add(
                    (
                        outcome.task_id,
                        stored(identity),
                        outcome.index,
                        sealed(_encode(value)),
                        outcome.queued_s,
                        outcome.ran_s,
                        outcome.cpu_s,
                        outcome.worker,
                    )
                )
            else:
                full.append(self._full_row(outcome, identity))

    def _full_row(self, outcome: Outcome, identity: str | None) -> Row:
        packed, spool = self._store(outcome.value) if outcome.state is _COMPLETED else (None, None)
        error = json_text(outcome.error) if outcome.error is not None else None
        return (
            outcome.state.value,
            packed.form if packed is not None else None,
            outcome.attempts,
            outcome.task_id,
            stored(identity),
            stored(outcome.key),
            outcome.index,
            sealed(packed.data) if packed is not None and spool is None else None,
            spool,
            error,
            outcome.queued_s,
            outcome.ran_s,
            outcome.cpu_s,
            outcome.peak_memory_mb,
            outcome.worker,
        )

    def _accept(self, accepted: Sequence[Accepted]) -> None:
        rows = [
            (t.task_id, self._kind(t.kind), stored(t.identity), stored(t.key), t.index, t.retry_of) for t in accepted
        ]
        self._many(_ACCEPT, (), rows)
        redone = [(task.retry_of,) for task in accepted if task.retry_of is not None]
        if redone:
            self._connection.executemany("UPDATE tasks SET redone = 1 WHERE task_id = ?", redone)

    def _start(self, started: Sequence[Started]) -> None:
        self._many(_START, (self._generation,), [(one.task_id, one.number, one.at) for one in started])
        if started:
            self._connection.executemany(_RAISE, [(one.number, one.task_id) for one in started])

    def _tried(self, tried: Sequence[Tried]) -> None:
        rows = [
            (t.task_id, t.number, t.state.value, t.error_type, shown(t.reason), t.worker, t.ran_s, t.started)
            for t in tried
        ]
        self._many(_TRIED, (self._generation,), rows)
        if tried:
            self._connection.executemany(_RAISE, [(one.number, one.task_id) for one in tried])

    def _kind(self, kind: TaskKind) -> int:
        known = self._kinds.get(kind)
        if known is None:
            text = json_text(kind)
            self._connection.execute("INSERT OR IGNORE INTO kinds (kind) VALUES (?)", (text,))
            [known] = self._connection.execute("SELECT id FROM kinds WHERE kind = ?", (text,)).fetchone()
            self._kinds[kind] = known
        return int(known)

    def _many(self, statement: str, head: Row, rows: Sequence[Row]) -> None:
        """Run a statement over rows that all begin with `head`, as few times as can be."""
        at = 0
        while at < len(rows):
            size = next(size for size in _CHUNKS if size <= len(rows) - at)
            part = rows[at : at + size]
            sql = _sql(statement, len(head) + len(part[0]), size)
            self._connection.execute(sql, tuple(chain.from_iterable(chain(head, row) for row in part)))
            at += size


@cache
def _sql(statement: str, width: int, rows: int) -> str:
    """Return a statement with places for so many rows."""
    return statement.format(rows=", ".join([f"({', '.join('?' * width)})"] * rows))
