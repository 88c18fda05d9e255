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
    executor: str
    future: asyncio.Future[None]


class Line:
    """Callers that wait for resources. One that is let in has them to himself until he next awaits something."""

    __slots__ = ("_changed", "_coming", "_lacks", "_site_of", "_waiters")

    def __init__(
        self,
        lacks: Callable[[Resources, str], str | None],
        site_of: Callable[[str], str],
        changed: Callable[[], None],
    ) -> None:
        """Start with nobody. `lacks` says why an executor can't have resources now, `site_of` where its workers are.

        `changed` is called when one has come.
        """
        self._lacks = lacks
        self._site_of = site_of
        self._changed = changed
        self._waiters: list[_Waiter] = []
        self._coming = 0

    def __bool__(self) -> bool:
        """Tell whether anybody waits."""
        return bool(self._waiters)

    def lacks(self, resources: Resources, executor: str) -> str | None:
        """Return why resources can't be had now: there is too little, or somebody waits for the same; None if so."""
        lacks = self._lacks(resources, executor)
        if lacks is not None:
            return lacks
        wanted = self._names(resources, executor)
        for waiter in self._waiters:
            for name in self._names(waiter.resources, waiter.executor):
                if name in wanted:
                    return f"{name[0]}: others wait for it, and came first"
        return None

    async def wait(self, resources: Resources, executor: str, timeout_s: float) -> bool:
        """Wait to be let in or turned away; False when that takes longer than `timeout_s`."""
        waiter = _Waiter(resources, executor, asyncio.get_running_loop().create_future())
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
        taken: set[tuple[str, str]] = set()
        for waiter in self._waiters:
            wanted = self._names(waiter.resources, waiter.executor)
            if taken.isdisjoint(wanted) and self._lacks(waiter.resources, waiter.executor) is None:
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

    def _names(self, resources: Resources, executor: str) -> dict[tuple[str, str], None]:
        """Return what may be reserved and where, in order: of each choice, for nobody knows yet which it will be."""
        site = self._site_of(executor)
        return {(name, site): None for choice in resources.choices() for name in choice.amounts()}


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
