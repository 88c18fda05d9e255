"""The control groups of each worker, by what they are for: to end it with all it started, and to limit its memory.

Used by the zygote only. In version 2 one group serves both.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple, Self

from longshore_processes.cgroups import Facts, Group, Groups
from longshore_processes.rungs import ASKED_NAME, Rung, groups_for


class Pen(NamedTuple):
    """The groups of one worker, none at all in most places."""

    groups: tuple[tuple[Groups, Group], ...] = ()
    memory: Group | None = None
    """The one in which its memory is limited."""
    rung: Rung = Rung.POLLING

    @property
    def memory_path(self) -> str | None:
        """Where its memory is limited."""
        return None if self.memory is None else self.memory.path

    def enter(self) -> None:
        """Move this process, a new worker, into them; OSError if it may not."""
        os.environ[ASKED_NAME] = self.rung.value if self.memory is None else f"{self.rung.value}:{self.memory.path}"
        for _, group in self.groups:
            group.enter()

    def facts(self) -> Facts | None:
        """Return how its memory stands."""
        return None if self.memory is None else self.memory.facts()

    def kill(self) -> None:
        """Kill all that is in them."""
        for _, group in self.groups:
            group.kill()

    def end(self) -> None:
        """Kill all that is in them, and remove them now or later."""
        for groups, group in self.groups:
            groups.end(group)


class Pens:
    """Makes them; where one for memory can't be made after all, its worker is polled only."""

    def __init__(self, ending: Groups | None, limiting: Groups | None, rung: Rung) -> None:
        """Make them in these groups."""
        self._ending = ending
        self._limiting = limiting
        self._rung = rung

    @classmethod
    def asked(cls, grouped: bool, rung: Rung, controller: int) -> Self:
        """Return those that are asked for, as far as they can be had; what earlier ones left is removed."""
        limiting = groups_for(rung)
        if limiting is not None and not limiting.settle_in(frozenset({controller, os.getpid()})):
            limiting = None
        ending = None
        if grouped:
            ending = limiting if limiting is not None and rung is Rung.CGROUP_V2 else Groups.here()
        pens = cls(ending, limiting, rung)
        for groups in pens._all():
            groups.clear_old()
        return pens

    def make(self, number: int, *, limited: bool) -> Pen:
        """Make what a worker is to be in; OSError where what it is to be ended by can't be made."""
        made: list[tuple[Groups, Group]] = []
        memory, rung = None, Rung.ADDRESS_SPACE if limited and self._rung is Rung.ADDRESS_SPACE else Rung.POLLING
        if limited and self._limiting is not None:
            with suppress(OSError):
                memory, rung = self._limiting.make(number, limited=True), self._rung
                made.append((self._limiting, memory))
        if self._ending is not None and (memory is None or self._ending is not self._limiting):
            try:
                made.append((self._ending, self._ending.make(number)))
            except OSError:
                for _, group in made:
                    group.remove()
                raise
        return Pen(tuple(made), memory, rung)

    def tidy(self) -> None:
        """Remove what has become empty."""
        for groups in self._all():
            groups.tidy()

    def close(self) -> None:
        """Leave nothing of ours behind, once all is ended."""
        self.tidy()
        if self._limiting is not None:
            self._limiting.move_out()

    def _all(self) -> list[Groups]:
        return list({id(groups): groups for groups in (self._ending, self._limiting) if groups is not None}.values())
