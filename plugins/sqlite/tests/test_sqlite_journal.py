"""The journal in SQLite: what it stores and how, beyond what every journal does."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from longshore.errors import JournalError
from longshore.records import Accepted, CommitBatch, JournalQuery, TaskKind
from longshore_sqlite import SqliteJournal
from longshore_sqlite._rows import sealed
from longshore_sqlite._schema import APPLICATION_ID, VERSION

Make = Callable[..., Any]


class Odd:
    """A result that JSON can't give back."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


def values(journal: SqliteJournal) -> dict[str, Any]:
    return {outcome.task_id: outcome.value for outcome in journal.load(JournalQuery())}


def test_all_is_its_users_alone(root: Path, journal_of: Make, opening: Make, batch: Make) -> None:
    """Folders have the mode 0700 and files 0600, whatever the umask says."""
    before = os.umask(0)
    try:
        journal = journal_of(results="pickle")
        journal.open(opening())
        journal.commit(batch({"a": "x" * 100_000, "b": Odd(1)}))
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    journal.close()
    assert {path.name: mode for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}
    assert any(path.parent.name == "spool" for path in modes)


def test_large_results_stand_in_files_named_by_their_content(
    root: Path, journal_of: Make, opening: Make, batch: Make
) -> None:
    """Over 64 KiB a result is a file, the same one for the same content; up to that it is in the database."""
    journal = journal_of()
    journal.open(opening())
    journal.commit(batch({"a": "x" * 70_000, "b": "x" * 70_000, "c": "y" * 70_000, "d": "z" * 65_000}))
    assert len(list((root / "run" / "spool").iterdir())) == 2
    assert values(journal) == {"a": "x" * 70_000, "b": "x" * 70_000, "c": "y" * 70_000, "d": "z" * 65_000}
    journal.close()


def test_a_result_that_can_not_be_stored_is_not_kept(journal_of: Make, opening: Make, batch: Make) -> None:
    """What JSON can't give back as it was is marked, so that its task is run again; its outcome is still known."""
    odd = {"a": (1, 2), "b": {1: 2}, "c": Odd(1), "d": float("nan"), "e": "\udce9", "f": 2**70, "g": {1}, "h": [b"x"]}
    journal = journal_of()
    journal.open(opening())
    journal.commit(batch({**odd, "ok": [1, "x", {"y": None}]}))
    assert values(journal) == {"ok": [1, "x", {"y": None}]}
    journal.close()
    journal = journal_of()
    recalled = journal.open(opening(resume=True))
    journal.close()
    assert {entry.task_id for entry in recalled.tasks if not entry.kept} == set(odd)
    assert all(entry.state is not None for entry in recalled.tasks)


def test_pickles_are_signed_and_only_for_those_who_ask(
    root: Path, journal_of: Make, opening: Make, batch: Make
) -> None:
    """With `results = "pickle"` anything comes back; not one whose signature fails, nor any without that setting."""
    journal = journal_of(results="pickle")
    journal.open(opening())
    journal.commit(batch({"a": Odd(3)}))
    assert values(journal) == {"a": Odd(3)}
    journal.close()

    plain = journal_of()
    plain.open(opening(resume=True))
    with pytest.raises(JournalError, match="pickles are not opened"):
        plain.load(JournalQuery())
    plain.close()

    with sqlite3.connect(root / "run" / "journal.db") as connection:
        [(value,)] = connection.execute("SELECT value FROM tasks").fetchall()
        connection.execute("UPDATE tasks SET value = ?", (sealed(value[:-5] + bytes([value[-5] ^ 1])),))
    connection.close()
    journal = journal_of(results="pickle")
    journal.open(opening(resume=True))
    with pytest.raises(JournalError, match="signature"):
        journal.load(JournalQuery())
    journal.close()


def test_a_file_says_what_it_is(root: Path, journal_of: Make, opening: Make) -> None:
    """The database carries our application id and the version of its form."""
    journal = journal_of()
    journal.open(opening())
    journal.close()
    connection = sqlite3.connect(root / "run" / "journal.db")
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    connection.close()


def test_a_newer_form_is_refused(root: Path, journal_of: Make, opening: Make) -> None:
    """A journal of a form that this version does not know is named, and left as it is."""
    journal = journal_of()
    journal.open(opening())
    journal.close()
    connection = sqlite3.connect(root / "run" / "journal.db")
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(JournalError, match="upgrade longshore-sqlite"):
        journal_of().open(opening(resume=True))


