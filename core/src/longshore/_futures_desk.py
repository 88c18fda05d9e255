"""The desk of an executor: calls come in from any thread and reach its pool in bursts, outcomes go to their futures.

It owns the pool, on a loop in a thread of its own, and knows nothing of the executor, which may be let go of.
Two locks, never taken the other way round: `_entry` before `states`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, copy_context
from typing import Any

from longshore import _futures_exit
from longshore._carrying import one_call
from longshore._engine.messages import Cancel, Reported
from longshore._futures_specs import Known, Specs
from longshore._inputs import veto
from longshore._intake import Intake
from longshore._packing import message_of
from longshore._pool_future import Futures, PoolFuture, claim_all, give_all
from longshore._runtime.waiting import ThreadWait
from longshore._worker_init import InitializerFailed
from longshore.errors import LongshoreError, WrongPlace
from longshore.pool import WorkerPool
from longshore.shared import Shared, opened
from longshore.task import Attempt, Outcome, Task, TaskOptions, TaskState
from longshore.worker import cancelled, running_task

_log = logging.getLogger("concurrent.futures")  # where the standard library's own executors tell of initializers
_COMPLETED = TaskState.COMPLETED  # an Enum's member costs 70 ns to get at on Python 3.11
Broken = Callable[[str], LongshoreError]


# A call that came in. Any: the user's function, arguments and result
Call = tuple[PoolFuture[Any], TaskOptions, Callable[..., Any], tuple[Any, ...], dict[str, Any] | None, Context]


class Desk:
    """Between the threads that submit and the pool. `enter`, `close`, `kill`, `join` and `withdraw` are for any."""

    def __init__(self, pool: WorkerPool, broken: Broken) -> None:
        """Start nothing yet. `broken` makes the error that says that the pool is not usable any more."""
        self._pool = pool
        self._broken = broken
        self._entry = threading.RLock()  # a destructor that submits, or lets go of the executor, may come in between
        self.states = threading.RLock()
        self._inbox: list[list[Attempt] | Call] = []
        self._run: list[Attempt] | None = None  # the last in there, if calls like it may be added to it
        self._run_of: Known | None = None
        self._known: Known | None = None  # what is called over and over becomes a task at once, in its caller's thread
        self._ids: Iterator[str] = iter(())
        self._withdrawn: list[PoolFuture[Any]] = []  # Any: as above, and so below
        self._called = False  # the loop will look at these two by itself
        self._refusal: Callable[[], BaseException] | None = None
        self._thread: threading.Thread | None = None
        self._early: list[Callable[[], None]] = []  # what the loop is to do as soon as there is one
        self._futures: Futures = {}
        self._begun: list[Attempt] = []
        self._intake: Intake | None = None
        self._over: asyncio.Event | None = None
        self._ended_by: str | None = None
        self._unready = False
        self.has_initializer = False
        """Whether workers are to be got ready: the executor says so before the first call."""

    # ---- from any thread

    def enter(
        self,
        future: PoolFuture[Any],
        options: TaskOptions,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
    ) -> None:
        """Take a call; raises what says why it can't. The first brings up the thread, the loop and the pool."""
        with self._entry:
            if self._refusal is not None:
                raise self._refusal()
            known = self._known
            if known is not None and known.function is function and known.options is options and not Shared.used:
                if self._run is None or known is not self._run_of:
                    self._run, self._run_of = [], known
                    self._inbox.append(self._run)
                self._run.append(self._task(future, known, args, kwargs))
            else:
                if self._thread is None:
                    self._start()
                self._run = None
                self._inbox.append((future, options, function, args, kwargs, copy_context()))
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

    def waiting(self, future: PoolFuture[Any]) -> AbstractContextManager[object]:
        """Return what a thread waits for a future inside of, that runs a task: of this pool, its worker is lent out."""
        if self._intake is None:
            return nullcontext()
        driver = self._intake.driver
        return ThreadWait(driver.waits, driver.inject, lambda error: self._give_up(future, error))

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
            self._ids, self._specs = intake.ids, Specs(intake)
            with self._entry:
                self._intake = intake
                for act in self._early:
                    intake.driver.inject(act)
            await self._over.wait()
            await pool.stop()

    def _conclude(self, error: BaseException | None) -> None:
        """Tell those whose future is still to end, which there are only if something broke."""
        text = f"the pool has failed: {message_of(error)}" if error is not None else "the pool has stopped"
        with self._entry:
            if self._refusal is None:
                self._refusal = lambda: self._broken(text)
            left = [
                *(one[0] for one in self._inbox if isinstance(one, tuple)),
                *self._futures.values(),
                *self._withdrawn,
            ]
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
            inbox, self._inbox, self._run = self._inbox, [], None
            withdrawn, self._withdrawn = self._withdrawn, []
            self._called = False
        if self._specs.began_to_trace():
            self._known = None
        for one in inbox:
            if isinstance(one, list):
                self._submit(one)
            else:
                self._begin(*one)
        self._submit(self._begun)
        self._begun = []
        gone = [future.task_id for future in withdrawn if future.task_id is not None]
        if gone:
            self._ways_in.driver.stimulate(Cancel(gone, "cancelled by its future"))

    def _give_up(self, future: PoolFuture[Any], error: LongshoreError) -> None:
        """Let who waits for a future know that it is in vain, and withdraw its task."""
        if future.task_id is not None and self._futures.pop(future.task_id, None) is not None:
            future.fail(error)
            self._ways_in.driver.stimulate(Cancel((future.task_id,), str(error)))

    def _begin(
        self,
        future: PoolFuture[Any],
        options: TaskOptions,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
        context: Context,
    ) -> None:
        """Make a task of a call whose spec was not known as it came in; what is wrong with it is told by its future."""
        if future.cancelled():
            future.set_running_or_notify_cancel()
            return
        intake = self._ways_in
        try:
            known = self._specs.of(function, options)
            if known.bound:
                args = (function, *args)
            if Shared.used and intake.stays(known.spec):
                args, kwargs = opened(args, kwargs)
            with self._entry:  # threads that submit take ids as well, and an iterator is for one at a time
                task = context.run(self._task, future, known, args, kwargs)
        except Exception as error:  # noqa: BLE001 - the user's function may be anything
            future.fail(error)
            return
        self._known = known if not known.bound else None
        if self._begun and self._begun[0].spec is not known.spec:
            self._submit(self._begun)
            self._begun = []
        self._begun.append(task)

    def _task(
        self, future: PoolFuture[Any], known: Known, args: tuple[Any, ...], kwargs: dict[str, Any] | None
    ) -> Attempt:
        """Return the task that a future stands for; from any thread, in the context of whoever submitted it."""
        spec = known.spec
        named, context, trace = one_call(spec, kwargs)
        future.task_id = task_id = next(self._ids)
        self._futures[task_id] = future
        own = (0, known.options.key, 1, time.monotonic(), None, context, (), None, trace)
        return Attempt(task_id, spec, args, named, *own)

    def _submit(self, attempts: list[Attempt]) -> None:
        """Give tasks of one spec to the engine, less those that a hook refuses."""
        if not attempts:
            return
        spec, admit = attempts[0].spec, self._ways_in.admit
        if admit is not None:
            reasons = {attempt.task_id: admit(attempt) for attempt in attempts}
            for task_id, reason in reasons.items():
                if reason is not None:
                    self._futures.pop(task_id).fail(veto(spec, reason))
            attempts = [attempt for attempt in attempts if reasons[attempt.task_id] is None]
        if attempts:
            self._ways_in.driver.submit(spec, attempts)

    # ---- for the driver, on the loop

    def claim(self, executor: str, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        """Return those that may begin, whose futures run from now on; the others were cancelled in this very moment."""
        with self.states:
            late = claim_all(self._futures, attempts)
        if not late:
            return attempts
        now = time.monotonic()
        outcomes = [cancelled(attempt, now, now, None, "cancelled by its future") for attempt in late]
        self._ways_in.driver.stimulate(Reported(executor, outcomes))
        gone = {attempt.task_id for attempt in late}
        return [attempt for attempt in attempts if attempt.task_id not in gone]

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Bring outcomes to their futures."""
        with self.states:
            watched = give_all(self._futures, outcomes)
        for future, outcome in watched:
            if outcome.state is _COMPLETED:
                future.give(outcome.value)
            else:
                future.fail(self._error_of(outcome))
        if not self._futures:
            self._specs.forget()
            if self._known is not None and not self._known.lasts:
                self._known = self._run_of = None

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
        if self._is_unready(outcome):
            error = error or outcome.failure()
            if not self._unready:
                self._unready = True
                _log.critical("Exception in initializer:", exc_info=error)
                self._break(str(error), error, [future for future in self._futures.values() if not future.running()])
            return caused(self._broken(str(error)), error)
        if error is None and outcome.state is TaskState.CANCELLED and self._ended_by is not None:
            return self._broken(self._ended_by)
        return error if error is not None else outcome.failure()

    def _is_unready(self, outcome: Outcome) -> bool:
        """Tell whether it is for the initializer that a task failed: that raised, took too long, or ended workers."""
        if isinstance(outcome.exception, InitializerFailed):
            return True
        return self.has_initializer and outcome.error is not None and outcome.error.reason == "initializer"

    def _break(self, text: str, error: BaseException, futures: Sequence[PoolFuture[Any]]) -> None:
        """Take no more, fail these futures and what came in, and end when what runs has ended."""
        with self._entry:
            self._refusal = lambda: caused(self._broken(text), error)
            futures = [*futures, *(one[0] for one in self._inbox if isinstance(one, tuple))]
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
