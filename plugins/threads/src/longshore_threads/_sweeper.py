"""When the executor must look at its deadlines: a thread that sleeps until the first of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from longshore.worker import NEVER

_LATE_S = 0.4  # a wake-up so late shows that the whole process was held up: stopped, or in C code that let nobody run
_TURN_S = 0.1  # what functions that were to end meanwhile get for that


class Sweeper:
    """Calls `look(now)` on a thread of its own by the time it was armed for; the thread starts with the first.

    It is a thread, not a timer of the loop: a hung function makes room for the next one even while the loop is blocked.
    """

    def __init__(self, look: Callable[[float], None]) -> None:
        """Be armed for nothing."""
        self._look = look
        self._changed = threading.Condition()
        self._armed = NEVER
        self._thread: threading.Thread | None = None
        self._stopping = False

    def arm(self, due: float) -> None:
        """See to it that there is a look by `due`; from any thread. `look` arms for what comes after it."""
        if due < self._armed:
            with self._changed:
                self._armed = min(self._armed, due)
                if self._thread is None and not self._stopping:
                    thread = threading.Thread(target=self._run, name="longshore-thread-deadlines", daemon=True)
                    thread.start()
                    self._thread = thread
                self._changed.notify()

    def stop(self, timeout_s: float) -> None:
        """Look no more, and wait for the thread to end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        turn_given = False
        while True:
            with self._changed:
                if self._stopping:
                    return
                now = time.monotonic()
                if self._armed > now:
                    self._changed.wait(None if self._armed == NEVER else min(self._armed - now, 3600.0))
                    continue
                if now - self._armed > _LATE_S and not turn_given:
                    turn_given = True
                    self._changed.wait(_TURN_S)
                    continue
                self._armed, turn_given = NEVER, False
            self._look(now)
