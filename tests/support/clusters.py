"""A cluster in this process for what `longshore.batching` does: one that answers by a script, and one that runs.

What tasks call stands here too, for workers find it here by its name.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from longshore.batching.codec import dump, load
from longshore.batching.crew import NOTHING, Cause, Crew, Station, Wants
from longshore.batching.running import run_batch
from longshore.batching.words import DONE, Batch, Hello, Item, Record, Result, System
from longshore.batching.yard import Yard
from longshore.task import TaskSpec
from longshore.worker import current_task

PATIENCE_S = 30.0
HERE = System("here", "Here", "its thread was left to itself", "a parcel")
KILLING = HERE._replace(given_up="its worker was ended", kills=True)


# ---- what tasks call


def square(number: int) -> int:
    return number * number


class Gate:
    """Where tasks wait until a test lets them go on; by name, for they are called through a pickle."""

    gates: dict[str, Gate] = {}  # noqa: RUF012 - all of this process

    def __init__(self, name: str) -> None:
        self.came, self.open = threading.Event(), threading.Event()
        self.calls = 0
        self.gates[name] = self


def wait_at(name: str) -> str:
    """Wait at a gate; at none, which is "", for nothing."""
    gate = Gate.gates.get(name)
    if gate is not None:
        gate.calls += 1
        gate.came.set()
        assert gate.open.wait(PATIENCE_S)
    return name


def say(*messages: str) -> str:
    for at, message in enumerate(messages, 1):
        current_task().progress(at / len(messages), message)
    return current_task().worker_id


# ---- the cluster


class HereCrew(Crew):
    """Workers of which tasks may want what they call `custom`."""

    def wants(self, spec: TaskSpec) -> Wants:
        """Return what a task is to have of its worker."""
        return NOTHING if spec.resources is None else Wants(dict(spec.resources.custom))

    def lacks(self, wants: Wants) -> str | None:
        """Return what no worker has enough of."""
        has = not wants or any(station.has(wants) for station in self.stations.values())
        return None if has else f"no worker here has {wants}"

    def add(self, name: str, *, threads: int = 1, **resources: float) -> Station:
        """Have one more worker."""
        hello = Hello(name, "here", threads, 1, None, resources)
        station = self.stations[f"at {name}"] = Station(f"at {name}", hello, self.system)
        return station


class Given(NamedTuple):
    """A batch that a worker was given."""

    station: Station
    batch: Batch
    priority: int
    needs: Mapping[str, float]
    answer: asyncio.Future[bytes]

    @property
    def ids(self) -> list[str]:
        """The tasks in it."""
        return [item.task_id for item in self.batch.items]

    def ends(self, *records: Record, took_s: float = 0.0, **facts: Any) -> None:
        """Have it end with these records; any: further fields of a Result."""
        self.answer.set_result(pickle.dumps(tuple(Result(records, took_s, **facts)), 5))

    def works(self, *, ran_s: float = 0.0) -> None:
        """Have it end with all of it done."""
        self.ends(*(done(item.task_id, ran_s=ran_s) for item in self.batch.items))


def done(value: object, *, ran_s: float = 0.0) -> Record:
    """Return the record of an attempt that gave this value."""
    return Record(DONE, 0.0, ran_s, None, dump(value))


class WorkerLost(Exception):
    """What this cluster raises for a batch whose worker was lost."""


class ClusterLost(Exception):
    """What it raises where its connection was cut."""


class ScriptedCluster:
    """A cluster whose workers do what a test says."""

    def __init__(self) -> None:
        self.alive = True
        self.given: list[Given] = []
        self.withdrawn: list[tuple[str, dict[str, str]]] = []
        self.ended: list[Station] = []
        self.recalled: list[list[int]] = []
        self.answer: asyncio.Future[Sequence[int]] | None = None
        """What a worker answers when batches are called back, None for nothing in time."""

    def submit(self, station: Station, payload: bytes, priority: int, needs: Mapping[str, float]) -> Awaitable[bytes]:
        """Keep a batch until the test answers."""
        batch = Batch(*load(payload))
        batch = batch._replace(items=[Item(*item) for item in batch.items])
        self.given.append(Given(station, batch, priority, needs, asyncio.get_running_loop().create_future()))
        return self.given[-1].answer

    async def withdraw(self, station: Station, messages: Mapping[str, str], within_s: float) -> None:
        """Keep what is to be ended."""
        self.withdrawn.append((station.address, dict(messages)))

    async def recall(self, station: Station, numbers: Sequence[int], within_s: float) -> Collection[int]:
        """Keep what is called back, and give the answer when the test has it."""
        self.recalled.append(list(numbers))
        return () if self.answer is None else await self.answer

    def cause_of(self, error: BaseException, future: Any) -> Cause:
        """Tell a lost worker, and a lost cluster."""
        causes = {WorkerLost: Cause.WORKER, ClusterLost: Cause.CLUSTER}
        return causes.get(type(error), Cause.BATCH)

    def end(self, station: Station) -> None:
        """Keep that a worker is to be ended."""
        self.ended.append(station)

    async def has_given(self, number: int) -> Given:
        """Return the batch of this index once it was handed over."""
        async with asyncio.timeout(5.0):
            while len(self.given) <= number:
                await asyncio.sleep(0)
        return self.given[number]


class HereYard(Yard):
    """One pool's place in a worker that is threads of this process."""

    def __init__(self, system: System, run: str, name: str, tell: Callable[[Any], None] = lambda message: None) -> None:
        super().__init__(system, run, name)
        self.said: list[tuple[str, Any]] = []
        self._tell = tell

    def tell(self, what: str, facts: object) -> None:
        """Tell the controller, if there is one, and keep it."""
        self.said.append((what, facts))
        self._tell((self.run, what, f"at {self.name}", facts))


class RunningCluster(ScriptedCluster):
    """A cluster whose workers are threads of this process, and run what they are given."""

    def __init__(self, system: System, run: str, heard: Callable[[Any], None]) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._facts = system, run, lambda message: self._loop.call_soon_threadsafe(heard, message)
        self.yards: dict[str, HereYard] = {}
        self._threads: dict[str, ThreadPoolExecutor] = {}

    def add(self, station: Station) -> None:
        """Bring up this worker."""
        system, run, tell = self._facts
        self.yards[station.address] = HereYard(system, run, station.hello.name, tell)
        self._threads[station.address] = ThreadPoolExecutor(station.hello.threads)

    def submit(self, station: Station, payload: bytes, priority: int, needs: Mapping[str, float]) -> Awaitable[bytes]:
        """Have a worker run a batch when it comes to it."""
        batch = Batch(*load(payload))
        return self._loop.run_in_executor(self._threads[station.address], run_batch, self.yards[station.address], batch)

    async def withdraw(self, station: Station, messages: Mapping[str, str], within_s: float) -> None:
        """Have a worker end attempts."""
        self.yards[station.address].withdraw(messages)

    async def recall(self, station: Station, numbers: Sequence[int], within_s: float) -> Collection[int]:
        """Have a worker not begin batches."""
        return self.yards[station.address].recall(numbers)

    def close(self) -> None:
        """End all workers, which run nothing any more."""
        for threads in self._threads.values():
            threads.shutdown(wait=True)
        for yard in self.yards.values():
            yard.close()


def items(calls: Sequence[tuple[Any, ...]]) -> list[Item]:
    """Return one attempt for each tuple of arguments, t-0 and so on."""
    return [Item(f"t-{at}", 1, None, dump((args, None))) for at, args in enumerate(calls)]
