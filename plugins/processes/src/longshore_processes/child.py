"""One worker process: takes batches off its socket, runs item after item, and sends what came of them.

Called by the zygote in a freshly forked process, or as a fresh interpreter where there is no zygote. Nothing here
imports what only the controller needs.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic, process_time
from types import CoroutineType
from typing import Any, Final, NamedTuple, NoReturn

from longshore.errors import PayloadError, TaskCancelled
from longshore.shared import Shared, forget_gone, opened, opened_partial
from longshore.task import ErrorRecord
from longshore.worker import bind, pack_error
from msgspec.structs import replace

from longshore_processes import frames
from longshore_processes.codec import PROTOCOL, SCALARS, cause_of, cut_trace, dump, dump_exception, load, told
from longshore_processes.frames import FrameReader, Words
from longshore_processes.logs import RecordHandler, set_levels
from longshore_processes.memory import Account
from longshore_processes.output import flush_streams, mark_streams
from longshore_processes.parent import die_with
from longshore_processes.seat import Batch, Link, ProcessSeat

FLUSH_S: Final = 0.004
"""Before an item begins, results are sent if the last sending is longer ago than this."""
_LONG_S: Final = 0.001  # from here on an item's processor time is measured; below, its wall time stands for it
_LARGE_S: Final = 0.005  # from here on an item's peak of memory is read: that takes 10 us
PACKED: Final = "packed"
FAILED: Final = "failed"
LONG: Final = "long"

AnyFunction = Callable[..., Any]  # Any: the user's function


class Place(NamedTuple):
    """What a worker is given: its name and its descriptors."""

    worker_id: str
    sock: int
    nudge: int
    page: int


class Worker:
    """Runs batches. Results wait in three lists of equal length until they are sent, by this thread or the watch's."""

    def __init__(self, place: Place) -> None:
        """Open what the controller gave."""
        self._sock = socket.socket(fileno=place.sock)
        self._reader = FrameReader(self._sock)
        self._words = Words(place.page)
        os.close(place.page)
        self._link = Link(self._sock)
        self._account = Account(self._words)
        self._seat = ProcessSeat(place.worker_id, self._words, self._link, self._account)
        self._codes: dict[int, bytes] = {}
        self._ready: dict[int, AnyFunction] = {}
        self._flushing = threading.Lock()
        self._unsent = 0  # serial of the first result in the lists
        self._values: list[Any] = []  # Any: scalars, or tuples that begin with PACKED, FAILED or LONG
        self._starts: list[float] = []
        self._ends: list[float] = []  # appended last: an entry here has its fellows in the other lists
        self._flushed_at = 0.0
        self._cpu_mark = 0.0
        bind(self._seat)
        mark_streams(self._words)
        self._handler = RecordHandler(self._seat, self._link)
        logging.getLogger().addHandler(self._handler)
        os.register_at_fork(after_in_child=self._forked)

    def serve(self) -> None:
        """Work until the controller closes its side."""
        self._link.send(frames.HELLO, 0)
        while not self._reader.closed:
            for kind, number, payload in self._reader.read():
                if kind == frames.BATCH:
                    self._run(number, Batch(*load(payload)))
                elif kind == frames.CODE:
                    self._codes[number] = payload
                elif kind == frames.LEVELS:
                    set_levels(number, load(payload))
                else:
                    self._codes.pop(number, None)
                    self._ready.pop(number, None)
        self._seat.close()

    def flush(self) -> None:
        """Send what has ended; from any thread."""
        with self._flushing:
            count = len(self._ends)
            if count:
                results = self._values[:count], self._starts[:count], self._ends[:count]
                payload = pickle.dumps(results, PROTOCOL)
                del self._values[:count], self._starts[:count], self._ends[:count]
                self._link.send(frames.RESULTS, self._unsent, payload)
                self._unsent += count

    def _forked(self) -> None:
        """In a child that a task forked: leave the socket to the worker, and log to where the output goes."""
        self._link.muted = True
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.addHandler(logging.StreamHandler())

    def _run(self, first: int, batch: Batch) -> None:
        self._seat.batch, self._seat.first, self._unsent = batch, first, first
        forget_gone()
        self._account.begin()
        self._flushed_at = monotonic()
        stopped = self._run_items(first, batch.items, self._callable(first, batch))
        self.flush()
        self._seat.batch = None
        if stopped is not None:
            self._link.send(frames.SKIPPED, stopped)
        self._words.rest()

    def _run_items(self, serial: int, items: Sequence[Any], call: AnyFunction) -> int | None:  # Any: arguments
        """Run the items; return the serial at which they turned out to be withdrawn."""
        begin, seat, link = self._words.begin, self._seat, self._link
        values, starts, ends = self._values, self._starts, self._ends
        start = monotonic()
        self._cpu_mark = process_time()
        for args in items:
            if start - self._flushed_at >= FLUSH_S and ends:
                self.flush()
                start = self._flushed_at = monotonic()
            if not begin(serial, start):
                return serial
            try:
                value = call(*args)
                end = monotonic()
                if end - start >= _LONG_S or type(value) not in SCALARS:
                    value = self._pack(value, serial, start, end)
            except BaseException as error:  # noqa: BLE001 - user code: whatever it raises costs this item only
                failure = self._failure(error, serial, start)
                end = monotonic()
                value = self._pack(failure, serial, start, end)
            if link.muted:
                _leave_fork(value)
            values.append(value)
            starts.append(start)
            ends.append(end)
            if seat.attempt is not None:
                seat.leave()
            start = end if type(value) in SCALARS else monotonic()
            serial += 1
        return None

    def _pack(self, value: Any, serial: int, start: float, end: float) -> object:  # Any: the user's result
        cpu_s: float | None = None
        peak_mb: float | None = None
        if end - start >= _LONG_S:
            # Short items since the mark are in it too; their share is small beside a long item's.
            now = process_time()
            cpu_s, self._cpu_mark = now - self._cpu_mark, now
        if end - start >= _LARGE_S:
            peak_mb = self._account.peak_mb()
        if type(value) is _Failure:
            return (FAILED, cpu_s, peak_mb, *value.facts)
        if type(value) in SCALARS:
            return LONG, cpu_s, peak_mb, value
        if type(value) is CoroutineType:  # a value's own idea of its class is user code
            with suppress(BaseException):  # one that had begun may refuse to end
                value.close()
            error = TypeError(
                "the function returned a coroutine, which only an async def may: "
                "submit `async def call(*args): return await f(*args)` in its place"
            )
            return (FAILED, cpu_s, peak_mb, *self._failure(error, serial, start).facts)
        try:
            return PACKED, cpu_s, peak_mb, dump(value)
        except BaseException as unfit:  # noqa: BLE001 - reducers are user code
            return (FAILED, cpu_s, peak_mb, *self._failure(_unfit("result", unfit), serial, start).facts)

    def _failure(self, error: BaseException, serial: int, start: float) -> _Failure:
        flush_streams()
        cut_trace(error, __file__)
        batch = self._seat.batch
        numbers = batch.numbers if batch is not None else None
        number = numbers[serial - self._seat.first] if numbers is not None else 1
        record = _plain(pack_error(error, number, self._seat.worker_id))
        is_cancel = issubclass(type(error), TaskCancelled)
        return _Failure((is_cancel, record, dump_exception(error), dump_exception(cause_of(error))))

    def _callable(self, first: int, batch: Batch) -> AnyFunction:
        function = self._ready.get(batch.code)
        if function is None:  # never asked for its truth: that is user code
            function = self._first_call(first, batch.code)
        if batch.form == "args":
            return function
        if batch.form == "kwargs":
            return lambda args, kwargs: function(*args, **kwargs)
        return lambda data: _call_packed(function, data)

    def _first_call(self, first: int, number: int) -> AnyFunction:
        """Get ready for this code, under the first item; what goes wrong is raised by it, and tried again by others."""
        self._words.prepare(first, monotonic())
        try:
            return self._prepare(number)
        except BaseException as error:  # noqa: BLE001 - imports and initializers are user code
            failures = [error]
        finally:
            self._account.begin()  # what an initializer keeps is the worker's, not the first item's
            self._words.prepared(monotonic())

        def call(*args: Any, **kwargs: Any) -> Any:
            if failures:
                raise failures.pop()
            ready = self._ready.get(number)
            if ready is None:
                with self._seat.preparing():
                    ready = self._prepare(number)
            return ready(*args, **kwargs)

        return call

    def _prepare(self, number: int) -> AnyFunction:
        try:
            function, initializer = load(self._codes[number])
        except BaseException as error:
            raise _unfit("function", error) from error
        self._seat.prepare(initializer)
        if self._link.muted:
            _leave_fork(None)
        if self._seat.attempt is not None:
            self._seat.leave()  # it was asked for while its worker got ready: its own time begins after that
        self._ready[number] = ready = opened_partial(function)
        return ready


