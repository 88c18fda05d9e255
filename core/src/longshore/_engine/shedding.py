"""Who is ended when memory runs out all the same: one task at a time, so that it can run again when there is room.

Three conditions, against spikes: memory has been nearly used up for a while, it is so now, and use is not falling.
Then the task goes that is over what it reserved by most; where none is, the one whose end costs least. What that frees
is measured before the next goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from longshore._engine.messages import InUse
from longshore.records import Load
from longshore.task import Attempt

LEVEL_MOST = 95.0
"""Percent. Where the limit is below, it is halfway between that and all there is."""
AT_ONCE = 97.0
"""Percent above which nobody waits for how it goes on."""
SHED_AFTER_S = 1.0
ANSWER_S = 10.0
"""For so long the end of one victim is waited for; then another is looked for."""
_FALLING = 0.995
_OVER_LEAST_MB = 1.0


class Candidate(NamedTuple):
    """A running task that could be ended, what it uses, and what it reserved of that."""

    attempt: Attempt
    use: InUse
    reserved_mb: float

    @property
    def over_mb(self) -> float:
        """By how much it is over what it reserved."""
        return self.use.memory_mb - self.reserved_mb


def shed_level(memory: Load) -> float:
    """Return the use above which tasks are ended, in the units of the load."""
    if memory.unit != "%":
        return memory.limit
    return max(memory.limit, min(LEVEL_MOST, (memory.limit + 100.0) / 2.0))


def victim(candidates: Iterable[Candidate]) -> Candidate | None:
    """Return the task over its reservation by most, else the least urgent, retriable and youngest one."""
    held = [one for one in candidates if one.use.memory_mb >= _OVER_LEAST_MB]
    worst = max(held, key=lambda one: (one.over_mb, one.attempt.task_id), default=None)
    if worst is None or worst.over_mb >= _OVER_LEAST_MB:
        return worst
    return min(held, key=_costs)


def _costs(one: Candidate) -> tuple[int, bool, float, str]:
    """Order by what is lost: urgency, then whether nobody said that it may be tried again, then work done."""
    spec = one.attempt.spec
    return -spec.priority, spec.retry.attempts == 1, one.use.running_s, one.attempt.task_id


class Shedding:
    """Whether one is to be ended now; told of each reading, and of the end of each victim."""

    __slots__ = ("_asked_at", "_over_since", "_settling", "_usage", "asked")

    def __init__(self) -> None:
        """Have seen nothing."""
        self.asked: str | None = None
        """The task that was asked to end, until it has."""
        self._asked_at = 0.0
        self._over_since: float | None = None
        self._settling = False  # its end has not been measured yet
        self._usage = 0.0

    def ended(self, task_id: str) -> None:
        """Take note of a task's end."""
        if task_id == self.asked:
            self.asked, self._settling = None, True

    def see(
        self, memory: Load | None, now: float, running: int, candidates: Callable[[], Iterable[Candidate]]
    ) -> Candidate | None:
        """Take a reading, with how many tasks run; return whom to end, None for nobody."""
        if memory is None or memory.usage <= shed_level(memory):
            self._over_since, self._settling = None, False
            return None
        before, self._usage = self._usage, memory.usage
        since = self._over_since = now if self._over_since is None else self._over_since
        if self.asked is not None and now < self._asked_at + ANSWER_S:
            return None
        if self._settling or memory.usage < before * _FALLING:
            self._settling = False
            return None
        soon = memory.unit == "%" and memory.usage >= AT_ONCE
        if running < 2 or (now - since < SHED_AFTER_S and not soon):
            return None
        found = victim(candidates())
        if found is not None:
            self.asked, self._asked_at = found.attempt.task_id, now
        return found
