"""Who waits outside of the queue for resources to come free: let in one at a time, in order, or turned away at the end.

Used by the driver, on its loop. Those in the queue come first: what they are given is lent before anybody is let in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from longshore.task import Resources


class _Waiter(NamedTuple):
    resources: Resources
    future: asyncio.Future[None]


class Line:
    """Callers that wait for resources. One that is let in has them to himself until he next awaits something."""

    __slots__ = ("_changed", "_coming", "_lacks", "_waiters")

    def __init__(self, lacks: Callable[[Resources], str | None], changed: Callable[[], None]) -> None:
        """Start with nobody. `lacks` says why resources can't be lent now; `changed` is called when one has come."""
        self._lacks = lacks
        self._changed = changed
        self._waiters: list[_Waiter] = []
        self._coming = 0

    def __bool__(self) -> bool:
        """Tell whether anybody waits."""
        return bool(self._waiters)

    def lacks(self, resources: Resources) -> str | None:
        """Return why resources can't be had now: there is too little, or somebody waits for the same; None if so."""
        lacks = self._lacks(resources)
        if lacks is not None:
            return lacks
        wanted = _names(resources)
        for waiter in self._waiters:
            for name in _names(waiter.resources):
                if name in wanted:
                    return f"{name}: others wait for it, and came first"
        return None

    async def wait(self, resources: Resources, timeout_s: float) -> bool:
        """Wait to be let in or turned away; False when that takes longer than `timeout_s`."""
        waiter = _Waiter(resources, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.future
        except TimeoutError:
            return False
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            else:
                self._coming = 0
            self._changed()  # those behind may want less, or something else
        return True

    def let_in(self) -> None:
        """Let in the first whose resources are free, and that nobody before waits for."""
        if self._coming:
            return
        taken: set[str] = set()
        for waiter in self._waiters:
            wanted = _names(waiter.resources)
            if taken.isdisjoint(wanted) and self._lacks(waiter.resources) is None:
                self._waiters.remove(waiter)
                self._coming = 1
                _wake(waiter.future)
                return
            taken.update(wanted)

    def turn_away(self) -> None:
        """Have all that wait come back, to find that the pool takes no work."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            _wake(waiter.future)


def _names(resources: Resources) -> dict[str, None]:
    """Return what may be reserved, in order: of each choice, for nobody knows yet which it will be."""
    return {name: None for choice in resources.choices() for name in choice.amounts()}


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
