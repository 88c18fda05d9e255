"""What is lent out: for each task in progress what it reserved, and what is left to lend."""

from __future__ import annotations

from collections.abc import Mapping


class Ledger:
    """Reservations by task against a capacity by resource; a resource without a capacity has no bound."""

    __slots__ = ("_lent", "_taken", "capacity")

    def __init__(self, capacity: Mapping[str, float] | None = None) -> None:
        """Start with nothing lent."""
        self.capacity: dict[str, float] = dict(capacity or {})
        self._taken: dict[str, Mapping[str, float]] = {}
        self._lent: dict[str, float] = {}

    def fits(self, amounts: Mapping[str, float]) -> bool:
        """Tell whether `amounts` can be lent now."""
        return self.lacks(amounts) is None

    def lacks(self, amounts: Mapping[str, float]) -> str | None:
        """Return what there is too little of now, with what is lent and the limit; None when `amounts` can be lent."""
        for name, amount in amounts.items():
            lent = self._lent.get(name, 0.0)
            if name in self.capacity and lent + amount > self.capacity[name] + 1e-9:
                return f"insufficient {name}: {lent:g} lent + {amount:g} > {self.capacity[name]:g}"
        return None

    def never(self, amounts: Mapping[str, float]) -> str | None:
        """Return why `amounts` can never be lent, None when they can."""
        for name, amount in amounts.items():
            if amount < 0:
                return f"{name} {amount:g} is negative"
            if name in self.capacity and amount > self.capacity[name]:
                return f"{name} {amount:g} > {self.capacity[name]:g}, all there is"
        return None

    def lend(self, task_id: str, amounts: Mapping[str, float]) -> None:
        """Reserve `amounts` for the task."""
        self._taken[task_id] = amounts
        for name, amount in amounts.items():
            self._lent[name] = self._lent.get(name, 0.0) + amount

    def take_back(self, task_id: str) -> None:
        """End the task's reservation; one that has none is ignored."""
        for name, amount in self._taken.pop(task_id, {}).items():
            self._lent[name] -= amount
        if not self._taken:
            self._lent.clear()  # so that no rounding is left over

    def lent(self) -> dict[str, float]:
        """Return what is lent out now, by resource."""
        return {name: amount for name, amount in self._lent.items() if amount}
