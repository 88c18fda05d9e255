"""The workers of a cluster as the controller sees them, and the batches that each has. No clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum, auto
from math import inf
from typing import Any, Final, NamedTuple, Protocol

from longshore.batching.kinds import Kind
from longshore.batching.words import Hello, System
from longshore.records import WorkerStats, WorkerStatus
from longshore.task import Attempt, TaskSpec

BATCHES_MOST: Final = 2
"""For each thread of a worker: one that runs and one that waits. So much, and no more, is known to the system."""
GPU: Final = "GPU"  # what users of Dask and Ray call it


class Wants(NamedTuple):
    """What a task is to have of its worker."""

    needs: Mapping[str, float] = {}
    """Of resources that workers declare, by name."""
    cores: float = 0.0
    memory_mb: float = 0.0

    def __bool__(self) -> bool:
        """Tell whether it is anything."""
        return bool(self.needs or self.cores or self.memory_mb)

    def __str__(self) -> str:
        """Return it in words."""
        named = [f"{name}={amount:g}" for name, amount in self.needs.items()]
        cores = [f"{self.cores:g} threads"] if self.cores else []
        return " and ".join([*named, *cores, *([f"{self.memory_mb:.0f} MB of memory"] if self.memory_mb else [])])


NOTHING: Final = Wants()


class Held:
    """A batch that a worker has."""

    __slots__ = (
        "ahead",
        "attempts",
        "following",
        "future",
        "given_at",
        "kind",
        "lost",
        "number",
        "size",
        "slow",
        "station",
        "told",
        "wants",
        "withdrawn",
    )

    def __init__(
        self,
        number: int,
        station: Station,
        kind: Kind,
        attempts: list[Attempt],
        given_at: float,
        wants: Wants = NOTHING,
    ) -> None:
        """Give the attempts to a worker; one after the other has what each `wants`."""
        self.number, self.station, self.kind, self.wants = number, station, kind, wants
        self.attempts = attempts
        self.given_at = given_at
        self.ahead = kind.may_run_ahead()
        """Whether others may be given behind it, so that it tells when it is slow."""
        self.slow = False
        """Whether it has told so."""
        self.size = 0
        self.future: Any = None  # Any: the system's own future, which may carry no types
        self.following: asyncio.Task[None] | None = None
        """What sees it through to its end."""
        self.withdrawn: dict[str, str | None] = {}
        """Messages by task, of those that are to end; None for one whose deadline has passed."""
        self.lost = False
        """Whether its worker was lost, so that it ends otherwise."""
        self.told: set[str] = set()
        """Those that were reported before their worker answered for the whole batch."""

    def untold(self) -> list[Attempt]:
        """Return those that are yet to be reported; from any thread."""
        return [one for one in self.attempts if one.task_id not in self.told]


class Station:
    """One worker of the cluster."""

    def __init__(self, address: str, hello: Hello, system: System) -> None:
        """Be idle."""
        self.address, self.hello, self.system = address, hello, system
        self.worker_id = f"{system.executor}-{hello.name}"
        self.batches: dict[int, Held] = {}
        self.codes: set[int] = set()
        """Kinds whose function it has."""
        self.settled: list[int] = []
        self.leaving = False
        self.paused = False
        """Whether it begins nothing now, as its system has it when its memory runs short."""
        self.completed = self.failed = self.given = 0
        self.busy_s = 0.0

    def room(self, kind: Kind) -> bool:
        """Tell whether it is to be given a batch of this kind now."""
        if self.leaving or self.paused:
            return False
        held = self.batches.values()
        ahead = kind.runs_ahead() and all(one.ahead and one.kind.runs_ahead() for one in held)
        slow = sum(one.slow for one in held)
        return len(held) < slow + max(0, self.hello.threads - slow) * (BATCHES_MOST if ahead else 1)

    def fits(self, wants: Wants) -> bool:
        """Tell whether it has so much beside what its batches have; resources, beside what its slow ones have."""
        cores = wants.cores + sum(held.wants.cores for held in self.batches.values())
        memory_mb = wants.memory_mb + sum(held.wants.memory_mb for held in self.batches.values())
        slow = [held.wants.needs for held in self.batches.values() if held.slow]
        free = all(
            amount + sum(needs.get(name, 0.0) for needs in slow) <= self.hello.resources.get(name, 0.0)
            for name, amount in wants.needs.items()
        )
        if wants.cores and cores > self.hello.threads:
            return False
        return free and (not wants.memory_mb or memory_mb <= self.memory_mb)

    def has(self, wants: Wants) -> bool:
        """Tell whether it has so much in all."""
        declared = all(self.hello.resources.get(name, 0.0) >= amount for name, amount in wants.needs.items())
        return declared and wants.cores <= self.hello.threads and wants.memory_mb <= self.memory_mb

    @property
    def memory_mb(self) -> float:
        """How much memory it may have."""
        return inf if self.hello.memory_mb is None else self.hello.memory_mb

    def load(self) -> float:
        """Return how much it has, to compare it with others by."""
        return len(self.batches) / max(1, self.hello.threads)

    def stats(self) -> WorkerStats:
        """Return its row; from any thread."""
        first = next(iter(list(self.batches.values())), None)
        at = first.untold() if first is not None else []
        return WorkerStats(
            worker_id=self.worker_id,
            worker_type=self.system.executor,
            status=WorkerStatus.BUSY if first is not None else WorkerStatus.IDLE,
            tasks_completed=self.completed,
            tasks_failed=self.failed,
            total_processing_time=self.busy_s,
            current_task=at[0].task_id if at else None,
            last_heartbeat=datetime.now(UTC),  # the system tells at once when it loses one
            batches=self.given,
        )


class Crew:
    """All workers that may be given work; each system makes its own of this, which says what tasks need of workers."""

    def __init__(self, system: System) -> None:
        """Have none."""
        self.system = system
        self.stations: dict[str, Station] = {}
        self.limit: int | None = None
        """How many batches may be under way at once, None for as many as workers are to have in hand."""

    def slots(self) -> int:
        """Return how many attempts can run at once."""
        return sum(station.hello.threads for station in list(self.stations.values()) if not station.leaving)

    def freest(self, kind: Kind, wants: Wants) -> Station | None:
        """Return the worker with the least to do that may be given a batch of this kind, None if none may."""
        limit = self.limit
        under_way = sum(1 for one in self.stations.values() for held in one.batches.values() if held.attempts)
        if limit is not None and limit <= under_way and limit < self.slots():
            return None
        able = [one for one in self.stations.values() if one.room(kind) and one.has(wants) and one.fits(wants)]
        return min(able, key=Station.load, default=None)

    def wants(self, spec: TaskSpec) -> Wants:
        """Return what a task is to have of its worker; what workers know nothing of is the pool's own to count."""
        raise NotImplementedError

    def lacks(self, wants: Wants) -> str | None:
        """Return in words what no worker can ever have enough of, None if one has all of it, or may."""
        raise NotImplementedError


