"""How a run comes to be on the disk, and how it is taken up again."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
from longshore.chaos import point
from longshore.errors import JournalError
from longshore.records import RunOpening

from longshore_sqlite._place import sync_folder
from longshore_sqlite._schema import migrate

_RUN = "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


_STATE = "INSERT OR REPLACE INTO states VALUES (?, ?, ?)"


def create(path: Path, run: RunOpening) -> None:
    """Make the database of a run that begins: there with its tables and lasting, or not there at all."""
    part = path.with_name(f".{path.name}")
    for left in (part, part.with_name(f"{part.name}-journal")):
        left.unlink(missing_ok=True)  # of a process that was killed over it
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(part, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, 0)
        values = (run.run_id, run.name, run.at, "running", None, 1, run.host, run.pid, *_texts(run))
        connection.execute("BEGIN")
        connection.execute(_RUN, values)
        connection.executemany(_STATE, _states(run))
        connection.execute("COMMIT")
    point("journal.before-naming")("")
    os.rename(part, path)
    sync_folder(path.parent)


def begin_again(connection: sqlite3.Connection, run: RunOpening, path: Path) -> int:
    """Record that a run goes on; return how often it has been begun by now."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        run_id, generation = connection.execute("SELECT run_id, generation FROM run").fetchone()
        if not run.resume:
            raise JournalError(f"the run {run_id} is recorded already in {path}", reason="exists")
        connection.execute(
            "UPDATE run SET state = 'running', ended = NULL, generation = generation + 1, host = ?, pid = ?, "
            "command = ?, versions = ?, settings = ?",
            (run.host, run.pid, *_texts(run)),
        )
        connection.executemany(_STATE, _states(run))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return int(generation) + 1


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Raise JournalError for a database that is damaged."""
    [page_size] = connection.execute("PRAGMA page_size").fetchone()
    found = [line for (line,) in connection.execute("PRAGMA integrity_check(3)")]
    if path.stat().st_size % page_size:  # of a checkpoint that was cut off, which can be done again
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if path.stat().st_size % page_size:
        found = ["it does not end with a whole page"]  # SQLite reads what is missing of it as zeros
    if found != ["ok"]:
        raise JournalError(
            f"the journal {path} is damaged ({'; '.join(found)[:300]}): restore it, or begin a new run",
            reason="damaged",
            path=str(path),
        )


def _texts(run: RunOpening) -> list[str]:
    return [msgspec.json.encode(value).decode("utf-8") for value in (list(run.command), run.versions, run.settings)]


def _states(run: RunOpening) -> list[tuple[str, str, float]]:
    return [(name, msgspec.json.encode(value).decode("utf-8"), run.at) for name, value in run.states.items()]
