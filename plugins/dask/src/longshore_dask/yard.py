"""What a pool has in a Dask worker: the functions it was sent, seats, and what is to be told of running tasks.

Made by `hello`, which the controller has each worker call, and gone with `goodbye`. Runs in the worker.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.util import Finalize
from typing import Any, Final, Protocol

from distributed.core import Status
from longshore.errors import PayloadError
from longshore.events import ProgressUpdate
from longshore.shared import forget_gone, opened_partial
from longshore.worker import PROGRESS_PERIOD_S, Seat

from longshore_dask.codec import load, told
from longshore_dask.spool import Spool, read, remove_of
from longshore_dask.words import PROGRESS, TOPIC, Batch, Hello, Record

_OVER: Final = frozenset({Status.closing, Status.closed, Status.failed, Status.stopping, Status.stopped})
_CODES: Final = 512
_WITHDRAWN: Final = 10_000
_OUTBOX: Final = 1_000

Code = tuple[Callable[..., Any], Callable[[], object] | None]  # Any: the user's function
"""A function, and its initializer."""

# By the pool's run and the worker's address: several workers may be in one process.
_yards: dict[tuple[str, str], Yard] = {}
_lock: Final = threading.Lock()


class Runs(Protocol):
    """A batch that runs, which is to look when something was cancelled."""

    def look(self) -> None:
        """Look, on a thread of its own."""


class Yard:
    """One pool's place in one worker."""

    def __init__(self, run: str, worker: Any) -> None:  # Any: Dask's Worker, which carries no types
        """Be empty."""
        self.run = run
        self.name = str(worker.name)
        self._worker = worker
        self.spool: Spool = Spool(run, secrets.token_hex(8))
        self.home = self.spool.home if self.spool.open() else None
        self._at_exit = Finalize(None, self.spool.close, exitpriority=1)  # where its controller said no goodbye
        self.lock = threading.Lock()
        self.running: dict[int, Runs] = {}
        self.withdrawn: OrderedDict[str, str] = OrderedDict()
        """Messages by task, of those that were cancelled before they began here."""
        self.abandoned = 0
        self.codes: OrderedDict[int, Code] = OrderedDict()
        """What was sent here, by the number of its kind."""
        self._initializers: dict[int, Any] = {}  # Any: as above
        self._seats: list[Seat] = []
        self._made = 0
        self._outbox: list[ProgressUpdate] = []
        self._told_at = 0.0
        self._ringing = False

    def hello(self) -> Hello:
        """Return what this worker is."""
        worker = self._worker
        resources = {str(name): float(amount) for name, amount in worker.state.total_resources.items()}
        limit = worker.memory_manager.memory_limit
        host, threads = f"{socket.gethostname()} {worker.ip}", worker.state.nthreads
        return Hello(self.name, host, threads, os.getpid(), self.home, resources, limit / 1e6 if limit else None)

    # ---- functions

    def load(self, batch: Batch, code: bytes) -> Code:
        """Return function and initializer of a batch, which are kept; PayloadError names what is missing, and where."""
        forget_gone()
        try:
            function, initializer = load(code)
            function = opened_partial(function)
        except BaseException as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            hint = f"; install {missing!r} on the workers, or send it by Dask's Client.upload_file" if missing else ""
            raise PayloadError(
                f"the function {batch.name} could not be read on the Dask worker {self.name}: {told(error)}{hint}",
                reason="import" if missing else None,
                worker=self.name,
                module=missing,
            ) from error
        with self.lock:
            if initializer is not None:
                initializer = self._initializers.setdefault(batch.initializer, initializer)
            self.codes[batch.kind] = function, initializer
            if len(self.codes) > _CODES:
                self.codes.popitem(last=False)
        return function, initializer

    # ---- seats

    def take_seat(self) -> Seat:
        """Return a seat that nobody has."""
        with self.lock:
            if self._seats:
                return self._seats.pop()
            self._made += 1
            name = self.name if self._made == 1 else f"{self.name}.{self._made - 1}"
        return Seat(f"dask-{name}", self._say)

    def give_back(self, seat: Seat) -> None:
        """Take a seat back; one that was given up is not given back."""
        with self.lock:
            self._seats.append(seat)

    def withdraw(self, messages: Mapping[str, str]) -> None:
        """End attempts: those that run are given up, those that are yet to begin do not."""
        with self.lock:
            self.withdrawn.update(messages)
            while len(self.withdrawn) > _WITHDRAWN:
                self.withdrawn.popitem(last=False)
            running = list(self.running.values())
        for one in running:
            one.look()

    def is_over(self) -> bool:
        """Tell whether this worker is closing, as one that lost its scheduler: what it has is run elsewhere."""
        return self._worker.status in _OVER

    # ---- telling

    def _say(self, update: ProgressUpdate) -> None:
        """Send progress, some ten times a second for all that runs here; more than a thousand at once are dropped."""
        with self.lock:
            if len(self._outbox) < _OUTBOX:
                self._outbox.append(update)
            now = time.monotonic()
            wait_s = self._told_at + PROGRESS_PERIOD_S - now
            if wait_s > 0 and self._ringing:
                return
            self._ringing = wait_s > 0
        if wait_s > 0:
            timer = threading.Timer(wait_s, self.flush)
            timer.daemon = True
            timer.start()
        else:
            self.flush()

    def flush(self) -> None:
        """Send what waits; before a batch ends, for what is said of a task comes before its end."""
        with self.lock:
            updates, self._outbox = self._outbox, []
            self._told_at, self._ringing = time.monotonic(), False
        if updates:
            self.tell(PROGRESS, [_plain(update) for update in updates])

    def tell(self, what: str, facts: object) -> None:
        """Tell the controller of something, by the scheduler."""
        self._worker.log_event(TOPIC, [self.run, what, self._worker.address, facts])

    def close(self) -> None:
        """Call what tasks want called at the end, and leave nothing."""
        with self.lock:
            seats, self._seats = self._seats, []
        for seat in seats:
            seat.close()
        self._at_exit()


def _plain(update: ProgressUpdate) -> list[Any]:  # Any: a record's fields
    return [getattr(update, name) for name in update.__struct_fields__]


def yard_of(run: str, address: str) -> Yard:
    """Return a pool's place in the worker of this address; LookupError where there is none."""
    return _yards[run, address]


# ---- what the controller has workers call, on their loops


def hello(run: str, dask_worker: Any = None) -> Hello:  # Any: Dask's Worker, which it fills in by this name
    """Make the place of a pool in this worker, and say what it is."""
    with _lock:
        yard = _yards.get((run, dask_worker.address))
        if yard is None:
            yard = _yards[run, dask_worker.address] = Yard(run, dask_worker)
    return yard.hello()


def withdraw(run: str, messages: Mapping[str, str], dask_worker: Any = None) -> None:  # Any: as above
    """End these attempts."""
    yard = _yards.get((run, dask_worker.address))
    if yard is not None:
        yard.withdraw(messages)


def read_of_dead(run: str, home: str, numbers: Sequence[int]) -> dict[int, list[Record] | None] | None:
    """Return what a worker of this machine had written down, and remove it."""
    found = read(run, home, numbers)
    if found is not None:
        remove_of(run, home)
    return found


def goodbye(run: str, dask_worker: Any = None) -> None:  # Any: as above
    """Take away the place of a pool in this worker."""
    with _lock:
        yard = _yards.pop((run, dask_worker.address), None)
    if yard is not None:
        yard.close()
