"""What is lent out: for each task in progress what it reserved, and what is left to lend.

What tasks reserve and what is measured count once. What a task may still take is added to what is measured: of memory,
where the task's own use is known, `max(0, reserved - measured)` for each. Where it is not (threads and coroutines share
a process), and of rates, use that rose while something was lent is taken to be what was lent. Of CPU, only what others
use is added to what is lent: a pool that uses its cores is no reason to use fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from math import inf
from typing import NamedTuple, TypeVar

from longshore._engine.devices import Devices
from longshore._engine.reserve import Reserve
from longshore._engine.wording import amount as worded
from longshore._engine.wording import lack, needs
from longshore.records import Load

MEMORY = "memory"
OF_MACHINES = frozenset({"cpu", MEMORY, "gpu", "gpu_memory", "disk_io", "network_io"})
"""What machines have; everything else that tasks reserve is of no site."""
ROUNDING = 1e-9
Amounts = Mapping[str, float]
Answer = TypeVar("Answer")


class Shortage(NamedTuple):
    """What there is too little of, how much would be needed, and how much there is."""

    resource: str
    needed: float
    limit: float


class _Used(NamedTuple):
    """Measured use: all that counts, and the part of it that is there without what is lent."""

    all: float
    rest: float


class _Own:
    """What running tasks are known to use of memory themselves, each of it against what it reserved."""

    __slots__ = ("lent", "seen", "to_come", "use")

    def __init__(self, use: Amounts, reserved: Mapping[str, Amounts]) -> None:
        """Take what tasks use, and what is lent to them; a task that starts later is not among them."""
        self.use = use
        self.seen = sum(use.values())
        """What they use together, those that have ended since included: it is in what was measured."""
        self.lent = self.to_come = 0.0
        for task_id in use:
            self.count(task_id, reserved.get(task_id, {}), 1.0)

    def count(self, task_id: str, amounts: Amounts, sign: float) -> None:
        """Add what is lent to a task, and what it may still take of that, or take it off; not where use is unknown."""
        used = self.use.get(task_id)
        if used is not None:
            reserved = amounts.get(MEMORY, 0.0)
            self.lent += sign * reserved
            self.to_come += sign * max(0.0, reserved - used)


def objection(ask: Callable[[Amounts], Answer | None], choices: Iterable[Amounts]) -> Answer | None:
    """Return None if one of the choices is answered by None, or there is none; else the answer to the first."""
    first: Answer | None = None
    for amounts in choices:
        answer = ask(amounts)
        if answer is None:
            return None
        first = answer if first is None else first
    return first


class Ledger:
    """Reservations by task, and measured use, against a capacity by resource; one without a capacity has no bound.

    Lending, taking back and asking cost the same however much is lent. With memory measured, a reserve is kept of it
    that nothing is lent from while anything else runs.
    """

    __slots__ = (
        "_keeps", "_lent", "_most", "_own", "_own_rest", "_taken", "_used", "capacity", "closed", "devices", "reserve",
    )  # fmt: skip

    def __init__(self, capacity: Amounts | None = None, devices: Devices | None = None) -> None:
        """Start with nothing lent. Without `devices`, GPUs have no names before they are measured."""
        self.devices = devices or Devices()
        self.grant(capacity or {})
        self.closed: Mapping[str, str] = {}
        """Resources of which nothing is lent now, with the reason."""
        self.reserve = Reserve()
        self._keeps = 0.0
        self._taken: dict[str, Amounts] = {}
        self._lent: dict[str, float] = {}
        self._used: dict[str, _Used] = {}
        self._own_rest: dict[str, float] = {}
        self._own = _Own({}, {})

    def grant(self, capacity: Amounts) -> None:
        """Have a capacity of these only, until something is measured."""
        self.capacity: dict[str, float] = dict(capacity)
        self._most: dict[str, float] = {}

    def measure(self, loads: Mapping[str, Load], tasks: Amounts | None = None, now: float | None = None) -> None:
        """Count with what is measured from now on, in place of what was measured before.

        `tasks` is the memory that running tasks are known to use themselves, in MB. Without `now` nothing is kept in
        reserve.
        """
        self._used = {name: self._split(name, load) for name, load in loads.items() if load.per_unit}
        self.capacity |= {name: load.lendable for name, load in loads.items() if load.lendable is not None}
        self._most |= {name: inf if load.most is None else load.most for name, load in loads.items()}
        gpu, memory = loads.get("gpu"), loads.get(MEMORY)
        self.devices.measure(gpu.devices if gpu is not None else {})
        self._own = _Own(tasks if tasks and memory is not None else {}, self._taken)
        self._keeps = 0.0
        if now is not None and memory is not None and MEMORY in self.capacity:
            self._keeps = self.reserve.see(memory, self.capacity[MEMORY], now)

    @property
    def is_known(self) -> bool:
        """Whether anything has a bound."""
        return bool(self.capacity)

    def _split(self, name: str, load: Load) -> _Used:
        if name == "cpu" and load.own is not None:
            foreign = load.foreign * load.per_unit
            return _Used(foreign, foreign)
        used = load.usage * load.per_unit
        own = used if load.own is None else load.own * load.per_unit
        before = self._own_rest.get(name, own)
        own_rest = self._own_rest[name] = min(before, own) if self._lent.get(name) else own
        return _Used(used, used - (own - own_rest))

    def fits(self, amounts: Amounts) -> bool:
        """Tell whether `amounts` can be lent now."""
        return self.lacks(amounts) is None

    def fits_alone(self, amounts: Amounts) -> bool:
        """Tell whether `amounts` can be lent where nothing runs: only what can never fit, or is closed, cannot.

        Nor what others have taken of the user's own pools, such as the seats of a licence: those can't be shared.
        """
        pools = (name for name in amounts if name in self._used and name not in OF_MACHINES)
        taken = any(self._over(name, self.taken(name) + amounts[name]) for name in pools)
        return not taken and self.shortage(amounts) is None and self.closed.keys().isdisjoint(amounts)

    def lacks(self, amounts: Amounts) -> str | None:
        """Return what there is too little of now, how much is needed and free; None when `amounts` can be lent."""
        for name, amount in amounts.items():
            if name in self.closed:
                return f"{name}: {self.closed[name]}"
            taken = self.taken(name)
            if self._over(name, taken + amount):
                return lack(name, amount, self.lendable(name) - taken, self._after(name))
        return self.devices.lacks(amounts)

    def _after(self, name: str) -> str:
        """Return in words what is taken off, or of how much, where it is said how much is free."""
        if name not in self._used or not self._counts(name):
            return f"of {worded(name, self.capacity[name])}"
        if name == MEMORY:
            kept = f" and a reserve of {worded(MEMORY, self._keeps)}" if self._keeps else ""
            return f"after what running tasks may still take{kept}"
        return "after what others use and running tasks have reserved"

    def _counts(self, name: str) -> bool:
        """Tell whether what is measured of it counts beside what is lent."""
        return True

    def taken(self, name: str) -> float:
        """Return how much of a resource is lent or in use, counted once: what is used, and what may still be taken.

        Never less than what is lent, whatever was measured.
        """
        lent = self._lent.get(name, 0.0)
        used = self._used.get(name)
        if used is None:
            return lent
        to_come, unseen, rose = 0.0, lent, used.all - used.rest
        if name == MEMORY:
            own = self._own
            to_come, unseen, rose = own.to_come, lent - own.lent, max(0.0, rose - own.seen)
        # pages that tasks share count in the use of each, so that together they seem to use more than there is used
        return max(lent, used.all + max(0.0, to_come) + max(0.0, unseen - rose))

    def afford(self, choices: Sequence[Amounts], kept: Container[str], *, idle: bool = False) -> Amounts | None:
        """Return the first choice that can be lent now, and has nothing of what is `kept`; None where there is none.

        Where nothing runs (`idle`), also one that others leave too little for: nothing here will give anything back.
        """
        free = [amounts for amounts in choices if not any(name in kept for name in amounts)]
        for amounts in free:
            if self.fits(amounts):
                return amounts
        return next(filter(self.fits_alone, free), None) if idle else None

    def wanted(self, choices: Sequence[Amounts]) -> tuple[Amounts, str]:
        """Return the first choice that could ever be lent, and why it is not lent now."""
        first = next((amounts for amounts in choices if self.never(amounts) is None), choices[0])
        return first, self.lacks(first) or f"{needs(first)}, kept for a task that has waited longer"

    def within(self, amounts: Amounts) -> Amounts:
        """Return `amounts` with no more memory than can ever be lent: what is only guessed refuses nobody."""
        most = self.ceiling(MEMORY)
        return amounts if amounts.get(MEMORY, 0.0) <= most else {**amounts, MEMORY: most}

    def shortage(self, amounts: Amounts) -> Shortage | None:
        """Return what there can never be enough of, None when `amounts` can be lent at some time."""
        for name, amount in amounts.items():
            if amount > (ceiling := self.ceiling(name)):
                return Shortage(name, amount, ceiling)
        short = self.devices.shortage(amounts)
        return Shortage(*short) if short is not None else None

    def short_now(self, amounts: Amounts) -> Shortage | None:
        """Return what there is too little of now, with what would be taken in all; None when `amounts` can be lent."""
        for name, amount in amounts.items():
            needed = self.taken(name) + amount
            if self._over(name, needed):
                return Shortage(name, needed, self.lendable(name))
        return None

    def lendable(self, name: str) -> float:
        """Return how much may be lent and in use together, less the reserve; of what has a bound."""
        return self.capacity[name] - (self._keeps if name == MEMORY else 0.0)

    def ceiling(self, name: str) -> float:
        """Return how much of a resource could ever be lent; infinity where it has no bound.

        That may be less than its capacity, which is of the level that leaves least now: a control group on a machine
        that others use is the smaller one, and has more left.
        """
        return min(self.capacity.get(name, inf), self._most.get(name, inf))

    def _over(self, name: str, needed: float) -> bool:
        return name in self.capacity and needed > self.lendable(name) + ROUNDING

    def never(self, amounts: Amounts) -> str | None:
        """Return why `amounts` can never be lent, None when they can."""
        for name, amount in amounts.items():
            if amount < 0:
                return f"{name} {amount:g} is negative"
        short = self.shortage(amounts)
        if short is None:
            return None
        needed = worded(short.resource, short.needed)
        there = self.most(
            short.resource, f"{worded(short.resource, short.limit)} {'is' if short.limit == 1 else 'are'}"
        )
        return f"{short.resource}: needs {needed}, {there if short.limit else 'none is visible: unavailable'}"

    def hopeless(self, choices: Sequence[Amounts]) -> str | None:
        """Return why none of the choices can ever be lent; None when one can be, or nothing is asked for."""
        reasons = [self.never(amounts) for amounts in choices]
        return "; ".join(filter(None, reasons)) if reasons and all(reasons) else None

    def most(self, resource: str, amount: str) -> str:
        """Return in words that there is never more of a resource than this; `amount` ends with "is" or "are"."""
        return f"{amount} all there is"

    def lend(self, task_id: str, amounts: Amounts) -> tuple[int, ...]:
        """Reserve `amounts` for the task; return the GPUs that it has for itself or shares, by their numbers."""
        self._taken[task_id] = amounts
        for name, amount in amounts.items():
            self._lent[name] = self._lent.get(name, 0.0) + amount
        return self.devices.lend(task_id, amounts)

    def take_back(self, task_id: str) -> Amounts:
        """End the task's reservation, and return it; one that has none is ignored."""
        amounts = self._taken.pop(task_id, {})
        for name, amount in amounts.items():
            left = self._lent[name] - amount
            self._lent[name] = left if left > ROUNDING * max(1.0, amount) else 0.0  # no dust of rounding
        if amounts:
            self._own.count(task_id, amounts, -1.0)
        if not self._taken:
            self._lent.clear()  # so that no rounding is left over
        self.devices.take_back(task_id)
        return amounts

    def lower(self, task_id: str, memory_mb: float) -> None:
        """Have a task that is known to use less reserve no more memory than this."""
        before = self._taken.get(task_id, {})
        if before.get(MEMORY, 0.0) > memory_mb:
            self._own.count(task_id, before, -1.0)
            self._taken[task_id] = after = {**before, MEMORY: memory_mb}
            self._lent[MEMORY] -= before[MEMORY] - memory_mb
            self._own.count(task_id, after, 1.0)

    def lent(self) -> dict[str, float]:
        """Return what is lent out now, by resource."""
        return {name: amount for name, amount in self._lent.items() if amount}

    def lent_to(self, task_id: str) -> Amounts:
        """Return what is lent to a task."""
        return self._taken.get(task_id, {})
