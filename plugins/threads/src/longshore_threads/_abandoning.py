"""How an executor of threads ends what can't be ended: it gives the thread up, and starts another up to a cap.

The executor is made of this and of what runs attempts. Looks at deadlines come from the sweeper's thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from longshore.errors import ResourceUnavailable
from longshore.hookspecs import ExecutorHost
from longshore.task import Attempt, Outcome
from longshore.worker import NEVER, cancelled, timed_out, unready

from longshore_threads._backlog import first_due, take_out
from longshore_threads._seat import ABANDONED, NOT_BEGUN, ThreadSeat, abandoned
from longshore_threads._sweeper import Sweeper


class Abandoning:
    """Gives threads up; the executor sets what is declared here. The lock is held where it says so."""

    _host: ExecutorHost
    _backlog: deque[Attempt]
    _lock: threading.Lock
    _seats: dict[str, ThreadSeat]
    _sweeper: Sweeper
    _withdrawn: dict[str, str]
    _lost: set[ThreadSeat]
    _most: int
    _asked: int
    _wanted: int
    _stopping: bool

    def _grow(self) -> None:
        raise NotImplementedError

    def _have_all_look(self) -> None:
        raise NotImplementedError

    def _rouse(self) -> None:
        raise NotImplementedError

    def _gone(self, seat: ThreadSeat) -> None:
        raise NotImplementedError

    def _recount(self) -> bool:
        """Set how many threads are wanted; return whether that changed. The lock is held."""
        wanted = max(0, self._asked - max(0, len(self._lost) - self._most))
        changed, self._wanted = wanted != self._wanted, wanted
        return changed

    def _shortage(self) -> str | None:
        """Return in words that there are fewer threads than were asked for, as too many were given up."""
        lost, left = len(self._lost), self._wanted
        if lost <= self._most:
            return None
        return (
            f"{lost} threads were abandoned in functions that do not return, and at most {self._most} are replaced "
            f"(executors.threads.max_abandoned): {left} of {self._asked} are left; run such functions in processes"
        )

    def _cancel_taken(self, ids: set[str], message: str) -> None:
        """Cancel attempts that threads have taken: those that run, and those that are about to."""
        with self._lock:
            self._withdrawn.update(dict.fromkeys(ids, message))
            self._have_all_look()  # before the look at what they run: one that is not seen there will see this
        for seat in list(self._seats.values()):
            attempt, started = seat.attempt, seat.started
            if attempt is not None and attempt.task_id in ids:
                note = f"{message}; {ABANDONED}"
                self._abandon(seat, attempt, cancelled(attempt, started, time.monotonic(), seat.worker_id, note))

    def _abandon(self, seat: ThreadSeat, attempt: Attempt, outcome: Outcome) -> bool:
        """Report an attempt and give up its thread, unless it is over; below the cap another may start."""
        with self._lock:
            if seat.worker_id not in self._seats or not seat.give_up(attempt):
                return False
            self._withdrawn.pop(attempt.task_id, None)
            self._gone(seat)
            self._lost.add(seat)
            fewer = self._recount() and not self._stopping
            if not self._stopping:
                self._grow()
                self._rouse()
            wanted, lost, short = self._wanted, len(self._lost), self._shortage()
        self._host.report([outcome])
        self._host.notice([abandoned(seat, attempt, lost)])
        if fewer:
            self._host.resized(wanted)
            if wanted == 0:
                self._host.failed(ResourceUnavailable(short or "no threads are left", reason="abandoned threads"))
        return True

    def _return_lost(self, seat: ThreadSeat) -> bool:
        """Count an abandoned thread whose function came back after all; False, for it is to end."""
        with self._lock:
            self._lost.discard(seat)
            more = self._recount() and not self._stopping
            if more:
                self._grow()
            wanted = self._wanted
        if more:
            self._host.resized(wanted)
        return False

    def _look(self, now: float) -> None:
        """Give up what is overdue, and arm for what will be; on the sweeper's thread."""
        expired = take_out(self._backlog, lambda attempt: attempt.expires_at is not None and attempt.expires_at <= now)
        if expired:
            self._host.report([timed_out(attempt, now, now, None, NOT_BEGUN) for attempt in expired])
        self._sweeper.arm(first_due(self._backlog.copy()))
        for seat in list(self._seats.values()):
            attempt, started = seat.attempt, seat.started
            if attempt is not None:
                self._look_at(seat, attempt, started, now)

    def _look_at(self, seat: ThreadSeat, attempt: Attempt, started: float, now: float) -> None:
        """Abandon the thread of an overdue attempt, else arm for it."""
        ready_by = seat.ready_by
        due = seat.due(attempt, started, ready_by)
        if due <= now:
            outcome = timed_out(attempt, started, now, seat.worker_id, ABANDONED)
            if ready_by is not None:
                outcome = unready(attempt, started, now, seat.worker_id, executor="threads", note=ABANDONED)
            if seat.left is not attempt and self._abandon(seat, attempt, outcome):
                return
            # it is over, and the thread does not arm for a next one of its kind
            timeout_s = attempt.spec.timeout_s
            due = NEVER if timeout_s is None else now + timeout_s
        self._sweeper.arm(due)
