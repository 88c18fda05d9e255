"""A worker of the executor: its seat, the limits of time of an attempt in it, and how such an attempt ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from inspect import isawaitable
from typing import NamedTuple

from longshore.hookspecs import ExecutorHost, WorkerNotice
from longshore.records import WorkerStats, WorkerType
from longshore.task import Attempt, Outcome, TaskState
from longshore.worker import Seat, cancelled, completed, due_at, failed, timed_out

NOT_YET = 0.0
"""When a seat's attempt started, before its asyncio task took its first step."""
_GRACE = 0.1  # a coroutine may take this fraction of its timeout to end once cancelled, and at most _GRACE_MOST_S
_GRACE_MOST_S = 0.5  # a pool that stops is over within 1 s of its deadline, and this is part of that
_LEFT_BEHIND = "its coroutine ignored being cancelled and was left behind"


class Verdict(NamedTuple):
    """That a seat's attempt was told to end: the state and message to report it with, and when to give it up."""

    state: TaskState
    message: str
    give_up_at: float


class AsyncSeat(Seat):
    """A seat with the asyncio task that sits in it, and what it has done so far."""

    __slots__ = ("_loop", "blocks", "lost", "running", "verdict")

    def __init__(self, worker_id: str, host: ExecutorHost) -> None:
        super().__init__(worker_id, lambda update: host.progress((update,)))
        self._loop = host.loop
        self.running: asyncio.Task[None] | asyncio.Task[float] | None = None
        self.verdict: Verdict | None = None
        self.blocks = False
        """Whether the watchdog found it blocking the loop; until the loop has turned."""
        self.lost = False
        """Whether its attempt was reported and another seat took its place, though its coroutine goes on."""

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Have `call` called by the loop; progress may be told from threads, too."""
        self._loop.call_soon_threadsafe(self._loop.call_later, delay_s, call)


def running_in(seats: Iterable[AsyncSeat]) -> list[asyncio.Task[None] | asyncio.Task[float]]:
    """Return the asyncio tasks that sit in these seats and have not ended."""
    tasks = [seat.running for seat in seats]
    return [task for task in tasks if task is not None and not task.done()]


async def prepare(seat: AsyncSeat, initializer: Callable[[], object]) -> None:
    """Call an initializer that this worker has not called yet, and await what it returns if that can be."""
    made = initializer()
    if isawaitable(made):
        await made
    seat.prepared.add(initializer)


def grace_s(attempt: Attempt) -> float:
    """Return how long a coroutine may take to end once it was told to."""
    timeout_s = attempt.spec.timeout_s
    return _GRACE_MOST_S if timeout_s is None else min(_GRACE_MOST_S, max(0.01, timeout_s * _GRACE))


def returned(seat: AsyncSeat, attempt: Attempt, value: object, started: float, now: float) -> Outcome:
    """Return the outcome of an attempt that returned: completed, or timed out if that was past its deadline."""
    _take_verdict(seat)
    if now >= due_at(attempt, started):
        return timed_out(attempt, started, now, seat.worker_id, "it returned after that")
    return completed(attempt, value, started, now, seat.worker_id)


def raised(seat: AsyncSeat, attempt: Attempt, error: BaseException, started: float, now: float) -> Outcome:
    """Return the outcome of an attempt that raised: by itself, or since it was told to end."""
    verdict = _take_verdict(seat)
    stopped = isinstance(error, asyncio.CancelledError)
    if verdict is not None and verdict.state is TaskState.TIMED_OUT:
        note = verdict.message if stopped else f"it ended with {type(error).__name__}"
        return timed_out(attempt, started, now, seat.worker_id, note)
    if verdict is not None and stopped:
        return cancelled(attempt, started, now, seat.worker_id, verdict.message)
    return failed(attempt, error, started, now, seat.worker_id)


def given_up(seat: AsyncSeat, attempt: Attempt, now: float) -> Outcome:
    """Return the outcome of an attempt that was told to end and did not."""
    verdict = seat.verdict
    if verdict is not None and verdict.state is TaskState.CANCELLED:
        return cancelled(attempt, seat.started, now, seat.worker_id, f"{verdict.message}; {_LEFT_BEHIND}")
    return timed_out(attempt, seat.started, now, seat.worker_id, _LEFT_BEHIND)


def left_behind(seat: AsyncSeat, attempt: Attempt, count: int) -> WorkerNotice:
    """Return what the pool is told of a seat whose coroutine goes on; `count` of them do now."""
    data = {
        "worker_id": seat.worker_id,
        "task_id": attempt.task_id,
        "name": attempt.spec.name,
        "error": _LEFT_BEHIND,
        "left_behind": count,
    }
    return WorkerNotice("worker_error", data)


def stats(seat: AsyncSeat, *, stopping: bool) -> WorkerStats:
    """Return a seat's row; one that blocks the loop is in error, whether others live only a turn of it shows."""
    return seat.stats(WorkerType.ASYNC, stopping=stopping, alive=False if seat.blocks else None)


def count(seat: AsyncSeat, outcome: Outcome) -> None:
    """Count what was done in a seat; time spent on what did not complete is not work done."""
    if outcome.error is None:
        seat.completed += 1
        seat.busy_s += outcome.ran_s
    else:
        seat.failed += 1


def _take_verdict(seat: AsyncSeat) -> Verdict | None:
    """Take back that the attempt was told to end, as the next one may sit in the same asyncio task."""
    verdict, seat.verdict = seat.verdict, None
    if verdict is not None and seat.running is not None:
        seat.running.uncancel()
    return verdict
