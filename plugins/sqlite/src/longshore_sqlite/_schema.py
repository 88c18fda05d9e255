"""The tables of a run, and how those of older versions become those of this one."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from longshore.errors import JournalError

APPLICATION_ID: Final = 0x4C53484A
"""Says that a SQLite file is a journal of ours ("LSHJ")."""
_FIRST = (
    """CREATE TABLE run (
        run_id TEXT PRIMARY KEY, name TEXT NOT NULL, started REAL NOT NULL, state TEXT NOT NULL, ended REAL,
        generation INTEGER NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
        command TEXT NOT NULL, versions TEXT NOT NULL, settings TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE TABLE kinds (id INTEGER PRIMARY KEY, kind TEXT NOT NULL UNIQUE)",
    # A task has an outcome once `state` is set, and keeps that; `redone` is set where another task does it again.
    """CREATE TABLE tasks (
        seq INTEGER PRIMARY KEY, task_id TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL REFERENCES kinds,
        identity TEXT, key TEXT, idx INTEGER NOT NULL DEFAULT 0, retry_of TEXT, redone INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0, state TEXT, form TEXT, value BLOB, spool TEXT, error TEXT,
        queued_s REAL, ran_s REAL, cpu_s REAL, peak_memory_mb REAL, worker TEXT, at REAL)""",
    """CREATE TABLE attempts (
        task_id TEXT NOT NULL, number INTEGER NOT NULL, generation INTEGER NOT NULL, started REAL,
        state TEXT, error_type TEXT, reason TEXT, worker TEXT, ran_s REAL,
        PRIMARY KEY (task_id, number)) WITHOUT ROWID""",
    "CREATE TABLE states (name TEXT PRIMARY KEY, value TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
)
MIGRATIONS: Final = (_FIRST,)
"""What makes each version from the one before; the first one from an empty file."""
VERSION: Final = len(MIGRATIONS)


def check(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a journal; JournalError for a file that is none, or that a newer version has made."""
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise JournalError(f"{path} is no journal of a run", reason="damaged", path=str(path))
    if version > VERSION:
        raise JournalError(
            f"the journal {path} has the form {version}, newer than {VERSION}: upgrade longshore-sqlite",
            reason="newer",
            path=str(path),
        )
    return int(version)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables from `version` to this one, all or none."""
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # an error of the disk has ended it
            connection.execute("ROLLBACK")
        raise
