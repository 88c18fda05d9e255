"""The machines that tasks run on: this one, or the cluster of an executor whose workers are elsewhere.

Of each site there is a ledger of what is lent of it, and how hard it is pressed; what is short at one holds nothing
back at another. Pools of the user's own, such as licences, belong to no machine: tasks of all sites share them.
"""

from __future__ import annotations

from collections.abc import Mapping

from longshore._engine.ledger import OF_MACHINES, ROUNDING, Amounts, Ledger, Shortage
from longshore._engine.messages import Measured
from longshore._engine.place import Place
from longshore._engine.pressure import Pressure
from longshore.events import Happened
from longshore.records import Load
from longshore.task import Attempt, Priority

ALL = len(Priority)
"""Above every level of priority: none is parked."""


class ClusterLedger(Ledger):
    """What is lent of a cluster; it takes what is of no machine from the ledger that all sites share.

    A task has what it reserves on one worker, so that what no worker has, there can never be. What is used above what
    tasks reserved counts beside what is reserved now: so what an ended task gives back is there at once, and not only
    when it has been measured.
    """

    __slots__ = ("_common", "_each", "_lent_then", "_where")

    def __init__(self, common: Ledger, where: str) -> None:
        """Know of no bound yet; `where` says for people whose ledger it is."""
        super().__init__()
        self._common, self._where = common, where
        self._each: dict[str, float] = {}
        self._lent_then: dict[str, float] = {}

    def measure(self, loads: Mapping[str, Load], tasks: Amounts | None = None, now: float | None = None) -> None:
        """Count with what is measured from now on; what is not measured has no bound."""
        self.grant({})
        self._each = {name: load.each for name, load in loads.items() if load.each is not None}
        self._lent_then = dict(self._lent)
        super().measure(loads, tasks, now)

    def _counts(self, name: str) -> bool:
        return name != "cpu"  # the cores of a cluster are the threads of its workers, and those are lent

    def taken(self, name: str) -> float:
        """Return how much of a resource is lent, or in use beyond what was lent when that was measured."""
        used, lent = self._used.get(name), self._lent.get(name, 0.0)
        if used is None or not self._counts(name):
            return lent
        return used.all - min(used.all - used.rest, self._lent_then.get(name, 0.0)) + lent

    def lacks(self, amounts: Amounts) -> str | None:
        """Return what there is too little of now; None when `amounts` can be lent."""
        own, common = _split(amounts)
        lacking = super().lacks(own)
        return self._common.lacks(common) if lacking is None else lacking.replace(": ", f" {self._where}: ", 1)

    def fits_alone(self, amounts: Amounts) -> bool:
        """Tell whether `amounts` can be lent where nothing runs here; what all sites share has to be there now."""
        own, common = _split(amounts)
        return super().fits_alone(own) and self._common.fits(common)

    def shortage(self, amounts: Amounts) -> Shortage | None:
        """Return what there can never be enough of, None when `amounts` can be lent at some time."""
        own, common = _split(amounts)
        for name, amount in own.items():
            if amount > self._each.get(name, amount) + ROUNDING:
                return Shortage(name, amount, self._each[name])
        return super().shortage(own) or self._common.shortage(common)

    def short_now(self, amounts: Amounts) -> Shortage | None:
        """Return what there is too little of now, with what would be taken in all; None when `amounts` can be lent."""
        own, common = _split(amounts)
        return super().short_now(own) or self._common.short_now(common)

    def most(self, resource: str, amount: str) -> str:
        """Return in words that there is never more of a resource than this; `amount` ends with "is" or "are"."""
        if resource not in OF_MACHINES:
            return self._common.most(resource, amount)
        return f"{amount} all that the largest worker {self._where} has"

    def lend(self, task_id: str, amounts: Amounts) -> tuple[int, ...]:
        """Reserve `amounts` for the task; which GPU it has is decided where it runs."""
        own, common = _split(amounts)
        if common:
            self._common.lend(task_id, common)
        return super().lend(task_id, own)

    def take_back(self, task_id: str) -> Amounts:
        """End the task's reservation, and return it; one that has none is ignored."""
        common = self._common.take_back(task_id)
        return {**super().take_back(task_id), **common}

    def lent_to(self, task_id: str) -> Amounts:
        """Return what is lent to a task."""
        return {**super().lent_to(task_id), **self._common.lent_to(task_id)}