class _Failure(NamedTuple):
    facts: tuple[Any, ...]  # Any: whether cancelled, the error record, pickles of the exception and its cause


def _leave_fork(value: Any) -> NoReturn:  # Any: as in the worker's list of values
    """End a forked child that came back from the user's function, whose result is for the worker to tell."""
    failed = type(value) is tuple and value[0] == FAILED
    with suppress(OSError, ValueError):
        if failed:
            sys.stderr.write(value[4].traceback)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(1 if failed else 0)


def _plain(record: ErrorRecord) -> ErrorRecord:
    """Return the record without facts of the user's that are not what they should be: they might not travel."""
    numbers = {name: getattr(record, name) for name in ("exit_code", "signal", "peak_memory_mb")}
    return replace(record, **{name: value if type(value) in (int, float) else None for name, value in numbers.items()})


def _call_packed(function: AnyFunction, data: bytes) -> Any:  # Any: the user's result
    try:
        args, kwargs = load(data)
    except BaseException as error:
        raise _unfit("arguments", error) from error
    if Shared.used:
        args, kwargs = opened(args, kwargs)
    return function(*args, **(kwargs or {}))


def _unfit(what: str, error: BaseException) -> PayloadError:
    verb = "cannot be carried back from" if what == "result" else "could not be read in"
    return PayloadError(f"the {what} {verb} the worker process: {told(error)}")


def _watch(worker: Worker, nudge: int) -> None:
    """Flush when nudged; end the whole group when the controller is gone, however busy the task is."""
    while os.read(nudge, 1):
        with suppress(OSError):
            worker.flush()
    os.killpg(0, signal.SIGKILL)


def run(place: Place) -> int:
    """Be a worker until told to end; return the exit code. Standard streams are set already."""
    os.environ["LONGSHORE_WORKER"] = place.worker_id
    faulthandler.enable()
    worker = Worker(place)
    threading.Thread(target=_watch, args=(worker, place.nudge), name="longshore-watch", daemon=True).start()
    try:
        worker.serve()
    except (BrokenPipeError, ConnectionResetError):
        return 1
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
    return 0


def main(worker_id: str, sock: int, nudge: int, page: int, parent_pid: int) -> None:
    """Be a worker in an interpreter of its own, which leads a session."""
    if not die_with(parent_pid):
        return
    sys.exit(run(Place(worker_id, sock, nudge, page)))
