"""One worker process: takes batches off its socket, runs item after item, and sends what came of them.

Called by the zygote in a freshly forked process, or as a fresh interpreter where there is no zygote. Nothing here
imports what only the controller needs.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, NamedTuple

from longshore.chaos import point
from longshore.shared import Shared, forget_gone, opened, opened_partial
from longshore.worker import bind

from longshore_processes import frames
from longshore_processes.bays import Bay, Memory
from longshore_processes.codec import load
from longshore_processes.devices import visible
from longshore_processes.frames import FINISHED_TO, RUNNING, SKIP_FROM, SKIP_TO, STARTED, FrameReader
from longshore_processes.logs import RecordHandler, set_levels
from longshore_processes.memory import Account
from longshore_processes.output import mark_streams
from longshore_processes.parent import die_with
from longshore_processes.records import LONG_S, Recorder, leave_fork, not_carried, record_of
from longshore_processes.rungs import fence_here
from longshore_processes.seat import Batch, Link, ProcessSeat
from longshore_processes.stacks import answer, wait_for_close

TELL_S: Final = 0.0125
"""Before an item begins, the controller is told of results if it was last told longer ago than this."""

AnyFunction = Callable[..., Any]  # Any: the user's function


class Place(NamedTuple):
    """What a worker is given: its name and its descriptors."""

    worker_id: str
    sock: int
    nudge: int
    page: int


class Worker:
    """Runs batches. A result is in its batch's bay as soon as its item is finished; the controller is told later."""

    def __init__(self, place: Place) -> None:
        """Open what the controller gave."""
        self._sock = socket.socket(fileno=place.sock)
        self._reader = FrameReader(self._sock)
        memory = Memory(place.page)
        self._words, self._bays = memory.words, memory.bays
        for bay in self._bays:
            bay.small = min(bay.small, self._words.result_most // 4)  # a character takes four bytes at most
        os.close(place.page)
        self._link = Link(self._sock, place.worker_id)
        self._before_items, self._before_results = point("worker.before-items"), point("worker.before-results")
        self._account = Account(self._words, fence_here())
        self._seat = ProcessSeat(place.worker_id, self._words, self._link, self._account)
        self._codes: dict[int, frames.Payload] = {}
        self._ready: dict[int, AnyFunction] = {}
        self._initializers: dict[int, Callable[[], object]] = {}  # by scope
        self._limits: dict[int, float] = {}
        self._recorder = Recorder(self._seat, self._link, self._account, self._words.result_most)
        self._told = 0  # up to which serial the controller was told of results
        self._told_at = 0.0
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
                    self._take(number, payload)
                elif kind == frames.CODE:
                    self._codes[number] = payload
                elif kind == frames.LIMIT:
                    self._limits[number] = float(payload)
                elif kind == frames.LEVELS:
                    set_levels(number, load(payload))
                else:
                    self._codes.pop(number, None)
                    self._ready.pop(number, None)
                    self._limits.pop(number, None)
                    self._recorder.forget(number)
        self._seat.close()

    def _tell(self, serial: int) -> None:
        """Have the controller look at the results that are finished up to `serial`."""
        if serial > self._told:
            self._told = serial
            self._before_results(self._seat.worker_id)
            self._link.send(frames.FINISHED, serial)

    def _forked(self) -> None:
        """In a child that a task forked: leave the socket to the worker, and log to where the output goes."""
        self._link.muted = True
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.addHandler(logging.StreamHandler())

    def _take(self, first: int, payload: frames.Payload) -> None:
        index, at, size = frames.PLACE.unpack_from(payload)
        bay = self._bays[index]
        shelved = bay.arguments.read((at, size)) if size else memoryview(payload)[frames.PLACE.size :]
        batch = Batch(*load(shelved))
        bay.run(len(batch.items))
        self._recorder.begin()
        self._seat.batch, self._seat.first, self._told = batch, first, first
        self._before_items(self._seat.worker_id)
        forget_gone()
        self._account.limit_mb = self._limits.get(batch.code)
        self._account.begin()
        self._told_at = monotonic()
        with visible(batch.gpus):
            end = self._run(first, batch.items, self._callable(first, batch, bay), bay)
        self._tell(end)
        self._seat.batch = None
        if end < first + len(batch.items):
            self._link.send(frames.SKIPPED, end)
        self._words.rest()

    def _run(self, serial: int, items: Sequence[Any], call: AnyFunction, bay: Bay) -> int:  # Any: arguments
        """Run the items; return the serial after the last that was run: from there on they turned out withdrawn."""
        ints, floats, seat, link = self._words.ints, self._words.floats, self._seat, self._link
        starts, ends, words, note, put = bay.starts, bay.ends, bay.words, bay.note, self._recorder.put
        start = monotonic()
        for slot, args in enumerate(items):
            if start - self._told_at >= TELL_S:
                self._tell(serial)
                start = self._told_at = monotonic()
            # The start comes before the serial, and that claim before the look: see Words.
            floats[STARTED] = start
            ints[RUNNING] = serial
            if ints[SKIP_FROM] <= serial < ints[SKIP_TO]:
                return serial
            try:
                value = call(*args)
                end = monotonic()
                if link.muted:
                    leave_fork(None)
                quick = end - start < LONG_S
                if quick and type(value) is int:
                    try:
                        words[slot] = value
                    except ValueError:  # beyond 64 bits
                        quick = False
                if not quick or (type(value) is not int and not note(slot, value)):
                    put(bay, slot, serial, value, start, end)
                    quick, value = False, None  # its destructor is user code, and belongs to this item
            except BaseException as error:  # noqa: BLE001 - user code: whatever it raises costs this item only
                if link.muted:
                    leave_fork(record_of(error, seat, serial))
                end, quick = monotonic(), False
                self._recorder.fail(bay, slot, serial, error, start, end)
            starts[slot], ends[slot] = start, end
            if seat.attempt is not None:
                seat.leave()
            serial += 1
            ints[FINISHED_TO] = serial  # published: from here on nothing that happens to this process undoes it
            start = end if quick else monotonic()
        return serial

    def _callable(self, first: int, batch: Batch, bay: Bay) -> AnyFunction:
        function = self._ready.get(batch.code)
        if function is None:  # never asked for its truth: that is user code
            function = self._first_call(first, batch.code)
        if batch.form == "args":
            return function
        if batch.form == "kwargs":
            return lambda args, kwargs: function(*args, **kwargs)
        shelf = bay.arguments
        return lambda *where: _call_packed(function, where[0] if len(where) == 1 else shelf.read(where))

    def _first_call(self, first: int, number: int) -> AnyFunction:
        """Get ready for this code, under the first item; what goes wrong is raised by it, and tried again by others."""
        self._words.prepare(first, monotonic())
        self._account.get_ready()
        try:
            return self._prepare(number)
        except BaseException as error:  # noqa: BLE001 - imports and initializers are user code
            failures = [error]
        finally:
            self._account.begin()  # what an initializer keeps and computes is the worker's, not the first item's
            self._recorder.begin()
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
            function, initializer, scope = load(self._codes[number])
        except BaseException as error:
            raise not_carried("function", error) from error
        if initializer is not None:
            self._words.initialize()
            self._seat.prepare(self._initializers.setdefault(scope, initializer))  # copies of `__main__`'s differ
        if self._link.muted:
            leave_fork(None)
        if self._seat.attempt is not None:
            self._seat.leave()  # it was asked for while its worker got ready: its own time begins after that
        self._ready[number] = ready = opened_partial(function)
        return ready


def _call_packed(function: AnyFunction, data: bytes | memoryview) -> Any:  # Any: the user's result
    try:
        args, kwargs = load(data)
    except BaseException as error:
        raise not_carried("arguments", error) from error
    if Shared.used:
        args, kwargs = opened(args, kwargs)
    return function(*args, **(kwargs or {}))


def _watch(controller: int) -> None:
    """End the whole group when the controller is gone, which closes `controller`, however busy the task is."""
    wait_for_close(controller)
    os.killpg(0, signal.SIGKILL)


def run(place: Place) -> int:
    """Be a worker until told to end; return the exit code. Standard streams are set already."""
    os.environ["LONGSHORE_WORKER"] = place.worker_id
    faulthandler.enable()
    answer(place.nudge)
    worker = Worker(place)
    threading.Thread(target=_watch, args=(place.nudge,), name="longshore-watch", daemon=True).start()
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
