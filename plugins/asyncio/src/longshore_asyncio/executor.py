"""Coroutines as tasks: attempts come from the pool on its loop, outcomes go back in batches.

A worker is a seat, not an asyncio task. With isolation "task" each attempt gets an asyncio task and a context of its
own; with "shared" a seat awaits one attempt after another, which saves half the time and shares contextvars.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from longshore.hookspecs import CancelRequest, Capabilities, ExecutorHost, LimitRequest, ResizeRequest, hookimpl
from longshore.records import LeftBehind, WorkerStats
from longshore.task import Attempt, Outcome, TaskState
from longshore.worker import NEVER, bind, cancelled, in_columns
from pydantic import BaseModel, ConfigDict, Field

from longshore_asyncio._deadlines import Deadlines
from longshore_asyncio._finished import Finished
from longshore_asyncio._seat import (
    NOT_YET,
    AsyncSeat,
    Contexts,
    prepare,
    raised,
    returned,
    running_in,
    stats,
)
from longshore_asyncio._watchdog import Watchdog

_SLICE_S = 0.001  # tasks that never suspend give the loop a turn this often
_REPORT_LEAST = 512  # while attempts wait here, outcomes go back when there are this many
_REPORT_S = 0.002  # or when this much time has passed
_STOPPED = "cancelled: the pool stopped"
_new_task: Callable[..., asyncio.Task[float]] = asyncio.Task
if sys.version_info >= (3, 12):
    _new_task = partial(asyncio.Task, eager_start=True)


class AsyncioSettings(BaseModel):
    """The table `[tool.longshore.executors.asyncio]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    initializer_timeout_s: float | None = Field(default=120.0, gt=0.0, allow_inf_nan=False)
    """Seconds an initializer that is a coroutine function may take; then it is cancelled, and its task times out."""


class AsyncioExecutor(Deadlines):
    """Runs coroutine functions on the pool's loop, `host.workers` at once."""

    Settings = AsyncioSettings
    api = 1
    capabilities = Capabilities(
        worker_type="async",
        runs=frozenset({"coroutine"}),
        timeout="cancel",
        isolation=frozenset({"task", "shared"}),
        columns=True,
    )

    def __init__(self, settings: AsyncioSettings | None = None) -> None:
        """Make an executor that is not started."""
        self._settings = settings or AsyncioSettings()
        self._backlog: deque[Attempt] = deque()
        self._free: list[AsyncSeat] = []
        self._seats: dict[str, AsyncSeat] = {}
        self._made = 0
        self._wanted = 0
        self._at_once = sys.maxsize  # so many seats may be taken at once, whatever waits
        self._done = Finished()
        self._turning = False
        self._report_by = 0.0
        self._reporting: asyncio.TimerHandle | None = None
        self._filling = False
        self._slice_end = 0.0
        self._resting = 0  # seats of "shared" attempts that only give the loop its turn
        self._left: set[AsyncSeat] = set()
        """The lost ones: the loop refers to their asyncio tasks weakly, and none may vanish while it runs."""
        self._stopping = False

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        """Make the seats."""
        self._host = host
        self._at_once = sys.maxsize
        self._loop = host.loop
        self._contexts = Contexts()
        self._watchdog = Watchdog(host, lambda: list(self._seats.values()))
        self._resize(host.workers)
        host.resized(self._wanted)

    @hookimpl
    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Queue the attempts and fill the free seats."""
        self._backlog.extend(attempts)
        self._done.expect(attempts)
        if self._stopping:
            self.cancel(CancelRequest([attempt.task_id for attempt in attempts], _STOPPED))
        self._fill()
        if not in_columns(attempts):
            self._arm_waiting(attempts)

    @hookimpl
    def cancel(self, request: CancelRequest) -> None:
        """Drop those that have not begun, cancel the coroutines of those that run."""
        ids = set(request.task_ids)
        now = time.monotonic()
        for attempt in [attempt for attempt in self._backlog if attempt.task_id in ids]:
            self._backlog.remove(attempt)
            self._tell(cancelled(attempt, now, now, None, request.message))
        for seat in list(self._seats.values()):
            current = seat.attempt
            if current is None or current.task_id not in ids or seat.verdict is not None:
                continue
            if seat.started == NOT_YET:
                self._withdraw(seat, current, request.message)
            else:
                self._tell_to_end(seat, current, TaskState.CANCELLED, request.message)

    @hookimpl
    def resize(self, request: ResizeRequest) -> None:
        """Change the number of seats; an occupied one is taken away when its attempt ends."""
        self._resize(request.workers)
        self._host.resized(self._wanted)
        self._fill()

    @hookimpl
    def limit(self, request: LimitRequest) -> None:
        """Begin nothing while so many seats are taken."""
        self._at_once = sys.maxsize if request.workers is None else request.workers
        self._fill()

    @hookimpl
    def workers(self) -> Sequence[WorkerStats]:
        """Return what each seat is doing."""
        return [stats(seat, stopping=self._stopping) for seat in list(self._seats.values())]

    @hookimpl
    def left_behind(self) -> Sequence[LeftBehind]:
        """Return the coroutines that did not end when they were cancelled, and go on."""
        clearing_up = [seat for seat in list(self._seats.values()) if seat.reported]
        return [seat.remains() for seat in [*list(self._left), *clearing_up]]

    @hookimpl
    def pids(self) -> Sequence[int]:
        """Return nothing: the seats are in this process."""
        return ()

    @hookimpl
    async def stop(self, deadline: float) -> None:
        """Cancel what is left, and wait for it until `deadline`."""
        self._stopping = True
        if not self._made:
            return  # it was never started
        running = [seat.attempt for seat in self._seats.values() if seat.attempt is not None]
        self.cancel(CancelRequest([attempt.task_id for attempt in [*self._backlog, *running]], _STOPPED))
        while (tasks := running_in(self._seats.values())) and time.monotonic() < deadline:
            # `_sweep` gives up some of them meanwhile: nobody need wait for those
            await asyncio.wait(tasks, timeout=max(0.0, min(deadline, self._armed) - time.monotonic()))
        for seat in list(self._seats.values()):
            if seat.attempt is not None:
                self._write_off(seat)
            else:
                seat.close()
        self._disarm()
        self._watchdog.stop()
        self._flush()

    # ---- seats

    def _resize(self, workers: int) -> None:
        self._wanted = max(1, workers)
        while len(self._seats) < self._wanted:
            seat = AsyncSeat(f"async-{self._made}", self._host)
            self._made += 1
            self._seats[seat.worker_id] = seat
            self._free.append(seat)
        while len(self._seats) > self._wanted and self._free:
            self._seats.pop(self._free.pop().worker_id).close()

    def _fill(self) -> None:
        """Start attempts while there are free seats; never re-entered, though eager tasks may end while it runs."""
        backlog, free, loop, contexts = self._backlog, self._free, self._loop, self._contexts
        if self._filling or self._stopping:
            return
        self._filling = True
        if self._watchdog.resting and backlog and free:
            self._watchdog.wake()  # before one that starts eagerly, and may block the loop at once
        turn = time.monotonic() + _SLICE_S
        try:
            while backlog and free and self._taken() < self._at_once:
                if self._resting and backlog[0].spec.isolation == "shared":
                    return  # the seat that gives the loop this turn takes it next; if it suspends then, others come
                seat = free.pop()
                seat.started = NOT_YET
                seat.attempt = attempt = backlog.popleft()
                name = seat.worker_id  # without one, Python 3.11 formats a number for each
                if attempt.spec.isolation == "shared":
                    running = self._serve(seat, attempt)
                    seat.running = asyncio.Task(running, loop=loop, name=name, context=contexts.nobodys())
                    return  # the seat starts the next one when it begins to run: most backlogs need one seat only
                context = contexts.new(seat, attempt)
                seat.running = _new_task(self._attempt(seat, attempt), loop=loop, name=name, context=context)
                if seat.started > turn:
                    self._turn_soon()
                    return
        finally:
            self._filling = False
            if self._watchdog.resting and len(self._free) < len(self._seats):
                self._watchdog.wake()

    def _taken(self) -> int:
        return len(self._seats) - len(self._free)

    def _leave(self, seat: AsyncSeat) -> None:
        """Free a seat, or take it away when there are too many; `_turn` fills the free ones."""
        seat.attempt = None
        seat.running = None
        if not seat.lost and len(self._seats) <= self._wanted:
            self._free.append(seat)
            return
        self._left.discard(seat)
        self._seats.pop(seat.worker_id, None)
        seat.close()

    # ---- running

    async def _serve(self, seat: AsyncSeat, attempt: Attempt) -> None:
        """Await a "shared" attempt, and the next ones as well, until none is left."""
        bind(seat)
        if self._backlog and self._free:
            self._loop.call_soon(self._fill)
        now = self._begin_slice()
        try:
            while True:
                now = await self._attempt(seat, attempt, now)
                if seat.lost:
                    return
                if now > self._slice_end:
                    seat.attempt = None
                    now = await self._rest()
                if not self._backlog or self._backlog[0].spec.isolation != "shared":
                    return
                if len(self._seats) > self._wanted or self._taken() > self._at_once:
                    return
                attempt = self._backlog.popleft()
        finally:
            self._leave(seat)
            if not seat.lost:
                self._turn_soon()  # what this seat did not take, others may

    async def _rest(self) -> float:
        """Give the loop a turn; return when it came back. Other seats begin when this one suspends for good."""
        self._resting += 1
        try:
            await asyncio.sleep(0)
        finally:
            self._resting -= 1
        if self._backlog and self._free:
            self._loop.call_soon(self._fill)
        return self._begin_slice()

    def _begin_slice(self) -> float:
        """Return the time now; all seats share a slice, else a turn of the loop took one for each of them."""
        now = time.monotonic()
        if now > self._slice_end:
            self._slice_end = now + _SLICE_S
        return now

    async def _attempt(self, seat: AsyncSeat, attempt: Attempt, started: float | None = None) -> float:
        """Await the user's coroutine, report how it ended, return when that was; without `started` it is alone here."""
        if alone := started is None:
            started = time.monotonic()
        spec, timeout_s = attempt.spec, attempt.spec.timeout_s
        seat.started = started
        seat.attempt = attempt
        try:
            if spec.initializer is not None and spec.initializer not in seat.prepared:
                started = await self._prepare(seat, attempt, spec.initializer, started)
            if attempt.expires_at is not None or (timeout_s is not None and started + timeout_s < self._armed):
                self._limit(seat, attempt, started)
            call, args, kwargs = spec.function, attempt.args, attempt.kwargs
            value = await (call(*args) if kwargs is None else call(*args, **kwargs))
            now = time.monotonic()
            # The sweep is armed for the first that is due.
            late = now >= self._armed or seat.verdict is not None
            outcome = returned(seat, attempt, value, started, now) if late else None
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything, and it costs this task only
            now = time.monotonic()
            outcome = raised(seat, attempt, error, started, now)
        if seat.view is not None:
            seat.finish()
        if not seat.reported:
            if outcome is not None:
                self._add(seat, outcome)
            else:
                seat.completed += 1
                seat.busy_s += now - started
                self._done.complete(attempt, value, started, now, seat.worker_id)
            if not self._turning:
                self._turn_soon()
        elif not seat.lost:
            seat.regain()
            self._turn_soon()
        if alone:
            self._leave(seat)
        return now

    async def _prepare(
        self, seat: AsyncSeat, attempt: Attempt, initializer: Callable[[], object], started: float
    ) -> float:
        """Get a seat ready for this and later attempts, within a limit of its own; return when that was done."""
        limit_s = self._settings.initializer_timeout_s
        self._limit(seat, attempt, started)  # one that is past its deadline begins nothing, not even this
        seat.ready_by = NEVER if limit_s is None else started + limit_s
        self._arm(seat.due(attempt))
        try:
            await prepare(seat, initializer)
        finally:
            seat.ready_by = None
            seat.started = now = time.monotonic()
        return now

    def _add(self, seat: AsyncSeat, outcome: Outcome) -> None:
        """Count and keep an outcome that is not in columns."""
        if outcome.error is None:
            seat.completed += 1
            seat.busy_s += outcome.ran_s
        else:
            seat.failed += 1  # time spent on what did not complete is not work done
        self._done.append(outcome)

    def _tell(self, outcome: Outcome) -> None:
        """Report an attempt that ended otherwise than by its coroutine."""
        self._done.append(outcome)
        self._turn_soon()

    def _turn_soon(self) -> None:
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Once per turn of the loop: give freed seats to what waits here, and report what has ended.

        While attempts wait here, outcomes are gathered for a moment: a report costs the same for one or for many.
        """
        self._turning = False
        if self._backlog:
            self._fill()
        elif len(self._free) == len(self._seats):
            self._disarm()
            self._done.forget()
            self._contexts.forget()
        if not self._backlog or len(self._done) >= _REPORT_LEAST or self._loop.time() >= self._report_by:
            self._flush()
        elif self._reporting is None and len(self._done):
            self._reporting = self._loop.call_later(_REPORT_S, self._flush)

    def _flush(self) -> None:
        if self._reporting is not None:
            self._reporting.cancel()
            self._reporting = None
        if len(self._done):
            self._report_by = self._loop.time() + _REPORT_S
            for part in self._done.take():
                self._host.report(part)

    def _withdraw(self, seat: AsyncSeat, attempt: Attempt, message: str) -> None:
        """End an attempt whose asyncio task has not taken its first step: cancelled now, it never will."""
        if seat.running is not None:
            seat.running.cancel()
        now = time.monotonic()
        seat.failed += 1
        self._tell(cancelled(attempt, now, now, seat.worker_id, message))
        self._leave(seat)
