"""How much of the pool may be used while the machine is short of something: measured loads in, a cap on what runs out.

Each resource has two brakes, at its warning level (soft) and at its limit (hard). A brake comes on at once; it goes off
only when use has stayed a gap below for a while, so that a value that swings around its limit moves it once. While a
soft brake is on, the cap falls in steps to what the machine bears, then rises again by one step a second, and not at
once to where it was too much. Of CPU only what others use counts: it does not fall when less runs here, so a soft brake
halves the cap, and a hard one leaves one task at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from longshore._engine.ledger import Shortage
from longshore._engine.messages import Measured
from longshore.events import Happened
from longshore.records import Load

DWELL_S = 1.0
"""How long use has to stay below a level, less the gap, before its brake goes off."""
STALLS = "pressure."
"""What the names of pressures begin with: for what part of the time work waited."""
STALL_CALM, STALL_DWELL_S = 3.0, 2.0
"""The same for pressures, in percent: they fall slowly, and a short calm says little."""
GAP = 0.05
"""The gap below a level, as a part of it."""
STEP_S = 1.0
"""Seconds between two steps of the cap, so that what the last one did can be measured."""
CEILING_S = 30.0
"""How long the cap stays below where it was too much."""
STALL_S = 5.0
"""While only CPU is short, one more may start after so long without any end: tasks may wait for each other."""
_STEPS = 8  # from nothing to everything
_LEVELS = {"soft": "warning level", "hard": "limit"}


class _Brake:
    """On above a level; off when use was below it, less the gap, for DWELL_S; a pressure is to be calm for longer."""

    __slots__ = ("_calm_since", "_stalls", "name", "on")

    def __init__(self, name: str, *, stalls: bool = False) -> None:
        self.name = name
        self.on = False
        self._stalls = stalls
        self._calm_since: float | None = None

    def see(self, value: float, level: float, now: float) -> bool:
        """Take a value; tell whether that moved the brake."""
        calm, dwell_s = (STALL_CALM, STALL_DWELL_S) if self._stalls and self.on else (level * (1.0 - GAP), DWELL_S)
        if value > min(calm, level):
            self._calm_since = None
            moved = value > level and not self.on
            self.on = self.on or moved
            return moved
        if not self.on:
            return False
        if self._calm_since is None:
            self._calm_since = now
        self.on = now - self._calm_since < dwell_s
        return not self.on


class _Watch:
    """One resource: what was measured last, and its two brakes."""

    __slots__ = ("cpu", "hard", "load", "name", "soft", "told_as")

    def __init__(self, name: str, site: str) -> None:
        self.name = name
        self.told_as = f"{site}.{name}" if site else name
        self.cpu = name == "cpu"
        self.load = Load(0.0)
        stalls = name.startswith(STALLS)
        self.soft = _Brake("soft", stalls=stalls)
        self.hard = _Brake("hard", stalls=stalls)

    @property
    def value(self) -> float:
        """What counts against the limit."""
        return self.load.foreign if self.cpu else self.load.usage

    @property
    def by_others(self) -> bool:
        """Whether what others use is over the limit, or in the gap below it, whatever is done here."""
        return self.load.foreign > self.load.limit * (1.0 - GAP)

    def bears(self, busy: int) -> int:
        """Return how many of `busy` tasks are borne beside what others use, by what ours use now; 0 if nobody can say.

        Where others alone use more than the warning level, less of ours never brings use below it.
        """
        load = self.load
        if not load.own or load.foreign <= load.warning:
            return 0
        return max(0, int(busy * (load.limit * (1.0 - GAP) - load.foreign) / load.own))

    def see(self, load: Load, now: float) -> Iterator[Happened]:
        """Take a load, and tell which brakes moved."""
        self.load = load
        for brake, level in ((self.soft, load.warning), (self.hard, load.limit)):
            if brake.see(self.value, level, now):
                yield self.happened(brake, level)

    def release(self) -> Iterator[Happened]:
        """Take both brakes off: nobody knows how far the resource is used."""
        for brake, level in ((self.soft, self.load.warning), (self.hard, self.load.limit)):
            if brake.on:
                brake.on = False
                yield self.happened(brake, level)

    def happened(self, brake: _Brake, level: float) -> Happened:
        """Return the event of a brake that moved."""
        state = "crossed" if brake.on else "cleared"
        limit = self.load.limit if self.load.limit < inf else None
        data = {"resource": self.told_as, "usage": self.value, "threshold": level, "limit": limit}
        message = f"{self.told_as} {self.beside(level, brake.name, over=brake.on)}"
        return Happened("resource_warning", {**data, "state": state, "level": brake.name, "message": message})

    def beside(self, level: float, which: str, *, over: bool = True) -> str:
        """Return in words how far it is used, and that this is over a level, or no more."""
        unit, by = self.load.unit, " used by others" if self.cpu and self.load.own is not None else ""
        held = "is over the" if self.value > level else "was until just now over the"
        stands = held if over else "is no longer over the"
        return f"{self.value:.3g} {unit}{by} {stands} {_LEVELS[which]} of {level:g} {unit}"

    def over(self, brake: _Brake) -> str:
        """Return in words how far it is used, where that has set a brake."""
        level = self.load.limit if brake is self.hard else self.load.warning
        return f"{self.told_as} {self.beside(level, brake.name)}"


class Pressure:
    """The cap on what may run at once, out of what is measured. `most` is the cap where nothing is short.

    `site` is whose measures these are, empty for this machine; resources of others are told as "SITE.NAME".
    """

    __slots__ = (
        "_allowed",
        "_ceiling",
        "_ceiling_until",
        "_closed",
        "_ended",
        "_ended_at",
        "_extra",
        "_falling",
        "_most",
        "_site",
        "_step_at",
        "_watches",
        "_workers",
        "cap",
        "says",
        "until",
    )

    def __init__(self, most: int, site: str = "") -> None:
        """Start with nothing measured, and so nothing short."""
        self._site = site
        self._most = self._allowed = self._workers = self.cap = most
        self._watches: dict[str, _Watch] = {}
        self._closed: str | None = None
        self._ceiling = most
        self._falling = False
        self._ceiling_until = self._step_at = -inf
        self._ended, self._ended_at, self._extra = 0, 0.0, 0
        self.until: float | None = None
        """When what was measured last counts no more."""
        self.says: str | None = None
        """In plain words what is short and what follows, None when nothing is."""

    @property
    def presses(self) -> bool:
        """Whether something is short, so that what is least urgent is parked."""
        return self._closed is not None or any(watch.soft.on or watch.hard.on for watch in self._all())

    @property
    def hard(self) -> bool:
        """Whether something is over its limit, which holds everything."""
        return self._closed is not None or any(watch.hard.on for watch in self._all())

    @property
    def braking(self) -> str | None:
        """Return what is short, by name: of several what is worst to lack; None where nothing is."""
        if self._closed is not None:
            return "monitor"
        braking = self._hard() or [watch for watch in self._all() if watch.soft.on]
        return braking[0].told_as if braking else None

    def brakes(self, name: str) -> bool:
        """Tell whether a resource is above its warning level, or was until just now."""
        return name in self._watches and self._watches[name].soft.on

    def shortage(self) -> Shortage | None:
        """Return what is over its limit, in numbers."""
        for watch in self._hard():
            return Shortage(watch.told_as, watch.value, watch.load.limit)
        return None

    def take(self, measured: Measured, now: float, *, busy: int, workers: int, ended: int) -> list[Happened]:
        """Take what was measured; return the warnings that follow. `busy` workers of `workers` run something."""
        self._closed, self.until = measured.closed, now + measured.valid_s
        moved = [event for name, load in measured.loads.items() for event in self._watch(name).see(load, now)]
        for name in self._watches.keys() - measured.loads.keys():
            moved += self._watches.pop(name).release()
        self._workers = min(self._most, workers or self._most)  # none is up before the first work
        self._adapt(moved, now, busy)
        if ended != self._ended or not busy:
            self._ended, self._ended_at = ended, now
        self._settle(now)
        short = self.presses or self.cap < self._most
        self.says = f"{self._short()}: {self._follows()}" if short else None
        return moved

    def release(self) -> list[Happened]:
        """Take all brakes off, as nothing was measured for long; return the warnings that follow."""
        return [event for watch in self._watches.values() for event in watch.release()]

    def closed(self) -> dict[str, str]:
        """Return the resources over their limit that hold only the tasks that ask for them.

        A GPU whose memory is used up is none to be had, whatever of its memory a task asks for.
        """
        over = {
            watch.name: watch.beside(watch.load.limit, watch.hard.name)
            for watch in self._watches.values()
            if watch.hard.on and _is_own_matter(watch.name)
        }
        return {"gpu": f"gpu_memory {over['gpu_memory']}", **over} if "gpu_memory" in over else over

    def _short(self) -> str:
        if self._closed is not None:
            return self._closed
        for watch in self._hard():
            return watch.over(watch.hard)
        for watch in self._all():
            if watch.soft.on:
                return watch.over(watch.soft)
        return f"{self._site or 'the machine'} was short of something just now"

    def _hard(self) -> list[_Watch]:
        """Return what is over its limit, what is worst to lack first."""
        return sorted((watch for watch in self._all() if watch.hard.on), key=lambda watch: watch.cpu)

    def _follows(self) -> str:
        if self.cap == 0 or not self._bears_work:
            return "nothing new starts"
        if self.cap == 1:
            return "one task at a time"
        return f"at most {self.cap} tasks at once" if self.cap < self._most else "what is less urgent waits"

    def _watch(self, name: str) -> _Watch:
        if name not in self._watches:
            self._watches[name] = _Watch(name, self._site)
        return self._watches[name]

    def _all(self) -> Iterator[_Watch]:
        return (watch for watch in self._watches.values() if not _is_own_matter(watch.name))

    @property
    def _bears_work(self) -> bool:
        """Whether work may go on starting: only CPU, which is shared in time, is over its limit, or nothing is."""
        return self._closed is None and all(watch.cpu for watch in self._all() if watch.hard.on)

    def _adapt(self, moved: list[Happened], now: float, busy: int) -> None:
        """Move what is allowed, one step at most: down while something is over its warning level, up in a calm."""
        if now < self._step_at:
            return
        over = [watch for watch in self._all() if watch.soft.on and watch.value > watch.load.warning and not watch.cpu]
        before = max(1, min(self._allowed, self._workers))
        if over and busy <= before:  # else the last step has yet to show
            hard = any(event.data["level"] == "hard" and event.data["state"] == "crossed" for event in moved)
            fits = before * min(watch.load.warning / watch.value for watch in over)
            lower = min(before // 2, int(fits)) if hard else before - max(1, before // 4)
            borne = min(watch.bears(busy) for watch in over)
            self._allowed = max(1, lower, min(before, borne))
            if not self._falling:  # the first step down tells where it became too much, not those after it
                self._falling, self._ceiling_until = True, now + CEILING_S
                self._ceiling = self._allowed + (before - self._allowed) // 2
            self._step_at = now + STEP_S
        elif not self.presses and self._allowed < self._most:
            self._falling = False
            if self._allowed < self._ceiling:
                self._allowed = min(self._ceiling, self._allowed + max(1, self._workers // _STEPS))
            elif now >= self._ceiling_until:
                self._allowed += 1
            if self._allowed >= self._workers:
                self._allowed = self._most
            self._step_at = now + STEP_S

    def _settle(self, now: float) -> None:
        """Set the cap from what is allowed and from the limits that are passed."""
        hard = [watch for watch in self._all() if watch.hard.on]
        if not hard:
            self._extra = 0
        if self._closed is not None or any(watch.by_others and not watch.cpu for watch in hard):
            self.cap = 0
        elif not self._bears_work:
            self.cap = 1  # what is short is used here: running work has to end before the next starts
        elif hard:
            if now - self._ended_at >= STALL_S:
                self._extra, self._ended_at = self._extra + 1, now
            self.cap = min(self._allowed, 1 + self._extra)
        elif any(watch.cpu and watch.soft.on for watch in self._all()):
            self.cap = min(self._allowed, max(1, self._workers // 2))
        else:
            self.cap = self._allowed


def _is_own_matter(name: str) -> bool:
    """Tell whether a shortage of it holds only those that ask for it: other tasks do not touch a GPU."""
    return name.startswith("gpu")
