"""Workers that come and go: made as many as are wanted, of the shapes that tasks need, and buried when one is lost.

Everything runs on the loop of the executor's own thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from math import ceil
from time import monotonic
from typing import Any, Final

from longshore.batching.burial import bury, take_off, tell_of_loss
from longshore.batching.crew import Station
from longshore.batching.dispatcher import Dispatcher
from longshore.batching.words import End
from longshore.hookspecs import WorkerNotice

from longshore_ray.cluster import RayCluster, Worker
from longshore_ray.crew import CPU, RayCrew
from longshore_ray.words import how_it_ended

LOOK_S: Final = 1.0
IDLE_S: Final = 10.0
"""After so long without work, a worker of a shape of its own gives back to Ray what it holds."""
PATIENCE_S: Final = 2.0
"""How long a worker of a shape of its own may wait for room before others are ended for it."""
AGAIN_S: Final = 5.0
"""Between two tries to bring up workers, where one could not come up."""
_PART_S: Final = 2.0


class Coming:
    """A worker that Ray was asked for."""

    def __init__(self, actor: Any, needs: Mapping[str, float]) -> None:  # Any: Ray's handle of an actor
        """Wait from now on."""
        self.actor, self.needs = actor, dict(needs)
        self.since = monotonic()
        self.dropped = False


class Muster:
    """Keeps the crew as it is wanted."""

    def __init__(self, dispatcher: Dispatcher, cluster: RayCluster, crew: RayCrew, wanted: int) -> None:
        """Want so many workers like all others, and have none."""
        self._dispatcher, self._cluster, self._crew = dispatcher, cluster, crew
        self._host = dispatcher.host
        self._wanted = wanted
        self._coming: list[Coming] = []
        self._names = count()
        self._lent = 0  # workers that made room for one of another shape, for as long as there is such
        self._fits_from = 0.0
        self.unfit: str | None = None
        """What a worker lacked that could not come up, until one does."""
        crew.wish = self.wish
        cluster.ended, cluster.lost = self._end, self._lost
        dispatcher.trim = self.settle

    async def open(self, within_s: float) -> None:
        """Bring up the workers; RuntimeError if the first that answers lacks something. Waits for one only so long."""
        self._crew.nodes = await self._cluster.nodes()
        self.settle()
        self._dispatcher.errand(self._look())
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not self._crew.stations and self.unfit is None:
                    self._dispatcher.changed.clear()
                    await self._dispatcher.changed.wait()
        if self.unfit is not None and not self._crew.stations:
            raise RuntimeError(self.unfit)
        self._host.resized(self._crew.slots())

    def close(self) -> None:
        """Ask Ray for nothing any more."""
        for coming in list(self._coming):
            self._drop(coming)

    def resize(self, workers: int) -> None:
        """Have so many workers; those that are too many go when they have nothing to do."""
        self._wanted = max(1, workers)
        self.settle()

    def waits(self) -> str | None:
        """Return in words that Ray has no room for a worker, None if it has."""
        late = [one for one in self._coming if monotonic() - one.since > 3 * PATIENCE_S]
        if not late:
            return None
        return f"the Ray cluster at {self._cluster.where} has no room for {len(late)} of this pool's workers by now"

    def wish(self, needs: Mapping[str, float]) -> None:
        """Bring up one more worker of a shape of its own, if none is coming and the cluster could hold it."""
        there = [one for one in self._crew.stations.values() if one.hello.resources == needs and not one.leaving]
        if any(one.needs == needs for one in self._coming) or len(there) >= self._crew.most(needs):
            return
        if monotonic() >= self._fits_from:
            self._ask_for(needs)

    def settle(self) -> None:
        """Bring up or end workers until there are as many as are wanted; only idle ones are ended."""
        if self._dispatcher.closing:
            return
        plain = [one for one in self._crew.stations.values() if not one.hello.resources]
        coming = [one for one in self._coming if not one.needs]
        target = max(0, self._wanted - self._lent)
        staying = [one for one in plain if not one.leaving]
        spare = len(staying) + len(coming) - target
        for one in coming[: max(0, spare)]:
            self._drop(one)
            spare -= 1
        for station in sorted(staying, key=Station.load)[: max(0, spare)]:
            station.leaving = True
        for station in [one for one in self._crew.stations.values() if one.leaving and not one.batches]:
            self._part(station)
        if monotonic() >= self._fits_from:
            for _ in range(-spare):
                self._ask_for({})
        self._host.resized(self._crew.slots())

    # ---- coming and going

    def _ask_for(self, needs: Mapping[str, float]) -> None:
        coming = Coming(self._cluster.make(str(next(self._names)), needs), needs)
        self._coming.append(coming)
        self._dispatcher.errand(self._bring_up(coming))

    def _drop(self, coming: Coming) -> None:
        self._coming.remove(coming)
        coming.dropped = True
        self._cluster.discard(coming.actor)

    async def _bring_up(self, coming: Coming) -> None:
        """Take a worker in when it is up, and see it through to its end."""
        try:
            worker = await self._cluster.greet(coming.actor, coming.needs)
        except Exception as error:  # noqa: BLE001 - whatever Ray raises of a worker that can't come up
            if not coming.dropped:
                self._coming.remove(coming)
                self._cluster.discard(coming.actor)
                self._failed(str(error))
            return
        if coming.dropped:
            return
        self._coming.remove(coming)
        self.unfit = None
        self._crew.stations[worker.address] = worker
        self._host.resized(self._crew.slots())
        self._dispatcher.changed.set()
        self._dispatcher.give()
        self._lost(worker.address, await self._cluster.listen(worker))

    def _failed(self, said: str) -> None:
        self._fits_from = monotonic() + AGAIN_S
        if said != self.unfit:
            self.unfit = said
            self._host.notice([WorkerNotice("worker_error", {"worker_id": "ray", "error": said})])
        self._dispatcher.changed.set()

    def _part(self, station: Station) -> None:
        """End a worker that has nothing to do."""
        if self._crew.stations.pop(station.address, None) is not None:
            self._dispatcher.errand(self._cluster.part(station, _PART_S))

    def _end(self, station: Station) -> None:
        """End a worker that gave an attempt up; another comes in its place."""
        lost = take_off(self._dispatcher, station.address)
        self._cluster.kill(station)
        if lost is not None:
            self._dispatcher.errand(self._bury(*lost, None))
        self.settle()

    def _lost(self, address: str, error: BaseException) -> None:
        """Take a worker off that is no more, and see what becomes of what it had."""
        lost = take_off(self._dispatcher, address)
        if lost is None or not self._cluster.alive:
            return
        self._dispatcher.errand(self._bury(*lost, how_it_ended(error)))
        self.settle()

    async def _bury(self, station: Station, batches: list[Any], end: End | None) -> None:  # Any: Held
        assert isinstance(station, Worker)
        evidence = await self._cluster.evidence(station, [held.number for held in batches])
        if not self._cluster.alive:
            return
        blamed = bury(self._dispatcher, station, batches, evidence, end or End())
        if end is not None:
            tell_of_loss(self._dispatcher, station, blamed, end)

    # ---- now and then

    async def _look(self) -> None:
        """Make room for workers of a shape of their own that find none, and end those that have nothing to do."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = monotonic()
            with suppress(Exception):
                async with asyncio.timeout(AGAIN_S):
                    self._crew.nodes = await self._cluster.nodes()
            for station in list(self._crew.stations.values()):
                self._note_idle(station, now)
            own = [one.needs for one in self._coming if one.needs and now - one.since > PATIENCE_S]
            held = [one.hello.resources for one in self._crew.stations.values() if one.hello.resources]
            if own:
                self._lent = min(self._wanted, ceil(sum(needs.get(CPU, 0.0) for needs in [*own, *held])))
            elif not held:
                self._lent = 0
            self.settle()
            self._dispatcher.give()

    def _note_idle(self, station: Station, now: float) -> None:
        assert isinstance(station, Worker)
        if station.batches or not station.hello.resources:
            station.idle_since = None
        elif station.idle_since is None:
            station.idle_since = now
        elif now - station.idle_since > IDLE_S:
            station.leaving = True
