"""At most so many events a second and key: the first at once, then the newest of each period, and the last always.

Called by the progress tracker, from any thread. What is held back is sent by a timer, whether or not a loop runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from longshore.events import AnyEvent

_TIDY_AT = 1000


class Coalescer:
    """Holds back what comes too soon after the one before of its key; order within a key is kept."""

    def __init__(
        self, send: Callable[[AnyEvent], None], *, period_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Send by `send`, which must not wait, at most once in `period_s` for each key."""
        self._send = send
        self._period_s = period_s
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}  # when the next of a key may be sent
        self._held: dict[str, AnyEvent] = {}
        self._timer: threading.Timer | None = None
        self._tidy_at = _TIDY_AT

    def put(self, key: str, event: AnyEvent, *, last: bool = False) -> None:
        """Send an event now, or hold it until its turn; the `last` of a key is sent at once, in place of one held."""
        with self._lock:
            now = self._clock()
            if last:
                self._held.pop(key, None)
                self._due.pop(key, None)
                self._send(event)
            elif now >= self._due.get(key, now):
                self._send_now(key, event, now)
            else:
                self._held[key] = event
                self._arm(now)

    def flush(self) -> None:
        """Send all that is held, whenever its turn would be."""
        with self._lock:
            now = self._clock()
            for key in list(self._held):
                self._send_now(key, self._held[key], now)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _send_now(self, key: str, event: AnyEvent, now: float) -> None:
        self._held.pop(key, None)
        self._due[key] = now + self._period_s
        self._send(event)
        if len(self._due) >= self._tidy_at:
            self._due = {other: due for other, due in self._due.items() if due > now}
            self._tidy_at = 2 * len(self._due) + _TIDY_AT

    def _arm(self, now: float) -> None:
        if self._timer is None and self._held:
            due = min(self._due[key] for key in self._held)
            self._timer = threading.Timer(max(0.0, due - now), self._ring)
            self._timer.daemon = True
            self._timer.name = "longshore-progress"
            try:
                self._timer.start()
            except RuntimeError:  # no more threads: the next event or `flush` will send it
                self._timer = None

    def _ring(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():
                return  # flushed meanwhile
            self._timer = None
            now = self._clock()
            for key in [key for key in self._held if self._due[key] <= now]:
                self._send_now(key, self._held[key], now)
            self._arm(now)
