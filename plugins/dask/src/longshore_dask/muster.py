"""Workers that come and go: each is checked before it gets work, and when one is lost, what it had is sorted out.

Everything runs on the loop of the executor's own thread.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from longshore.batching.burial import Evidence, bury, plain_evidence, take_off, tell_of_loss
from longshore.batching.crew import Held, Station
from longshore.batching.dispatcher import Dispatcher
from longshore.batching.words import End, Hello
from longshore.hookspecs import WorkerNotice

from longshore_dask import yard
from longshore_dask.cluster import Cluster

_log = logging.getLogger("longshore.dask")
NOBODY_S: Final = 5.0
"""How long a cluster may be without any worker before that is said."""
EVIDENCE_S: Final = 20.0
"""How long another worker on the machine of a lost one is waited for, to read what that wrote down."""


class Muster:
    """Keeps the crew as the cluster's workers are."""

    def __init__(self, dispatcher: Dispatcher, cluster: Cluster) -> None:
        """Know nobody."""
        self._dispatcher = dispatcher
        self._cluster = cluster
        self._crew = dispatcher.crew
        self._host = dispatcher.host
        self.unfit: dict[str, str] = {}
        """What workers lack that are not used, by address."""
        self._wanted = 0

    async def open(self) -> None:
        """Take in the workers there are; RuntimeError if there are some and all lack something."""
        self._cluster.subscribe("all", self._heard)
        await self._admit(None)
        if self.unfit and not self._crew.stations:
            raise RuntimeError(next(iter(self.unfit.values())))
        self._wanted = len(self._crew.stations)
        if not self._crew.stations:
            self._dispatcher.errand(self._warn_if_nobody_comes())

    async def _warn_if_nobody_comes(self) -> None:
        await asyncio.sleep(NOBODY_S)
        if not self._crew.stations:
            _log.warning(
                "the Dask cluster at %s has no workers: tasks wait until one comes (dask worker %s)",
                self._cluster.where,
                self._cluster.where,
            )

    def resize(self, workers: int) -> None:
        """Have so many workers in a local cluster; those that are too many go when they have nothing to do."""
        self._wanted = max(1, workers)
        self._cluster.scale(self._wanted)
        self.trim()

    def trim(self) -> None:
        """Give workers that are too many nothing more, and end those that are idle."""
        if not self._cluster.is_local:
            return
        stations = list(self._crew.stations.values())
        stations.sort(key=Station.load)
        for station in stations[: max(0, len(stations) - self._wanted)]:
            station.leaving = True
            if not station.batches:
                del self._crew.stations[station.address]
                self._dispatcher.errand(self._part(station))
        self._host.resized(self._crew.slots())

    async def _part(self, station: Station) -> None:
        await self._cluster.call(yard.goodbye, self._dispatcher.run, workers=[station.address])
        await self._cluster.retire(station.address)

    def _heard(self, message: Any) -> None:  # Any: an event of Dask's scheduler
        if not isinstance(message, dict):
            return
        address = message.get("worker")
        if message.get("action") == "add-worker" and address not in self._crew.stations:
            self._dispatcher.errand(self._admit(address))
        elif message.get("action") == "remove-worker" and isinstance(address, str):
            self.unfit.pop(address, None)
            self._left(address)

    async def _admit(self, address: str | None) -> None:
        """Check a worker, None for all there are, and give it work if it has what it takes."""
        lacking = await self._cluster.lacking(None if address is None else [address])
        fit = [one for one, lack in lacking.items() if lack is None]
        answers = await self._cluster.call(yard.hello, self._dispatcher.run, workers=fit) if fit else {}
        for one, lack in lacking.items():
            if one in self._crew.stations:  # it came while all were asked, and was asked by itself too
                continue
            answer = answers.get(one)
            if isinstance(answer, Hello):
                self._crew.stations[one] = Station(one, answer, self._crew.system)
                continue
            said = lack or f"the Dask worker {one} can't run tasks: {answer!r}"
            self.unfit[one] = said
            self._host.notice([WorkerNotice("worker_error", {"worker_id": one, "error": said})])
        self._host.resized(self._crew.slots())
        self._dispatcher.changed.set()
        self._dispatcher.give()

    # ---- those that are lost

    def _left(self, address: str) -> None:
        """Take a worker off that the scheduler has lost, and see what becomes of what it had."""
        lost = take_off(self._dispatcher, address)
        if lost is not None:
            self._dispatcher.errand(self._bury(*lost))

    async def _bury(self, station: Station, batches: list[Held]) -> None:
        """See what becomes of what a lost worker had."""
        for held in batches:
            if held.future is not None:
                await self._cluster.release(held.future)
        evidence = await self._evidence(station, [held.number for held in batches])
        blamed = bury(self._dispatcher, station, batches, evidence, End())
        if batches:
            tell_of_loss(self._dispatcher, station, blamed, End())

    async def _evidence(self, station: Station, numbers: list[int]) -> Evidence | None:
        """Return what a lost worker had written down, by batch; None where nobody can read that."""
        home, host = station.hello.home, station.hello.host
        if home is None:
            return None
        asked: set[str] = set()
        with suppress(TimeoutError):
            async with asyncio.timeout(EVIDENCE_S):
                while True:
                    self._dispatcher.changed.clear()
                    near = [one for one in self._crew.stations.values() if one.hello.host == host]
                    for reader in [one.address for one in near if one.address not in asked]:
                        asked.add(reader)
                        answers = await self._cluster.call(
                            yard.read_of_dead, self._dispatcher.run, home, numbers, workers=[reader]
                        )
                        found = plain_evidence(answers.get(reader))
                        if found is not None:
                            return found
                    await self._dispatcher.changed.wait()
        return None
