"""The journal: one folder a run, one connection that writes and checkpoints it, on the thread that opened it."""

from __future__ import annotations

import ctypes
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from weakref import WeakSet

import msgspec.structs
from longshore.chaos import point
from longshore.errors import JournalError
from longshore.hookspecs import hookimpl
from longshore.keeping import Packed, pack
from longshore.records import CommitBatch, JournalQuery, Recalled, RunOpening
from longshore.task import Outcome
from pydantic import BaseModel, ConfigDict, Field

from longshore_sqlite import _place
from longshore_sqlite._archive import SqliteArchive
from longshore_sqlite._faults import described, name_of
from longshore_sqlite._lock import RunLock
from longshore_sqlite._opening import begin_again, check_whole, create
from longshore_sqlite._reading import entries, outcomes, states
from longshore_sqlite._rows import Rows
from longshore_sqlite._schema import check, migrate
from longshore_sqlite._spool import SPOOL_OVER, Spool

_log = logging.getLogger("longshore.sqlite")
_CHECKPOINT_BYTES = 4 << 20
"""So much may gather in the write-ahead log before it is worked into the database."""
_SLOW_S = 1.0
_KEY_BYTES = 32
_open_journals: WeakSet[SqliteJournal] = WeakSet()


class SqliteJournal:
    """Keeps a run in a SQLite database of its own, with a lock that one process holds at a time."""

    api: int = 1

    class Settings(BaseModel):
        """The table `[tool.longshore.journals.sqlite]`."""

        model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

        path: str | None = None
        """The folder of all runs; None: `longshore/runs` in the platform's folder for the state of programs."""
        durability: Literal["process", "power"] = "process"
        """What an outcome that was told of survives: the end of any process, or power loss too."""
        busy_timeout_s: float = Field(default=10.0, gt=0, le=300)
        """How long another process may hold the database before that is an error."""
        results: Literal["json", "pickle"] = "json"
        """What results are stored as that JSON can't give back as they were: not at all, or as signed pickles."""

    _folder: Path
    _path: Path
    _spool: Spool
    _key: bytes | None
    _rows: Rows
    _generation: int
    _writes_ahead: bool
    _checkpoint_at: int
    _broken: bool

    def __init__(self, settings: Settings | None = None) -> None:
        """Keep the settings; nothing is opened or made before `open`."""
        self._settings = settings or self.Settings()
        self._connection: sqlite3.Connection | None = None
        self._lock: RunLock | None = None
        self._pid = 0
        self._inside_commit = point("journal.inside-commit")
        self._before_checkpoint = point("journal.before-checkpoint")

    # ---- the contract

    @hookimpl
    def open(self, run: RunOpening) -> Recalled:
        """Take the run's lock, open or make its database; JournalError says who holds it, or what is wrong with it."""
        root = _place.root_of(self._settings.path)
        self._folder = folder = _place.folder_of(root, run.run_id)
        self._path = folder / _place.DATABASE
        if run.resume and not self._path.is_file():
            raise JournalError(f"there is no run {run.run_id} in {root}", reason="unknown", run_id=run.run_id)
        _place.make_private(root)
        _place.make_private(folder)
        kind = _place.file_system(folder)
        networked = kind in _place.NETWORKED
        lock = RunLock.take(folder / _place.LOCK, shared=networked)
        try:
            recalled = self._open(run, networked=networked)
        except BaseException as error:
            self._abandon_or_close(error)
            lock.release()
            if isinstance(error, sqlite3.Error | OSError):
                raise described(error, self._path, "be opened") from error
            raise
        self._lock, self._pid = lock, os.getpid()
        _open_journals.add(self)
        notes = [_NETWORKED.format(path=folder, kind=kind)] if networked else []
        for note in notes:
            _log.warning("%s", note)
        return msgspec.structs.replace(recalled, notes=notes)

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        """Write the batch in one transaction; JournalError names what kept it from lasting, and ends all writing."""
        connection = self._mine()
        began = time.monotonic()
        try:
            packed = self._rows.pack(batch)
            connection.execute("BEGIN IMMEDIATE")
            self._check_generation(connection)
            self._rows.write(batch, packed)
            self._inside_commit("")
            connection.execute("COMMIT")
            self._before_checkpoint("")
            self._checkpoint(connection)
        except BaseException as error:
            self._broken = True
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            self._give_up(error)
            if isinstance(error, sqlite3.Error):
                raise described(error, self._path, f"commit {len(batch.outcomes)} outcomes") from error
            raise
        took_s = time.monotonic() - began
        if took_s > _SLOW_S:
            _log.warning("a commit to %s took %.1f s: its disk is slow, or another process held it", self._path, took_s)

    @hookimpl
    def load(self, query: JournalQuery) -> Sequence[Outcome]:
        """Return recorded outcomes of the run, values included."""
        try:
            return list(outcomes(self._mine(), query, self._spool, self._key, kept_only=True))
        except sqlite3.Error as error:
            raise described(error, self._path, "give outcomes back") from error

    @hookimpl
    def close(self) -> None:
        """Work what is left into the database, and let go of the run."""
        connection, self._connection = self._connection, None
        _open_journals.discard(self)
        lock, self._lock = self._lock, None
        if connection is None:
            if lock is not None:
                lock.release()
            return
        if os.getpid() != self._pid:
            _leak(connection)
            return
        try:
            if self._writes_ahead and not self._broken:  # closing does so too, and does not say if the disk fails
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            connection.close()
        except sqlite3.Error as error:
            if name_of(error) in _UNTRUSTED:
                _leak(connection)
                raise described(error, self._path, "be closed") from error
            connection.close()  # what could not be worked in stands in the log, and lasts there
        finally:
            if lock is not None:
                lock.release()

    @hookimpl
    def archive(self) -> SqliteArchive:
        """Return a reader of all runs."""
        return SqliteArchive(_place.root_of(self._settings.path), pickles=self._settings.results == "pickle")

    # ---- opening

    def _open(self, run: RunOpening, *, networked: bool) -> Recalled:
        fresh = not self._path.exists()
        if fresh:
            create(self._path, run)
        timeout_s = self._settings.busy_timeout_s
        self._connection = connection = sqlite3.connect(self._path, timeout=timeout_s, isolation_level=None)
        connection.execute("PRAGMA trusted_schema = OFF")
        version = check(connection, self._path)
        if run.resume:
            check_whole(connection, self._path)
        self._set_up(connection, networked=networked)
        migrate(connection, version)
        self._broken = False
        self._spool = Spool(self._folder / _place.SPOOL)
        self._key = _key_of(self._folder) if self._settings.results == "pickle" else None
        self._generation = 1 if fresh else begin_again(connection, run, self._path)
        self._rows = Rows(connection, self._generation, self._store)
        _place.sync_folder(self._folder)  # SQLite does so too, and takes no notice if it fails
        if not run.resume:
            return Recalled()
        return Recalled(tasks=list(entries(connection, JournalQuery())), states=states(connection))

    def _set_up(self, connection: sqlite3.Connection, *, networked: bool) -> None:
        lasting = networked or self._settings.durability == "power"
        mode = "DELETE" if networked else "WAL"  # write-ahead needs memory that all who have the file open share
        [got] = connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
        self._writes_ahead = got == "wal"
        level = "FULL" if self._writes_ahead else "EXTRA"  # a rollback journal is done with once its name is gone
        connection.execute(f"PRAGMA synchronous = {level if lasting else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # it would hide what goes wrong: see `_checkpoint`
        connection.execute(f"PRAGMA journal_size_limit = {16 * _CHECKPOINT_BYTES}")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA temp_store = MEMORY")
        self._checkpoint_at = _CHECKPOINT_BYTES

    # ---- writing

    def _store(self, value: Any) -> tuple[Packed, str | None]:  # Any: the user's result
        packed = pack(value, self._key)
        if len(packed.data) <= SPOOL_OVER:
            return packed, None
        return packed, self._spool.write(packed.data)

    def _check_generation(self, connection: sqlite3.Connection) -> None:
        """Raise JournalError if somebody else has gone on with the run: nothing of this process counts any more."""
        [generation] = connection.execute("SELECT generation FROM run").fetchone()
        if generation != self._generation:
            raise JournalError(
                f"the run in {self._folder} was taken over by another process: what this one does is not recorded now",
                reason="fenced",
            )

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """Work the write-ahead log into the database when it has grown by enough; an error of the disk is raised."""
        if not self._writes_ahead:
            return
        with suppress(FileNotFoundError):
            size = os.stat(f"{self._path}-wal").st_size
            if size < self._checkpoint_at:
                return
            busy, pages, done = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            # A reader that holds on to what was keeps the log from being begun anew: it is not tried at each commit.
            self._checkpoint_at = _CHECKPOINT_BYTES if not busy and pages == done else size + _CHECKPOINT_BYTES
            if self._checkpoint_at == _CHECKPOINT_BYTES and size >= _CHECKPOINT_BYTES:
                self._checkpoint_at = size + 1  # the file keeps its size when it is begun anew

    # ---- whose it is

    def _mine(self) -> sqlite3.Connection:
        """Return the connection; JournalError where it can't be used: closed, broken, or inherited by a fork."""
        connection = self._connection
        if connection is None or self._broken:
            raise JournalError(f"the journal {getattr(self, '_path', '')} is not open", reason="closed")
        if os.getpid() != self._pid:
            raise JournalError(
                f"the journal {self._path} belongs to process {self._pid}, and this is its child {os.getpid()}: "
                "a child process begins a run of its own",
                reason="forked",
            )
        return connection

    def _give_up(self, error: BaseException) -> None:
        """After an error of the disk, let go without another write: what it would say now could not be trusted."""
        if isinstance(error, sqlite3.Error) and name_of(error) in _UNTRUSTED:
            connection, self._connection = self._connection, None
            _leak(connection)

    def _abandon_or_close(self, error: BaseException) -> None:
        self._give_up(error)
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _forked(self) -> None:
        """In a child: drop what was inherited without closing it, for SQLite's locks are the parent's."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _leak(connection)
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.drop()


_UNTRUSTED = frozenset({"SQLITE_IOERR", "SQLITE_CORRUPT"})
_NETWORKED = (
    "the journal in {path} is on a network file system ({kind}): it is kept without a write-ahead log, which is "
    "slower, and as safe as the locks of that file system; a local folder by journals.sqlite.path is better"
)


def _key_of(folder: Path) -> bytes:
    """Return the key that pickles of a run are signed with, made on first use; it never leaves the run's folder."""
    path = folder / _place.KEY
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(_KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise JournalError(f"the key {path} is damaged: results that are pickles can't be read", reason="damaged")
    return key


def _leak(connection: sqlite3.Connection | None) -> None:
    """Have a connection never be closed, not at the end of the interpreter either."""
    if connection is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _in_child() -> None:
    for journal in list(_open_journals):
        journal._forked()
    _open_journals.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
