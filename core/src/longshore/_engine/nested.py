"""Tasks that wait for other tasks of their own pool: their workers are lent out meanwhile, or all would wait for ever.

A task that waits uses no worker of its own: its executor gets one more in its place, up to `NESTED_MOST`. Where nothing
can go on all the same, one of the waits is refused, so that there is an error in place of a silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from longshore._engine.dispatch import Dispatch
from longshore._engine.messages import Lend, Tangled, Waits
from longshore._engine.place import Place
from longshore._engine.running import Running
from longshore.task import Attempt, Outcome

NESTED_MOST = 256
"""Workers that are lent for tasks that wait, in each executor."""
PATIENCE_S = 1.0
"""For so long nothing must have been able to go on before a wait is refused: a worker may be about to come."""


class Nested:
    """The running tasks that wait, and what follows."""

    __slots__ = ("_places", "_since", "_waits", "used")

    def __init__(self, places: Mapping[str, Place]) -> None:
        """Have none wait; `places` are those of the dispatch, by executor."""
        self.used = False
        """Whether any task has waited so far: before, there is nothing to ask."""
        self._places = places
        self._waits: dict[str, int] = {}  # how many waits each has begun; the newest are last
        self._since: float | None = None

    @property
    def due(self) -> float | None:
        """When a wait is to be refused, if nothing goes on until then."""
        return None if self._since is None else self._since + PATIENCE_S

    def has(self, task_id: str) -> bool:
        """Tell whether a task waits."""
        return task_id in self._waits

    @property
    def waiting(self) -> set[str]:
        """The tasks that wait."""
        return set(self._waits)

    def take(self, stimulus: Waits, attempt: Attempt | None) -> None:
        """Take note that a task begins to wait or ends a wait; `attempt` is what runs of it, if it does."""
        self.used = True
        before = self._waits.pop(stimulus.task_id, 0)
        after = before + (1 if stimulus.begins else -1)
        if attempt is None:
            return
        if after > 0:
            self._waits[stimulus.task_id] = after
        self._places[attempt.spec.executor].waiting += (after > 0) - (before > 0)

    def ended(self, outcomes: Sequence[Outcome], running: Running) -> None:
        """Take note of attempts that are reported, also if something of theirs still waits."""
        for outcome in outcomes:
            attempt = running.get(outcome.task_id)
            if outcome.task_id in self._waits and attempt is not None and attempt.number == outcome.attempts:
                del self._waits[outcome.task_id]
                self._places[attempt.spec.executor].waiting -= 1

    def lend(self) -> list[Lend]:
        """Return which executors get more workers, or fewer: more only where something waits for one."""
        changed: list[Lend] = []
        for name, place in self._places.items():
            most = min(place.waiting, NESTED_MOST)
            wanted = most if place.waits() or place.held > place.slots else min(place.lent, most)
            if wanted != place.lent:
                place.lent = wanted
                changed.append(Lend(name, wanted))
        return changed

    def tangled(self, dispatch: Dispatch, now: float, *, more_comes: bool) -> list[Tangled]:
        """Return the refusal of a wait, if nothing has been able to go on for long; `more_comes`: something will."""
        if more_comes or not self._is_stuck(dispatch):
            self._since = None
            return []
        if self._since is None:
            self._since = now
        if now < self._since + PATIENCE_S:
            return []
        self._since = now
        waiting = next(dispatch.waiting(), None)
        why = dispatch.obstacle(waiting, now) if waiting is not None else None
        message = (
            "all tasks that run wait for other tasks of their pool, and none of those can start: "
            f"{why or 'no worker is left for them'}; nest tasks less deeply, or run those that are waited for elsewhere"
        )
        return [Tangled(list(reversed(self._waits)), message)]

    def _is_stuck(self, dispatch: Dispatch) -> bool:
        """Tell whether everything that runs waits, something is to be run, and nothing but an end could let it."""
        places = self._places.values()
        if not self._waits or any(place.busy() for place in places):
            return False
        if any(site.cap == 0 for site in dispatch.sites.values()) or dispatch.opens_at is not None or dispatch.holding:
            return False
        if any(place.waits() and not place.slots for place in places):
            return False
        return any(dispatch.queued) or any(place.held > place.waiting for place in places)
