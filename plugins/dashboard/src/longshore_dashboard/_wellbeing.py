"""How the run is, asked as often as anybody likes: the pool looks once a second at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from longshore.records import LIVE_CHECKS, READY_CHECKS, Health

_FRESH_S = 1.0


class Wellbeing:
    """The last answer, and when it was given; from any thread but the pool's own."""

    def __init__(self, look: Callable[[], Health], clock: Callable[[], float] = time.monotonic) -> None:
        """Ask `look`."""
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        self._known: tuple[float, Health] | None = None

    def now(self) -> Health:
        """Return how it is, or was less than a second ago; never raises."""
        with self._lock:
            if self._known is None or self._clock() - self._known[0] >= _FRESH_S:
                self._known = (self._clock(), self._asked())
            return self._known[1]

    def _asked(self) -> Health:
        try:
            return self._look()
        except Exception as error:  # noqa: BLE001 - a pool that can't even be asked is not well
            reason = f"the pool could not be asked how it is: {type(error).__name__}"
            return Health(healthy=False, reasons=(reason,), checks={"loop": False}, found={"loop": (reason,)})


def lines(health: Health, *, live: bool) -> list[str]:
    """Return a line for each check that decides, without the reasons: whoever asks has shown no token."""
    names = [name for name in health.checks if name in (LIVE_CHECKS if live else READY_CHECKS)]
    return [f"[+]{name} ok" if health.checks[name] else f"[-]{name} failed: reason withheld" for name in names]
