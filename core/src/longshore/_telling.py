"""What the pool tells: every batch of events goes into the fold, and from there to the bus and to each sink's courier.

Called by the pool on its loop. Nobody who is told can hold it up: with no sink and subscriber a batch costs the fold.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from msgspec.structs import replace

from longshore._delivery import EventBus, ForeignBus, ForeignTracker, SinkCourier
from longshore._tracking import RunFold
from longshore.errors import PoolNotRunning
from longshore.events import EventBatch, Happened
from longshore.hookspecs import Sink
from longshore.progress import ProgressTracker
from longshore.records import (
    Alert,
    Load,
    PoolStats,
    RunInfo,
    RunSnapshot,
    RunSummary,
    SinkHealth,
    Usage,
    WorkerScale,
    WorkerStats,
    WorkerStatus,
)

_TROUBLES = 5  # kinds of trouble with workers that are named
_TROUBLE = ("worker_error", "worker_blocked")


class Telling:
    """One run's fold, bus and sinks. `snapshot` may be called from any thread."""

    def __init__(self, bus: EventBus, foreign: object | None, tracker: object | None) -> None:
        """Tell `bus`, and through it a duck-typed bus and a tracker of the user's; TypeError for what can't be told."""
        self.bus = bus
        self._foreign = ForeignBus(foreign) if foreign is not None else None
        self._tracker = _follower(tracker)
        self._detach: list[Callable[[], None]] = []
        self._handlers: Sequence[SinkHealth] = ()
        self._couriers: list[SinkCourier] = []
        self._began = time.monotonic()
        self.fold = RunFold(self._began)
        self.run: RunInfo | None = None
        self._seq = 1
        self._expected = 0
        self._unknown = 0  # how many streams go on that can't say how many tasks they will have
        self._troubles: Counter[str] = Counter()
        self.throttled: Callable[[], str | None] = lambda: None
        self.paused: Callable[[], bool] = lambda: False
        self.alerts: Callable[[], Sequence[Alert]] = tuple
        self.heard: Callable[[Happened], None] = lambda event: None
        """Told of every event that is none of tasks, but for ends of workers that were meant."""
        self.usage: Callable[[], Mapping[str, Usage]] = dict
        self.loads: Callable[[], Mapping[str, Load]] = dict
        self.utilization: Callable[[], Mapping[str, float]] = dict

    @property
    def uptime_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def expect(
        self, tasks: int | None, seconds: Mapping[str, Mapping[str, float]] | None = None, stages: int = 1
    ) -> Callable[[int], None]:
        """Add to how many tasks there will be; None: nobody can say. Call what is returned with how many there were.

        `seconds` is what they will likely take, by key and name; each key is counted for `stages` tasks.
        """

        def over(came: int) -> None:
            self._expected += came - (tasks or 0)
            self._unknown -= tasks is None
            self.fold.forget(seconds or ())

        if seconds:
            self.fold.expect(seconds, stages)
        self._expected += tasks or 0
        self._unknown += tasks is None
        return over

    def open(self, run: RunInfo, sinks: Mapping[str, Sink]) -> None:
        """Begin to tell the sinks, the tracker and the foreign bus of this run."""
        self.run = run
        if self._foreign is not None:
            self._detach.append(self._foreign.attach(self.bus))
        if self._tracker is not None:
            self._detach.append(self._tracker(self.bus))
        for name, sink in sinks.items():
            courier = SinkCourier(name, sink, run if _controls(sink) else replace(run, control=None))
            courier.start()
            self._couriers.append(courier)

    def publish(self, batch: EventBatch) -> None:
        """Fold a batch and pass it on."""
        if isinstance(batch, Happened):
            self._note(batch)
        self.fold.fold(batch, time.monotonic())
        if self._couriers or self.bus.is_heard:
            at = datetime.now(UTC)
            self.bus.publish_batch(batch, self._seq, at)
            for courier in self._couriers:
                courier.put(batch, self._seq, at)
        self._seq += len(batch)

    def _note(self, event: Happened) -> None:
        """Count trouble with workers, and pass on what is not of tasks."""
        trouble = event.type in _TROUBLE
        if trouble and not _is_trouble(event.data):
            return
        if trouble:
            self._troubles[str(event.data.get("error", "no reason given"))[:200]] += 1
        self.heard(event)

    def snapshot(self) -> RunSnapshot:
        """Return the run as it is now."""
        if self.run is None:
            raise PoolNotRunning("the pool has not been started")
        return self.fold.snapshot(
            self.run,
            time.monotonic(),
            total=None if self._unknown else self._expected or None,
            throttled=self.throttled(),
            paused=self.paused(),
            usage=self.usage(),
            loads=self.loads(),
            sinks=self.health(),
            alerts=self.alerts(),
        )

    def health(self) -> Sequence[SinkHealth]:
        """Return how telling each sink went so far."""
        return [courier.health() for courier in self._couriers]

    def notes(self) -> list[str]:
        """Return a line for people on each sink and handler that did not go well, and on workers in trouble."""
        sinks = [_note("sink", health) for health in self.health() if health.state != "ok"]
        handlers = [_note("event handler", health) for health in self._handlers if health.state != "ok"]
        workers = [f"{count} x a worker: {trouble}" for trouble, count in self._troubles.most_common(_TROUBLES)]
        return sinks + handlers + workers

    def stats(
        self,
        workers: Sequence[WorkerStats],
        left_behind: int,
        scaling: Mapping[str, WorkerScale],
        throttled_s: Mapping[str, float],
        queue: Mapping[str, Mapping[str, int]],
    ) -> PoolStats:
        """Return the run's statistics, with what its workers do, what goes on for no task, and how many wait where."""
        counts = self.fold.counts()
        there = [worker for worker in workers if worker.status is not WorkerStatus.STOPPED]
        active = sum(worker.current_task is not None for worker in there)
        return PoolStats(
            total_workers=len(there),
            active_workers=active,
            idle_workers=len(there) - active,
            queued_tasks=counts.queued,
            completed_tasks=counts.completed,
            failed_tasks=counts.failed,
            average_wait_time=self.fold.mean_wait_s,
            average_processing_time=self.fold.mean_run_s,
            resource_utilization=dict(self.utilization()),
            submitted_tasks=counts.submitted,
            running_tasks=counts.running,
            retrying_tasks=counts.retrying,
            cancelled_tasks=counts.cancelled,
            timed_out_tasks=counts.timed_out,
            left_behind=left_behind,
            uptime_s=self.uptime_s,
            scaling=scaling,
            throttled_s=throttled_s,
            queue=queue,
        )

    async def conclude(self, summary: RunSummary, within_s: float) -> None:
        """Let sinks and handlers have what waits for them, side by side, and wait for that no longer than `within_s`.

        Sinks are given up on then; handlers are still told what waits, for as long as their loop runs, and noted.
        """
        deadline = time.monotonic() + within_s
        for courier in self._couriers:
            courier.conclude(summary, deadline)
        waits = in_threads([courier.wait for courier in self._couriers])
        told, _ = await asyncio.gather(self.bus.drain(within_s), waits)
        self._handlers = [_behind(health) for health in self.bus.health()]
        for detach in self._detach:
            detach()
        await in_threads([self.bus.rest if told else lambda: self.bus.rest(0.0)])

    async def abandon(self, within_s: float) -> None:
        """Close what was opened for a run that does not come about: its sinks are closed without having heard."""
        if self.run is not None:
            await self.conclude(RunSummary(snapshot=self.snapshot(), state="failed", error="not started"), within_s)


