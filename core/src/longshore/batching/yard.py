"""What a pool has in a worker: the functions it was sent, seats, and what is to be told of running tasks."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.util import Finalize
from typing import Any, Final, Protocol

from longshore.batching.codec import load
from longshore.batching.spool import Spool
from longshore.batching.words import PROGRESS, Batch, System
from longshore.errors import PayloadError
from longshore.events import ProgressUpdate
from longshore.shared import forget_gone, opened_partial
from longshore.worker import PROGRESS_PERIOD_S, Seat, described

_CODES: Final = 512
_WITHDRAWN: Final = 10_000
_RECALLED: Final = 10_000  # a few of them at once; the others are answers that came too late to matter
_OUTBOX: Final = 1_000

Code = tuple[Callable[..., Any], Callable[[], object] | None]  # Any: the user's function
"""A function, and its initializer."""


class Runs(Protocol):
    """A batch that runs, which is to look when something was cancelled."""

    def look(self) -> None:
        """Look, on a thread of its own."""


class Yard:
    """One pool's place in one worker; each system makes its own of this, which says how the controller is told."""

    def __init__(self, system: System, run: str, name: str) -> None:
        """Be empty."""
        self.system, self.run, self.name = system, run, name
        self.message_bytes = 8 << 20
        """Of results, at most so many go into one message: what is larger is told at the end of its batch."""
        self.gpus: tuple[int, ...] = ()
        """The GPUs that its tasks may use."""
        self.here = system.worker(name)
        """What this worker is called in messages."""
        self.spent = False
        """Whether it has given an attempt up and is to be ended: it begins nothing more."""
        self.spool: Spool = Spool(run, secrets.token_hex(8))
        self.home = self.spool.home if self.spool.open() else None
        self._at_exit = Finalize(None, self.spool.close, exitpriority=1)  # where its controller said no goodbye
        self.lock = threading.Lock()
        self.running: dict[int, Runs] = {}
        self._begun: set[int] = set()  # until the controller has what came of them
        self._recalled: OrderedDict[int, None] = OrderedDict()
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

    # ---- functions

    def load(self, batch: Batch, code: bytes) -> Code:
        """Return function and initializer of a batch, which are kept; PayloadError names what is missing, and where."""
        forget_gone()
        try:
            function, initializer = load(code)
            function = opened_partial(function)
        except BaseException as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            hint = f"; install {missing!r} on the workers, or send it by {self.system.sends_modules}" if missing else ""
            raise PayloadError(
                f"the function {batch.name} could not be read on {self.here}: {described(error)}{hint}",
                reason="no module" if missing else None,
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
        return Seat(f"{self.system.executor}-{name}", self._say)

    def give_back(self, seat: Seat) -> None:
        """Take a seat back; one that was given up is not given back."""
        with self.lock:
            self._seats.append(seat)

    # ---- batches

    def begin(self, number: int, batch: Runs) -> bool:
        """Have a batch running from now on; False for one that was called back: it must not begin here."""
        with self.lock:
            if number in self._recalled:
                return False
            self._begun.add(number)
            self.running[number] = batch
            return True

    def recall(self, numbers: Sequence[int]) -> list[int]:
        """Have batches not begin here, and return which of them won't: those that have begun go on."""
        with self.lock:
            back = [number for number in numbers if number not in self._begun]
            self._recalled.update(dict.fromkeys(back))
            while len(self._recalled) > _RECALLED:
                self._recalled.popitem(last=False)
        return back

    def forget(self, numbers: Sequence[int]) -> None:
        """Keep nothing more of batches whose results have arrived."""
        self.spool.forget(numbers)
        with self.lock:
            self._begun.difference_update(numbers)
            for number in numbers:
                self._recalled.pop(number, None)

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
        """Tell whether this worker is closing, as one that lost its controller: what it has is run elsewhere."""
        return self.spent

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
        """Tell the controller of something; from any thread."""
        raise NotImplementedError

    def close(self) -> None:
        """Call what tasks want called at the end, and leave nothing."""
        with self.lock:
            seats, self._seats = self._seats, []
        for seat in seats:
            seat.close()
        self._at_exit()


def _plain(update: ProgressUpdate) -> list[Any]:  # Any: a record's fields
    return [getattr(update, name) for name in update.__struct_fields__]


__all__ = ["Code", "Runs", "Yard"]
