"""Who waits for the pool to be idle. Used by the driver, on its loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Idling:
    """Callers that wait until there is nothing to do, or no sense in waiting for that."""

    __slots__ = ("_is_idle", "_waiting")

    def __init__(self, is_idle: Callable[[], bool]) -> None:
        """Start with nobody."""
        self._is_idle = is_idle
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self, is_vain: Callable[[], bool]) -> None:
        """Wait until the pool is idle, or waiting for it is in vain."""
        while not (self._is_idle() or is_vain()):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    def look(self) -> None:
        """Wake those that wait, if the pool is idle; costs nothing where nobody does."""
        if self._waiting and self._is_idle():
            self.release()

    def release(self) -> None:
        """Wake those that wait: something has changed."""
        futures, self._waiting = self._waiting, []
        for future in futures:
            if not future.done():
                future.set_result(None)