async def in_threads(calls: Sequence[Callable[[], object]]) -> None:
    """Make calls that block for a bounded time, side by side; not in the loop's own threads, which may all be taken."""
    if calls:
        loop = asyncio.get_running_loop()
        threads = ThreadPoolExecutor(len(calls), thread_name_prefix="longshore-closing")
        try:
            await asyncio.gather(*(loop.run_in_executor(threads, call) for call in calls))
        except BaseException:
            threads.shutdown(wait=False)
            raise
        threads.shutdown()  # the calls have returned, and their threads end at once: none is left behind


def _controls(sink: Sink) -> bool:
    """Tell whether a sink may steer the run: by default none may."""
    return getattr(sink, "controls", False) is True


def _is_trouble(data: Mapping[str, object]) -> bool:
    """Tell whether an end of a worker is for people to know: one that was to be killed is not, unless that failed."""
    return not data.get("killed_for") or data.get("reason") == "unkillable"


def _follower(tracker: object | None) -> Callable[[EventBus], Callable[[], None]] | None:
    """Return how a tracker is made to follow a bus; TypeError for what is no tracker."""
    if tracker is None:
        return None
    return tracker.follow if isinstance(tracker, ProgressTracker) else ForeignTracker(tracker).attach


def _behind(health: SinkHealth) -> SinkHealth:
    """Return how a handler stands at the end: one that is still to be told of something was slow."""
    return replace(health, state="slow") if health.waiting and health.state == "ok" else health


def _note(kind: str, health: SinkHealth) -> str:
    what = f"{kind} {health.name} is {health.state}: {health.delivered} events delivered, {health.dropped} dropped"
    if health.waiting:
        what += f", {health.waiting} still waiting when the pool stopped"
    if health.errors:
        what += f", {health.errors} error{'s' if health.errors > 1 else ''}"
    return f"{what}; the last: {health.last_error}" if health.last_error else what
