"""What runs beside the user's function in any worker: bind the current task, report progress, pack results and errors.

Imported by every executor and, in process workers, before anything else of ours: it needs only the words, so a worker
starts without pydantic, stevedore, pluggy or a command-line library.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Context, ContextVar
from datetime import UTC, datetime
from typing import IO, Any, Literal, overload

from longshore._columns import AttemptColumns, OutcomeColumns, Reports, in_columns
from longshore._objects import is_url, local_path
from longshore._outcomes import NEVER, cancelled, completed, due_at, ended, failed, timed_out, unawaited, unready
from longshore._output_file import output_file
from longshore._packing import RemoteTraceback, described, pack_error, portable, type_name
from longshore.errors import TaskCancelled, TaskTimeout
from longshore.events import ProgressUpdate
from longshore.records import WorkerStats, WorkerStatus
from longshore.task import Attempt

PROGRESS_PERIOD_S = 0.1
"""Updates of one task are sent at most this often: the first at once, then the newest of each period, and the last."""
_log = logging.getLogger("longshore.worker")


class Seat:
    """One worker's place: what it runs now, and a dict that lives as long as the worker.

    An executor makes one seat per worker, sets `attempt` and `started` as it begins an attempt, sends its progress by
    `send`, and closes the seat in the worker when that ends in order. The two plain assignments per task are all that
    binding costs.
    """

    __slots__ = (
        "_ringing",
        "attempt",
        "busy_s",
        "cancelled",
        "completed",
        "failed",
        "farewells",
        "prepared",
        "send",
        "started",
        "state",
        "view",
        "worker_id",
    )

    def __init__(self, worker_id: str, send: Callable[[ProgressUpdate], None]) -> None:
        """Make an empty seat."""
        self.worker_id = worker_id
        self.send = send
        self.attempt: Attempt | None = None
        self.started = 0.0
        self.cancelled: Attempt | None = None
        self.state: dict[str, Any] = {}  # Any: the user's own objects
        self.prepared: set[object] = set()
        self.farewells: list[Callable[[], object]] = []
        self.completed = self.failed = 0
        self.busy_s = 0.0
        """What it has done so far: the executor counts, `stats` tells."""
        self.view: CurrentTask | None = None
        """What `current_task` gave out for the attempt; None while nobody asked: `finish` has nothing to do."""
        self._ringing = False

    def task(self) -> CurrentTask | None:
        """Return the view of the attempt that runs here, made on first use; None between attempts."""
        attempt = self.attempt
        if attempt is None:
            return None
        if self.view is None or self.view._attempt is not attempt:
            self.view = CurrentTask(self, attempt, self.started)
        return self.view

    def stats(self, worker_type: str, *, stopping: bool = False, alive: bool | None = None) -> WorkerStats:
        """Return what is done here and has been; from any thread. `alive` is None if the caller can't tell."""
        attempt = self.attempt
        status = WorkerStatus.BUSY if attempt is not None else WorkerStatus.IDLE
        if stopping:
            status = WorkerStatus.STOPPING
        return WorkerStats(
            worker_id=self.worker_id,
            worker_type=worker_type,
            status=WorkerStatus.ERROR if alive is False else status,
            tasks_completed=self.completed,
            tasks_failed=self.failed,
            total_processing_time=self.busy_s,
            current_task=attempt.task_id if attempt is not None else None,
            last_heartbeat=datetime.now(UTC) if alive else None,
            running_s=None if attempt is None else max(0.0, time.monotonic() - self.started) if self.started else 0.0,
        )

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Have `call` called in a moment, on any thread; RuntimeError where that can't be. Executors may do better."""
        timer = threading.Timer(delay_s, call)
        timer.daemon = True
        timer.start()

    def hold(self, delay_s: float = PROGRESS_PERIOD_S) -> None:
        """See to it that what the running attempt held back is sent, though it may say nothing more for long."""
        if not self._ringing:
            self._ringing = True
            try:
                self.later(delay_s, self._ring)
            except RuntimeError:  # no more threads, or a loop that is closed: the next update or the end will send it
                self._ringing = False

    def _ring(self) -> None:
        self._ringing = False
        view = self.view
        wait_s = view._send_held(early=False) if view is not None else None
        if wait_s is not None:
            self.hold(wait_s)

    @property
    def muted(self) -> bool:
        """Whether the attempt was given up on, and what it still does comes after its end."""
        return self.send is _drop

    def mute(self) -> None:
        """Send nothing from now on: what the attempt was is reported, and what it still says comes after its end."""
        self.send = _drop

    def finish(self) -> None:
        """Send the last progress of the attempt that ended, if any was held back."""
        if self.view is not None:
            self.view._send_held(early=True)
            self.view = None

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Do what is the worker's to do, not the attempt's, in the middle of an attempt; limits may leave it out."""
        yield

    def restart(self, now: float) -> None:
        """Count the time of the running attempt from monotonic `now`: until then its worker was got ready."""
        self.started = now
        if self.view is not None:
            self.view._started = now

    def prepare(self, initializer: Callable[[], object] | None) -> None:
        """Call `initializer` if this worker has not yet; what it raises is the attempt's failure."""
        if initializer is not None and initializer not in self.prepared:
            initializer()
            self.prepared.add(initializer)

    def close(self) -> None:
        """Call what tasks want called at the worker's end, the last first: for executors, in the worker itself."""
        while self.farewells:
            try:
                self.farewells.pop()()
            except Exception as error:  # noqa: BLE001 - user code, and no task is left to blame
                _log.warning("worker %s: what was to be called at its end raised %r", self.worker_id, error)


