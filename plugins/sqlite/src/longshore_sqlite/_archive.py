"""All runs that are kept, for reading: each database is opened to read only, and let go of again."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from heapq import nlargest
from pathlib import Path
from typing import Any

import msgspec
from longshore.errors import JournalError
from longshore.records import JournalQuery, RunRecord, TaskEntry, TaskTrace
from longshore.task import Outcome

from longshore_sqlite import _place
from longshore_sqlite._faults import described
from longshore_sqlite._lock import RunLock, is_held
from longshore_sqlite._reading import entries, outcomes, states, traces
from longshore_sqlite._schema import check
from longshore_sqlite._spool import Spool

_COUNTS = "SELECT coalesce(state, 'unfinished'), count(*) FROM tasks WHERE redone = 0 GROUP BY 1"
_RUN = "SELECT run_id, name, started, state, ended, generation, host, pid, command, versions, settings FROM run"
_STARTED = "SELECT started FROM run"
_WAIT_S = 5.0


class SqliteArchive:
    """Reads what journals have written; writes nothing, and holds nobody up."""

    def __init__(self, root: Path, *, pickles: bool = False) -> None:
        """Read the runs in the folder `root`; with `pickles`, results that are pickles as well."""
        self._root = root
        self._pickles = pickles

    def runs(self, newest: int | None = None) -> Sequence[RunRecord]:
        """Return all runs, or so many of them, the newest first; one that can't be read has the state "damaged"."""
        names = [path.parent.name for path in self._root.glob(f"*/{_place.DATABASE}")]
        if newest is not None:  # counting the tasks of a run is what costs
            names = nlargest(newest, names, key=lambda name: (self._started(name), name))
        found = [self._record(name) for name in names]
        return sorted(found, key=lambda run: (run.started, run.run_id), reverse=True)

    def run(self, run_id: str) -> RunRecord:
        """Return one run; JournalError if it is not there, or damaged."""
        with closing(self._connect(run_id)) as connection, self._reading(run_id):
            return self._read(connection, run_id)

    def states(self, run_id: str, names: Sequence[str]) -> Mapping[str, Any]:  # Any: JSON-safe values
        """Return named states of one run; JournalError if it is not there, or damaged."""
        with closing(self._connect(run_id)) as connection, self._reading(run_id):
            return states(connection, names)

    def tasks(self, query: JournalQuery) -> Iterator[TaskEntry]:
        """Yield recorded tasks of one run, in the order in which they were recorded."""
        run_id = _named(query)
        with closing(self._connect(run_id)) as connection, self._reading(run_id):
            yield from entries(connection, query)

    def traces(self, query: JournalQuery) -> Iterator[TaskTrace]:
        """Yield all that is recorded of the tasks of one run but their values, in the order they were recorded."""
        run_id = _named(query)
        with closing(self._connect(run_id)) as connection, self._reading(run_id):
            yield from traces(connection, query)

    def outcomes(self, query: JournalQuery) -> Iterator[Outcome]:
        """Yield recorded outcomes of one run; the value of one that was not kept is None."""
        run_id = _named(query)
        folder = _place.folder_of(self._root, run_id)
        with closing(self._connect(run_id)) as connection, self._reading(run_id):
            key = None
            if self._pickles:
                with suppress(OSError):
                    key = (folder / _place.KEY).read_bytes()
            yield from outcomes(connection, query, Spool(folder / _place.SPOOL), key, kept_only=False)

    def remove(self, run_id: str) -> None:
        """Delete a run; JournalError if it is not there, or if a process holds it."""
        folder = _place.folder_of(self._root, run_id)
        if not (folder / _place.DATABASE).exists():
            raise _unknown(run_id, self._root)
        _place.check_private(folder)
        lock = RunLock.take(folder / _place.LOCK, shared=_place.file_system(folder) in _place.NETWORKED)
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise described(error, folder, "be removed") from error
        finally:
            lock.drop()

    def close(self) -> None:
        """Do nothing: whatever was opened is closed with the reading of it."""

    def _started(self, run_id: str) -> float:
        try:
            with closing(self._connect(run_id)) as connection, self._reading(run_id):
                row = connection.execute(_STARTED).fetchone()
                return float(row[0]) if row is not None else 0.0
        except JournalError:
            return 0.0

    def _record(self, run_id: str) -> RunRecord:
        try:
            return self.run(run_id)
        except JournalError:
            return RunRecord(run_id=run_id, started=0.0, state="damaged")

    def _connect(self, run_id: str) -> sqlite3.Connection:
        path = _place.folder_of(self._root, run_id) / _place.DATABASE
        if not path.is_file():
            raise _unknown(run_id, self._root)
        _place.check_private(path.parent)
        try:
            connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_WAIT_S, isolation_level=None)
        except sqlite3.Error as error:
            raise described(error, path, "be opened") from error
        try:
            connection.execute("PRAGMA query_only = ON")
            check(connection, path)
        except sqlite3.Error as error:
            connection.close()
            raise described(error, path, "be read") from error
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _reading(self, run_id: str) -> Iterator[None]:
        """Have what goes wrong with the reading of a run be a JournalError that names its file."""
        path = _place.folder_of(self._root, run_id) / _place.DATABASE
        try:
            yield
        except sqlite3.Error as error:
            raise described(error, path, "be read") from error
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, ValueError, KeyError) as error:
            text = f"the journal {path} is damaged: what stands in its rows can't be read: {error}"
            raise JournalError(text, reason="damaged", path=str(path)) from error

    def _read(self, connection: sqlite3.Connection, run_id: str) -> RunRecord:
        folder = _place.folder_of(self._root, run_id)
        row = connection.execute(_RUN).fetchone()
        counts = dict(connection.execute(_COUNTS))
        if row is None:
            raise _unknown(run_id, self._root)
        *facts, command, versions, settings = row
        names = ("run_id", "name", "started", "state", "ended", "generation", "host", "pid")
        return RunRecord(
            **dict(zip(names, facts, strict=True)),
            held=is_held(folder / _place.LOCK),
            command=msgspec.json.decode(command),
            versions=msgspec.json.decode(versions),
            settings=msgspec.json.decode(settings),
            counts=counts,
        )


def _named(query: JournalQuery) -> str:
    if query.run_id is None:
        raise JournalError("tasks are read of one run at a time: name it")
    return query.run_id


def _unknown(run_id: str, root: Path) -> JournalError:
    return JournalError(f"there is no run {run_id} in {root}", reason="unknown", run_id=run_id)
