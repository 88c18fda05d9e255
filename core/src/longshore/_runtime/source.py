"""Where a stream's calls come from: a plain iterable, pulled as there is room, or an async one, pumped ahead a bit."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from itertools import islice
from typing import Any, Protocol

Call = tuple[Any, ...]  # Any: the user's arguments
_AHEAD_MOST = 64
_TURN_S = 0.002  # how long a slow iterable may hold up the loop at a time, if its items are not slower than that
_STEP_MOST = 512


def check_iterable(what: str, items: object) -> None:
    """Raise TypeError for an argument that nothing can be taken from."""
    if not isinstance(items, Iterable | AsyncIterable):
        raise TypeError(f"{what} must be iterable, not {type(items).__name__}")


class Source(Protocol):
    """Calls, taken a few at a time. What iterating them raised is kept, and is the stream's to raise."""

    error: BaseException | None
    exhausted: bool

    @property
    def ready(self) -> bool:
        """Whether `take` may give something now."""

    def open(self) -> None:
        """Begin; only then is anything iterated."""

    def take(self, most: int) -> list[Call]:
        """Return up to `most` calls, none when there are none just now."""

    def close(self) -> None:
        """Take no more."""


class Plain:
    """Calls of a plain iterable, iterated on the loop's thread as there is room for them.

    Taken a few at a time, and more while they come at once: what is slow to make holds up the loop for one item, or for
    `_TURN_S`, and what is made already begins to run meanwhile.
    """

    def __init__(self, calls: Iterable[Call], clock: Callable[[], float] = time.monotonic) -> None:
        """Iterate `calls`."""
        self.error: BaseException | None = None
        self.exhausted = False
        self._calls = iter(calls)
        self._clock = clock
        self._step = 1

    @property
    def ready(self) -> bool:
        """Whether there may be more."""
        return not self.exhausted

    def open(self) -> None:
        """Do nothing: what is plain is there."""

    def take(self, most: int) -> list[Call]:
        """Return the next ones; those before one that raises are returned, and the error kept."""
        calls: list[Call] = []
        until = self._clock() + _TURN_S
        while len(calls) < most and not self.exhausted:
            wanted = min(most, len(calls) + self._step)
            try:
                calls.extend(islice(self._calls, wanted - len(calls)))
            except BaseException as error:  # noqa: BLE001 - the user's iterable may raise anything; the consumer is told
                self.error = error
                self.exhausted = True
            if len(calls) < wanted:
                self.exhausted = True
            if self._clock() > until:
                self._step = max(1, self._step // 2)
                break
            self._step = min(self._step * 2, _STEP_MOST)
        return calls

    def close(self) -> None:
        """Take no more."""
        self.exhausted = True


class Pumped:
    """Calls of an async iterable, taken ahead by a task of its own; `arrived` is called when there is something new."""

    def __init__(self, calls: AsyncIterable[Call], arrived: Callable[[], None]) -> None:
        """Iterate `calls` once opened."""
        self.error: BaseException | None = None
        self.exhausted = False
        self._incoming: AsyncIterator[Call] = aiter(calls)
        self._arrived = arrived
        self._waiting: deque[Call] = deque()
        self._ended = False
        self._pump: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether something has come in."""
        return bool(self._waiting)

    def open(self) -> None:
        """Begin to pump."""
        self._pump = asyncio.get_running_loop().create_task(self._run())

    def take(self, most: int) -> list[Call]:
        """Return what has come in."""
        taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self.exhausted = self._ended and not self._waiting
        return taken

    def close(self) -> None:
        """Pump no more."""
        self.exhausted = True
        if self._pump is not None:
            self._pump.cancel()

    async def _run(self) -> None:
        try:
            async for call in self._incoming:
                self._waiting.append(call)
                self._arrived()
                if len(self._waiting) >= _AHEAD_MOST:
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
        except BaseException as error:
            if self.exhausted:
                raise  # closed: this is how
            self.error = error
        finally:
            if isinstance(self._incoming, AsyncGenerator):
                await self._incoming.aclose()
        self._ended = True
        self.exhausted = not self._waiting
        self._arrived()
