"""Which waiting tasks start now, and where: the free room of each executor, the cap over all, the ledger, the order.

Tasks that reserve something, or are limited in rate or number, are never handed out ahead of a free worker; how far
ahead the others are, `place` says.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heapreplace

from longshore._engine.aside import Aside, Share
from longshore._engine.breaker import Breakers
from longshore._engine.devices import Devices
from longshore._engine.lanes import AGING_S, Gates, Group, Lane, LaneKey, effective, lane_key
from longshore._engine.learning import Kind
from longshore._engine.ledger import Ledger, Shortage, objection
from longshore._engine.messages import Limit, Measured
from longshore._engine.place import Place
from longshore._engine.pressure import Pressure
from longshore._engine.sharing import one_by_one, share_out
from longshore._engine.wording import waits
from longshore.events import Happened
from longshore.task import Attempt, Priority, TaskSpec

_ALL = len(Priority)  # above every level: none is parked
_NOTHING: Mapping[str, float] = {}
_PAUSED = "paused: the run of a pipeline"


class Dispatch:
    """The places, the ledger, and what may start."""

    __slots__ = (
        "_exact",
        "_gates",
        "_groups",
        "_lanes",
        "_limited",
        "_most",
        "_parks_from",
        "_places",
        "_pressure",
        "_scarce",
        "aside",
        "breakers",
        "cap",
        "held",
        "holding",
        "ledger",
        "opens_at",
        "parked",
        "parks",
        "queued",
    )

    def __init__(self, cap: int, capacity: Mapping[str, float]) -> None:
        """Let at most `cap` tasks run at once over all places, lending at most `capacity`."""
        self.cap = self._most = cap
        self._pressure = Pressure(cap)
        self.ledger = Ledger(capacity, Devices(int(capacity.get("gpu", 0.0))))
        self.aside = Aside()
        """What is set aside of memory for tasks that do not ask for it."""
        self.aside.in_use = lambda: {key[5] for key in self._lanes}
        self._places: dict[str, Place] = {}
        self._lanes: dict[LaneKey, Lane] = {}
        self._gates = Gates()
        self.breakers = Breakers()
        self._groups: dict[tuple[str, str], Group] = {}  # by executor and name, while they have lanes
        self.holding: set[str] = set()
        """The groups of which nothing starts."""
        self._exact: dict[str, Lane] = {}  # by running task, of the lanes that count one by one
        self._limited = False  # whether any executor was told to use fewer workers than it has
        self._scarce = False
        """Whether the executors have more workers together than may be used at once."""
        self.queued = [0, 0]
        """How many tasks wait: ordinary, urgent."""
        self.held: str | None = None
        """Why something that waits was not started last time, though a worker was free."""
        self.opens_at: float | None = None
        """When a rate limit lets the next task start, if one held something back."""
        self.parks = False
        """Whether LOW and BACKGROUND wait for as long as anything more urgent does."""
        self.parked = False
        """Whether some of theirs had to wait for that last time."""
        self._parks_from = _ALL

    def up(self, executor: str, slots: int, runs_ahead: bool, limits: bool = False) -> None:
        """Set how many workers an executor has."""
        self._place(executor).up(slots, runs_ahead, limits)
        self._scarce = self._workers() > self.cap

    def measure(self, measured: Measured, now: float, ended: int) -> list[Happened]:
        """Decide by what was measured from now on; return the warnings. `ended` counts the attempts that ended."""
        moved = self._pressure.take(measured, now, busy=self._busy(), workers=self._workers(), ended=ended)
        self._press()
        use = {task_id: use.memory_mb for task_id, use in measured.tasks.items()}
        self.ledger.measure(measured.loads, use, now)
        return moved

    @property
    def places(self) -> Mapping[str, Place]:
        """The executors as they are known here, by name; those that come are in it as well."""
        return self._places

    @property
    def measured_until(self) -> float | None:
        """When what was measured is too old to count."""
        return self._pressure.until

    def forget_measures(self) -> list[Happened]:
        """Decide without what was measured; return the warnings that end with it."""
        moved = self._pressure.release()
        self._pressure = Pressure(self._most)
        self._press()
        self.ledger.measure({})
        return moved

    def _press(self) -> None:
        self.cap, self.parks = self._pressure.cap, self._pressure.presses
        self._scarce = self._workers() > self.cap
        self.ledger.closed = self._pressure.closed()

    @property
    def stopped_by(self) -> str | None:
        """Why nothing starts at all: something is over its limit, and as much runs as is borne; None if it is not."""
        return self._pressure.says if self._pressure.hard and self._busy() >= self.cap else None

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
        """Return why something that waits is not started, though a worker is free or would be; from any thread."""
        by_pressure = self.parked or self._busy() >= self.cap
        return (by_pressure and self._pressure.says) or self.held

    @property
    def spare(self) -> int:
        """How many more tasks may run at once than do, over all executors."""
        return max(0, self.cap - self._busy())

    def _workers(self) -> int:
        return sum(place.slots for place in self._places.values())

    def _busy(self) -> int:
        return sum(map(Place.busy, list(self._places.values())))

    def queue(self, spec: TaskSpec, attempts: Sequence[Attempt]) -> None:
        """Let attempts of one spec wait, behind those of their priority."""
        if self.aside.concerns(attempts):
            for attempt in attempts:
                self._lane(self.aside.key(attempt)).queues[spec.priority].append(attempt)
        else:
            self._lane(lane_key(spec)).put(spec.priority, attempts)
        self._count(self._place(spec.executor), spec.priority, len(attempts))

    def set_aside(self, kind: Kind, share: Share) -> None:
        """Set memory aside for each task of a kind that starts from now on, those that wait already as well."""
        new = kind not in self.aside.kinds
        self.aside.kinds[kind] = share
        if new:
            self.sort_out()
        for lane in self._lanes.values():
            if lane.key[5] == kind:
                lane.set_aside(*share)

    def sort_out(self) -> None:
        """Put what waits in the lane of its spec into that of its kind, where there is one; looks at all that wait."""
        for lane in [lane for lane in self._lanes.values() if not lane.guessed]:
            for priority, attempt in lane.give_up(self.aside.key, self.aside.concerns):
                self._lane(self.aside.key(attempt)).queues[priority].append(attempt)
            self._forget(lane)

    def _lane(self, key: LaneKey) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = self._make(key)
        return lane

    def _make(self, key: LaneKey) -> Lane:
        group = None
        if key[2] is not None:
            group = self._groups.setdefault((key[0], key[2]), Group(key[2]))
        lane = Lane(key, self._gates.get(key[4]), group, self.breakers.get(key[6]))
        if key[5] in self.aside.kinds:
            lane.set_aside(*self.aside.kinds[key[5]])
        self._place(key[0]).lanes.append(lane)
        if group is not None:
            group.lanes.append(lane)
        return lane

    def remove(self, task_ids: Container[str]) -> list[Attempt]:
        """Take these tasks out of wherever they wait."""
        gone = [attempt for lane in self._lanes.values() for attempt in lane.remove(task_ids)]
        for attempt in gone:
            self._count(self._place(attempt.spec.executor), attempt.spec.priority, -1)
        for lane in list(self._lanes.values()) if gone else ():
            self._forget(lane)
        return gone

    def waiting(self) -> Iterator[Attempt]:
        """Yield all that wait."""
        return (attempt for lane in self._lanes.values() for priority in Priority for attempt in lane.waiting(priority))

    def obstacle(self, attempt: Attempt, now: float) -> str | None:
        """Return in plain words what keeps a waiting attempt from starting, but for others before it; None if nothing.

        What holds back its whole lane comes first, then what all workers do.
        """
        place, lane = self._place(attempt.spec.executor), self._lanes[self.aside.key(attempt)]
        if not place.slots:
            return f"executor {place.name} has no workers yet"
        own = _PAUSED if lane.group is not None and lane.group.name in self.holding else lane.obstacle(now)
        if own is not None:
            return own
        if self.parked and effective(attempt.spec.priority, now - attempt.queued_at) >= Priority.LOW:
            return self._pressure.says
        if (lacks := objection(self.ledger.lacks, lane.within(self.ledger))) is not None:
            return waits(lacks, guessed=lane.guessed)
        if place.busy() + place.waiting >= place.slots:
            return place.taken()
        by_cap = self._pressure.says or f"{self.cap} tasks run, as many as max_concurrent_tasks allows"
        return by_cap if self._busy() >= self.cap else None

    def ended(self, executor: str, count: int, ran_s: float) -> None:
        """Take ended attempts off their place."""
        if count:
            self._place(executor).ended(count, ran_s)

    @property
    def counts_exactly(self) -> bool:
        """Whether anything runs that is counted one by one."""
        return bool(self._exact)

    def release(self, task_id: str) -> None:
        """Take an ended attempt off its lane, if that counts one by one."""
        lane = self._exact.pop(task_id, None)
        if lane is not None:
            lane.running -= 1
            lane.gate.running -= 1
            self.ledger.take_back(task_id)
            self._forget(lane)

    def _forget(self, lane: Lane) -> None:
        """Drop an exact lane that has nothing left; a gate with a rate stays: it knows when the last one started."""
        if lane.spent and self._lanes.pop(lane.key, None) is lane:
            self._place(lane.key[0]).lanes.remove(lane)
            if lane.group is not None:
                lane.group.lanes.remove(lane)
                if not lane.group.lanes:
                    del self._groups[lane.key[0], lane.group.name]
            self._gates.tidy(self._lanes.values())
            self.breakers.tidy(other.breaker for other in self._lanes.values())

    def start(self, now: float) -> Iterator[tuple[str, Sequence[Attempt]]]:
        """Choose what starts; yield it by executor, which may be named more than once."""
        self.held = None
        self.opens_at = None
        self.parked = False
        if not any(self.queued):
            return
        if self.parks:
            self._parks_from = Priority.LOW
            yield from self._start(now)
            self._parks_from = _ALL
            if any(place.best(now)[0] < Priority.LOW for place in self._places.values()):
                lanes = [lane for place in self._places.values() for lane in place.lanes]
                self.parked = any(any(lane.queues[Priority.LOW :]) for lane in lanes)
                return
        yield from self._start(now)

    def limit(self) -> list[Limit]:
        """Return which executors are to use fewer workers than they did, or more again."""
        if not (self._scarce or self._limited):
            return []
        changed = share_out(self._places.values(), self.cap)
        self._limited = any(place.limit is not None for place in self._places.values())
        return changed

    def _start(self, now: float) -> Iterator[tuple[str, Sequence[Attempt]]]:
        places: Iterable[Place] = self._places.values()
        if self._scarce:
            places = [place for place in places if place.waits()]
            if len(places) > 1:
                yield from one_by_one(places, now, lambda place: self._fill(place, now, most=1))
                return
        for place in places:
            for attempts in self._fill(place, now) if place.waits() else ():
                yield place.name, attempts

    def _fill(self, place: Place, now: float, most: int | None = None) -> list[Sequence[Attempt]]:
        """Take attempts, at most `most`, as far as the place and the cap have room for them."""
        used = sum(other.wants() for other in self._places.values() if other is not place)
        slots = min(place.slots, self.cap - used + place.waiting)
        free = place.window(slots, alone=most is None and self.cap < self._most) - place.held
        free = free if most is None else min(free, most)
        if free <= 0:
            return []
        parts = self._take_plain(place, free)
        if parts is None:
            attempts: list[Attempt] = []
            self._choose(place, free, slots - place.held, now, attempts)
            parts = [attempts] if attempts else []
        place.held += sum(map(len, parts))
        return parts

    def _take_plain(self, place: Place, free: int) -> list[Sequence[Attempt]] | None:
        """Take up to `free` attempts where there is nothing to choose; None where there is."""
        lanes = place.lanes if len(place.lanes) == 1 else [lane for lane in place.lanes if lane.waits()]
        if len(lanes) != 1 or lanes[0].exact:
            return None
        priority = lanes[0].only_priority()
        if priority is None or priority >= self._parks_from:
            return None
        parts = lanes[0].take(priority, free)
        self._count(place, priority, -sum(map(len, parts)))
        return parts

    def _choose(self, place: Place, free: int, unused: int, now: float, attempts: list[Attempt]) -> None:
        """Take up to `free` attempts in order; of exact lanes only as many as there are unused workers."""
        lanes = place.lanes
        kept: set[str] = set()
        ranked = [(*rank, index) for index, lane in enumerate(lanes) if (rank := lane.best(now)) is not None]
        heapify(ranked)
        while ranked and len(attempts) < free and ranked[0][0] < self._parks_from:
            level, queued_at, order, priority, index = ranked[0]
            lane, choice = lanes[index], _NOTHING
            if lane.group is not None:
                rank = lane.best(now)
                if rank is not None and rank != (level, queued_at, order, priority):
                    heapreplace(ranked, (*rank, index))  # another lane of the group gave its oldest away
                    continue
            if lane.exact:
                opens = self._opens(lane, now, kept, waited_s=now - queued_at)
                if opens is None:
                    heappop(ranked)
                    continue
                choice = opens
                if len(attempts) >= unused:
                    return  # nothing goes ahead of it, or the worker it needs would never be free
            attempts.append(lane.take_one(priority))
            self._count(place, priority, -1)
            rank = lane.best(now)
            if rank is not None:
                heapreplace(ranked, (*rank, index))
            else:
                heappop(ranked)
            if lane.exact:
                lane.started(attempts[-1].task_id, now)
                self._exact[attempts[-1].task_id] = lane
                attempts[-1] = lane.lent(attempts[-1], self.ledger.lend(attempts[-1].task_id, choice))

    def _opens(self, lane: Lane, now: float, kept: set[str], *, waited_s: float) -> Mapping[str, float] | None:
        """Return what a lane's next task reserves if the lane's own bounds let it start, None if they do not.

        `kept` names what nothing of lower rank here gets now, because one that has waited long wants more than is left.
        """
        if lane.group is not None and lane.group.name in self.holding:
            self.held = _PAUSED
            return None
        shut = lane.shut(now)
        if shut is not None:
            self.held, opens = shut
            if opens is not None:
                self.opens_at = opens if self.opens_at is None else min(self.opens_at, opens)
            return None
        if lane.most is not None and lane.running >= lane.most:
            self.held = lane.ramp
            return None
        if not lane.choices:
            return _NOTHING
        choices = lane.within(self.ledger)
        amounts = self.ledger.afford(choices, kept, idle=self._is_idle)
        if amounts is None:
            wanted, why = self.ledger.wanted(choices)
            self.held = waits(why, guessed=lane.guessed)
            if waited_s >= AGING_S and self.ledger.never(wanted) is None:
                kept.update(wanted)
        return amounts

    def _is_idle(self) -> bool:
        return not self._exact and not any(place.held for place in self._places.values())

    def _place(self, executor: str) -> Place:
        return self._places.get(executor) or self._places.setdefault(executor, Place(executor))

    def _count(self, place: Place, priority: int, change: int) -> None:
        self.queued[priority == Priority.CRITICAL] += change
        place.queued[priority] += change
