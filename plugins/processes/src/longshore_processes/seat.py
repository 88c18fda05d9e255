"""A worker's voice: sends frames, and gives the running task its seat.

Used by `child.py` only, inside a worker process.
"""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, NamedTuple

from longshore.chaos import point
from longshore.events import ProgressUpdate
from longshore.pickling import PROTOCOL
from longshore.task import Attempt, TaskSpec
from longshore.worker import Seat

from longshore_processes import frames
from longshore_processes.frames import Words
from longshore_processes.memory import Account

ID_SEPARATOR: Final = "\n"
_SMALL: Final = 1 << 16


class Batch(NamedTuple):
    """Items of one code, as they travel: a plain pickle of these fields."""

    code: int
    form: str
    """What `items` are: "args", tuples of arguments; "kwargs", pairs with a dict; "packed", one-tuples of a pickle, or
    where in the bay that pickle is."""
    name: str
    timeout_s: float | None
    soft_timeout_s: float | None
    task_ids: str
    numbers: Sequence[int] | None
    expires_at: float | None
    """Only batches of one item have one."""
    items: Sequence[Any]  # Any: the user's arguments
    gpus: tuple[int, ...] | None
    """Only batches of one item have some; none where it took what it does without one, None where it never asked."""


class Link:
    """Sends frames; safe from any thread, and from within itself (a log record made while one is being sent)."""

    __slots__ = ("_holds", "_inside", "_late", "_lock", "_owner", "_sock", "_worker_id", "muted")

    def __init__(self, sock: socket.socket, worker_id: str) -> None:
        """Send over `sock`, for the worker of this id."""
        self._worker_id = worker_id
        self._holds, self._inside = point("worker.holds-link"), point("worker.inside-frame")
        self._sock = sock
        self._lock = threading.Lock()
        self._owner = 0
        self._late: list[tuple[int, int, bytes]] = []
        self.muted = False
        """Whether this is a fork of the worker: two writers would tear each other's frames, so it sends nothing."""

    def send(self, kind: int, number: int, payload: bytes = b"") -> None:
        """Send one frame, whole, before any other."""
        if self.muted:
            return
        if self._owner == threading.get_ident():  # a destructor ran in the middle of a frame, and logs
            self._late.append((kind, number, payload))
            return
        with self._lock:
            self._owner = threading.get_ident()
            self._holds(self._worker_id)
            try:
                self._put(kind, number, payload)
                while self._late:
                    self._put(*self._late.pop(0))
            finally:
                self._owner = 0

    def _put(self, kind: int, number: int, payload: bytes) -> None:
        head = frames.HEADER.pack(kind, number, len(payload))
        if len(payload) < _SMALL:
            self._sock.sendall(head + payload)
        else:
            self._sock.sendall(head)
            self._inside(self._worker_id)
            self._sock.sendall(payload)


class ProcessSeat(Seat):
    """A seat that makes the record of the running attempt only when the task asks for it."""

    __slots__ = ("_account", "_link", "_words", "batch", "first")

    def __init__(self, worker_id: str, words: Words, link: Link, account: Account) -> None:
        """Make the seat of the worker that writes `words`."""
        self._account = account
        super().__init__(worker_id, self._send)
        self._words = words
        self._link = link
        self.batch: Batch | None = None
        self.first = 0

    def task(self) -> Any:  # Any: CurrentTask | None, which the base class keeps to itself
        """Return the view of the attempt that runs here, made on first use; None between attempts."""
        if self.attempt is None and self.batch is not None:
            serial, self.started = self._words.running()
            if serial >= self.first:
                self.attempt = self._attempt(self.batch, serial - self.first)
        return super().task()

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Let time and memory that are spent meanwhile be the worker's; the item's time begins anew after it."""
        if self._words.preparing():  # an initializer does it
            yield
            return
        serial, _ = self._words.running()
        self._words.prepare(serial, monotonic())
        try:
            with self._account.set_apart():
                yield
        finally:
            now = monotonic()
            self._words.prepared(now)
            self.restart(now)

    def leave(self) -> None:
        """Send the last progress of the attempt that ended and forget it."""
        self.finish()
        self.attempt = None

    def _attempt(self, batch: Batch, index: int) -> Attempt:
        spec = TaskSpec(
            function=_nothing,
            name=batch.name,
            executor="processes",
            timeout_s=batch.timeout_s,
            soft_timeout_s=batch.soft_timeout_s,
        )
        task_id = batch.task_ids.split(ID_SEPARATOR)[index]
        number = batch.numbers[index] if batch.numbers is not None else 1
        expires_at, gpus = batch.expires_at, batch.gpus or ()
        return Attempt(task_id, spec, number=number, queued_at=self.started, expires_at=expires_at, gpus=gpus)

    def _send(self, update: ProgressUpdate) -> None:
        try:
            payload = pickle.dumps(update, PROTOCOL)
        except BaseException:  # noqa: BLE001 - a step that isn't text is the user's own object; then it is not told
            return
        self._link.send(frames.PROGRESS, 0, payload)


def _nothing() -> None:
    """Stand in for the function of a task, which its view never calls."""
