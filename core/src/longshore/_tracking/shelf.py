"""What is kept of things that end: all that go on, and of those that ended the last ones; called by the books.

Nothing here grows without bound: the ended leave by age and by number, and so do those that never end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Generic, TypeVar

T = TypeVar("T")

ACTIVE_MOST = 100_000
"""Past so many that go on, the oldest is forgotten: whoever was to tell of its end must have missed it."""


class Shelf(Generic[T]):
    """Things by their id, first those that go on, then those that ended, in the order they came to an end."""

    __slots__ = ("_active", "_ended", "_keep", "_most")

    def __init__(self, most: int, keep: timedelta) -> None:
        """Keep at most `most` of the ended, and none for longer than `keep`."""
        self._most = most
        self._keep = keep
        self._active: OrderedDict[str, T] = OrderedDict()
        self._ended: OrderedDict[str, tuple[datetime, T]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many things are kept."""
        return len(self._active) + len(self._ended)

    def put(self, key: str, thing: T) -> T:
        """Keep a thing that goes on; one of this id that ended is forgotten."""
        self._ended.pop(key, None)
        self._active[key] = thing
        if len(self._active) > ACTIVE_MOST:
            self._active.popitem(last=False)
        return thing

    def active(self, key: str) -> T | None:
        """Return the thing of this id if it goes on."""
        return self._active.get(key)

    def has_ended(self, key: str) -> bool:
        """Tell whether the thing of this id is kept, and ended."""
        return key in self._ended

    def get(self, key: str) -> T | None:
        """Return the thing of this id."""
        ended = self._ended.get(key)
        return self._active.get(key) if ended is None else ended[1]

    def all_active(self) -> list[T]:
        """Return what goes on, first come first."""
        return list(self._active.values())

    def end(self, key: str, at: datetime) -> None:
        """Have a thing that went on end now."""
        thing = self._active.pop(key, None)
        if thing is not None:
            self._ended[key] = at, thing
            if len(self._ended) > self._most:
                self._ended.popitem(last=False)
        self.age(at)

    def age(self, at: datetime) -> None:
        """Forget what ended longer ago than is kept."""
        while self._ended:
            key, (ended_at, _) = next(iter(self._ended.items()))
            if at - ended_at <= self._keep:
                return
            del self._ended[key]

    def forget(self, before: datetime) -> int:
        """Forget all that ended before a moment; return how many that were."""
        old = list(self._older(before))
        for key in old:
            del self._ended[key]
        return len(old)

    def _older(self, before: datetime) -> Iterator[str]:
        return (key for key, (ended_at, _) in self._ended.items() if ended_at < before)
