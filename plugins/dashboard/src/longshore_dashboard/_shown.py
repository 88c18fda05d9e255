"""The run as pages show it: what store, pool and logs have, as JSON-safe values; called on the page threads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from longshore.records import Health, MetricsPoint, RunHistory, RunInfo, RunSetup, RunSnapshot, RunSummary, WorkerStats
from longshore.runs import RunStore, TaskFilter, WorkerView

from longshore_dashboard._logs import LogRing
from longshore_dashboard._plain import Plain
from longshore_dashboard._wellbeing import Wellbeing

Json = dict[str, Any]  # Any: JSON-safe values
RUNNING = "running"
_SLOWEST = 10
_FAILURES = 5
_log = logging.getLogger("longshore.sinks")
T = TypeVar("T")


class Shown:
    """One run; `summary` is set once, when it is over."""

    def __init__(self, run: RunInfo, store: RunStore, logs: LogRing, plain: Plain, *, control: bool) -> None:
        """Show this run from this store."""
        self.run = run
        self.store = store
        self.logs = logs
        self.plain = plain
        self.control = control
        self.wellbeing = Wellbeing(run.health)
        self._summary: RunSummary | None = None
        self._setup: RunSetup | None = None
        self._history: RunHistory | None = None

    def conclude(self, summary: RunSummary) -> None:
        """Show the run as it ended, from now on; what the run cannot tell any more is shown as nothing."""
        self._setup = _told(self.run.setup, RunSetup())
        self._history = _told(self.run.history, RunHistory())
        self._summary = summary

    @property
    def summary(self) -> RunSummary | None:
        """How the run ended; None while it goes on."""
        return self._summary or self.run.summary()

    def document(self) -> Json:
        """Return the head of all pages."""
        run, summary = self.run, self.summary
        facts = {
            "run_id": run.run_id,
            "name": self.plain.of(run.name),
            "started": run.started.timestamp(),
            "live": summary is None,
            "control": self.control and summary is None,
            "version": self.store.version,
        }
        return {"run": facts, **self.moment()}

    def moment(self) -> Json:
        """Return what changes all the time."""
        summary = self.summary
        health = None if summary is not None else self.wellbeing.now()
        return {
            "snapshot": self.plain.of(self._snapshot(summary)),
            "health": self._health(health),
            "state": RUNNING if summary is None else summary.state,
            "notes": [] if summary is None else self.plain.of(summary.notes, "message"),
            "error": None if summary is None else self.plain.of(summary.error, "message"),
            "version": self.store.version,
            "left_out": self.store.left_out,
        }

    def overview(self) -> Json:
        """Return the sums of the run, and what is of note now."""
        store, summary = self.store, self.summary
        return {
            "stages": self.plain.of(store.stages()),
            "throughput": self.plain.of(store.throughput()),
            "running": self.plain.of(store.slowest(_SLOWEST, running=True)),
            "failures": self.plain.of(store.failures(_FAILURES)),
            "bands": self.plain.of(self.history().bands, "reason"),
            "alerts": self.plain.of(self._snapshot(summary).alerts),
        }

    def resources(self, start: float | None, end: float | None) -> Json:
        """Return what was measured between two times: by the minute, and finer where that is remembered."""
        history = self.history()
        points = _within(points_of(history), start, end)
        limits: dict[str, float | None] = {}
        for point in points:
            limits |= {name: use.limit for name, use in point.usage.items()}
        return {
            "points": self.plain.of(points),
            "bands": self.plain.of(history.bands, "reason"),
            "limits": limits,
            "happenings": self.plain.of(history.happenings, "reason"),
        }

    def workers(self) -> list[Json]:
        """Return what each worker did, and does now as far as anybody knows."""
        live = {worker.worker_id: worker for worker in self.run.workers()}
        seen = self.store.workers()
        known = {view.worker for view in seen}
        new = [_fresh(worker) for worker in live.values() if worker.worker_id not in known]
        return [{**self.plain.of(view), "live": self._live(live.get(view.worker))} for view in (*seen, *new)]

    def setup(self) -> Json:
        """Return plugins, settings and versions."""
        shown: Json = self.plain.of(self.run.setup() if self._setup is None else self._setup)
        return shown

    def wanted(self, text: str | None) -> str | None:
        """Return what a page may be searched for; ValueError where that would tell what is not shown."""
        if text and not self.plain.keys:
            raise ValueError("`q` is not there: what tasks work on is not shown (`show_keys`)")
        return text

    def history(self) -> RunHistory:
        """Return what is remembered of the run over its time."""
        return self._history if self._history is not None else self.run.history()

    def tasks(self, wanted: TaskFilter, **page: Any) -> Json:  # Any: as the store has them
        """Return a page of tasks."""
        shown: Json = self.plain.of(self.store.tasks(wanted, **page))
        return shown

    def _snapshot(self, summary: RunSummary | None) -> RunSnapshot:
        return self.run.snapshot() if summary is None else summary.snapshot

    def _health(self, health: Health | None) -> Json | None:
        if health is None or not health.checks:
            return None
        return {**self.plain.of(health), "live": health.live, "ready": health.ready}

    def _live(self, worker: WorkerStats | None) -> Json | None:
        if worker is None:
            return None
        return {**self.plain.of(worker), "average_processing_time": worker.average_processing_time}


def _told(ask: Callable[[], T], otherwise: T) -> T:
    """Return what the run says, or `otherwise` where it can't."""
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - the pool's parts may raise anything, and its end is to be shown
        _log.warning("dashboard: the run did not say all of its end: %r", error)
        return otherwise


def points_of(history: RunHistory) -> list[MetricsPoint]:
    """Return all points in order, the finer ones where there are both."""
    fine = list(history.points_fine)
    coarse = [point for point in history.points_minute if not fine or point.at < fine[0].at]
    return [*coarse, *fine]


def _within(points: Sequence[MetricsPoint], start: float | None, end: float | None) -> list[MetricsPoint]:
    return [
        point
        for point in points
        if (start is None or point.at.timestamp() >= start) and (end is None or point.at.timestamp() <= end)
    ]


def _fresh(worker: WorkerStats) -> WorkerView:
    """Return the row of a worker of which no task has ended."""
    return WorkerView(
        worker=worker.worker_id,
        executor=worker.worker_type,
        tasks=0,
        failed=0,
        busy_s=0.0,
        cpu_s=0.0,
        peak_memory_mb=None,
        first=None,
        last=None,
        current=worker.current_task,
    )
