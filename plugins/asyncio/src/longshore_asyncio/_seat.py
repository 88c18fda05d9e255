"""A worker of the executor: its seat, the limits of time of an attempt in it, and how such an attempt ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import Context
from inspect import isawaitable
from typing import Any, NamedTuple

from longshore.events import ProgressUpdate
from longshore.hookspecs import ExecutorHost, WorkerNotice
from longshore.records import LeftBehind, WorkerStats, WorkerType
from longshore.task import Attempt, Outcome, TaskSpec, TaskState
from longshore.worker import Seat, bind, cancelled, completed, due_at, failed, timed_out, unready

NOT_YET = 0.0
"""When a seat's attempt started, before its asyncio task took its first step."""
NOT_BEGUN = "it had not begun by then"
LATE_S = 0.4
"""A look at a deadline that comes so much after it shows that the loop was held up; the watchdog knows by whom."""
_GRACE = 0.1  # a coroutine may take this fraction of its timeout to end once cancelled, and at most _GRACE_MOST_S
_GRACE_MOST_S = 0.5  # a pool that stops is over within 1 s of its deadline, and this is part of that
_GOES_ON = "its coroutine did not end at once when it was cancelled, and is left behind while it goes on"
_LEFT_BEHIND = "its coroutine ignored being cancelled and was left behind"


class Verdict(NamedTuple):
    """That a seat's attempt was told to end: the state and message to report it with, and when to give it up."""

    state: TaskState
    message: str
    give_up_at: float
    unready: bool = False
    """Whether it was its initializer that took too long."""


class AsyncSeat(Seat):
    """A seat with the asyncio task that sits in it, and what it has done so far."""

    __slots__ = (
        "_left",
        "_loop",
        "_lost_at",
        "_say",
        "_thread",
        "blocker",
        "blocks",
        "excused_at",
        "lost",
        "ready_by",
        "reported",
        "running",
        "verdict",
    )

    def __init__(self, worker_id: str, host: ExecutorHost) -> None:
        self._say: Callable[[ProgressUpdate], None] = lambda update: host.progress((update,))
        super().__init__(worker_id, self._say)
        self._loop = host.loop
        self.running: asyncio.Task[None] | asyncio.Task[float] | None = None
        self.verdict: Verdict | None = None
        self.blocks = False
        """Whether the watchdog found it blocking the loop; until the loop has turned."""
        self.blocker: Attempt | None = None
        """The attempt that was found doing so last: its own deadline is not moved by that."""
        self.excused_at: float | None = None
        """The deadline that passed while somebody else held up the loop, for which it has got one more turn."""
        self.ready_by: float | None = None
        """When the initializer that it awaits must have ended; None while it awaits none."""
        self.reported = False
        """Whether its attempt was reported, though its coroutine goes on."""
        self.lost = False
        """Whether another seat has taken its place meanwhile."""
        self._thread = threading.current_thread().name  # the loop's
        self._left: Attempt | None = None
        self._lost_at = 0.0

    def due(self, attempt: Attempt) -> float:
        """Return when what runs here must have ended: the attempt, or the initializer before it."""
        if self.ready_by is None:
            return due_at(attempt, self.started)
        return self.ready_by if attempt.expires_at is None else min(self.ready_by, attempt.expires_at)

    def is_excused(self, attempt: Attempt, due: float, now: float) -> bool:
        """Tell whether an attempt that returned after its deadline was kept from returning by another."""
        return self.blocker is not attempt and self.verdict is None and (now - due > LATE_S or self.excused_at == due)

    def report(self, attempt: Attempt) -> None:
        """Take note that the attempt here is reported: what its coroutine still says comes after its end."""
        self.reported, self._left, self._lost_at = True, attempt, time.monotonic()
        self.mute()

    def regain(self) -> None:
        """Be as any other seat again: the coroutine has ended."""
        self.reported, self._left = False, None
        self.send = self._say

    def remains(self) -> LeftBehind:
        """Return what is known of what goes on here; from any thread."""
        attempt, running = self._left, self.running
        return LeftBehind(
            worker_id=self.worker_id,
            worker_type=WorkerType.ASYNC,
            task_id=attempt.task_id if attempt is not None else "",
            name=attempt.spec.name if attempt is not None else "",
            thread=self._thread,
            since_s=time.monotonic() - self._lost_at,
            stack=stack_of(running) if running is not None else (),
        )

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Have `call` called by the loop; progress may be told from threads, too."""
        self._loop.call_soon_threadsafe(self._loop.call_later, delay_s, call)


class Contexts:
    """What attempts of one spec run in copies of: their submitter's context with the seat bound, made once for each."""

    __slots__ = ("_made", "_nobodys", "_spec")

    def __init__(self) -> None:
        """Know of none."""
        self._nobodys = Context()  # what whoever started the pool had set is not for every task
        self._spec: TaskSpec | None = None
        self._made: dict[AsyncSeat, Context] = {}

    def nobodys(self) -> Context:
        """Return a new context in which nothing is set."""
        return self._nobodys.copy()

    def new(self, seat: AsyncSeat, attempt: Attempt) -> Context:
        """Return a context for one attempt."""
        if attempt.context is not None:
            return _bound(attempt.context, seat)
        spec = attempt.spec
        if spec is not self._spec:
            self.forget()
            self._spec = spec
        context = self._made.get(seat)
        if context is None:
            context = self._made[seat] = _bound(spec.context or self._nobodys, seat)
        return context.copy()

    def forget(self) -> None:
        """Let go of the last spec, and of what its submitter had set."""
        self._spec = None
        self._made.clear()


def _bound(context: Context, seat: AsyncSeat) -> Context:
    context = context.copy()
    context.run(bind, seat)
    return context


def stack_of(task: asyncio.Task[Any]) -> list[str]:  # Any: whatever it gives
    """Return where a suspended asyncio task is in the user's code, outermost first; from any thread."""
    places: list[str] = []
    awaited: Any = task.get_coro()  # Any: coroutines and generators of all kinds, and at last a future
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None and frame.f_globals.get("__name__", "").split(".")[0] != "longshore_asyncio":
            places.append(f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return places


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
    due = due_at(attempt, started)
    excused = seat.is_excused(attempt, due, now)
    _take_verdict(seat)
    if now >= due and not excused:
        return timed_out(attempt, started, now, seat.worker_id, "it returned after that")
    return completed(attempt, value, started, now, seat.worker_id)


def raised(seat: AsyncSeat, attempt: Attempt, error: BaseException, started: float, now: float) -> Outcome:
    """Return the outcome of an attempt that raised: by itself, or since it was told to end."""
    verdict = _take_verdict(seat)
    stopped = isinstance(error, asyncio.CancelledError)
    if verdict is not None and verdict.unready:
        return unready(attempt, now, now, seat.worker_id, executor="asyncio")
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
    if verdict is not None and verdict.unready:
        return unready(attempt, now, now, seat.worker_id, executor="asyncio")
    return timed_out(attempt, seat.started, now, seat.worker_id, _GOES_ON)


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


def _take_verdict(seat: AsyncSeat) -> Verdict | None:
    """Take back that the attempt was told to end, as the next one may sit in the same asyncio task."""
    verdict, seat.verdict = seat.verdict, None
    if verdict is not None and seat.running is not None:
        seat.running.uncancel()
    return verdict
