"""One timer on the pool's loop, moved only when it must be; used by the driver for the engine's next due time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Rings once, at the earliest time it was set to."""

    __slots__ = ("_clock", "_due", "_loop", "_ring", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None], clock: Callable[[], float]) -> None:
        """Call `ring` on `loop`; times are those of `clock`."""
        self._loop, self._ring, self._clock = loop, ring, clock
        self._timer: asyncio.TimerHandle | None = None
        self._due = float("inf")

    def set(self, due: float | None) -> None:
        """Ring at `due` at the latest; None is never. One that is set to an earlier time stays as it is."""
        if due is None or due >= self._due:
            return
        self.cancel()
        self._due = due
        self._timer = self._loop.call_later(max(0.0, due - self._clock()), self._rung)

    def late_s(self) -> float:
        """Return for how many seconds it should have rung; from any thread."""
        return max(0.0, self._clock() - self._due)

    def cancel(self) -> None:
        """Ring no more, until it is set again."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._due = float("inf")

    def _rung(self) -> None:
        self.cancel()
        self._ring()
