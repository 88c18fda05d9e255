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
from longshore._engine.ledger import Ledger, objection
from longshore._engine.messages import Limit
from longshore._engine.place import Place
from longshore._engine.sharing import one_by_one, share_out_sites
from longshore._engine.site import ALL, ClusterLedger, Site
from longshore._engine.wording import waits
from longshore.events import Happened
from longshore.task import Attempt, Priority, TaskSpec

_NOTHING: Mapping[str, float] = {}
_PAUSED = "paused: the run of a pipeline"


class Dispatch:
    """The places, the sites they are at with their ledgers, and what may start."""

    __slots__ = (
        "_exact",
        "_gates",
        "_groups",
        "_lanes",
        "_limited",
        "_most",
        "_places",
        "_scarce",
        "aside",
        "breakers",
        "held",
        "here",
        "holding",
        "opens_at",
        "queued",
        "sites",
    )

    def __init__(self, cap: int, capacity: Mapping[str, float]) -> None:
        """Let at most `cap` tasks run at once over all places, lending at most `capacity` of this machine."""
        self._most = cap
        self.here = Site("", cap, Ledger(capacity, Devices(int(capacity.get("gpu", 0.0)))))
        self.sites: dict[str, Site] = {"": self.here}
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
        """Whether the executors of all sites have more workers together than may be used at once."""
        self.queued = [0, 0]
        """How many tasks wait: ordinary, urgent."""
        self.held: str | None = None
        """Why something that waits was not started last time, though a worker was free."""
        self.opens_at: float | None = None
        """When a rate limit lets the next task start, if one held something back."""

    def locate(self, executor: str) -> None:
        """Have the workers of an executor at a site of their own, its cluster, from its first task on."""
        if executor not in self.sites:
            ledger = ClusterLedger(self.here.ledger, f"of the cluster of {executor}")
            self.sites[executor] = site = Site(executor, self._most, ledger)
            place = self._place(executor)
            self.here.places.remove(place)
            place.site = executor
            site.places.append(place)

    def up(self, executor: str, slots: int, runs_ahead: bool, limits: bool = False) -> None:
        """Set how many workers an executor has."""
        place = self._place(executor)
        place.up(slots, runs_ahead, limits)
        self.sites[place.site].look()
        self._scarce = sum(map(Site.workers, self.sites.values())) > self._most

    def site_of(self, executor: str) -> Site:
        """Return where the workers of an executor are."""
        return self.sites.get(executor, self.here)

    @property
    def ledger(self) -> Ledger:
        """What is lent of this machine, and of what is of no machine."""
        return self.here.ledger

    @property
    def places(self) -> Mapping[str, Place]:
        """The executors as they are known here, by name; those that come are in it as well."""
        return self._places

    @property
    def cap(self) -> int:
        """How many tasks may run at once, over all sites."""
        return min(self._most, sum([site.cap for site in self.sites.values()]))

    @property
    def measured_until(self) -> float | None:
        """When what was measured first is too old to count, of any site."""
        return min([until for site in self.sites.values() if (until := site.measured_until) is not None], default=None)

    def forget_measures(self, now: float) -> list[Happened]:
        """Decide without what was measured too long ago; return the warnings that end with it."""
        old = [one for one in self.sites.values() if one.measured_until is not None and one.measured_until <= now]
        return [event for site in old for event in site.forget()]

    def held_because(self) -> str | None:
        """Return why something that waits is not started, though a worker is free or would be; from any thread."""
        said = (site.held_because() for site in list(self.sites.values()) if site.waits())
        return next(filter(None, said), self.held)

    def spare(self, place: Place) -> int:
        """Return how many more tasks may run at once than do, where the workers of a place are."""
        site = self.sites[place.site]
        return max(0, min(site.cap - site.busy(), self._most - sum(map(Site.busy, self.sites.values()))))

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
        site = self.sites[place.site]
        if site.parked and effective(attempt.spec.priority, now - attempt.queued_at) >= Priority.LOW:
            return site.says
        if (lacks := objection(site.ledger.lacks, lane.within(site.ledger))) is not None:
            return waits(lacks, guessed=lane.guessed)
        if place.busy() + place.waiting >= place.slots:
            return place.taken()
        by_cap = site.says or f"{self.cap} tasks run, as many as max_concurrent_tasks allows"
        return by_cap if not self.spare(place) else None

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
            self.site_of(lane.key[0]).ledger.take_back(task_id)
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
        sites = list(self.sites.values())
        for site in sites:
            site.parked = False
            site.parks_from = Priority.LOW if site.parks else ALL
        if not any(self.queued):
            return
        yield from self._start(sites, now)
        calm: list[Site] = []
        for site in sites:
            if site.parks:
                site.parks_from = ALL
                if any(place.best(now)[0] < Priority.LOW for place in site.places):
                    site.parked = any(any(lane.queues[Priority.LOW :]) for place in site.places for lane in place.lanes)
                else:
                    calm.append(site)
        if calm:
            yield from self._start(calm, now)

    def limit(self) -> list[Limit]:
        """Return which executors are to use fewer workers than they did, or more again."""
        if not (self._scarce or self._limited or any(site.scarce for site in self.sites.values())):
            return []
        changed = share_out_sites(self.sites.values(), self._most)
        self._limited = any(place.limit is not None for place in self._places.values())
        return changed

    def _start(self, sites: Sequence[Site], now: float) -> Iterator[tuple[str, Sequence[Attempt]]]:
        if self._scarce:
            yield from self._start_in([place for site in sites for place in site.places], now, scarce=True)
        else:
            for site in sites:
                yield from self._start_in(site.places, now, scarce=site.scarce)

    def _start_in(
        self, places: Iterable[Place], now: float, *, scarce: bool
    ) -> Iterator[tuple[str, Sequence[Attempt]]]:
        if scarce:
            places = [place for place in places if place.waits()]
            if len(places) > 1:
                yield from one_by_one(places, now, lambda place: self._fill(place, now, most=1))
                return
        for place in places:
            for attempts in self._fill(place, now) if place.waits() else ():
                yield place.name, attempts

    def _fill(self, place: Place, now: float, most: int | None = None) -> list[Sequence[Attempt]]:
        """Take attempts, at most `most`, as far as the place and the cap have room for them."""
        site = self.sites[place.site]
        slots = min(place.slots, site.cap - (site.wants() - place.wants()) + place.waiting)
        if len(self.sites) > 1:
            others = sum(map(Site.wants, self.sites.values())) - place.wants()
            slots = min(slots, self._most - others + place.waiting)
        free = place.window(slots, alone=most is None and site.cap < self._most) - place.held
        free = free if most is None else min(free, most)
        if free <= 0:
            return []
        parts = self._take_plain(place, free, site.parks_from)
        if parts is None:
            attempts: list[Attempt] = []
            self._choose(place, site, free, slots - place.held, now, attempts)
            parts = [attempts] if attempts else []
        place.held += sum(map(len, parts))
        return parts

    def _take_plain(self, place: Place, free: int, parks_from: int) -> list[Sequence[Attempt]] | None:
        """Take up to `free` attempts where there is nothing to choose; None where there is."""
        lanes = place.lanes if len(place.lanes) == 1 else [lane for lane in place.lanes if lane.waits()]
        if len(lanes) != 1 or lanes[0].exact:
            return None
        priority = lanes[0].only_priority()
        if priority is None or priority >= parks_from:
            return None
        parts = lanes[0].take(priority, free)
        self._count(place, priority, -sum(map(len, parts)))
        return parts

    def _choose(self, place: Place, site: Site, free: int, unused: int, now: float, attempts: list[Attempt]) -> None:
        """Take up to `free` attempts in order; of exact lanes only as many as there are unused workers."""
        lanes = place.lanes
        kept: set[str] = set()
        ranked = [(*rank, index) for index, lane in enumerate(lanes) if (rank := lane.best(now)) is not None]
        heapify(ranked)
        while ranked and len(attempts) < free and ranked[0][0] < site.parks_from:
            level, queued_at, order, priority, index = ranked[0]
            lane, choice = lanes[index], _NOTHING
            if lane.group is not None:
                rank = lane.best(now)
                if rank is not None and rank != (level, queued_at, order, priority):
                    heapreplace(ranked, (*rank, index))  # another lane of the group gave its oldest away
                    continue
            if lane.exact:
                idle = not attempts and site.is_idle()
                opens = self._opens(lane, site.ledger, now, kept, idle=idle, waited_s=now - queued_at)
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
                attempts[-1] = lane.lent(attempts[-1], site.ledger.lend(attempts[-1].task_id, choice))

    def _opens(
        self, lane: Lane, ledger: Ledger, now: float, kept: set[str], *, idle: bool, waited_s: float
    ) -> Mapping[str, float] | None:
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
        choices = lane.within(ledger)
        amounts = ledger.afford(choices, kept, idle=idle)
        if amounts is None:
            wanted, why = ledger.wanted(choices)
            self.held = waits(why, guessed=lane.guessed)
            if waited_s >= AGING_S and ledger.never(wanted) is None:
                kept.update(wanted)
        return amounts

    def _place(self, executor: str) -> Place:
        place = self._places.get(executor)
        if place is None:
            place = self._places[executor] = Place(executor)
            self.here.places.append(place)
        return place

    def _count(self, place: Place, priority: int, change: int) -> None:
        self.queued[priority == Priority.CRITICAL] += change
        place.queued[priority] += change