_seat: ContextVar[Seat | None] = ContextVar("longshore_seat", default=None)


def bind(seat: Seat | None) -> None:
    """Make `seat` the one that `current_task` looks at, in this thread or asyncio task; None for none."""
    _seat.set(seat)


def call_in(context: Context, seat: Seat, function: Callable[..., Any], args: Any, kwargs: Any = None) -> Any:
    """Call `function` in a copy of its submitter's context, with `seat` in the place of the submitter's own.

    Any: the user's arguments and result.
    """
    return context.copy().run(_call_bound, seat, function, args, kwargs)


def _call_bound(seat: Seat, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:  # Any: as above
    _seat.set(seat)
    return function(*args) if kwargs is None else function(*args, **kwargs)


@contextmanager
def preparing() -> Iterator[None]:
    """Get the worker ready for this and later tasks, if this is one: such time and memory are not the task's."""
    seat = _seat.get()
    with seat.preparing() if seat is not None else nullcontext():
        yield


class CurrentTask:
    """The running task, seen from inside it."""

    __slots__ = ("_attempt", "_held", "_lock", "_seat", "_sent_at", "_started", "_top")

    def __init__(self, seat: Seat, attempt: Attempt, started: float) -> None:
        """Look at `attempt`, begun at monotonic `started`."""
        self._seat = seat
        self._attempt = attempt
        self._started = started
        self._sent_at = -NEVER
        self._lock = threading.RLock()  # a destructor may tell progress while some is being sent
        self._held: ProgressUpdate | None = None
        self._top = 0.0

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self._attempt.task_id

    @property
    def name(self) -> str:
        """The task's name."""
        return self._attempt.spec.name

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.number

    @property
    def worker_id(self) -> str:
        """The worker that runs it."""
        return self._seat.worker_id

    @property
    def worker_state(self) -> dict[str, Any]:  # Any: the user's own objects
        """A dict that lives as long as the worker and is seen by its tasks only."""
        return self._seat.state

    @property
    def gpus(self) -> tuple[int, ...]:
        """The GPUs that this attempt may use, by their numbers in the order of the PCI bus; () if it asked for none.

        One that asked for a part of a GPU shares it. In a process worker CUDA sees these only, and numbers them from 0.
        """
        return self._attempt.gpus

    def at_worker_end(self, call: Callable[[], object]) -> None:
        """Have `call` called in the worker when it ends in order; one that is killed calls nothing."""
        self._seat.farewells.append(call)

    def time_remaining(self) -> float | None:
        """Return the seconds until this attempt must have ended, None without a limit."""
        due = due_at(self._attempt, self._started)
        return None if due == NEVER else due - time.monotonic()

    def overdue(self) -> bool:
        """Tell whether this attempt has run for longer than its soft timeout; False without one."""
        soft_s = self._attempt.spec.soft_timeout_s
        return soft_s is not None and time.monotonic() - self._started >= soft_s

    def cancelled(self) -> bool:
        """Tell whether somebody wants this attempt to end."""
        return self._seat.cancelled is self._attempt

    def check_cancelled(self) -> None:
        """Raise TaskCancelled if somebody wants this attempt to end."""
        if self.cancelled():
            raise TaskCancelled(f"task {self.task_id} ({self.name}) was cancelled", task_id=self.task_id)

    def progress(
        self,
        fraction: float | None = None,
        message: str = "",
        *,
        step: str | None = None,
        completed_steps: int | None = None,
        total_steps: int | None = None,
    ) -> None:
        """Say how far the task is, 0 to 1; steps stand in for the fraction when none is given. It never goes back."""
        if fraction is None:
            fraction = completed_steps / total_steps if completed_steps is not None and total_steps else self._top
        with self._lock:  # beside the thread that sends what was held back
            self._top = top = max(self._top, min(1.0, max(0.0, fraction)))
            now = time.monotonic()
            left_s = (now - self._started) * (1.0 - top) / top if top else None
            update = ProgressUpdate(
                self.task_id, self.attempt, top, message, step, completed_steps, total_steps, left_s
            )
            if now - self._sent_at >= PROGRESS_PERIOD_S:
                self._send(update, now)
            else:
                self._held = update
        if self._held is not None:
            self._seat.hold()

    @overload
    def output(self, path: str | os.PathLike[str]) -> AbstractContextManager[IO[bytes]]: ...

    @overload
    def output(self, path: str | os.PathLike[str], mode: Literal["wb"]) -> AbstractContextManager[IO[bytes]]: ...

    @overload
    def output(
        self,
        path: str | os.PathLike[str],
        mode: Literal["w"],
        *,
        encoding: str | None = None,
        newline: str | None = None,
    ) -> AbstractContextManager[IO[str]]: ...

    def output(
        self,
        path: str | os.PathLike[str],
        mode: Literal["w", "wb"] = "wb",
        *,
        encoding: str | None = None,
        newline: str | None = None,
    ) -> AbstractContextManager[IO[Any]]:
        """Open a file that appears at `path` whole, or not at all; a file that was there stays until then.

        At the end of the block it is on the disk (fsync), then it takes the place of `path` in one step. If the block
        raises, or the task is cancelled, times out or is killed, nothing comes to `path`: an attempt that is over gets
        TaskCancelled or TaskTimeout from the end of its block. Text is UTF-8 unless `encoding` says otherwise. Raises
        OSError as `open` does, and ValueError for another mode. A URL, such as s3://bucket/a.json, names an object: it
        is put whole at the end of the block.
        """
        if isinstance(path, str) and is_url(path):
            own = local_path(path)
            if own is None:
                from longshore._object_files import object_output  # for objects only

                return object_output(path, mode, encoding, newline, self._check_counts)
            path = own
        return output_file(path, mode, encoding, newline, self._check_counts)

    def _check_counts(self) -> None:
        """Raise unless this attempt still counts: one that was given up on must not write over what came after it."""
        self.check_cancelled()
        left_s = self.time_remaining()
        if left_s is not None and left_s <= 0:
            raise TaskTimeout(f"task {self.task_id} ({self.name}) passed its time limit", task_id=self.task_id)
        if self._seat.muted or self._seat.attempt is not self._attempt:
            raise TaskCancelled(f"this attempt at task {self.task_id} ({self.name}) is over", task_id=self.task_id)

    def _send(self, update: ProgressUpdate, now: float) -> None:
        self._sent_at, self._held = now, None
        self._seat.send(update)

    def _send_held(self, *, early: bool) -> float | None:
        """Send what was held back, if its time has come or it may be early; return the seconds until then."""
        with self._lock:
            if self._held is None:
                return None
            now = time.monotonic()
            wait_s = self._sent_at + PROGRESS_PERIOD_S - now
            if wait_s > 0 and not early:
                return wait_s
            self._send(self._held, now)
            return None


def in_a_task() -> bool:
    """Tell whether this code may run in a task: quicker than to ask for it where it mostly does not."""
    return _seat.get() is not None


def running_task() -> CurrentTask | None:
    """Return the task this code runs in, None outside of one."""
    seat = _seat.get()
    return seat.task() if seat is not None else None


def current_task() -> CurrentTask:
    """Return the task this code runs in; RuntimeError outside of one."""
    task = running_task()
    if task is None:
        raise RuntimeError("current_task() was called outside of a task: only code a pool runs has one")
    return task


def _drop(_: ProgressUpdate) -> None:
    """Take the place of a muted seat's `send`."""


__all__ = [
    "NEVER",
    "PROGRESS_PERIOD_S",
    "AttemptColumns",
    "CurrentTask",
    "OutcomeColumns",
    "RemoteTraceback",
    "Reports",
    "Seat",
    "bind",
    "call_in",
    "cancelled",
    "completed",
    "current_task",
    "described",
    "due_at",
    "ended",
    "failed",
    "in_a_task",
    "in_columns",
    "pack_error",
    "portable",
    "preparing",
    "running_task",
    "timed_out",
    "type_name",
    "unawaited",
    "unready",
]