class Cause(Enum):
    """What a batch failed for."""

    BATCH = auto()
    """Its own fault, or that of what it met: it fails, and others go on."""
    WORKER = auto()
    """Its worker was lost: what that had is seen to when the system tells of the loss."""
    CLUSTER = auto()
    """The connection to the system is cut, which may show in a batch before it shows in `alive`."""


class Cluster(Protocol):
    """The connection to the system, on the executor's own loop."""

    @property
    def alive(self) -> bool:
        """Whether it is there, as far as the connection shows."""

    def submit(self, station: Station, payload: bytes, priority: int, needs: Mapping[str, float]) -> Awaitable[bytes]:
        """Hand a batch to a worker, and no other; what is returned gives the result, or raises."""

    async def withdraw(self, station: Station, messages: Mapping[str, str], within_s: float) -> None:
        """Have a worker end these attempts; never raises."""

    async def recall(self, station: Station, numbers: Sequence[int], within_s: float) -> Collection[int]:
        """Have a worker not begin these batches, and return which it won't; never raises, none where nobody answers.

        One that it won't begin ends with no records when the system comes to it there.
        """

    def cause_of(self, error: BaseException, future: Any) -> Cause:
        """Tell what a batch failed for; `future` is what `submit` returned, None where that raised. Any: as it likes.

        An error as connections raise it may have been raised in the worker just as well: only this class knows.
        """

    def end(self, station: Station) -> None:
        """End a worker that gave an attempt up, where the system's are ended; what it has is seen to as a loss."""


__all__ = ["BATCHES_MOST", "GPU", "NOTHING", "Cause", "Cluster", "Crew", "Held", "Station", "Wants"]
