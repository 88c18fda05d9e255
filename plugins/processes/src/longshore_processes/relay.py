"""Passes what workers write and log on to the controller's logging, from a thread of its own.

A handler of the user's may be slow or block: then lines are dropped and counted, and the supervisor goes on.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from longshore_processes.codec import load

_WAITING: Final = 10_000
_LINE_CAP: Final = 4096
_LINES_PER_S: Final = 1000
_END = "end"


class LogRelay:
    """A bounded queue and a thread, started with the first thing to pass on."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._queue: queue.Queue[tuple[str, str | bytes]] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._lost = 0

    def record(self, payload: bytes) -> None:
        """Pass on a pickled dict of log record fields."""
        self._put("", payload)

    def line(self, worker_id: str, text: str) -> None:
        """Pass on a line that a worker wrote to its standard output or error."""
        self._put(worker_id, text)

    def close(self, timeout_s: float) -> None:
        """Pass on what waits and end the thread; a handler that blocks for longer is left behind."""
        if self._thread is not None:
            try:
                self._queue.put(("", _END), timeout=timeout_s)
                self._thread.join(timeout_s)
            except queue.Full:
                return

    def _put(self, worker_id: str, item: str | bytes) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="longshore-log-relay", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait((worker_id, item))
        except queue.Full:
            self._lost += 1

    def _work(self) -> None:
        while True:
            worker_id, item = self._queue.get()
            if not worker_id and item == _END:
                return
            try:
                self._pass_on(worker_id, item)
            except Exception:  # noqa: BLE001 - a handler is user code; a record it refuses is lost, not the relay
                self._lost += 1
            if self._lost:
                lost, self._lost = self._lost, 0
                logging.getLogger("longshore.worker").warning("%d lines of workers were lost: too many at once", lost)

    @staticmethod
    def _pass_on(worker_id: str, item: str | bytes) -> None:
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
