"""The pool: the one file that joins the rooms. Engine and driver decide and act, tracking watches, delivery tells."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakSet

from msgspec.structs import replace

from longshore._carrying import task_spans
from longshore._control import Control
from longshore._delivery import EventBus
from longshore._intake import Intake
from longshore._journaling import Journaling, opening, to_resume
from longshore._parts import Parts, wanted_sinks
from longshore._pipelines import Pipelines
from longshore._profiles import Profiles
from longshore._run_end import RunEnd
from longshore._runtime.driver import Driver
from longshore._runtime.executors import Executors
from longshore._runtime.loops import check_on
from longshore._runtime.roster import Roster
from longshore._seam import Seam
from longshore._submit import Submitter
from longshore._telling import Telling
from longshore._watching import Watching
from longshore.catalogue import EVENTS_VERSION
from longshore.errors import PoolNotRunning
from longshore.events import EventBatch, Happened, TasksSettled, TasksStarted
from longshore.hookspecs import Journal, Sink, WorkerNotice
from longshore.records import PoolInfo, RunInfo, RunSummary, TaskSpans
from longshore.settings import Settings, WorkerConfig, load_settings
from longshore.shared import Shared
from longshore.task import TaskOptions

T = TypeVar("T")

_log = logging.getLogger("longshore.pool")
_CLEANUP_LEAST_S = 0.5  # what workers get to clean up in, however little time `stop` was given
_CLOSE_S = 5.0  # what executors, journal and sinks get to close in, each
_FORSAKEN_S = 1.0  # the same where the loop they ran on is closed


class WorkerPool(Submitter, Control, Seam, Pipelines):
    """One queue over all executors. `async with` starts it and, on leaving, waits for what was submitted.

    Cheap to make, no loop needed. `start` brings up `asyncio`, `threads` and, where `process_workers` is set,
    `processes`, whose processes come with their first work; other executors come with the first work that names them.
    Left by an exception, it cancels what is left instead of waiting, and the run has failed, or by a cancellation is
    stopped. May be started again after `stop`; counts then begin anew, and subscriptions to `events` go on. Methods
    belong to the loop's thread unless they say otherwise.

    `resume` is the id of a recorded run that the first start goes on with: what the journal has the outcome of is not
    run again, nor is what failed unless `resume_failed`, and its Outcome says `restored`. ValueError without a journal.
    """

    summary: RunSummary | None = None
    """The run that ended last, with the health of every sink; None while none has."""
    _loop: asyncio.AbstractEventLoop | None = None
    _starting: asyncio.Future[None] | None = None
    _ending: asyncio.Task[RunSummary] | None = None
    _left_by: BaseException | None = None
    _running = _started = False

    def __init__(
        self,
        config: WorkerConfig | Mapping[str, Any] | None = None,  # Any: checked here
        event_bus: object | None = None,
        resource_monitor: object | None = None,
        progress_tracker: object | None = None,
        *,
        settings: Settings | None = None,
        journal: Journal | str | bool | None = None,
        resume: str | None = None,
        resume_failed: bool = False,
        sinks: Sequence[str | Sink] = (),
        name: str = "longshore",
        view: str = "auto",
        interactive: bool = False,
    ) -> None:
        """Take settings (None: read from their sources, as `longshore.load_settings` does) and what differs from them.

        `config` replaces the table `workers` (ValueError if it can't); `sinks` come beside those that settings enable,
        by name or as objects with a sink's methods (else TypeError); `journal` likewise, False for none. `event_bus` is
        an EventBus, or anything with `emit` or `publish`; `resource_monitor` a ResourceMonitor, or anything with
        `current_usage` or `check_availability` (None: one of the settings' limits and probes; one that does not run is
        started and stopped with the pool); `progress_tracker` a ProgressTracker or the like. Sinks get the others.
        """
        Submitter.__init__(self, TaskOptions(), self._taking, self.expect)
        self.settings = settings if settings is not None else load_settings().settings
        Seam.__init__(self, self.settings.results)
        self.config = self.settings.workers if config is None else WorkerConfig.model_validate(config)
        ours = issubclass(type(event_bus), EventBus)  # a mock of one only says that it is
        self.events = event_bus if ours and isinstance(event_bus, EventBus) else EventBus()
        """The bus to subscribe to; subscriptions outlive `stop`, and hear the next run as well."""
        self._foreign, self._monitor_given = None if ours else event_bus, resource_monitor
        self._journal_wanted = self.settings.journal if journal is None else journal
        self._resume, self._resume_failed = to_resume(resume, self._journal_wanted), resume_failed
        self._sinks_wanted: tuple[str | Sink, ...] = (*self.settings.sinks, *wanted_sinks(sinks))
        self._run_facts: dict[str, Any] = {"name": name, "view": view, "interactive": interactive}  # Any: RunInfo's
        self.progress_tracker, self._parts = progress_tracker, Parts(self.settings, self.config)
        self._processors = self._parts.processors
        self._shares: WeakSet[Shared[Any]] = WeakSet()  # Any: each has its own type
        self._runs, self._listeners = set(), {}

    # ---- life

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what was submitted, or cancel it if an exception is leaving; PoolNotRunning if the pool failed."""
        self._left_by = error
        try:
            summary = await self.stop(None if error is None else 0.0)
        finally:
            self._left_by = None  # it would keep alive what its frames hold
        if error is None and summary is not None and summary.state == "failed":
            raise PoolNotRunning(f"the pool has failed: {summary.error}") from self._driver.failure

    async def start(self) -> None:
        """Take work from now on; a second call does nothing. Raises with nothing left open.

        A pool whose loop was closed under it is begun anew on this one; WrongPlace while it runs on another loop.
        PluginError for a plugin that is missing or broken or can't start, SettingsError for its options, JournalError
        for a journal that does not open.
        """
        if self._loop is not None and self._loop.is_closed():
            await self._forsake()
        if self._loop is not None and (self._running or self._starting or self._ending):
            check_on(self._loop)
        while self._starting is not None:
            await asyncio.wait({self._starting})
        if self._ending is not None and not self._ending.done():
            await asyncio.wait({self._ending})
        if self._running:
            return
        self._loop = asyncio.get_running_loop()
        self._starting = self._loop.create_future()
        try:
            await self._begin()
        finally:
            self._starting.set_result(None)
            self._starting = None

    async def _begin(self) -> None:
        """Begin a run, or raise with nothing left open."""
        token, started = secrets.token_hex(3), datetime.now(UTC)
        sinks, hooks = self._parts.sinks(self._sinks_wanted), self._parts.hooks()
        self._measuring = self._parts.measuring(self._monitor_given)
        telling = Telling(self.events, self._foreign, self.progress_tracker)
        run_id = self._resume or f"{started:%Y%m%dT%H%M%S}-{token}"
        spans = task_spans(sinks.values())
        offered = {**self._run_facts, **self._offered(), "health": self._health, "history": self.history}
        run = RunInfo(run_id=run_id, started=started, spans=spans, **offered)
        await self._open_journal(run)
        self._telling, self._hooks, self._ending = telling, hooks, None
        self._put_together(token, spans)
        try:
            executors = await self._executors.bring_up(self._parts.brought_up())
            telling.open(run, sinks)
            await self._measuring.start()
        except BaseException:  # such as no more threads to be had
            await self._undo_start()
            raise
        self._running, self._started, self._resume, self._stop_by = True, True, None, math.inf
        if self._journaling is not None:
            self._journaling.begin(self._driver.engine)
        self._roster.start()
        self._watching.start()
        config, settings = self.config.model_dump(mode="json"), self.settings.model_dump(mode="json")
        told = {"run": run.run_id, "config": config, "events_version": EVENTS_VERSION}
        self._publish(Happened("worker_pool_started", told))
        hooks.pool_started(PoolInfo(run_id=run.run_id, executors=executors, settings=settings))

    async def _forsake(self) -> None:
        """Close what is left of a run whose loop was closed under it, as far as that goes from another one."""
        self._starting = self._ending = self._loop = None
        if not self._running:
            return
        self._running = False
        self._runs.clear()
        for close in (self._roster.stop, self._watching.stop, self._driver.close):
            with suppress(RuntimeError):  # who waited on that loop can't be woken any more
                close()
        closing: list[Awaitable[object]] = [
            self._executors.stop(time.monotonic()),
            self._measuring.stop(),
            self._telling.abandon(_FORSAKEN_S),
        ]
        if self._journaling is not None:
            closing.append(self._journaling.close(_FORSAKEN_S))
        for error in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(error, BaseException):
                _log.warning("the loop was closed under the pool, and something of it did not close: %r", error)

    async def _undo_start(self) -> None:
        """Leave nothing of a start that failed, or was given up on."""
        await self._executors.stop(time.monotonic() + _CLOSE_S)
        self._driver.close()
        await self._measuring.stop()
        await self._telling.abandon(_CLOSE_S)
        if self._journaling is not None:
            await self._journaling.close(_CLOSE_S)

    def _put_together(self, token: str, spans: TaskSpans | None) -> None:
        """Make what decides and acts in the run that begins."""
        monitor = self._measuring.monitor
        journaling = self._journaling
        engine = self._parts.engine(monitor.limits, journaling.learnt if journaling is not None else None)
        recorder = journaling.recorder if journaling is not None else None
        self._driver = Driver(engine, publish=self._publish, notice=self._notice, recorder=recorder)
        self._executors = Executors(self._driver, self._parts.executor, self._parts.workers)
        interval_s = self.config.worker_heartbeat_interval
        self._roster = Roster(self._executors.workers, self._publish, interval_s)
        self._ways_in = Intake(
            self._driver,
            self._executors,
            self._hooks,
            self.snapshot,
            self._processors,
            token=token,
            defaults=self._parts.defaults(),
            profiles=Profiles(token, lambda: self.run_folder),
            recalling=journaling.recalling if journaling is not None else None,
            spans=spans,
        )
        self._measuring.join(self._driver, self._executors, self._telling.fold.counts)
        self._telling.throttled, self._telling.paused = engine.held_because, lambda: engine.paused
        self._telling.usage, self._telling.loads = self._measuring.usage, self._measuring.loads
        self._telling.utilization = lambda: monitor.current_usage
        self._watching = Watching(
            self._driver,
            self._telling,
            settings=self.settings,
            journaling=journaling,
            health=self._health,
        )

    async def stop(self, timeout: float | None = None) -> RunSummary | None:
        """Take no more work, let what was accepted end within `timeout` seconds (None: no bound), cancel the rest.

        Runs of pipelines go on to their end first. A paused pool goes on for that. Streams give what was begun and then
        raise PoolNotRunning if they had more. Workers clean up within that time, or half a second where less is left.
        Returns the run's summary, also to those that call it meanwhile; None if the pool is not running. Cancelled
        itself, it cancels the tasks, closes all there is, and only then ends. WrongPlace on another loop than the
        pool's, and in a task of this pool, which it would wait for.
        """
        self._check_may_stop()
        if self._running and self._runs:
            try:
                timeout = await self._let_runs_end(timeout)
            except asyncio.CancelledError:
                await self.stop(0.0)
                raise
        if timeout is not None:
            self._stop_by = min(self._stop_by, time.monotonic() + timeout)
        if self._running:
            self._running = False
            self._driver.drain()
            self._roster.drain()
            self._ending = asyncio.get_running_loop().create_task(self._end(), name="longshore-stop")
        ending = self._ending
        if ending is None or ending.done():
            return None
        try:
            _, late = await asyncio.wait({ending}, timeout=timeout)
            if late:
                self._driver.abort()
                await asyncio.wait({ending})
        except asyncio.CancelledError:
            self._driver.abort()
            await asyncio.wait({ending})
            raise
        return ending.result()

    def _check_may_stop(self) -> None:
        """Raise WrongPlace where a stop could not end."""
        if not self._running and (self._ending is None or self._ending.done()):
            return
        self._driver.check_here()
        self._check_waits_for_another("stop")

    async def _end(self) -> RunSummary:
        """Wait for the end of all tasks, or for `abort`; then close everything, whatever state it is in."""
        drained = await self._driver.wait_until_drained()
        self._roster.workers()  # what they have done, before they leave
        error = await self._stop_executors()
        for shared in list(self._shares):
            shared.unload()
        await asyncio.gather(self._measuring.stop(), return_exceptions=True)  # one that raises keeps no journal open
        self._watching.stop()
        end = RunEnd.of(self._driver.failure, error, self._left_by, drained=drained)
        if self._journaling is not None and not await self._journaling.close(_CLOSE_S, end):
            error = "the journal did not close in time"
        end = RunEnd.of(self._driver.failure, error, self._left_by, drained=drained)
        self._roster.stop()
        self._publish(Happened("worker_pool_stopped", {"run": self.run_id, "uptime_s": self._telling.uptime_s}))
        self._driver.close()
        await self._telling.conclude(told := self._sum_up(end), _CLOSE_S)
        summary = self._sum_up(end)
        late = [note for note in summary.notes if note not in told.notes]
        self.summary = summary = replace(summary, late=late)
        self._hooks.pool_stopped(summary)
        return summary

    async def _stop_executors(self) -> str | None:
        """Stop all executors, take in what they still report, have that committed; return what went wrong."""
        now = time.monotonic()
        deadline = now + _CLOSE_S
        await asyncio.sleep(0)  # an Abort that was just asked for reaches the executors first
        await self._executors.stop(min(deadline, max(self._stop_by, now + _CLEANUP_LEAST_S)))
        try:
            await asyncio.wait_for(self._driver.wait_until_idle(), max(0.5, deadline - time.monotonic()))
        except TimeoutError:
            reported = self._driver.engine.idle
            who = "the journal did not commit in time" if reported else "an executor did not report all its attempts"
            self._driver.fail(PoolNotRunning(who))
        except PoolNotRunning as known:
            return str(known)
        return None

    async def _open_journal(self, run: RunInfo) -> None:
        self._journaling = None
        journal = self._parts.journal(self._journal_wanted)
        if journal is None:
            return
        journaling = Journaling(
            journal,
            opening(run, self.settings, self._parts.plugins, resume=self._resume is not None),
            told=lambda spec, outcomes: self._driver.tell(spec, outcomes),
            after=lambda: self._driver.wake(),
            failed=lambda error: self._driver.fail(error),
            again=self._resume_failed,
        )
        await journaling.open()
        self._journaling = journaling

    # ---- what tasks share

    def share(self, value: T) -> Shared[T]:
        """Return `value` as what may be given to any task and reaches each worker process once; see `Shared`.

        May be called before `start`, and from any thread. Nothing of it is left in workers or files when the pool
        has stopped; it may be used again when the pool is started again.
        """
        shared = Shared(value)
        self._shares.add(shared)
        return shared

    # ---- between the rooms

    def _taking(self) -> Intake:
        """Return the way in while there is one."""
        if not self._running:
            raise PoolNotRunning("the pool takes no work: it was not started, or is stopping")
        return self._ways_in

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop the pool runs on."""
        return self._taking().loop

    def _publish(self, batch: EventBatch) -> None:
        if isinstance(batch, TasksSettled):
            self._telling.publish(batch)
            self._ways_in.settled(batch.outcomes)
            return
        if isinstance(batch, TasksStarted):
            self._note_started(batch.attempts)
        self._telling.publish(batch)
        if self._listeners:
            self._hear(batch)

    def _notice(self, notice: WorkerNotice) -> None:
        self._publish(Happened(notice.type, dict(notice.data)))

    def _sum_up(self, end: RunEnd) -> RunSummary:
        late = self._driver.engine.snapshot().late
        notes = [*self._telling.notes(), *self._hooks.notes, *self._measuring.notes(), *self._ways_in.profiles.notes()]
        if self._journaling is not None:
            notes += self._journaling.notes()
        if late:
            notes.append(f"{late} late results of attempts that no longer counted were discarded")
        return RunSummary(snapshot=self.snapshot(), state=end.state, error=end.error, notes=notes)


__all__ = ["WorkerPool"]
