"""A worker of the executor: a thread's seat, the limits of time of its attempts, what the pool is told of it."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import groupby
from operator import attrgetter
from typing import Any

from longshore.hookspecs import ExecutorHost, WorkerNotice
from longshore.records import LeftBehind, WorkerStats, WorkerType
from longshore.task import Attempt, Outcome, TaskSpec
from longshore.worker import Seat, call_in, due_at, failed
from msgspec.structs import replace

LONG_S = 0.001
"""From here on an attempt's processor time is measured."""
_UNKNOWN_MOST = 0.1  # of its run time
NOT_BEGUN = "it had not begun by then"
ABANDONED = "a thread cannot be stopped, so its thread was abandoned"


class Told(Enum):
    """What a thread may be told besides that it was abandoned."""

    LOOK = "look"
    """Ask, with the lock held, whether the attempt is still wanted, and the thread itself."""


class ThreadSeat(Seat):
    """A thread's seat, and what it has done so far.

    The thread sets `started`, then `attempt` when it begins, and `left` when the function is over; then it looks
    whether it was `told` something. Who gives it up sets `told` to the attempt, then looks at `left`. So one of the two
    sees the other, whatever the order, and an attempt is reported by one of them only.
    """

    __slots__ = ("left", "lost_at", "mark_at", "mark_s", "ready_by", "thread", "told")

    def __init__(self, worker_id: str, host: ExecutorHost) -> None:
        super().__init__(worker_id, lambda update: host.progress((update,)))
        self.thread: threading.Thread | None = None
        self.left: Attempt | None = None
        self.told: Attempt | Told | None = None
        self.ready_by: float | None = None
        """When the initializer that runs here must have ended; None while none does."""
        self.lost_at = self.mark_at = self.mark_s = 0.0

    def due(self, attempt: Attempt, started: float, ready_by: float | None) -> float:
        """Return when what runs here must have ended: the attempt, or by `ready_by` the initializer before it."""
        if ready_by is None:
            return due_at(attempt, started)
        return ready_by if attempt.expires_at is None else min(ready_by, attempt.expires_at)

    def mark(self, now: float) -> float:
        """Remember the processor time of this thread up to now, and return `now`."""
        self.mark_at, self.mark_s = now, time.thread_time()
        return now

    def cpu_s(self, started: float, now: float) -> float | None:
        """Return the processor time of a long attempt; None if short ones before it may have a part in what is known.

        Asking the system costs up to a microsecond, which is why short attempts are not measured.
        """
        before_s, unknown_s = self.mark_s, started - self.mark_at
        self.mark(now)
        return min(self.mark_s - before_s, now - started) if unknown_s <= (now - started) * _UNKNOWN_MOST else None

    def failure(self, attempt: Attempt, error: BaseException, started: float, now: float) -> Outcome:
        """Return the outcome of an attempt that raised."""
        outcome = failed(attempt, error, started, now, self.worker_id)
        return replace(outcome, cpu_s=self.cpu_s(started, now)) if now - started >= LONG_S else outcome

    def ready(
        self, attempt: Attempt
    ) -> tuple[TaskSpec | None, Callable[..., Any], str, Callable[[], object] | None]:  # Any: the user's function
        """Return what to call for an attempt, in its submitter's context; its name; its initializer.

        The first is its spec, for which this holds; None where it is for this attempt only, which has its own context.
        """
        spec = attempt.spec
        context, function = attempt.context or spec.context, spec.function
        if context is None:
            return spec, function, spec.name, spec.initializer

        def call(*args: Any, **kwargs: Any) -> Any:  # Any: the user's arguments and result
            return call_in(context, self, function, args, kwargs)

        return spec if attempt.context is None else None, call, spec.name, spec.initializer

    def start(self, work: Callable[[ThreadSeat], None]) -> None:
        """Have `work` done in a thread of its own; RuntimeError where the system has no more of them."""
        name = f"longshore-{self.worker_id}"
        self.thread = threading.Thread(target=work, args=(self,), name=name, daemon=True)
        self.thread.start()

    def give_up(self, attempt: Attempt) -> bool:
        """Take the attempt from the thread; False if its function is over. The executor's lock is held."""
        self.told = attempt
        if self.attempt is attempt and self.left is not attempt:
            self.cancelled, self.lost_at = attempt, time.monotonic()
            self.mute()
            return True
        self.told = Told.LOOK
        return False


def remains(seat: ThreadSeat) -> LeftBehind:
    """Return what is known of an abandoned thread; from any thread."""
    attempt = seat.cancelled
    thread = seat.thread
    frame = sys._current_frames().get(thread.ident or 0) if thread is not None else None
    stack = [f"{one.filename}:{one.lineno} in {one.name}" for one in traceback.extract_stack(frame)] if frame else []
    own = [at for at, place in enumerate(stack) if "longshore_threads" in place]
    return LeftBehind(
        worker_id=seat.worker_id,
        worker_type=WorkerType.THREAD,
        task_id=attempt.task_id if attempt is not None else "",
        name=attempt.spec.name if attempt is not None else "",
        thread=thread.name if thread is not None else "",
        since_s=time.monotonic() - seat.lost_at,
        stack=stack[own[-1] + 1 :] if own else stack,
    )


def abandoned(seat: ThreadSeat, attempt: Attempt, count: int) -> WorkerNotice:
    """Return what the pool is told of a thread that was given up; `count` of them are now."""
    data = {
        "worker_id": seat.worker_id,
        "task_id": attempt.task_id,
        "name": attempt.spec.name,
        "error": ABANDONED,
        "abandoned_threads": count,
    }
    return WorkerNotice("worker_error", data)


def stats(seat: ThreadSeat, *, stopping: bool) -> WorkerStats:
    """Return a thread's row; that it lives can be seen from any other, unless it is just being started."""
    begun = seat.thread is not None and seat.thread.ident is not None
    alive = seat.thread.is_alive() if seat.thread is not None and begun else None
    return seat.stats(WorkerType.THREAD, stopping=stopping, alive=alive)


def count(seats: Mapping[str, ThreadSeat], done: Sequence[Outcome]) -> None:
    """Add to what the seats have done, in runs of one seat: they are as long as the tasks are short."""
    first = done[0].worker
    alone = [outcome.worker for outcome in done].count(first) == len(done)
    for worker_id, run in [(first, done)] if alone else groupby(done, _worker_of):
        seat = seats.get(worker_id or "")
        if seat is not None:
            outcomes = list(run)
            ran = [outcome.ran_s for outcome in outcomes if outcome.error is None]
            seat.completed += len(ran)
            seat.failed += len(outcomes) - len(ran)
            seat.busy_s += sum(ran)


_worker_of = attrgetter("worker")
