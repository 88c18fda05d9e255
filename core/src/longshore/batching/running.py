"""A batch in a worker: one thread runs attempt after attempt, the system's own watches, and gives it up where it must.

A function in a thread cannot be stopped. What is past its limit, or cancelled, is recorded so and its thread left to
itself; another goes on with the rest, or the worker is spent and to be ended. What stands behind a slow attempt is
given back to the controller, and what had ended before it is told.
"""

from __future__ import annotations

import contextvars
import os
import pickle
import threading
from collections.abc import Callable
from time import monotonic, thread_time
from types import CoroutineType
from typing import Any, Final

from longshore.batching import spool
from longshore.batching.codec import cut_trace, dump, dump_exception, load
from longshore.batching.words import (
    CANCELLED,
    CUT,
    DONE,
    FAILED,
    FINISHED,
    TIMED_OUT,
    UNREADY,
    Batch,
    Item,
    Record,
    Result,
)
from longshore.batching.yard import Yard
from longshore.errors import PayloadError, TaskCancelled
from longshore.shared import Shared, opened
from longshore.task import Attempt, TaskSpec
from longshore.worker import NEVER, Seat, bind, described, due_at, pack_error, unawaited

CUT_S: Final = 0.25
"""After so long in one attempt, or in a batch, what is behind it goes back to the controller.

What has ended waits no longer than this to be told.
"""
_MOST_BYTES: Final = 8 << 20  # of results: what is behind them goes back as well
_LONG_S: Final = 0.001


def run_batch(yard: Yard, batch: Batch) -> bytes:
    """Run a batch in the place its pool has here, and return a pickle of `words.Result`."""
    if yard.spent:
        return pickle.dumps(tuple(Result([], 0.0, spent=True)), 5)
    yard.forget(batch.settled)
    running = Running(yard, batch)
    result = running.execute() if yard.begin(batch.number, running) else Result([], 0.0)
    return pickle.dumps(tuple(result), 5)


