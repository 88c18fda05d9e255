"""The limits of time of the attempts of an executor, and what becomes of those that pass them.

One timer of the loop for all, armed for the first that is due. The executor is made of this and of what runs attempts.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable

from longshore.hookspecs import ExecutorHost
from longshore.task import Attempt, Outcome, TaskState
from longshore.worker import NEVER, due_at, timed_out

from longshore_asyncio._seat import (
    LATE_S,
    NOT_BEGUN,
    NOT_YET,
    AsyncSeat,
    Verdict,
    given_up,
    grace_s,
    left_behind,
)

_TURNS = 8
"""Turns of the loop in which a coroutine ends that was told to, and need not wait for anything: tasks within tasks
take more than one."""


class Deadlines:
    """Keeps limits; the executor sets what is declared here, and says how a seat is filled again."""

    _backlog: deque[Attempt]
    _seats: dict[str, AsyncSeat]
    _loop: asyncio.AbstractEventLoop
    _host: ExecutorHost
    _left: set[AsyncSeat]
    _wanted: int
    _stopping: bool
    _timer: asyncio.TimerHandle | None = None
    _armed: float = NEVER

    def _tell(self, outcome: Outcome) -> None:
        raise NotImplementedError

    def _resize(self, workers: int) -> None:
        raise NotImplementedError

    def _turn_soon(self) -> None:
        raise NotImplementedError

    def _arm(self, due: float) -> None:
        """See to it that `_sweep` runs by `due`; one timer for all attempts."""
        if due < self._armed:
            self._armed = due
            if self._timer is not None:
                self._timer.cancel()
            delay_s = max(0.0, due - time.monotonic())
            self._timer = self._loop.call_later(delay_s, self._sweep)

    def _disarm(self) -> None:
        """Leave no timer behind when nothing is left to watch."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = NEVER

    def _limit(self, seat: AsyncSeat, attempt: Attempt, started: float) -> None:
        """Arm for an attempt that begins; one whose deadline passed while it waited ends here."""
        due = due_at(attempt, started)
        if due <= started:
            seat.verdict = Verdict(TaskState.TIMED_OUT, NOT_BEGUN, started)
            raise asyncio.CancelledError
        self._arm(due)

    def _arm_waiting(self, attempts: Iterable[Attempt]) -> None:
        """Arm for the first of those that wait that expires."""
        dues = [attempt.expires_at for attempt in attempts if attempt.expires_at is not None]
        if dues:
            self._arm(min(dues))

    def _sweep(self) -> None:
        """Tell the overdue to end, write off those that did not, and arm for the next."""
        self._disarm()
        now = time.monotonic()
        for attempt in [one for one in self._backlog if one.expires_at is not None and one.expires_at <= now]:
            self._backlog.remove(attempt)
            self._tell(timed_out(attempt, now, now, None, NOT_BEGUN))
        self._arm_waiting(self._backlog)
        for seat in list(self._seats.values()):
            if seat.attempt is not None and seat.started != NOT_YET:
                self._look_at(seat, seat.attempt, now)

    def _look_at(self, seat: AsyncSeat, attempt: Attempt, now: float) -> None:
        verdict = seat.verdict
        due = verdict.give_up_at if verdict is not None else seat.due(attempt)
        if now < due:
            self._arm(due)
        elif now - due > LATE_S and seat.excused_at != due and seat.blocker is not attempt:
            # The loop was held up by somebody else. One that was ready to end, and could not, gets a turn for it.
            seat.excused_at = due
            self._loop.call_soon(self._loop.call_soon, self._sweep)
        elif verdict is not None:
            self._write_off(seat)
        else:
            self._tell_to_end(seat, attempt, TaskState.TIMED_OUT, "")

    def _tell_to_end(self, seat: AsyncSeat, attempt: Attempt, state: TaskState, message: str) -> None:
        give_up_at = time.monotonic() + grace_s(attempt)
        seat.cancelled = attempt
        unready = seat.ready_by is not None and state is TaskState.TIMED_OUT
        seat.verdict = Verdict(state, message, give_up_at, unready)
        if seat.running is not None:
            seat.running.cancel()
        self._arm(give_up_at)
        if state is TaskState.TIMED_OUT:
            self._await_end(seat, seat.verdict, _TURNS)

    def _await_end(self, seat: AsyncSeat, verdict: Verdict, turns: int) -> None:
        """Let a coroutine that is past its limit end in so many turns of the loop; then report its attempt without."""
        if seat.verdict is not verdict or seat.attempt is None or seat.reported:
            return
        if turns:
            self._loop.call_soon(self._await_end, seat, verdict, turns - 1)
        else:
            self._report_early(seat, seat.attempt)

    def _report_early(self, seat: AsyncSeat, attempt: Attempt) -> None:
        """Report an attempt whose coroutine goes on, in its seat: it may be clearing up."""
        seat.report(attempt)
        seat.failed += 1
        self._tell(given_up(seat, attempt, time.monotonic()))

    def _write_off(self, seat: AsyncSeat) -> None:
        """Put a new seat in the place of one whose coroutine ignores being cancelled; its attempt has ended."""
        attempt = seat.attempt
        if attempt is None:
            return
        if not seat.reported:
            self._report_early(seat, attempt)
        seat.lost = True
        self._left.add(seat)
        self._seats.pop(seat.worker_id, None)
        self._host.notice([left_behind(seat, attempt, len(self._left))])
        if not self._stopping:
            self._resize(self._wanted)
            self._turn_soon()
