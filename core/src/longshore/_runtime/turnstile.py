"""Who waits for room in one of the queues: let in as there is room, in the order of asking, or turned away at the end.

Used by the driver, on its loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from longshore._runtime.waiting import OpenWaits


class Turnstile:
    """Callers that wait for room in one queue. One that is let in is counted until it runs and takes its place."""

    __slots__ = ("_changed", "_waiting", "_waits", "granted")

    def __init__(self, changed: Callable[[], None], waits: OpenWaits) -> None:
        """Start with nobody; `changed` is called when a place that was granted is taken, or free again."""
        self.granted = 0
        """How many were let in and have not come yet: their places are not to be given to others."""
        self._changed = changed
        self._waits = waits
        self._waiting: deque[asyncio.Future[bool]] = deque()

    def __bool__(self) -> bool:
        """Tell whether anybody waits."""
        return bool(self._waiting)

    async def wait(self) -> None:
        """Wait to be let in, or turned away; then the place is the caller's until it next awaits something."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            with self._waits.of(future):
                await future
        finally:
            if future.cancelled() or future.exception() is not None:
                with suppress(ValueError):  # it was passed by meanwhile
                    self._waiting.remove(future)
            elif future.result():
                self.granted -= 1  # also if the caller was cancelled between being let in and coming
                self._changed()

    def let_in(self, room: int) -> None:
        """Let in as many as there is room for, first come, first served."""
        while self._waiting and room > 0:
            future = self._waiting.popleft()
            if not future.done():  # else its caller was cancelled, or told that it waits in vain
                future.set_result(True)
                self.granted += 1
                room -= 1

    def turn_away(self) -> None:
        """Have all that wait come back without a place."""
        for future in self._waiting:
            if not future.done():
                future.set_result(False)
        self._waiting.clear()
