"""The roster: one row for each worker of a run, and one timer that beats for all of them.

Called by the pool on its loop, save for `workers`, which may be asked from any thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache

from msgspec import Struct
from msgspec.structs import replace

from longshore.events import EventBatch, Happened
from longshore.records import WorkerStats, WorkerStatus

LATE_BEATS = 3
"""After so many intervals without a sign of life a worker is in state `error`."""
IDLE, BUSY, STOPPING, STOPPED, ERROR = WorkerStatus
MOVES: Mapping[WorkerStatus, frozenset[WorkerStatus]] = {
    IDLE: frozenset({BUSY, STOPPING, ERROR}),
    BUSY: frozenset({IDLE, STOPPING, ERROR}),
    ERROR: frozenset({IDLE, BUSY, STOPPING, STOPPED}),
    STOPPING: frozenset({STOPPED}),
    STOPPED: frozenset(),
}
"""The legal moves of a worker's status; who looks now and then may see several at once."""


@cache
def moved(old: WorkerStatus, new: WorkerStatus) -> WorkerStatus:
    """Return the status to show of a worker that was `old` and is said to be `new`: what can't be is not shown."""
    reached, last = {old}, set[WorkerStatus]()
    while reached != last:
        last, reached = reached, reached.union(*(MOVES[status] for status in reached))
    return new if new in reached else old


class _Known(Struct):
    """What is remembered of a worker between two looks; `beat` is monotonic, `beat_at` the same for people."""

    stats: WorkerStats
    beat: float
    beat_at: datetime


class Roster:
    """The workers of one run, live while it runs and as they were at its end."""

    def __init__(
        self,
        ask: Callable[[], Iterable[tuple[str, WorkerStats]]],
        publish: Callable[[EventBatch], None],
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` gives what executors say of their workers, with the executor's name; made on the loop's thread."""
        self._ask = ask
        self._publish = publish
        self._interval_s = interval_s
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._lock = threading.Lock()  # guards what follows
        self._known: dict[tuple[str, str], _Known] = {}
        self._draining = False
        self._over = False
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Beat from now on."""
        self._due = self._loop.time()
        self._arm()

    def drain(self) -> None:
        """Show all workers as stopping, and those that leave as stopped."""
        self._look()
        self._draining = True

    def stop(self) -> None:
        """Beat no more, and show all workers as stopped."""
        if self._timer is not None:
            self._timer.cancel()
        self._look()
        with self._lock:
            self._over = True
            for known in self._known.values():
                known.stats = _left(known.stats)

    def workers(self) -> list[WorkerStats]:
        """Return the row of each worker."""
        return [known.stats for known in self._look().values()]

    def _arm(self) -> None:
        self._due = max(self._due + self._interval_s, self._loop.time())
        self._timer = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        """Tell of every worker that lives."""
        now, at = self._clock(), datetime.now(UTC)
        for (executor, _), known in self._look().items():
            stats = known.stats
            if stats.status in (ERROR, STOPPED) or not stats.started:
                continue
            known.beat, known.beat_at = now, at
            data = {
                "worker_id": stats.worker_id,
                "worker_type": str(stats.worker_type),
                "executor": executor,
                "status": str(stats.status),
                "task_id": stats.current_task,
            }
            self._publish(Happened("worker_heartbeat", data))
        self._arm()

    def _look(self) -> dict[tuple[str, str], _Known]:
        """Ask the executors, and remember."""
        with self._lock:
            if not self._over:
                self._known = self._asked()
            return self._known

    def _asked(self) -> dict[tuple[str, str], _Known]:
        now, at, before = self._clock(), datetime.now(UTC), self._known
        looked: dict[tuple[str, str], _Known] = {}
        for executor, stats in self._ask():
            key = executor, stats.worker_id
            known = before.get(key) or _Known(stats, now, at)
            status = moved(known.stats.status, self._status(stats, known, now, at))
            known.stats = replace(stats, status=status, last_heartbeat=known.beat_at, executor=executor)
            looked[key] = known
        if self._draining:
            for key, known in before.items():
                if key not in looked:
                    known.stats = _left(known.stats)
                    looked[key] = known
        return looked

    def _status(self, stats: WorkerStats, known: _Known, now: float, at: datetime) -> WorkerStatus:
        if stats.status not in (IDLE, BUSY) or not stats.started:
            return stats.status
        if self._silent_s(stats, known, now, at) > LATE_BEATS * self._interval_s:
            return ERROR
        return STOPPING if self._draining else stats.status

    def _silent_s(self, stats: WorkerStats, known: _Known, now: float, at: datetime) -> float:
        """Return the seconds since a worker was known to live."""
        if stats.last_heartbeat is not None:
            return (at - stats.last_heartbeat).total_seconds()
        if threading.get_ident() == self._thread:
            return 0.0  # it lives on the loop, which is here
        return now - known.beat


def _left(stats: WorkerStats) -> WorkerStats:
    return replace(stats, status=STOPPED, current_task=None)
