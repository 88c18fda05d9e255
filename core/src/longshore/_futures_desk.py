"""The desk of an executor: calls come in from any thread and reach its pool in bursts, outcomes go to their futures.

It owns the pool, on a loop in a thread of its own, and knows nothing of the executor, which may be let go of.
Two locks, never taken the other way round: `_entry` before `states`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from longshore import _futures_exit
from longshore._engine.messages import Cancel, Reported
from longshore._intake import Intake
from longshore._pool_future import PoolFuture
from longshore._worker_init import InitializerFailed
from longshore.errors import LongshoreError, PluginError, WrongPlace
from longshore.pool import WorkerPool
from longshore.shared import Shared, opened
from longshore.task import Attempt, Outcome, Task, TaskOptions, TaskSpec, TaskState
from longshore.worker import cancelled, running_task

_log = logging.getLogger("concurrent.futures")  # where the standard library's own executors tell of initializers
_SPECS_MOST = 256
_COMPLETED = TaskState.COMPLETED  # an Enum's member costs 70 ns to get at on Python 3.11
Broken = Callable[[str], LongshoreError]


# One call that came in. Any: the user's function, arguments and result
Entry = tuple[PoolFuture[Any], TaskOptions, Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Desk:
    """Between the threads that submit and the pool. `enter`, `close`, `kill`, `join` and `withdraw` are for any."""

    def __init__(self, pool: WorkerPool, broken: Broken) -> None:
        """Start nothing yet. `broken` makes the error that says that the pool is not usable any more."""
        self._pool = pool
        self._broken = broken
        self._entry = threading.RLock()  # a destructor that submits, or lets go of the executor, may come in between
        self.states = threading.RLock()
        self._inbox: list[Entry] = []
        self._withdrawn: list[PoolFuture[Any]] = []  # Any: as above, and so below
        self._called = False  # the loop will look at these two by itself
        self._refusal: Callable[[], BaseException] | None = None
        self._thread: threading.Thread | None = None
        self._early: list[Callable[[], None]] = []  # what the loop is to do as soon as there is one
        self._futures: dict[str, PoolFuture[Any]] = {}
        self._untimed: dict[TaskSpec, TaskSpec] = {}
        self._intake: Intake | None = None
        self._over: asyncio.Event | None = None
        self._ended_by: str | None = None

    # ---- from any thread

    def enter(self, entry: Entry) -> None:
        """Take a call; raises what says why it can't. The first brings up the thread, the loop and the pool."""
        with self._entry:
            if self._refusal is not None:
                raise self._refusal()
            if self._thread is None:
                self._start()
            self._inbox.append(entry)
            if self._called:
                return
            self._called = True
        self._call(self._look)

    def withdraw(self, future: PoolFuture[Any]) -> None:
        """Let go of the work of a future that was cancelled while it was pending."""
        with self._entry:
            self._withdrawn.append(future)
            if self._called:
                return
            self._called = True
        self._call(self._look)

    def close(self, *, cancel_pending: bool = False) -> None:
        """Take no more; end when all that came in has ended. Returns at once."""
        self._turn_away()
        self._call(lambda: self._end(cancel_pending))

    def kill(self, what: str) -> None:
        """Take no more, cancel what is pending, end what runs; `what` is told to its futures. Returns at once."""
        self._turn_away()
        self._call(lambda: self._abort(what))

    def join(self) -> None:
        """Wait until all has ended; RuntimeError where that would wait for itself: in a callback, or in its task."""
        thread, task = self._thread, running_task()
        if thread is None:
            return
        if task is not None and task.task_id in self._futures:
            raise WrongPlace(
                f"the task {task.task_id} ({task.name}) cannot wait for the end of the executor that runs it: "
                "use shutdown(wait=False) here",
                task_id=task.task_id,
            )
        thread.join()

    def abandon(self) -> None:
        """Be of no use, in a process that was forked from the one that has the thread."""
        self._entry, self.states = threading.RLock(), threading.RLock()
        self._thread = self._intake = None
        self._refusal = lambda: self._broken("the executor belongs to the process that this one was forked from")

    def _turn_away(self) -> None:
        with self._entry:
            if self._refusal is None:
                self._refusal = lambda: RuntimeError("cannot schedule new futures after shutdown")

    def _call(self, act: Callable[[], None]) -> None:
        """Have the loop's thread do something."""
        with self._entry:
            if self._intake is None:
                self._early.append(act)
                return
            driver = self._intake.driver
        driver.inject(act)

    # ---- the life of the pool, in the desk's thread

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="longshore-futures", daemon=True)
        _futures_exit.wait_for(self)
        thread.start()
        self._thread = thread

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._serve())
        except BaseException as failure:  # noqa: BLE001 - such as a pool that can't start; all that wait are told
            error = failure
        self._conclude(error)

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        async with self._pool as pool:
            intake = pool._taking()
            intake.driver.others, intake.driver.claim = self, self.claim
            with self._entry:
                self._intake = intake
                for act in self._early:
                    intake.driver.inject(act)
            await self._over.wait()
            await pool.stop()

    def _conclude(self, error: BaseException | None) -> None:
        """Tell those whose future is still to end, which there are only if something broke."""
        text = f"the pool has failed: {error}" if error is not None else "the pool has stopped"
        with self._entry:
            if self._refusal is None:
                self._refusal = lambda: self._broken(text)
            left = [*(entry[0] for entry in self._inbox), *self._futures.values(), *self._withdrawn]
            self._inbox, self._withdrawn = [], []
        self._futures.clear()
        for future in left:
            if not future.over():
                future.fail(caused(self._broken(text), error))

    def _end(self, cancel_pending: bool) -> None:
        """Begin to end, with what came in before."""
        self._look()
        if cancel_pending:  # after this step, in which what has a worker begins: that is not pending any more
            asyncio.get_running_loop().call_soon(self._cancel_pending)
        else:
            self._finish()

    def _cancel_pending(self) -> None:
        for future in list(self._futures.values()):
            future.cancel()
        self._finish()

    def _abort(self, what: str) -> None:
        self._look()
        self._ended_by = what
        self._cancel_pending()
        self._look()
        self._ways_in.driver.abort()

    def _finish(self) -> None:
        if self._over is not None:
            self._over.set()

    # ---- on the loop: from futures to tasks

    @property
    def _ways_in(self) -> Intake:
        if self._intake is None:
            raise AssertionError("the loop has begun, so there is a way in")
        return self._intake

    def _look(self) -> None:
        """Submit what came in, in runs of one spec; have the engine let go of what was cancelled since."""
        with self._entry:
            entries, self._inbox = self._inbox, []
            withdrawn, self._withdrawn = self._withdrawn, []
            self._called = False
        intake = self._ways_in
        spec: TaskSpec | None = None
        function: Any = None  # Any: the user's own
        options: TaskOptions | None = None
        attempts: list[Attempt] = []
        ids, now, futures, share = intake.ids, time.monotonic(), self._futures, Shared.used
        for future, wanted, called, args, kwargs in entries:
            if future.cancelled():
                future.set_running_or_notify_cancel()
                continue
            if spec is None or called is not function or wanted is not options:
                self._submit(spec, attempts)
                attempts = []
                function, options, spec = called, wanted, self._spec(future, called, wanted)
                if spec is None:
                    continue
            if share and intake.stays(spec):
                args, kwargs = opened(args, kwargs)
            future.task_id = task_id = next(ids)
            futures[task_id] = future
            attempts.append(Attempt(task_id, spec, args, kwargs or None, 0, wanted.key, 1, now))
        self._submit(spec, attempts)
        gone = [future.task_id for future in withdrawn if future.task_id is not None]
        if gone:
            intake.driver.stimulate(Cancel(gone, "cancelled by its future"))

    def _spec(self, future: PoolFuture[Any], function: Any, options: TaskOptions) -> TaskSpec | None:  # Any: as above
        """Return the spec; None if there can be none: then its future says why. Nothing ends it but its own timeout."""
        try:
            spec = self._ways_in.shared_spec(function, options)
        except Exception as error:  # noqa: BLE001 - what is wrong with this one is told by its future
            future.fail(error)
            return None
        if options.timeout is not None or spec.timeout_s is None:
            return spec
        untimed = self._untimed.get(spec)
        if untimed is None:
            if len(self._untimed) >= _SPECS_MOST:
                self._untimed.clear()
            untimed = self._untimed[spec] = replace(spec, timeout_s=None)
        return untimed

    def _submit(self, spec: TaskSpec | None, attempts: list[Attempt]) -> None:
        """Give tasks of one spec to the engine, less those that a hook refuses."""
        admit = self._ways_in.admit
        if admit is not None:
            reasons = {attempt.task_id: admit(attempt) for attempt in attempts}
            for task_id, reason in reasons.items():
                if reason is not None and spec is not None:
                    refusal = PluginError(f"a hook refused {spec.name}: {reason}", reason="vetoed", why=reason)
                    self._futures.pop(task_id).fail(refusal)
            attempts = [attempt for attempt in attempts if reasons[attempt.task_id] is None]
        if spec is not None and attempts:
            self._ways_in.driver.submit(spec, attempts)

    # ---- for the driver, on the loop

    def claim(self, executor: str, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        """Return those that may begin, whose futures run from now on; the others were cancelled in this very moment."""
        futures = self._futures
        with self.states:
            late = [task for task in attempts if (one := futures.get(task.task_id)) is None or not one.claim()]
        if not late:
            return attempts
        now = time.monotonic()
        outcomes = [cancelled(attempt, now, now, None, "cancelled by its future") for attempt in late]
        self._ways_in.driver.stimulate(Reported(executor, outcomes))
        gone = {attempt.task_id for attempt in late}
        return [attempt for attempt in attempts if attempt.task_id not in gone]

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Bring outcomes to their futures."""
        pop, watched = self._futures.pop, list[tuple[PoolFuture[Any], Outcome]]()
        with self.states:
            for outcome in outcomes:
                future = pop(outcome.task_id, None)
                if future is None:
                    continue
                if outcome.state is not _COMPLETED or not future.give_quietly(outcome.value):
                    watched.append((future, outcome))
        for future, outcome in watched:
            if outcome.state is _COMPLETED:
                future.give(outcome.value)
            else:
                future.fail(self._error_of(outcome))

    def refuse(self, tasks: Sequence[Task], error: LongshoreError) -> None:
        """Tell futures that their tasks are not accepted; no tasks means that the pool is over."""
        for task in tasks:
            future = self._futures.pop(task.task_id, None)
            if future is not None:
                future.fail(error)
        if not tasks and (self._futures or self._ways_in.driver.failure is not None):
            self._break(str(error), error, list(self._futures.values()))

    def _error_of(self, outcome: Outcome) -> BaseException:
        """Return what a future raises: the task's own exception, whatever it is, where it could travel."""
        error = outcome.exception
        if isinstance(error, InitializerFailed):
            _log.critical("Exception in initializer:", exc_info=error)
            self._break(str(error), error, [future for future in self._futures.values() if not future.running()])
            return caused(self._broken(str(error)), error)
        if error is None and outcome.state is TaskState.CANCELLED and self._ended_by is not None:
            return self._broken(self._ended_by)
        return error if error is not None else outcome.failure()

    def _break(self, text: str, error: BaseException, futures: Sequence[PoolFuture[Any]]) -> None:
        """Take no more, fail these futures and what came in, and end when what runs has ended."""
        with self._entry:
            self._refusal = lambda: caused(self._broken(text), error)
            futures = [*futures, *(entry[0] for entry in self._inbox)]
            self._inbox.clear()
        for future in futures:
            future.fail(caused(self._broken(text), error))
        ids = [future.task_id for future in futures if future.task_id is not None]
        for task_id in ids:
            self._futures.pop(task_id, None)
        self._ways_in.driver.stimulate(Cancel(ids, text))
        self._finish()


def caused(error: LongshoreError, cause: BaseException | None) -> LongshoreError:
    """Return the error with this cause."""
    error.__cause__ = cause
    return error
