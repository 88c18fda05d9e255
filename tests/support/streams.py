"""What the tests of streams share: items that are counted, tasks that hold, ways to read a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from longshore import Settings, Submitter, WorkerConfig, WorkerPool


class Counting:
    """An iterable that knows how far it was iterated, and where from it raises."""

    def __init__(self, count: int, raises_at: int | None = None) -> None:
        self.count = count
        self.raises_at = raises_at
        self.pulled = 0

    def __iter__(self) -> Iterator[int]:
        for number in range(self.count):
            if number == self.raises_at:
                raise LookupError(f"the source broke at {number}")
            self.pulled += 1
            yield number

    async def later(self) -> AsyncIterator[int]:
        """Give the same from an async generator."""
        for number in self:
            if number % 10 == 0:
                await asyncio.sleep(0)
            yield number


class Gate:
    """A task that holds until it is let through, and counts who is inside and who was cancelled."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside: set[int] = set()
        self.cancelled: set[int] = set()

    async def __call__(self, number: int) -> int:
        self.inside.add(number)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.add(number)
            raise
        return number


def make_pool(**config: int) -> WorkerPool:
    """Return a pool that nothing of the user's settings plays into."""
    return WorkerPool(WorkerConfig(**config), settings=Settings(probes=()))


async def double(number: int) -> int:
    return number * 2


async def call(pool: Submitter, function: Callable[..., Any], *args: Any) -> Any:
    """Submit one call and return its result."""
    return await (await pool.submit(function, *args))


async def collect(stream: AsyncIterator[Any], kept: list[Any]) -> None:
    """Read a stream to its end; what was given before an exception is kept."""
    async for given in stream:
        kept.append(given)


async def all_of(stream: AsyncIterator[Any]) -> list[Any]:
    """Read a stream to its end."""
    return [given async for given in stream]