class Running:
    """One batch that runs. The lock guards who runs it, where it is, and the records."""

    def __init__(self, yard: Yard, batch: Batch) -> None:
        """Begin nothing yet."""
        self._yard, self._batch = yard, batch
        self._items = [Item(*item) for item in batch.items]
        self._changed = threading.Condition()
        self._seat: Seat | None = None  # whose thread runs it
        self._attempt: Attempt | None = None
        self._ready_by: float | None = None
        self._at, self._end, self._over = 0, len(self._items), False
        self._slow = False
        self._wakes_at = NEVER  # when who watches will look by itself
        self._records: list[Record] = []
        self._bytes = 0
        self._told, self._untold_since = 0, 0.0  # how many records were, and since when others wait for that
        self._lacks_code = False
        self._spec: TaskSpec | None = None
        self._file: int | None = None

    def execute(self) -> Result:
        """Run it, which its yard has taken as begun, and return what came of it."""
        yard, number = self._yard, self._batch.number
        self._file = yard.spool.begin(number)
        if self._file is None:
            yard.spool.renounce()
        self._began = self._started = monotonic()
        try:
            with self._changed:
                self._hire()
                while not self._over:
                    self._changed.wait(self._wait_s())
                    self._judge(monotonic())
        finally:
            with yard.lock:
                del yard.running[number]
                abandoned, spent = yard.abandoned, yard.spent
            if self._file is not None:
                os.close(self._file)
        yard.flush()
        records = [Record(*record) for record in self._records]
        return Result(records, monotonic() - self._began, self._lacks_code, abandoned, spent)

    def look(self) -> None:
        """Have it look at what was cancelled; from any thread."""
        with self._changed:
            self._changed.notify_all()

    # ---- on the thread that watches; the lock is held

    def _hire(self) -> None:
        self._seat = seat = self._yard.take_seat()
        context = contextvars.copy_context()  # with it, what the system asks its worker for works in tasks
        name = f"longshore-{seat.worker_id}"
        threading.Thread(target=context.run, args=(self._work, seat), name=name, daemon=True).start()

    def _due(self) -> float:
        if self._attempt is None:
            return NEVER
        return due_at(self._attempt, self._started) if self._ready_by is None else self._ready_by

    def _until(self) -> float:
        """Return when what runs has to be looked at."""
        if self._attempt is None:
            return NEVER
        until = min(self._due(), self._tells_at())
        return min(until, self._started + CUT_S) if self._holds_up() else until

    def _tells_at(self) -> float:
        """Return when what has ended is to be told, though the batch goes on."""
        return self._untold_since + CUT_S if self._told < len(self._records) else NEVER

    def _holds_up(self) -> bool:
        """Tell whether somebody may wait for what runs that does not know it to be slow."""
        return not self._slow and (self._batch.ahead or self._end > self._at + 1)

    def _wait_s(self) -> float | None:
        self._wakes_at = until = self._until()
        return None if until == NEVER else max(0.0, until - monotonic())

    def _judge(self, now: float) -> None:
        """Give up what runs if its time is over or it was cancelled, and give back what waits behind it too long."""
        attempt = self._attempt
        if self._over or attempt is None:
            return
        if now >= self._tells_at():
            self._tell_finished(now)
        if now >= self._started + CUT_S and self._holds_up():
            self._slow, self._end = True, self._at + 1
            self._yard.tell(CUT, [self._batch.number, self._end])
        message = self._yard.withdrawn.pop(attempt.task_id, None)
        if message is None and now < self._due():
            return
        how = CANCELLED if message is not None else UNREADY if self._ready_by is not None else TIMED_OUT
        record = Record(how, self._started - self._began, now - self._started, None, (message or "").encode())
        self._abandon(attempt)
        self._put(record)
        if self._yard.spent:
            self._end = self._at
        if not self._is_done():
            self._hire()

    def _tell_finished(self, now: float) -> None:
        """Tell what has ended, save what is too large for a message; the end of the batch has all of it once more."""
        size, finished = 0, []
        for at in range(self._told, len(self._records)):
            record = self._records[at]
            if size + len(record.data) <= self._yard.message_bytes:
                size += len(record.data)
                finished.append([at, *record])
        self._told = len(self._records)
        if finished:
            self._yard.flush()  # what tasks said comes before their end
            self._yard.tell(FINISHED, [self._batch.number, now - self._began, finished])

    def _abandon(self, attempt: Attempt) -> None:
        seat = self._seat
        if seat is not None:
            seat.cancelled = attempt
            seat.mute()
        self._seat, self._attempt, self._ready_by = None, None, None
        with self._yard.lock:
            self._yard.abandoned += 1
            self._yard.spent = self._yard.system.kills

    def _put(self, record: Record) -> None:
        now = monotonic()
        if self._told == len(self._records):
            self._untold_since = now
        self._records.append(record)
        self._bytes += len(record.data)
        self._at += 1
        if self._file is not None and not spool.write(self._file, record):
            os.close(self._file)
            self._file = None
            self._end = min(self._end, self._at)  # what is not written down would seem not to have begun
        if self._bytes > _MOST_BYTES or (self._at < self._end and now - self._began > CUT_S):
            self._end = min(self._end, self._at)

    def _is_done(self) -> bool:
        if self._at < self._end and not self._lacks_code:
            return False
        self._over = True
        self._changed.notify_all()
        return True

    # ---- on the thread that runs

    def _work(self, seat: Seat) -> None:
        bind(seat)
        while True:
            with self._changed:
                if self._seat is not seat or self._is_done():
                    break
                if self._yard.is_over():
                    self._end = self._at
                    continue
                item = self._items[self._at]
                now = monotonic()
                message = self._yard.withdrawn.pop(item.task_id, None) if self._yard.withdrawn else None
                if message is not None:
                    self._put(Record(CANCELLED, now - self._began, 0.0, None, message.encode()))
                    continue
                self._begin(seat, item, now)
            record = self._run(seat, item)
            if seat.view is not None:
                seat.finish()
            with self._changed:
                if self._seat is not seat:
                    break
                seat.attempt = self._attempt = None
                if record is not None:
                    self._put(record)
        if seat.muted:
            seat.close()
            with self._yard.lock:
                self._yard.abandoned -= 1
        else:
            seat.attempt = None
            self._yard.give_back(seat)

    def _begin(self, seat: Seat, item: Item, now: float) -> None:
        """Bind what is to run; the lock is held."""
        spec = self._spec
        if spec is None:
            batch = self._batch
            self._spec = spec = TaskSpec(
                function=run_batch,
                name=batch.name,
                executor=self._yard.system.executor,
                timeout_s=batch.timeout_s,
                soft_timeout_s=batch.soft_timeout_s,
            )
        expires_at = None if item.left_s is None else now + item.left_s
        attempt = Attempt(item.task_id, spec, (), None, 0, None, item.number, now, expires_at, gpus=self._yard.gpus)
        seat.started = self._started = now
        seat.attempt = self._attempt = attempt
        if self._until() < self._wakes_at:
            self._changed.notify_all()

    def _run(self, seat: Seat, item: Item) -> Record | None:
        """Run one attempt; None where the function has to be sent again."""
        cpu_s = 0.0
        try:
            code = self._ready(seat)
            if code is None:
                return None
            args, kwargs = self._arguments(item)
            cpu_s = thread_time()
            value = code(*args, **(kwargs or {}))
            ended = monotonic()
            if type(value) is CoroutineType:
                raise unawaited(self._batch.name, value)
            data = self._carried(value)
            how = DONE
        except BaseException as error:  # noqa: BLE001 - user code: whatever it raises costs this attempt only
            ended = monotonic()
            how, data = FAILED, _failure(error, item.number, seat.worker_id)
        started = self._started
        cpu = thread_time() - cpu_s if cpu_s and ended - started >= _LONG_S else None
        return Record(how, started - self._began, ended - started, cpu, data)

    def _ready(self, seat: Seat) -> Callable[..., Any] | None:  # Any: the user's function
        """Return what to call, with the worker ready for it, which has a limit of its own; None if it is to be sent."""
        yard, batch = self._yard, self._batch
        known = yard.codes.get(batch.kind)
        if known is not None and (known[1] is None or known[1] in seat.prepared):
            return known[0]
        if known is None and batch.code is None:
            self._lacks_code = True
            return None
        limit_s = batch.initializer_timeout_s
        with self._changed:
            if self._seat is seat:
                self._ready_by = NEVER if limit_s is None else monotonic() + limit_s
                self._changed.notify_all()
        try:
            function, initializer = known or yard.load(batch, batch.code or b"")
            seat.prepare(initializer)
        finally:
            with self._changed:
                if self._seat is seat:
                    self._ready_by, self._started = None, monotonic()
                    seat.restart(self._started)
                    self._changed.notify_all()
        return function

    def _arguments(self, item: Item) -> tuple[tuple[Any, ...], Any]:  # Any: the user's arguments
        try:
            args, kwargs = load(item.data)
        except BaseException as error:
            where = f"could not be read on {self._yard.here}"
            raise PayloadError(f"the arguments of {self._batch.name} {where}: {described(error)}") from error
        return opened(args, kwargs) if Shared.used else (args, kwargs)

    def _carried(self, value: Any) -> bytes:  # Any: what the user's function returned
        try:
            data = dump(value)
        except BaseException as error:
            where = f"cannot be carried back from {self._yard.here}"
            raise PayloadError(f"the result of {self._batch.name} {where}: {described(error)}") from error
        most = self._batch.max_result_bytes
        if most is not None and len(data) > most:
            raise PayloadError(
                f"the result of {self._batch.name} takes {len(data):,} bytes as it is sent, and may take {most:,}: "
                "write it to a file and return the file's path, or raise "
                f"executors.{self._yard.system.executor}.max_result_bytes",
                size_bytes=len(data),
                limit_bytes=most,
            )
        return data


def _failure(error: BaseException, number: int, worker_id: str) -> bytes:
    """Return a pickle: whether it was cancelled, the error's record, a pickle of the exception."""
    is_cancel = issubclass(type(error), TaskCancelled)
    cut_trace(error, __file__)
    record = pack_error(error, number, worker_id)
    try:
        return pickle.dumps((is_cancel, record, dump_exception(error)), 5)
    except Exception:  # noqa: BLE001 - facts of the user's that are not what they should be
        return pickle.dumps((is_cancel, pack_error(TypeError(record.message), number, worker_id), None), 5)


__all__ = ["CUT_S", "Running", "run_batch"]