@pytest.mark.parametrize(("durability", "level"), [("process", 1), ("power", 2)])
def test_durability_is_what_the_database_waits_for(
    journal_of: Make, opening: Make, durability: str, level: int
) -> None:
    """`power` has each transaction wait for the disk, `process` does not."""
    journal = journal_of(durability=durability)
    journal.open(opening())
    connection = journal._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()


def test_many_rows_take_few_statements(journal_of: Make, opening: Make, batch: Make) -> None:
    """A thousand outcomes go in by hundreds: for each statement the thread waits for Python's lock."""
    journal = journal_of()
    journal.open(opening())
    statements: list[str] = []
    journal._connection.set_trace_callback(statements.append)
    journal.commit(batch({f"t{number}": number for number in range(1000)}))
    journal._connection.set_trace_callback(None)
    assert len(statements) < 30
    assert len(values(journal)) == 1000
    journal.close()


def test_the_log_does_not_grow_without_end(root: Path, journal_of: Make, opening: Make, batch: Make) -> None:
    """The write-ahead log is worked into the database as it grows, and begun anew."""
    journal = journal_of()
    journal.open(opening())
    sizes = []
    for number in range(400):
        journal.commit(batch({f"t{number}": "x" * 50_000}))
        sizes.append((root / "run" / "journal.db-wal").stat().st_size)
    journal.close()
    assert max(sizes) < 10e6
    assert sum(path.stat().st_size for path in (root / "run").iterdir() if path.is_file()) > 18e6


def test_a_task_that_is_done_again_leaves_the_one_before_as_it_was(
    journal_of: Make, opening: Make, batch: Make
) -> None:
    """What another task does again is neither recalled nor counted, and can't be given an outcome any more."""
    journal = journal_of()
    journal.open(opening())
    kind = TaskKind(name="work", function="module.work", version="1")
    journal.commit(CommitBatch(run_id="run", accepted=[Accepted(task_id="old", kind=kind, identity="x")]))
    new = Accepted(task_id="new", kind=kind, identity="x", retry_of="old")
    journal.commit(CommitBatch(run_id="run", accepted=[new]))
    journal.commit(batch({"old": 1, "new": 2}))
    assert values(journal) == {"new": 2}
    journal.close()
    assert journal_of().archive().run("run").counts == {"completed": 1}


def test_readers_disturb_no_run(journal_of: Make, opening: Make, batch: Make) -> None:
    """The archive reads a run that goes on, and says that it is held; it can't be removed meanwhile."""
    journal = journal_of()
    journal.open(opening())
    journal.commit(batch({"a": 1}))
    archive = journal.archive()
    reading = archive.outcomes(JournalQuery(run_id="run"))
    assert next(reading).value == 1
    journal.commit(batch({"b": 2}))
    assert archive.run("run").held
    assert archive.run("run").counts == {"completed": 2}
    with pytest.raises(JournalError, match=f"process {os.getpid()}"):
        archive.remove("run")
    reading.close()
    journal.close()
    assert not archive.run("run").held
    archive.remove("run")
    assert archive.runs() == []


@pytest.mark.parametrize("run_id", ["../up", "a/b", "", ".hidden", "x" * 200, "a\0b"])
def test_a_runs_id_is_a_plain_name(root: Path, journal_of: Make, opening: Make, run_id: str) -> None:
    """What could lead out of the folder of runs is refused."""
    with pytest.raises(JournalError, match="no run's id"):
        journal_of().open(opening(run_id))
    assert not root.exists()


def test_rows_that_can_not_be_read_are_a_damaged_run(root: Path, journal_of: Make, opening: Make, batch: Make) -> None:
    """What stands in a sound database and is not what was written is named, and harms no list."""
    journal = journal_of()
    journal.open(opening())
    journal.commit(batch({"a": 1}))
    journal.close()
    with closing(sqlite3.connect(root / "run" / "journal.db")) as connection, connection:
        connection.execute("UPDATE run SET settings = '{', versions = 'x'")
    archive = journal_of().archive()
    assert [run.state for run in archive.runs()] == ["damaged"]
    with pytest.raises(JournalError, match=r"journal\.db is damaged"):
        archive.run("run")
