"""The vigil: a thread that sees when the supervisor's is held up by an object of the user's, past its task's limit.

Arguments are pickled where they are, in the controller, and a class's own code may run then. Nobody can end a thread:
what held it up is reported, the thread left to itself, and another supervisor takes over what it had (`executor.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final

from longshore.task import Attempt

_LOOK_S: Final = 0.1
_RESTS_AFTER: Final = 10  # looks at which nothing was under way
_LEAVE_S: Final = 0.05


class GivenUp(BaseException):
    """Raised in a thread that others have given up: it is to end, and to say nothing."""


class Vigil:
    """Watches one thread; its own starts with the first thing to watch, and rests when there is nothing."""

    def __init__(self, on_held_up: Callable[[Attempt], None]) -> None:
        """Have `on_held_up` called, from a thread of its own, with the attempt whose time is over."""
        self._on_held_up = on_held_up
        self._at: tuple[float, Attempt] | None = None
        self._given_up = self._over = False
        self._resting = True
        self._lock = threading.Lock()  # guards the two
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, attempt: Attempt) -> None:
        """Say that code of the user's runs for this attempt from now on; on the thread that is watched."""
        limit_s, now = attempt.spec.timeout_s, monotonic()
        limits = [at for at in (attempt.expires_at, now + limit_s if limit_s is not None else None) if at is not None]
        if not limits:
            return
        self._at = min(limits), attempt
        if self._resting:
            self._wake()

    def end(self) -> None:
        """Say that it came back; raises GivenUp if that was too late."""
        if self._at is None:
            return
        with self._lock:
            self._at = None
            if self._given_up:
                raise GivenUp

    def give_up(self) -> bool:
        """Give the thread up; False if it is not held up any more. Whoever calls this then has all that it had."""
        with self._lock:
            self._given_up = self._at is not None
            return self._given_up

    def close(self) -> None:
        """Watch no more."""
        self._over = True
        self._changed.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_LEAVE_S)

    def _wake(self) -> None:
        self._resting = False
        self._changed.set()
        if self._thread is None:
            thread = threading.Thread(target=self._watch, name="longshore-processes-vigil", daemon=True)
            with suppress(RuntimeError):  # no more threads: then nobody watches, and the next begin asks again
                self._resting = True
                thread.start()
                self._thread, self._resting = thread, False

    def _watch(self) -> None:
        idle = 0
        while not self._over:
            at = self._at
            if at is not None and monotonic() >= at[0] and self._at is at:
                self._on_held_up(at[1])
                return
            idle = 0 if at is not None else idle + 1
            # Who begins something looks at this afterwards, so one of the two sees the other.
            self._resting = idle >= _RESTS_AFTER
            if self._at is not None:
                self._resting, idle = False, 0
            self._changed.wait(None if self._resting else _LOOK_S)
            self._changed.clear()
