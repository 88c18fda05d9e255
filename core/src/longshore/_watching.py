"""How a pool watches itself: one timer on its loop looks at the run, remembers it, and raises alerts.

A look costs by executors and stages, never by tasks; between two of them nothing is done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from longshore._journaling import Journaling
from longshore._loads import strained, uses_of
from longshore._runtime.driver import Driver
from longshore._telling import Telling
from longshore._tracking.alerts import AlertRules, Alerts, Look
from longshore._tracking.history import HistoryBook, HistoryBounds
from longshore.events import Happened
from longshore.records import HISTORY_STATE, Alert, Health, MetricsPoint, RunHistory, TaskCounts, WorkerCount
from longshore.settings import Settings
from longshore.task import Priority

_NAMED = 3
"""Running tasks that are named where nothing moves."""
_NAME = 100
"""Characters of a name or key that are told."""
_QUEUES = {"the queue": Priority.NORMAL, "the queue of CRITICAL tasks": Priority.CRITICAL}


class Watching:
    """The look at one run each few seconds; `history`, `alerts` and `late_s` may be asked from any thread."""

    def __init__(
        self,
        driver: Driver,
        telling: Telling,
        *,
        settings: Settings,
        journaling: Journaling | None,
        health: Callable[[], Health],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at nothing before `start`; `health` is asked on the loop, and its answer told."""
        self._driver, self._telling = driver, telling
        self._journaling, self._health, self._clock = journaling, health, clock
        self._cadence, self._settings = settings.history, settings.health
        self._book = HistoryBook(_bounds(settings), journaling.history if journaling is not None else None)
        self._alerts = Alerts(_rules(settings))
        self._full_since: dict[str, float] = {}
        self._ended, self._ended_at = 0, clock()
        self._due = clock()
        self._health_due = self._due + self._settings.every_s
        self._timer: asyncio.TimerHandle | None = None
        telling.heard = lambda event: self._book.hear(event, datetime.now(UTC))
        telling.alerts = self.alerts

    def start(self) -> None:
        """Look now, and go on with that; a run that only begins has nothing to record yet."""
        self._look(self._clock(), datetime.now(UTC))
        self._arm()

    def stop(self) -> None:
        """Look for the last time, and have the journal keep what is remembered."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        now, at = self._clock(), datetime.now(UTC)
        point = self._point(self._telling.fold.counts(), now, at)
        if not self._book.add(point, None, now):
            self._book.keep(point)
        self._book.end(at)
        self._record()

    def history(self) -> RunHistory:
        """Return what is remembered of the run."""
        return self._book.history()

    def alerts(self) -> tuple[Alert, ...]:
        """Return the alerts that stand, the oldest first."""
        return self._alerts.standing

    def late_s(self) -> float:
        """Return for how many seconds a look, or a decision of the engine, has been due."""
        look_s = 0.0 if self._timer is None else self._clock() - self._due
        return max(0.0, look_s, self._driver.alarm.late_s())

    def stalled(self) -> list[str]:
        """Return that nothing moves, as it was said when that was seen."""
        return [alert.message for alert in self._alerts.standing if alert.name == "stalled"]

    def saturated(self) -> list[str]:
        """Return which queues are full, and have been, while no task ended for too long."""
        now, after_s = self._clock(), self._settings.saturated_after_s
        full = {name: since for name, since in list(self._full_since.items()) if self._driver.room(_QUEUES[name]) <= 0}
        for_s = {name: now - max(since, self._ended_at) for name, since in full.items()}
        return [f"{name} is full, and no task has ended for {s:.0f} s" for name, s in for_s.items() if s >= after_s]

    # ---- on the loop

    def _arm(self) -> None:
        self._due = self._clock() + self._cadence.fine_every_s
        self._timer = asyncio.get_running_loop().call_later(self._cadence.fine_every_s, self._tick)

    def _tick(self) -> None:
        self._arm()  # first: what is raised in a look may not end the looking
        now = self._clock()
        if self._look(now, datetime.now(UTC)):
            self._record()
        if now >= self._health_due:
            self._health_due = now + self._settings.every_s
            self._telling.publish(told_of(self._health()))

    def _look(self, now: float, at: datetime) -> bool:
        """Look at the run, and tell whether it is time to record what is remembered."""
        telling, engine = self._telling, self._driver.engine
        counts = telling.fold.counts()
        self._see_queues(counts.ended, now)
        percent = strained(self._telling.loads(), gpu_lent=bool(engine.lent().get("gpu")))
        look = Look(counts=counts, moves=telling.fold.moves, percent=percent, paused=engine.paused)
        for event in self._alerts.look(look, now, at, lambda: self._stuck(counts, now)):
            telling.publish(event)
        return self._book.add(self._point(counts, now, at), telling.throttled(), now)

    def _see_queues(self, ended: int, now: float) -> None:
        if ended != self._ended:
            self._ended, self._ended_at = ended, now
        full = [name for name, priority in _QUEUES.items() if self._driver.room(priority) <= 0]
        self._full_since = {name: self._full_since.get(name, now) for name in full}

    def _point(self, counts: TaskCounts, now: float, at: datetime) -> MetricsPoint:
        fold, engine = self._telling.fold, self._driver.engine
        return MetricsPoint(
            at=at,
            **{name: getattr(counts, name) for name in TaskCounts.__struct_fields__},
            retried=fold.retried,
            rate_per_s=fold.rate_per_s(now),
            mean_run_s=fold.mean_run_s,
            mean_wait_s=fold.mean_wait_s,
            usage=uses_of(self._telling.loads()),
            workers={name: WorkerCount(total, active) for name, (total, active) in engine.in_use().items()},
            queue=engine.queue(),
        )

    def _stuck(self, counts: TaskCounts, now: float) -> str:
        """Say what runs, and what waits for what, as `explain` says it."""
        slowest = self._telling.fold.slowest(now, _NAMED)
        named = [
            f"{task.label[:_NAME]} ({task.name[:_NAME]}) on {task.executor} for {task.running_s:.0f} s"
            for task in slowest
        ]
        runs = f"{counts.running} running, the longest {', '.join(named)}" if named else "none is running"
        waits = self._driver.engine.what_waits(now)
        return f"{runs}; {counts.queued} waiting, of which {waits}" if waits else runs

    def _record(self) -> None:
        if self._journaling is not None:
            self._journaling.recorder.state({HISTORY_STATE: self._book.state()})


def told_of(health: Health) -> Happened:
    """Return the event that tells how the pool is."""
    return Happened("health_check", {"healthy": health.healthy, "reasons": list(health.reasons)})


def _rules(settings: Settings) -> AlertRules:
    return AlertRules(**settings.alerts.model_dump(), stall_after_s=settings.health.stall_after_s)


def _bounds(settings: Settings) -> HistoryBounds:
    return HistoryBounds(**settings.history.model_dump())
