"""Passes what workers write and log on to the controller's logging, from a thread of its own.

A handler of the user's may be slow or block: then lines are dropped and counted, and the supervisor goes on.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final

from longshore_processes.codec import load

_WAITING: Final = 10_000
_LINE_CAP: Final = 4096
_LINES_PER_S: Final = 1000
_STALL_S: Final = 0.7
_LAST_S: Final = 0.2  # for the thread to count what is lost, when it is given up
_AGAIN_S: Final = 1.0
_END: Final = "end"


class LogRelay:
    """A bounded queue and a thread, started with the first thing to pass on.

    Each count is written by one thread only: what found no room, or no thread, by the supervisor's, all others by the
    relay's own.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self._queue: queue.Queue[tuple[str, str | bytes | bytearray]] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._ending = self._given_up = False
        self._passed = 0
        self._began: float | None = None  # when it was given to handlers, if it is with them now
        self._too_many = self._too_many_told = 0
        self._refused = self._refused_told = 0
        self._tell_at = 0.0

    def record(self, payload: bytes | bytearray) -> None:
        """Pass on a pickled dict of log record fields."""
        self._put("", payload)

    def line(self, worker_id: str, text: str) -> None:
        """Pass on a line that a worker wrote to its standard output or error."""
        self._put(worker_id, text)

    def close(self, until: float) -> None:
        """Pass on what waits and end the thread.

        It may take until monotonic `until` as long as lines get on; a handler that has been in one for 0.7 s is left
        behind, also if that was so before. What still waits then is lost, and counted in a warning as soon as a handler
        can take that.
        """
        thread = self._thread
        if thread is None:
            return
        self._ending = True
        with suppress(queue.Full):  # then the thread has something to do, and sees that it is to end
            self._queue.put_nowait(("", _END))
        passed = -1
        while thread.is_alive() and passed != self._passed and monotonic() < until:
            passed, began = self._passed, self._began
            stalls_at = _STALL_S + (monotonic() if began is None else began)
            thread.join(max(0.0, min(stalls_at, until) - monotonic()))
        self._given_up = True
        if passed != self._passed:
            thread.join(_LAST_S)

    def _put(self, worker_id: str, item: str | bytes | bytearray) -> None:
        try:
            if self._thread is None:
                self._start()
            self._queue.put_nowait((worker_id, item))
        except (queue.Full, RuntimeError):  # no room, or no thread to be had: that is asked for again with the next
            self._too_many += 1

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="longshore-log-relay", daemon=True)
        thread.start()
        self._thread = thread

    def _work(self) -> None:
        while not (self._given_up or (self._ending and self._queue.empty())):
            worker_id, item = self._queue.get()
            if not worker_id and item == _END:
                break
            self._began = monotonic()
            try:
                self._pass_on(worker_id, item)
            except BaseException:  # noqa: BLE001 - a handler is user code; a record it refuses is lost, not the relay
                self._refused += 1
            self._passed += 1
            self._began = None
            if monotonic() >= self._tell_at:
                self._tell_lost()
        self._tell_lost(self._drop_rest())

    def _drop_rest(self) -> int:
        """Take out what there was no time for; return how much."""
        count = 0
        with suppress(queue.Empty):
            while True:
                count += self._queue.get_nowait() != ("", _END)
        return count

    def _tell_lost(self, at_stop: int = 0) -> None:
        """Say what was lost since the last time; a handler that refuses even that is asked again after a while."""
        too_many, refused = self._too_many, self._refused
        log = logging.getLogger("longshore.worker")
        try:
            if count := too_many - self._too_many_told:
                log.warning("%d lines of workers were lost: too many at once", count)
                self._too_many_told = too_many
            if count := refused - self._refused_told:
                log.warning("%d lines of workers were lost: a handler or filter raised", count)
                self._refused_told = refused
            if at_stop:
                log.warning("%d lines of workers were lost: no time was left for them at the stop", at_stop)
        except BaseException:  # noqa: BLE001 - as above
            self._tell_at = monotonic() + _AGAIN_S

    @staticmethod
    def _pass_on(worker_id: str, item: str | bytes | bytearray) -> None:
        if isinstance(item, str):
            whose = {"task_id": None, "task_name": None, "worker_id": worker_id}
            logging.getLogger(f"longshore.worker.{worker_id}").info("%s", item, extra=whose)
            return
        record = logging.makeLogRecord(load(item))
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)


class Lines:
    """Cuts one worker's output into lines, at most so many a second and so long."""

    __slots__ = ("_count", "_dropped", "_emit", "_rest", "_since")

    def __init__(self, emit: Callable[[str], None]) -> None:
        """Call `emit` with each line."""
        self._emit = emit
        self._rest = b""
        self._since = 0.0
        self._count = 0
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """Take some output; what has no end yet is kept."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._rest) > _LINE_CAP:
            self._line(self._rest)
            self._rest = b""

    def finish(self) -> None:
        """Take what is left as a line."""
        if self._rest:
            self._line(self._rest)
            self._rest = b""
        self._tell_dropped()

    def _line(self, line: bytes) -> None:
        now = monotonic()
        if now - self._since >= 1.0:
            self._tell_dropped()
            self._since, self._count = now, 0
        if self._count >= _LINES_PER_S:
            self._dropped += 1
            return
        self._count += 1
        self._emit(line[:_LINE_CAP].decode(errors="backslashreplace"))

    def _tell_dropped(self) -> None:
        if self._dropped:
            self._emit(f"({self._dropped} more lines were dropped: above {_LINES_PER_S} a second)")
            self._dropped = 0
