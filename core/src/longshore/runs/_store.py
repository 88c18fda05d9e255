"""The store of a run: takes its events in on one thread, and answers from any thread what views ask of it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from longshore.events import AnyEvent
from longshore.runs import _details, _pages, _sums, _timeline
from longshore.runs._folding import Changes, Folding
from longshore.runs._place import Place
from longshore.runs._schema import PUT_ATTEMPT, PUT_TASK, PUT_TEXT, connect, create
from longshore.runs._views import (
    By,
    FailureView,
    StageView,
    TaskDetail,
    TaskFilter,
    TaskPage,
    TaskRow,
    Throughput,
    Timeline,
    WorkerView,
)

_T = TypeVar("_T")
_ALL = TaskFilter()
_REST = 10
"""Sums are made anew at most so often that they take one part in so many of a thread's time."""


class _Answer(NamedTuple):
    found: list[Any]  # Any: what one query gives
    version: int
    until: float


class RunStore:
    """A run's tasks in a private temporary database, which is gone with the store.

    Takes some 300 bytes of disk a task, and memory only for those that have not ended. Of more than `tasks_most` tasks
    the rows of the first ones are kept, and the others are only counted: see `left_out`.
    """

    def __init__(self, *, folder: Path | None = None, tasks_most: int = 2_000_000) -> None:
        """Make an empty store, in a folder of its own within `folder` (None: where the system has temporary files)."""
        if tasks_most < 1:
            raise ValueError(f"tasks_most must be at least 1, not {tasks_most!r}")
        self.tasks_most = tasks_most
        self.left_out = 0
        """How many tasks have no row, since there were more than `tasks_most`."""
        self.version = 0
        """Rises with every batch that changed something: what was answered before it may be old."""
        self._place = Place(folder)
        self._path = self._place.path / "run.db"
        self._writer = create(self._path)
        self._folding = Folding(self._has_ended)
        self._readers: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._cached: dict[str, _Answer] = {}

    # ---- taking in

    def take(self, batch: Sequence[AnyEvent]) -> None:
        """Take in events of one run, in their order; on one thread. Those of a task that has ended change nothing."""
        changes = self._folding.fold(batch)
        if not changes.rows:
            return
        with self._lock:
            if self._closed:
                return
            self._write(changes)
            self.version += 1

    def _write(self, changes: Changes) -> None:
        execute = self._writer.execute
        execute("BEGIN")
        try:
            rows = list(changes.rows.values())
            if self._count() + len(rows) > self.tasks_most:
                rows = self._known_or_fitting(rows)
            self._put(PUT_TASK, rows)
            self._put(PUT_ATTEMPT, changes.attempts)
            self._put(PUT_TEXT, changes.texts)
            execute("COMMIT")
        except BaseException:
            execute("ROLLBACK")
            raise

    def _has_ended(self, task_id: str) -> bool:
        sql = "SELECT 1 FROM tasks WHERE task_id = ? AND ended IS NOT NULL"
        return self._writer.execute(sql, (task_id,)).fetchone() is not None

    def _put(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:  # Any: what SQLite stores
        """Write rows; those with names of files that are no UTF-8, which SQLite refuses, with their bytes escaped."""
        try:
            self._writer.executemany(sql, rows)
        except UnicodeEncodeError:  # each row takes the place of what of it was written
            self._writer.executemany(sql, [[_storable(value) for value in row] for row in rows])

    def _count(self) -> int:
        [[count]] = self._writer.execute("SELECT coalesce(max(id), 0) FROM tasks")
        return int(count)

    def _known_or_fitting(self, rows: Sequence[list[Any]]) -> list[list[Any]]:  # Any: what SQLite stores
        """Return the rows that are there already, and as many new ones as there is room for."""
        [[there]] = self._writer.execute("SELECT count(*) FROM tasks")
        kept, room = [], self.tasks_most - there
        for row in rows:
            known = self._writer.execute("SELECT 1 FROM tasks WHERE task_id = ?", (row[0],)).fetchone()
            if known is None and room <= 0:
                self.left_out += row[9] is not None  # counted once, as it ends
                continue
            room -= known is None
            kept.append(row)
        return kept

    def close(self) -> None:
        """Remove the database; a second call does nothing. What is asked afterwards raises ValueError."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for connection in (*self._readers, self._writer):
                connection.close()
            self._readers.clear()
        self._place.remove()

    # ---- answering

    def span(self) -> tuple[float, float] | None:
        """Return when the first task was submitted, and when something last happened; None before both."""
        first, last = self._folding.first, self._folding.last
        return None if first is None or last is None else (first, max(first, last))

    def stages(self) -> list[StageView]:
        """Return the tasks by name and executor, in the order in which they came: the first 200, and the others as one.

        All tasks are in it, those without rows too; the quantiles are over those that have rows.
        """
        return self._answer("stages", lambda reader: _sums.stages(reader, self._folding.stages.all()))

    def throughput(self, start: float | None = None, end: float | None = None, *, steps: int = 60) -> Throughput:
        """Return how many tasks ended in each of `steps` steps (1 to 1000), of the whole run or between two times."""
        since, until = self._bounds(start, end)
        return self._ask(lambda reader: _sums.throughput(reader, since, until, max(1, min(steps, 1000))))

    def tasks(
        self,
        wanted: TaskFilter = _ALL,
        *,
        sort: str = "id",
        descending: bool = False,
        after: str | None = None,
        limit: int = 100,
    ) -> TaskPage:
        """Return a page of at most `limit` tasks (1 to 1000), the one that follows what `TaskPage.next` was.

        ValueError for a sort that is none, and for an `after` that comes from another sort.
        """
        size = max(1, min(limit, 1000))
        return self._ask(lambda reader: _pages.page(reader, wanted, sort, descending, after, size))

    def task(self, task_id: str) -> TaskDetail | None:
        """Return all that is known of one task."""
        return self._ask(lambda reader: _details.task(reader, task_id))

    def slowest(self, limit: int = 20, *, running: bool = False) -> list[TaskRow]:
        """Return the tasks that ran longest, the longest first; with `running` those that run now, the oldest first."""
        return self._ask(lambda reader: _pages.slowest(reader, limit, running))

    def failures(self, limit: int = 100) -> list[FailureView]:
        """Return failures by what they have in common, the most frequent first."""
        return self._answer(f"failures {limit}", lambda reader: _details.failures(reader, limit))

    def workers(self) -> list[WorkerView]:
        """Return what each worker did, by executor and name; of more than 1000 the later ones together."""
        return self._folding.stages.workers()

    def timeline(
        self,
        start: float | None = None,
        end: float | None = None,
        *,
        by: By = "workers",
        bars_most: int = 5000,
        steps: int = 600,
        lanes_most: int = 200,
    ) -> Timeline:
        """Return the attempts from `start` to `end` by worker or stage: each, or sums of `steps` steps if too many."""
        since, until = self._bounds(start, end)
        asked = _timeline.Asked(since, until, by, bars_most, max(1, steps), max(1, lanes_most))
        if start is None and end is None:  # the whole run, which everybody asks for
            name = f"timeline {asked.by} {asked.bars_most} {asked.steps} {asked.lanes_most}"
            [whole] = self._answer(name, lambda reader: [_timeline.timeline(reader, asked)])
            return whole
        return self._ask(lambda reader: _timeline.timeline(reader, asked))

    def _bounds(self, start: float | None, end: float | None) -> tuple[float, float]:
        span = self.span() or (0.0, 0.0)
        since = span[0] if start is None else start
        return since, max(since + 1e-3, span[1] if end is None else end)

    def _answer(self, name: str, query: Callable[[sqlite3.Connection], list[_T]]) -> list[_T]:
        """Return what a query gives; what it gave, where nothing has changed, or it took long for how old that is."""
        version, now = self.version, time.monotonic()
        cached = self._cached.get(name)
        if cached is None or (cached.version != version and now >= cached.until):
            found = self._ask(query)
            took_s = time.monotonic() - now
            cached = self._cached[name] = _Answer(found, version, now + took_s * _REST)
        return list(cached.found)

    def _ask(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._reader() as reader:
            return query(reader)

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that nobody else uses meanwhile."""
        with self._lock:
            if self._closed:
                raise ValueError("the store of this run is closed")
            reader = self._readers.pop() if self._readers else connect(self._path)
        try:
            yield reader
        finally:
            self._give_back(reader)

    def _give_back(self, reader: sqlite3.Connection) -> None:
        with self._lock:
            if self._closed:
                reader.close()
            else:
                self._readers.append(reader)


def _storable(value: object) -> object:
    """Return a value as SQLite takes it: in a text, what no UTF-8 can say becomes an escape."""
    if not isinstance(value, str):
        return value
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace").decode()
