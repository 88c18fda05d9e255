"""The tables of a store: a database of its own for one run, that need not survive anything."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

COLUMNS: Final = (
    "task_id",
    "name",
    "executor",
    "state",
    "key",
    "priority",
    "attempt",
    "submitted",
    "started",
    "ended",
    "wait_s",
    "run_s",
    "cpu_s",
    "peak_memory_mb",
    "worker",
    "progress",
    "note",
    "error",
    "reason",
    "fingerprint",
    "processor",
    "parent_id",
    "retry_of",
    "grp",
)
"""Those of the table `tasks`, in the order in which a row is written; before them stands `id`."""
ROW: Final = 21
"""How many of `id` and the columns make a `TaskRow`; the others are details."""

_TYPES = {
    "priority": "INTEGER NOT NULL",
    "attempt": "INTEGER NOT NULL",
    **dict.fromkeys(
        ("submitted", "started", "ended", "wait_s", "run_s", "cpu_s", "peak_memory_mb", "progress"), "REAL"
    ),
}
_FIELDS = ", ".join(f"{name} {_TYPES.get(name, 'TEXT')}" for name in COLUMNS)
_TABLES = (
    f"CREATE TABLE tasks (id INTEGER PRIMARY KEY, {_FIELDS})",
    "CREATE UNIQUE INDEX tasks_task_id ON tasks (task_id)",
    "CREATE INDEX tasks_stage ON tasks (name, executor, state, run_s)",
    "CREATE INDEX tasks_worker ON tasks (worker)",
    "CREATE INDEX tasks_ended ON tasks (ended, name, state) WHERE ended IS NOT NULL",
    "CREATE INDEX tasks_failed ON tasks (fingerprint) WHERE fingerprint IS NOT NULL",
    "CREATE INDEX tasks_group ON tasks (grp) WHERE grp IS NOT NULL",
    "CREATE INDEX tasks_parent ON tasks (parent_id) WHERE parent_id IS NOT NULL",
    "CREATE INDEX tasks_again ON tasks (retry_of) WHERE retry_of IS NOT NULL",
    """CREATE TABLE attempts (
        task_id TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL, started REAL, ended REAL, worker TEXT,
        error TEXT, message TEXT, PRIMARY KEY (task_id, number)) WITHOUT ROWID""",
    """CREATE TABLE texts (
        task_id TEXT PRIMARY KEY, message TEXT, traceback TEXT, output_tail TEXT, exit_code INTEGER, signal INTEGER)
        WITHOUT ROWID""",
)
_SET = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS)
PUT_TASK: Final = (
    f"INSERT INTO tasks ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "  # noqa: S608 - our own names
    f"ON CONFLICT (task_id) DO UPDATE SET {_SET}"
)
PUT_ATTEMPT: Final = "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
PUT_TEXT: Final = "INSERT OR REPLACE INTO texts VALUES (?, ?, ?, ?, ?, ?)"


def create(path: Path) -> sqlite3.Connection:
    """Return the writer's connection to a new database; one thread at a time may use it."""
    connection = connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")  # it is of no use to anybody once this process has ended
    for statement in _TABLES:
        connection.execute(statement)
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """Return one more connection, for reading."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
