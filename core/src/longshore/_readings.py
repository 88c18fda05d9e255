"""The records of what is measured: what a probe is asked and reads, and how far that is from its limits.

Used by `records`, from where everybody has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import inf

from msgspec import Struct


class ReadRequest(Struct, frozen=True):
    """What a probe is asked: the process ids of the workers to account for beside the machine."""

    worker_pids: Sequence[int] = ()


class Bound(Struct, frozen=True):
    """One of the levels at which a resource is bounded, with what is used of it there, in the units of its `Usage`."""

    name: str
    """"host", or "cgroup" and the group's name, such as "cgroup /jobs/a"."""
    used: float
    capacity: float

    @property
    def left(self) -> float:
        """What is left of it, below 0 where more is used than there is."""
        return self.capacity - self.used


class Usage(Struct, frozen=True):
    """How much of one resource is used, of how much; `own` is the part used by this process and its workers.

    Units by key: `cpu` cores, `memory` MB, `disk_io.read`, `disk_io.write`, `network_io.sent` and
    `network_io.received` MB/s; of GPU number N `gpu.N` percent, `gpu_memory.N` MB, `gpu_temperature.N` degrees Celsius,
    `gpu_power.N` watts; `pressure.memory.some`, `pressure.memory.full`, `pressure.cpu.some`, `pressure.io.some` and
    `pressure.io.full` percent of the time of the last 10 s in which some, or all, that had work waited for that
    resource; with `.now` at the end, of the time since the reading before. MB is 10**6 bytes. `capacity` is None where
    there is no known bound. Any other key is a pool of the user's own, such as `licence.cad`, counted as tasks reserve
    it by `Resources(custom=...)`: what is measured then counts in place of the setting `limits.custom`.

    `used` may be above `capacity` where that is a limit: CPU is a rate, which bursts over a quota, and the limit of a
    control group may be lowered below what it holds. Memory of a whole machine or GPU is never used beyond what it has.

    A machine and each control group bound memory and CPU on their own. Then `used` and `capacity` are those of the one
    that leaves least, and `bounds` has all of them.

    Of a cluster, `parts` has the workers by name, among which it is divided: what one task takes, one of them has to
    have. `used` and `capacity` are their sums.
    """

    used: float
    capacity: float | None = None
    own: float | None = None
    bounds: Sequence[Bound] = ()
    parts: Sequence[Bound] = ()

    @classmethod
    def within(cls, bounds: Sequence[Bound], own: float | None = None) -> Usage:
        """Return the use of what is bounded at these levels, at least one."""
        tight = min(bounds, key=lambda bound: bound.left)
        return cls(tight.used, tight.capacity, own, tuple(bounds))

    @classmethod
    def across(cls, parts: Sequence[Bound]) -> Usage:
        """Return the use of what is divided among these."""
        used, capacity = sum(part.used for part in parts), sum(part.capacity for part in parts)
        return cls(used, capacity, parts=tuple(parts))

    @property
    def most(self) -> float | None:
        """The least capacity of all levels: more than that there can never be; None where there is no known bound."""
        return min((bound.capacity for bound in self.bounds), default=self.capacity)


class WorkerUsage(Struct, frozen=True):
    """What one worker process and its descendants use: CPU seconds since their start, resident memory now."""

    cpu_s: float
    memory_mb: float


class Reading(Struct, frozen=True):
    """What a probe read at one moment; `at` is timezone-aware."""

    at: datetime
    usage: Mapping[str, Usage] = {}
    workers: Mapping[int, WorkerUsage] = {}


class Device(Struct, frozen=True):
    """What is measured of the memory of one GPU, in MB; None where nobody says."""

    memory_used_mb: float | None = None
    memory_mb: float | None = None


class Load(Struct, frozen=True):
    """How far one resource of the machine is used, in the unit of its limit: percent, MB/s, or MB of GPU memory."""

    usage: float
    limit: float = inf
    """Above it nothing new starts."""
    warning: float = inf
    """Above it less starts at once."""
    own: float | None = None
    """The part this process and its workers use; None where that is not known."""
    unit: str = "%"
    lendable: float | None = None
    """How much tasks may reserve in all, in the units of `Resources`; None for no bound."""
    per_unit: float = 1.0
    """How much of `Resources` one unit of use is; 0 where use and reservations are not of one kind."""
    most: float | None = None
    """How much there could ever be for tasks, in the units of `Resources`; None where that is `lendable`. It is less
    where of several levels another than the one that leaves least now has the lowest limit."""
    each: float | None = None
    """How much one task may have at most, where it is divided among workers, in the units of `Resources`."""
    devices: Mapping[int, Device] = {}
    """Of the resource "gpu": the devices that were read, by their number."""

    @property
    def foreign(self) -> float:
        """The part that others use; all of it where nobody knows."""
        return self.usage if self.own is None else max(0.0, self.usage - self.own)
