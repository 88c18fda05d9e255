"""The future of one call: a `concurrent.futures.Future` that is cheap until somebody waits for it.

Made by the executor's `submit`, settled in batches by its desk. A plain future brings a condition and two lists along,
which cost more than the rest of a submission; here they are made for those that wait, ask to be called, or cancel.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Generic, Protocol, TypeVar

from longshore._runtime.waiting import Waiters
from longshore.task import Attempt, Outcome, TaskState
from longshore.worker import in_a_task

T = TypeVar("T")

PENDING: Final = "PENDING"
RUNNING: Final = "RUNNING"
FINISHED: Final = "FINISHED"
_CANCELLED: Final = "CANCELLED"
_NOTIFIED: Final = "CANCELLED_AND_NOTIFIED"
_COMPLETED = TaskState.COMPLETED  # an Enum's member costs 70 ns to get at on Python 3.11
_log = logging.getLogger("concurrent.futures")  # where the standard library's own futures tell of callbacks that raise


class Keeper(Protocol):
    """Who brings futures to their end."""

    states: threading.RLock
    """Held by whoever moves a future that has no condition, or gives it one: never both at once.

    Taken after a future's condition, never before one.
    """

    def withdraw(self, future: PoolFuture[Any]) -> None:  # Any: each has a result of its own type
        """Let go of the work of a future that was cancelled while it was pending."""

    def waiting(self, future: PoolFuture[Any]) -> AbstractContextManager[object]:  # Any: as above
        """Return what a thread waits for a future inside of, that runs a task."""


class _MadeForWaiting(Generic[T]):
    """An attribute that a future gets, with its fellows, when it is first looked at."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, future: PoolFuture[Any], owner: type) -> T:  # Any: as above
        with future.keeper.states:
            if not future.looked_at:
                future._waiters, future._done_callbacks = Waiters(future), []
                future._condition = threading.Condition()
                future.looked_at = True
        made: T = vars(future)[self._name]
        return made


class PoolFuture(Future[T]):
    """What becomes of one call; all that `concurrent.futures` does with futures works with it."""

    # A part of a plain future's state is the same for all at first, so that making one sets nothing but its keeper.
    _state: str = PENDING
    _result: T | None = None
    _exception: BaseException | None = None
    _condition: threading.Condition = _MadeForWaiting()  # type: ignore[assignment]  # it gives what is declared
    _waiters: list[Any] = _MadeForWaiting()  # type: ignore[assignment]  # Any: the waiters are concurrent.futures' own
    _done_callbacks: list[Any] = _MadeForWaiting()  # type: ignore[assignment]  # Any: as above
    looked_at = False
    """Whether it has these three, for somebody waits or wants to be told."""
    task_id: str | None = None
    """The task it stands for, once there is one."""

    def __init__(self, keeper: Keeper) -> None:
        """Be pending, until `keeper` says otherwise; the base class's own attributes are made when they are needed."""
        self.keeper = keeper

    # ---- asking: what is over needs no lock, for it does not change any more

    def result(self, timeout: float | None = None) -> T:
        """Return the result, or raise the exception; TimeoutError after `timeout` seconds, CancelledError."""
        if self._state == FINISHED and self._exception is None:
            return self._result  # type: ignore[return-value]  # it is there
        try:
            with self.wait():
                return super().result(timeout)
        finally:
            self = None  # type: ignore[assignment]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception, None if there is none; waits and raises as `result` does."""
        if self._state == FINISHED:
            return self._exception
        with self.wait():
            return super().exception(timeout)

    def wait(self) -> AbstractContextManager[object]:
        """Return what the thread that calls waits inside of: who waits for its own executor lends its worker out."""
        return self.keeper.waiting(self) if in_a_task() and not self.done() else nullcontext()

    def cancelled(self) -> bool:
        """Tell whether it was cancelled."""
        return self._state in (_CANCELLED, _NOTIFIED)

    def running(self) -> bool:
        """Tell whether its work is with a worker, and can't be cancelled any more."""
        return self._state == RUNNING

    def done(self) -> bool:
        """Tell whether it has ended, or was cancelled."""
        return self._state in (FINISHED, _CANCELLED, _NOTIFIED)

    def cancel(self) -> bool:
        """Cancel it if it is pending; False if it runs or has ended."""
        if self._state == FINISHED:
            return False
        with self._condition:
            with self.keeper.states:  # beside `claim`
                if self._state != PENDING:
                    return self.cancelled()
                self._state = _CANCELLED
            self._condition.notify_all()
        self._invoke_callbacks()
        self.keeper.withdraw(self)
        return True

    # ---- for its keeper

    def over(self) -> bool:
        """Tell whether it has ended, and those that wait were told: nothing is left to be done about it."""
        return self._state in (FINISHED, _NOTIFIED)

    def give(self, value: T) -> None:
        """End with this result, unless it was cancelled; tells all that wait."""
        try:
            self.set_result(value)
        except InvalidStateError:
            self.set_running_or_notify_cancel()

    def fail(self, error: BaseException) -> None:
        """End with this exception, unless it was cancelled; tells all that wait."""
        try:
            self.set_exception(error)
        except InvalidStateError:
            self.set_running_or_notify_cancel()

    def _invoke_callbacks(self) -> None:
        """Call what was to be called at the end. Whatever one raises is logged: it may be SystemExit, on our thread."""
        for callback in self._done_callbacks:
            try:
                callback(self)
            except BaseException:  # noqa: BLE001 - the user's own, and it must not end what brings the others
                _log.exception("exception calling callback for %r", self)


Futures = dict[str, PoolFuture[Any]]  # by task id; Any: each has a result of its own type


def claim_all(futures: Futures, attempts: Sequence[Attempt]) -> list[Attempt]:
    """Have the futures of attempts begin to run; return the attempts that must not: theirs were cancelled, or are gone.

    The keeper's lock is held, and so for the next. One loop each, without a call for a future: all tasks pay for these.
    """
    late = []
    for attempt in attempts:
        future = futures.get(attempt.task_id)
        if future is not None and future._state == PENDING:
            future._state = RUNNING
        elif future is None or future._state != RUNNING:  # which it is where the attempt is not its task's first
            late.append(attempt)
    return late


def give_all(futures: Futures, outcomes: Sequence[Outcome]) -> list[tuple[PoolFuture[Any], Outcome]]:
    """Take the futures of outcomes out; end those that completed and nobody has looked at, and return the others."""
    watched, pop = [], futures.pop
    for outcome in outcomes:
        future = pop(outcome.task_id, None)
        if future is None:
            continue
        if outcome.state is _COMPLETED and not future.looked_at:
            future._result = outcome.value
            future._state = FINISHED
        else:
            watched.append((future, outcome))
    return watched