def _split(amounts: Amounts) -> tuple[Amounts, Amounts]:
    """Return what is of machines, and what is not."""
    own = {name: amount for name, amount in amounts.items() if name in OF_MACHINES}
    return own, {name: amount for name, amount in amounts.items() if name not in own}


class Site:
    """One site: the executors there, what is lent, and how many tasks may run there at once."""

    __slots__ = (
        "_most", "_pressure", "cap", "ledger", "measured_at", "name", "parked", "parks",
        "parks_from", "places", "scarce",
    )  # fmt: skip

    def __init__(self, name: str, most: int, ledger: Ledger) -> None:
        """Be one with room for `most` tasks, of which nothing is measured; the name of this machine is empty."""
        self.name, self.ledger = name, ledger
        self._most = self.cap = most
        self._pressure = Pressure(most, name)
        self.measured_at = 0.0
        self.places: list[Place] = []
        self.scarce = False
        """Whether its executors have more workers together than may be used at once."""
        self.parks = False
        """Whether LOW and BACKGROUND wait for as long as anything more urgent does."""
        self.parked = False
        """Whether some of theirs had to wait for that last time."""
        self.parks_from = ALL

    def measure(self, measured: Measured, now: float, ended: int) -> list[Happened]:
        """Decide by what was measured from now on; return the warnings. `ended` counts the attempts that ended."""
        moved = self._pressure.take(measured, now, busy=self.busy(), workers=self.workers(), ended=ended)
        self._press()
        self.measured_at = now
        use = {task_id: use.memory_mb for task_id, use in measured.tasks.items()}
        self.ledger.measure(measured.loads, use, now)
        return moved

    def forget(self) -> list[Happened]:
        """Decide without what was measured; return the warnings that end with it."""
        moved = self._pressure.release()
        self._pressure = Pressure(self._most, self.name)
        self._press()
        self.ledger.measure({})
        return moved

    def _press(self) -> None:
        self.cap, self.parks = self._pressure.cap, self._pressure.presses
        self.look()
        self.ledger.closed = self._pressure.closed()

    def look(self) -> None:
        """See whether there are more workers than may be used."""
        self.scarce = self.workers() > self.cap

    @property
    def measured_until(self) -> float | None:
        """When what was measured is too old to count."""
        return self._pressure.until

    @property
    def says(self) -> str | None:
        """In plain words what is short and what follows, None when nothing is."""
        return self._pressure.says

    @property
    def stopped_by(self) -> str | None:
        """Why nothing starts at all: something is over its limit, and as much runs as is borne; None if it is not."""
        return self.says if self._pressure.hard and self.busy() >= self.cap else None

    @property
    def short(self) -> Shortage | None:
        """What is over its limit, in the units of the limits; None where nothing is, or nobody can say."""
        return self._pressure.shortage()

    @property
    def braking(self) -> str | None:
        """What is short, by name; None where nothing is."""
        return self._pressure.braking

    def brakes(self, resource: str) -> bool:
        """Tell whether less starts, as this is above its warning level."""
        return self._pressure.brakes(resource)

    def held_because(self) -> str | None:
        """Return in words that less starts than could, as something is short; from any thread."""
        return self.says if self.parked or self.busy() >= self.cap else None

    def hopeless(self) -> list[tuple[Attempt, str]]:
        """Return what waits here and can never have what it reserves, and why; looks at all that waits."""
        found: list[tuple[Attempt, str]] = []
        for lane in (lane for place in self.places for lane in place.lanes):
            if (why := self.ledger.hopeless(lane.choices)) is not None:
                found += [(attempt, why) for priority in Priority for attempt in lane.waiting(priority)]
        return found

    def told_as(self, resource: str) -> str:
        """Return the name of a resource beside those of other sites."""
        return f"{self.name}.{resource}" if self.name else resource

    def waits(self) -> bool:
        """Tell whether anything is queued for its executors; from any thread."""
        return any(place.waits() for place in list(self.places))

    def workers(self) -> int:
        """Return how many workers its executors have."""
        return sum(place.slots for place in list(self.places))

    def busy(self) -> int:
        """Return how many of them may be running something."""
        return sum(map(Place.busy, list(self.places)))

    def wants(self) -> int:
        """Return how many would be, if none were told of a limit."""
        return sum(map(Place.wants, self.places))

    def is_idle(self) -> bool:
        """Tell whether nothing runs here."""
        return not any(place.held for place in self.places)
