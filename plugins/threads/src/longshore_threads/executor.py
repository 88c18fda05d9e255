"""Plain functions in threads: attempts wait in one deque for all threads, outcomes in a list that the loop empties.

A thread cannot be killed. An attempt that passes its deadline, or is cancelled while it runs, is reported at once and
its thread abandoned: another takes its place, up to a cap, and the abandoned one ends when the function returns.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from types import CoroutineType

from longshore.hookspecs import CancelRequest, Capabilities, ExecutorHost, LimitRequest, ResizeRequest, hookimpl
from longshore.records import LeftBehind, WorkerStats
from longshore.task import PLAIN_TYPES, Attempt, Outcome, PlainOutcome, TaskState
from longshore.worker import NEVER, bind, cancelled, due_at, timed_out, unawaited
from pydantic import BaseModel, ConfigDict, Field

from longshore_threads._abandoning import Abandoning
from longshore_threads._backlog import first_due, take_out
from longshore_threads._seat import LONG_S, NOT_BEGUN, ThreadSeat, Told, count, remains, stats
from longshore_threads._sweeper import Sweeper

_COLLECT_S = 0.002  # while threads are busy, their outcomes are collected this often
_LEAVE_S = 0.05  # threads that only have to notice that they are to end get this long even past a deadline
_STOPPED = "cancelled: the pool stopped"
_COMPLETED = TaskState.COMPLETED  # an Enum's member costs 70 ns to get at on Python 3.11


class ThreadsSettings(BaseModel):
    """The table `[tool.longshore.executors.threads]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_abandoned: int = Field(default=32, ge=0)
    """Abandoned threads that are replaced; each one more costs a worker, until one comes back."""
    initializer_timeout_s: float | None = Field(default=120.0, gt=0.0, allow_inf_nan=False)
    """Seconds an initializer may take; its thread is abandoned then, and its task times out."""


class ThreadsExecutor(Abandoning):
    """Runs plain functions in daemon threads, `host.workers` at once."""

    Settings = ThreadsSettings
    api = 1
    capabilities = Capabilities(
        worker_type="thread",
        runs=frozenset({"function"}),
        timeout="abandon",
        isolation=frozenset({"task", "shared"}),
    )

    def __init__(self, settings: ThreadsSettings | None = None) -> None:
        """Make an executor that is not started."""
        self._settings = settings or ThreadsSettings()
        self._most = self._settings.max_abandoned
        self._backlog: deque[Attempt] = deque()
        self._results: list[Outcome] = []
        self._collecting = False
        """Whether the loop will look at the results by itself; if not, whoever adds one wakes it."""
        self._next_look: asyncio.TimerHandle | None = None
        self._wake: SimpleQueue[bool] = SimpleQueue()  # one item per idle thread that is to look for work
        self._lock = threading.Lock()  # guards what follows, and what seats are told
        self._seats: dict[str, ThreadSeat] = {}
        self._present: set[ThreadSeat] = set()  # those, and the ones that leave and are closing down
        self._idle = 0
        self._limit = sys.maxsize  # so many may be at work at once, whatever waits
        self._made = 0
        self._asked = 0
        self._wanted = 0  # what was asked for, less what the cap of abandoned threads takes away
        self._lost: set[ThreadSeat] = set()  # those that were given up, and have not come back
        self._withdrawn: dict[str, str] = {}
        """Messages by task, of tasks cancelled while a thread was about to begin them, or that had just ended."""
        self._empty = asyncio.Event()
        self._sweeper = Sweeper(self._look)
        self._stopping = False

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        """Start the threads; RuntimeError where there are none to be had."""
        self._host = host
        self._limit = sys.maxsize
        self._asked = self._wanted = max(1, host.workers)
        with self._lock:
            self._grow()
            if not self._seats:
                raise RuntimeError("the system has no more threads")
        host.resized(self._wanted)

    @hookimpl
    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Queue the attempts, wake idle threads, and start any that could not be started before."""
        self._backlog.extend(attempts)
        if self._stopping:
            self.cancel(CancelRequest([attempt.task_id for attempt in attempts], _STOPPED))
            return
        self._sweeper.arm(first_due(attempts))
        with self._lock:
            self._rouse()
            self._grow()

    @hookimpl
    def cancel(self, request: CancelRequest) -> None:
        """Drop those that wait here; report those that run as cancelled and abandon their threads."""
        ids = set(request.task_ids)
        now = time.monotonic()
        dropped = take_out(self._backlog, lambda attempt: attempt.task_id in ids)
        if dropped:
            self._host.report([cancelled(attempt, now, now, None, request.message) for attempt in dropped])
            ids.difference_update(attempt.task_id for attempt in dropped)
        if ids:
            self._cancel_taken(ids, request.message)

    @hookimpl
    def resize(self, request: ResizeRequest) -> None:
        """Change the number of threads; busy ones that are too many end after their attempt."""
        with self._lock:
            self._asked = max(1, request.workers)
            self._recount()
            surplus = max(0, min(self._idle, len(self._seats) - self._wanted))
            self._idle -= surplus
            self._have_all_look()
            self._grow()
            wanted = self._wanted
        for _ in range(surplus):
            self._wake.put(True)
        self._host.resized(wanted)

    @hookimpl
    def limit(self, request: LimitRequest) -> None:
        """Have only so many threads take attempts; others wait when theirs has ended, and keep what they have."""
        with self._lock:
            self._limit = sys.maxsize if request.workers is None else request.workers
            self._have_all_look()
            self._rouse()

    @hookimpl
    def workers(self) -> Sequence[WorkerStats]:
        """Return what each thread is doing."""
        return [stats(seat, stopping=self._stopping) for seat in list(self._seats.values())]

    @hookimpl
    def left_behind(self) -> Sequence[LeftBehind]:
        """Return the functions that go on in abandoned threads, and where each is now."""
        return [remains(seat) for seat in list(self._lost)]

    @hookimpl
    def complaints(self) -> Sequence[str]:
        """Return that there are fewer threads than were asked for, if it is so."""
        short = self._shortage()
        return () if short is None else (short,)

    @hookimpl
    def pids(self) -> Sequence[int]:
        """Return nothing: the threads are in this process."""
        return ()

    @hookimpl
    async def stop(self, deadline: float) -> None:
        """Report what is left as cancelled, and let the threads end; abandoned ones are left behind as daemons."""
        self._stopping = True
        with self._lock:
            self._have_all_look()  # one that is about to begin an attempt reports it as cancelled instead
            idle, self._idle = self._idle, 0
        running = [seat.attempt for seat in list(self._seats.values())]
        left = [attempt.task_id for attempt in [*self._backlog.copy(), *running] if attempt is not None]
        self.cancel(CancelRequest(left, _STOPPED))
        threads = [seat.thread for seat in list(self._present)]
        for _ in range(idle):
            self._wake.put(True)
        if self._present:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(_LEAVE_S, deadline - time.monotonic())):
                    await self._empty.wait()
        self._sweeper.stop(_LEAVE_S)
        for thread in filter(None, threads):
            thread.join(_LEAVE_S)  # it has nothing left to do but to end
        self._collect()
        if self._next_look is not None:
            self._next_look.cancel()

    # ---- threads; the lock is held where it says so

    def _grow(self) -> None:
        """Start the threads that are missing; the lock is held."""
        for _ in range(self._wanted - len(self._seats)):
            seat = ThreadSeat(f"thread-{self._made}", self._host)
            self._made += 1
            self._seats[seat.worker_id] = seat
            try:
                seat.start(self._work)
            except RuntimeError as error:  # the system has no more threads
                del self._seats[seat.worker_id]
                if not self._seats:
                    self._host.failed(error)
                return
            self._present.add(seat)

    def _rouse(self) -> None:
        """Wake idle threads for what waits here, as many as may be at work; the lock is held."""
        waking = max(0, min(self._idle, len(self._backlog), self._limit - self._at_work()))
        self._idle -= waking
        for _ in range(waking):
            self._wake.put(True)

    def _at_work(self) -> int:
        return len(self._seats) - self._idle

    def _have_all_look(self) -> None:
        """Have each thread ask once whether it is still wanted, and what it is about to begin; the lock is held."""
        for seat in self._seats.values():
            seat.told = Told.LOOK

    def _looked(self, seat: ThreadSeat) -> None:
        """Note that a thread has asked; when all have, none can still begin what was withdrawn. The lock is held."""
        seat.told = None
        if self._withdrawn and not any(seat.told is Told.LOOK for seat in self._seats.values()):
            self._withdrawn.clear()

    def _gone(self, seat: ThreadSeat) -> None:
        """Count a thread no more, and wait for it no more; the lock is held."""
        self._seats.pop(seat.worker_id, None)
        self._present.discard(seat)
        if self._stopping and not self._present:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._host.loop.call_soon_threadsafe(self._empty.set)

    def _work(self, seat: ThreadSeat) -> None:
        """Run what there is, wait for more, until told to end."""
        bind(seat)
        while self._wait(seat) and self._run_backlog(seat):
            pass
        seat.close()
        with self._lock:
            self._gone(seat)

    def _wait(self, seat: ThreadSeat) -> bool:
        """Wait for work without polling; False when the thread is to end."""
        with self._lock:
            if self._stopping or len(self._seats) > self._wanted:
                del self._seats[seat.worker_id]
                return False
            self._looked(seat)
            if self._backlog and self._at_work() <= self._limit:
                return True
            self._idle += 1
        self._wake.get()
        with self._lock:
            if len(self._seats) > self._wanted:
                del self._seats[seat.worker_id]
                return False
        return True

    def _run_backlog(self, seat: ThreadSeat) -> bool:
        """Run attempts until none waits; False if the thread is to end. The hot path: each line is plain."""
        popleft, results, monotonic, coroutine = self._backlog.popleft, self._results, time.monotonic, CoroutineType
        spec, worker_id, plain, now = None, seat.worker_id, PLAIN_TYPES, seat.mark(monotonic())
        while True:
            seat.started = started = now
            try:
                seat.attempt = attempt = popleft()
            except IndexError:
                return self._out_of_work(seat)
            try:
                own = attempt.context is not None or attempt.expires_at is not None
                if attempt.spec is not spec or own or seat.told is not None:
                    spec, function, name, initializer = seat.ready(attempt)
                    if not self._may_begin(seat, attempt, started):
                        if seat.told is attempt:
                            return self._return_lost(seat)
                        continue  # a moment, which the next one's start is early by
                if initializer is not None and initializer not in seat.prepared:
                    started = self._prepare(seat, attempt, initializer)
                value = function(*attempt.args) if attempt.kwargs is None else function(*attempt.args, **attempt.kwargs)
                if type(value) is coroutine:
                    raise unawaited(name, value)
                now = monotonic()
                kind = PlainOutcome if type(value) in plain else Outcome
                outcome = kind(attempt.task_id, attempt.key, attempt.index, name, _COMPLETED, value, None,
                    attempt.number, started - attempt.queued_at, (ran_s := now - started),
                    seat.cpu_s(started, now) if ran_s >= LONG_S else None, None, worker_id)  # fmt: skip
            except BaseException as error:  # noqa: BLE001 - the user's code may raise anything; it costs this task only
                outcome = seat.failure(attempt, error, started, now := monotonic())
            if seat.view is not None:
                seat.finish()
            seat.left = attempt
            if seat.told is None:
                results.append(outcome)
                if not self._collecting:
                    self._wake_loop()
            elif (stays := self._may_go_on(seat, attempt, outcome)) is not True:
                return stays is None
            value = outcome = None  # type: ignore[assignment]  # the next one may take long: this result is its caller's

    def _prepare(self, seat: ThreadSeat, attempt: Attempt, initializer: Callable[[], object]) -> float:
        """Get a thread ready for this and later attempts, within a limit of its own; return when that was done."""
        limit_s = self._settings.initializer_timeout_s
        seat.ready_by = ready_by = NEVER if limit_s is None else time.monotonic() + limit_s
        self._sweeper.arm(seat.due(attempt, seat.started, ready_by))
        try:
            seat.prepare(initializer)
        finally:
            seat.started = now = time.monotonic()
            seat.ready_by = None
            self._sweeper.arm(due_at(attempt, now))
        return now

    def _out_of_work(self, seat: ThreadSeat) -> bool:
        """Have what was done collected at once, for nothing else is coming; True, for the thread is to wait."""
        seat.attempt = seat.left = None
        if self._results:
            self._wake_loop()
        return True

    def _may_begin(self, seat: ThreadSeat, attempt: Attempt, started: float) -> bool:
        """Arm for an attempt; False if it was cancelled, or its deadline passed, before it began."""
        due = due_at(attempt, started)
        if seat.told is None and due > started:
            self._sweeper.arm(due)
            return True
        with self._lock:
            if seat.told is attempt:
                return False  # given up, and reported then
            message = self._withdrawn.pop(attempt.task_id, _STOPPED if self._stopping else None)
            if message is None and due > started:
                self._sweeper.arm(due)
                return True
            seat.left = attempt
        if message is not None:
            self._results.append(cancelled(attempt, started, started, None, message))
        else:
            self._results.append(timed_out(attempt, started, started, None, NOT_BEGUN))
        self._wake_loop()
        return False

    def _may_go_on(self, seat: ThreadSeat, attempt: Attempt, outcome: Outcome) -> bool | None:
        """Report an attempt unless its thread was given up; False if the thread is to end, None if it is to wait."""
        with self._lock:
            given_up = seat.told is attempt
            surplus = not given_up and len(self._seats) > self._wanted
            if surplus:
                del self._seats[seat.worker_id]
            waits = self._at_work() > self._limit
            self._looked(seat)
        if given_up:
            return self._return_lost(seat)
        if waits:
            seat.attempt = seat.left = None  # as when it is out of work: it runs nothing, and is not to look busy
        self._results.append(outcome)
        self._wake_loop()
        return False if surplus else None if waits else True

    # ---- outcomes

    def _wake_loop(self) -> None:
        """Have the outcomes collected on the loop; while they keep coming, that needs no more wake-ups."""
        self._collecting = True
        with suppress(RuntimeError):  # the loop is closed: nobody waits for the outcomes any more
            self._host.loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        """Report what has come in; look again in a moment while there was something, else be woken by the next."""
        results = self._results
        done = results[:]  # threads add at the end meanwhile
        del results[: len(done)]
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if not done:
            self._collecting = False
            if not results:
                return
            self._collecting = True  # one came in between: its thread counted on this look
        self._next_look = self._host.loop.call_later(_COLLECT_S, self._collect)
        if done:
            count(self._seats, done)
            self._host.report(done)
