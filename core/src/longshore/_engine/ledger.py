"""What is lent out: for each task in progress what it reserved, and what is left to lend.

What tasks reserve and what is measured count once. Of memory and of rates, use that rose while something was lent is
taken to be what was lent, and what is lent but not used yet is added to what is measured. Of CPU, only what others use
is added to what is lent: a pool that uses its cores is no reason to use fewer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from longshore._engine.devices import Devices
from longshore.records import Load


class Shortage(NamedTuple):
    """What there is too little of, how much would be needed, and how much there is."""

    resource: str
    needed: float
    limit: float


class _Used(NamedTuple):
    """Measured use: all that counts, and the part of it that is there without what is lent."""

    all: float
    rest: float


class Ledger:
    """Reservations by task, and measured use, against a capacity by resource; one without a capacity has no bound.

    Lending, taking back and asking cost the same however much is lent.
    """

    __slots__ = ("_lent", "_own_rest", "_taken", "_used", "capacity", "closed", "devices")

    def __init__(self, capacity: Mapping[str, float] | None = None, devices: Devices | None = None) -> None:
        """Start with nothing lent. Without `devices`, GPUs have no names before they are measured."""
        self.devices = devices or Devices()
        self.capacity: dict[str, float] = dict(capacity or {})
        self.closed: Mapping[str, str] = {}
        """Resources of which nothing is lent now, with the reason."""
        self._taken: dict[str, Mapping[str, float]] = {}
        self._lent: dict[str, float] = {}
        self._used: dict[str, _Used] = {}
        self._own_rest: dict[str, float] = {}

    def measure(self, loads: Mapping[str, Load]) -> None:
        """Count with what is measured from now on, in place of what was measured before."""
        self._used = {name: self._split(name, load) for name, load in loads.items() if load.per_unit}
        self.capacity |= {name: load.lendable for name, load in loads.items() if load.lendable is not None}
        gpu = loads.get("gpu")
        self.devices.measure(gpu.devices if gpu is not None else {})

    def _split(self, name: str, load: Load) -> _Used:
        if name == "cpu" and load.own is not None:
            foreign = load.foreign * load.per_unit
            return _Used(foreign, foreign)
        used = load.usage * load.per_unit
        own = used if load.own is None else load.own * load.per_unit
        before = self._own_rest.get(name, own)
        own_rest = self._own_rest[name] = min(before, own) if self._lent.get(name) else own
        return _Used(used, used - (own - own_rest))

    def fits(self, amounts: Mapping[str, float]) -> bool:
        """Tell whether `amounts` can be lent now."""
        return self.lacks(amounts) is None

    def fits_alone(self, amounts: Mapping[str, float]) -> bool:
        """Tell whether `amounts` can be lent where nothing runs: only what can never fit, or is closed, cannot."""
        return self.shortage(amounts) is None and self.closed.keys().isdisjoint(amounts)

    def lacks(self, amounts: Mapping[str, float]) -> str | None:
        """Return what there is too little of now, with what is taken and the limit; None when `amounts` can be lent."""
        for name, amount in amounts.items():
            if name in self.closed:
                return self.closed[name]
            taken = self.taken(name)
            if self._over(name, taken + amount):
                how = "in use or lent" if name in self._used else "lent"
                return f"insufficient {name}: {taken:g} {how} + {amount:g} > {self.capacity[name]:g}"
        return self.devices.lacks(amounts)

    def taken(self, name: str) -> float:
        """Return how much of a resource is lent or in use, counted once."""
        lent = self._lent.get(name, 0.0)
        used = self._used.get(name)
        return lent if used is None else max(used.all, used.rest + lent)

    def shortage(self, amounts: Mapping[str, float]) -> Shortage | None:
        """Return what there can never be enough of, None when `amounts` can be lent at some time."""
        for name, amount in amounts.items():
            if name in self.capacity and amount > self.capacity[name]:
                return Shortage(name, amount, self.capacity[name])
        short = self.devices.shortage(amounts)
        return Shortage(*short) if short is not None else None

    def short_now(self, amounts: Mapping[str, float]) -> Shortage | None:
        """Return what there is too little of now, with what would be taken in all; None when `amounts` can be lent."""
        for name, amount in amounts.items():
            needed = self.taken(name) + amount
            if self._over(name, needed):
                return Shortage(name, needed, self.capacity[name])
        return None

    def _over(self, name: str, needed: float) -> bool:
        return name in self.capacity and needed > self.capacity[name] + 1e-9

    def never(self, amounts: Mapping[str, float]) -> str | None:
        """Return why `amounts` can never be lent, None when they can."""
        for name, amount in amounts.items():
            if amount < 0:
                return f"{name} {amount:g} is negative"
        short = self.shortage(amounts)
        if short is None:
            return None
        none = ", and none is visible: unavailable" if short.limit == 0 else ", all there is"
        return f"{short.resource} {short.needed:g} > {short.limit:g}{none}"

    def lend(self, task_id: str, amounts: Mapping[str, float]) -> tuple[int, ...]:
        """Reserve `amounts` for the task; return the GPUs that it has for itself or shares, by their numbers."""
        self._taken[task_id] = amounts
        for name, amount in amounts.items():
            self._lent[name] = self._lent.get(name, 0.0) + amount
        return self.devices.lend(task_id, amounts)

    def take_back(self, task_id: str) -> Mapping[str, float]:
        """End the task's reservation, and return it; one that has none is ignored."""
        amounts = self._taken.pop(task_id, {})
        for name, amount in amounts.items():
            self._lent[name] -= amount
        if not self._taken:
            self._lent.clear()  # so that no rounding is left over
        self.devices.take_back(task_id)
        return amounts

    def lent(self) -> dict[str, float]:
        """Return what is lent out now, by resource."""
        return {name: amount for name, amount in self._lent.items() if amount}
