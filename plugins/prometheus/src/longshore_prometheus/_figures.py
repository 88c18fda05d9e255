"""The figures of a run as it is now: asked for by who scrapes, at most so often, and the last ones once it is over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from longshore.errors import LongshoreError
from longshore.records import PoolStats, RunInfo, RunSnapshot, RunSummary, WorkerStats
from msgspec import Struct

from longshore_prometheus._tally import Tally, Totals

_log = logging.getLogger("longshore.sinks")
FRESH_S = 0.5
"""For so long figures count as new: however often somebody scrapes, the pool is asked no more often than that."""


class Figures(Struct, frozen=True, kw_only=True):
    """What is known of a run at one moment."""

    totals: Totals
    snapshot: RunSnapshot | None
    """None before the pool has started."""
    stats: PoolStats
    workers: Sequence[WorkerStats]
    over: bool = False
    """Whether they are the last ones."""


class RunFigures:
    """One run's figures; `read` may be called from any thread, and asks the pool on that thread."""

    def __init__(self, run: RunInfo, tally: Tally, clock: Callable[[], float] = time.monotonic) -> None:
        """Read `tally`, and ask `run` for the rest."""
        self._run = run
        self._tally = tally
        self._clock = clock
        self._lock = threading.Lock()
        self._read: Figures | None = None
        self._read_at = 0.0
        self._over = False

    @property
    def began_at(self) -> float:
        """When the run began, in seconds since 1970."""
        return self._run.started.timestamp()

    def read(self) -> Figures:
        """Return the figures as they are, or were less than FRESH_S ago."""
        with self._lock:
            if self._read is None or not (self._over or self._clock() - self._read_at < FRESH_S):
                self._read, self._read_at = self._asked(), self._clock()
            return self._read

    def conclude(self, summary: RunSummary) -> None:
        """Keep the figures of the run's end; the pool is not asked any more. What it can't tell is as it was last."""
        with self._lock:
            self._over = True
            try:
                stats = self._run.stats()
            except Exception as error:  # noqa: BLE001 - the pool's parts may raise anything, and this is its end
                _log.warning("prometheus: the run did not say all of its end: %r", error)
                stats = PoolStats() if self._read is None else self._read.stats
            totals = self._tally.read()
            self._read = Figures(totals=totals, snapshot=summary.snapshot, stats=stats, workers=(), over=True)

    def _asked(self) -> Figures:
        # Gauges first: a task that ends meanwhile is then counted twice for one scrape rather than not at all.
        try:
            snapshot, stats, workers = self._run.snapshot(), self._run.stats(), self._run.workers()
        except LongshoreError:  # the pool is not up yet
            snapshot, stats, workers = None, PoolStats(), ()
        return Figures(totals=self._tally.read(), snapshot=snapshot, stats=stats, workers=workers)
