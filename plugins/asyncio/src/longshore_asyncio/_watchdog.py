"""The watchdog: a thread that asks the loop for an answer while coroutines run, and names whoever keeps it from one.

A blocked loop can tell nobody, so the log is told from here; the pool's event follows as soon as the loop turns again.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from longshore.hookspecs import ExecutorHost, WorkerNotice

from longshore_asyncio._seat import AsyncSeat

_LOOK_S = 0.1  # a seat found at it at two looks so far apart, with no turn of the loop between, blocks it
_RESTS_AFTER = 10  # looks at which nothing ran: being woken for each of a few tasks would cost the loop more
_LEAVE_S = 0.05  # it has nothing left to do but to end
_log = logging.getLogger("longshore.asyncio")


class Watchdog:
    """Watches one loop for one executor; its thread starts with the first attempt and rests when none runs."""

    def __init__(self, host: ExecutorHost, seats: Callable[[], Iterable[AsyncSeat]]) -> None:
        """Watch `seats`; made on the loop's thread."""
        self._host = host
        self._seats = seats
        self._loop_thread = threading.get_ident()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self.resting = True
        """Whether nobody is watched: who begins an attempt then has to call `wake`."""
        self._idle_looks = 0
        self._asked_at = 0.0
        self._answered = True
        self._suspect: AsyncSeat | None = None
        self._since = 0.0

    def wake(self) -> None:
        """Watch from now on, until no attempt runs."""
        self._idle_looks = 0
        self.resting = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="longshore-asyncio-watchdog", daemon=True)
            self._thread.start()
        self._changed.set()

    def stop(self) -> None:
        """Watch no more, and let the thread end."""
        self._stopping = True
        self._changed.set()
        if self._thread is not None:
            self._thread.join(_LEAVE_S)

    def _watch(self) -> None:
        while not self._stopping:
            if self._watches() and self._answered:
                self._ask()
            self._changed.wait(None if self.resting else _LOOK_S)
            self._changed.clear()
            if not self._answered:
                self._look(time.monotonic())

    def _watches(self) -> bool:
        """Tell whether a seat is taken; while none is for long, rest.

        Who takes one looks at `resting` afterwards, so one of the two sees the other.
        """
        self.resting = self._idle_looks >= _RESTS_AFTER
        taken = any(seat.attempt is not None for seat in self._seats())
        self._idle_looks = 0 if taken else self._idle_looks + 1
        self.resting = self.resting and not taken
        return taken

    def _ask(self) -> None:
        self._asked_at = time.monotonic()
        self._answered = False
        with suppress(RuntimeError):  # the loop is closed: nobody answers, and nobody runs
            self._host.loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        """Be the loop's turn that was asked for."""
        self._answered = True
        self._suspect_now(None, 0.0)

    def _suspect_now(self, seat: AsyncSeat | None, since: float) -> None:
        suspect, self._suspect, self._since = self._suspect, seat, since
        if suspect is not None:
            suspect.blocks = False

    def _look(self, now: float) -> None:
        """See who is at it while the loop does not answer."""
        seat = self._at_it()
        if seat is None or seat is not self._suspect:
            self._suspect_now(seat, now)
        elif not seat.blocks and now - self._since >= _LOOK_S:
            seat.blocks, seat.blocker = True, seat.attempt
            self._tell(seat)

    def _at_it(self) -> AsyncSeat | None:
        """Return the seat whose asyncio task the loop is inside of; one that starts eagerly has not got it yet."""
        task = asyncio.current_task(self._host.loop)
        if task is None:
            return None
        taken = [seat for seat in list(self._seats()) if seat.attempt is not None]
        return next((seat for seat in taken if seat.running is task or seat.running is None), None)

    def _tell(self, seat: AsyncSeat) -> None:
        attempt = seat.attempt
        if attempt is None:
            return
        where = self._where()
        data = {
            "worker_id": seat.worker_id,
            "task_id": attempt.task_id,
            "name": attempt.spec.name,
            "blocked_s": time.monotonic() - self._asked_at,
            "where": where,
            "error": f"the coroutine {attempt.spec.name} blocks the loop at {where}",
        }
        _log.warning(
            "task %s (%s) on worker %s blocks the loop at %s: await something there, or run it in a thread",
            *(attempt.task_id, attempt.spec.name, seat.worker_id, where),
        )
        self._host.notice([WorkerNotice("worker_blocked", data)])

    def _where(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "an unknown place"
