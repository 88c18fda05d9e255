"""What of the machine is used, against the limits: measured by probes, asked by pools and by anybody else."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol, Self

from longshore._engine.ledger import Ledger
from longshore._limits import ResourceLimits, ResourceType
from longshore._loads import KNOWN, amounts_of, is_pressure, limit_of, loads_of
from longshore._runtime.probing import Probing
from longshore._telling import in_threads
from longshore.hookspecs import Probe
from longshore.plugins import PluginHost
from longshore.records import Load, ResourceSnapshot, Usage, WorkerUsage
from longshore.settings import load_settings

_HISTORY_MOST = 300
_ROUNDING = 1e-9
_JOIN_S = 0.3  # what a probe inside a reading gets to come back in, before it is left to itself


class Availability(NamedTuple):
    """Whether what was asked for is available, and if not, why; it is true when it is available.

    May be awaited, which gives it itself: `await monitor.check_availability(...)` and the same without `await` mean
    one thing, so that neither is true by mistake.
    """

    available: bool
    reason: str | None = None

    def __bool__(self) -> bool:
        """Tell whether it is available."""
        return self.available

    def __await__(self) -> Generator[None, None, Self]:
        """Return itself at once."""
        yield from ()
        return self


class MonitorUser(Protocol):
    """Who uses a monitor: a pool. Its methods are called on the probes' threads."""

    def pids(self) -> Sequence[int]:
        """Return the processes of its workers, to account for."""

    def counts(self) -> tuple[int, int]:
        """Return how many of its tasks run, and how many are queued."""

    def measured(self, loads: Mapping[str, Load], valid_s: float) -> None:
        """Take the newest loads, which count for `valid_s` seconds."""


class ResourceMonitor:
    """Measures the machine, keeps the newest 300 samples, and knows what is left below the limits.

    Cheap to make, no loop needed; one thread for each probe while it runs. May be started again after `stop`. Every
    method may be called from any thread. Resources are named by `ResourceType` or its strings, and "gpu_memory";
    amounts are in the units of the limits: percent of the machine for cpu, memory and gpu, MB/s for disk_io and
    network_io, MB for gpu_memory.
    """

    def __init__(
        self,
        limits: ResourceLimits | Mapping[str, Any] | None = None,  # Any: checked here
        check_interval: float | None = 1.0,
        probes: Mapping[str, Probe] | Sequence[Probe] | None = None,
    ) -> None:
        """Take the limits, seconds between two readings (None: as each probe says), and probes (None: `psutil`)."""
        if check_interval is not None and not 0 < check_interval < math.inf:
            raise ValueError(f"check_interval is a number of seconds above 0, not {check_interval!r}")
        self.limits = ResourceLimits() if limits is None else ResourceLimits.model_validate(limits)
        self.check_interval = check_interval
        self._probes = None if probes is None else _named(probes)
        self._probing: Probing | None = None
        self._past_errors = 0
        self._past_error: str | None = None
        self._users: list[MonitorUser] = []
        self._lock = threading.Lock()
        self._bounds = {name: limit for name in KNOWN if (limit := limit_of(self.limits, name)) < math.inf}
        self._ledger = Ledger(self._bounds)
        self._loads: dict[str, Load] = {}
        self._usage: dict[str, Usage] = {}
        self._valid_until = math.inf
        self._round: set[str] = set()
        self._heard: set[str] = set()
        self._history: deque[ResourceSnapshot] = deque(maxlen=_HISTORY_MOST)

    # ---- life

    @property
    def running(self) -> bool:
        """Whether it measures."""
        return self._probing is not None

    async def start(self) -> None:
        """Begin to measure; a second call does nothing. PluginError if the probe `psutil` is wanted and missing."""
        if self._probing is not None:
            return
        if self._probes is None:
            self._probes = {"psutil": PluginHost(load_settings().settings.plugins).create("probes", "psutil", {})}
        self._probing = probing = Probing(
            self._probes, self._pids, period_s=self.check_interval, told=lambda name: self._take(probing, name)
        )
        probing.start()

    async def stop(self) -> None:
        """Measure no more; a second call does nothing. Prompt, also if a probe hangs; what was measured stays."""
        probing, self._probing = self._probing, None
        if probing is not None:
            self._past_errors, self._past_error = self._past_errors + probing.errors, probing.last_error
            probing.stop()
            await in_threads([lambda: probing.join(_JOIN_S)])

    def attach(self, user: MonitorUser) -> None:
        """Have a pool told of what is measured, and its tasks counted in snapshots, until `detach`."""
        self._users = [*self._users, user]

    def detach(self, user: MonitorUser) -> None:
        """Tell a pool no more."""
        self._users = [other for other in self._users if other is not user]

    # ---- what was measured

    @property
    def errors(self) -> int:
        """How many readings failed; measuring goes on after each."""
        return self._past_errors + (self._probing.errors if self._probing is not None else 0)

    @property
    def last_error(self) -> str | None:
        """What the last reading that failed, since the last start, raised."""
        return self._probing.last_error if self._probing is not None else self._past_error

    def silent(self) -> Sequence[str]:
        """Return the probes that have given no reading for long, by name; none while it does not run."""
        return self._probing.silent() if self._probing is not None else ()

    def quiet_s(self) -> float:
        """Return the seconds since the last reading, or since the start; 0 while it does not run, or has no probe.

        After `valid_s` of them what was measured counts no more.
        """
        return self._probing.quiet_s() if self._probing is not None else 0.0

    @property
    def current_usage(self) -> dict[str, float]:
        """What is used, a copy: every resource that is measured, in the units of the limits."""
        return {name: load.usage for name, load in self._loads.items() if not is_pressure(name)}

    @property
    def loads(self) -> dict[str, Load]:
        """The same with limits and what of it is ours, and the pressures, such as "pressure.memory.some"; a copy."""
        return dict(self._loads)

    @property
    def usage(self) -> dict[str, Usage]:
        """The newest readings of all probes together, in the probes' own units; a copy."""
        return dict(self._usage)

    @property
    def workers(self) -> dict[int, WorkerUsage]:
        """What each worker process of the pools uses, with all that descend from it, by process id; a copy.

        A process that has ended is not there, nor is any before the first reading or while the monitor does not run.
        """
        return self._probing.workers() if self._probing is not None else {}

    @property
    def valid_s(self) -> float:
        """How long a reading counts for those that use the monitor, if no other comes: a few intervals."""
        return self._probing.valid_s if self._probing is not None else 5.0

    @property
    def probes(self) -> list[str]:
        """The names of its probes; empty before the first start where they are left to it."""
        return list(self._probes or {})

    @property
    def resources(self) -> set[str]:
        """The keys its probes say they read; empty before the first start where they are left to it."""
        return {name for probe in (self._probes or {}).values() for name in probe.resources}

    def has_read(self, resource: str) -> bool:
        """Tell whether a probe that says it reads this has given a reading, also one without it."""
        return any(resource in (self._probes or {})[name].resources for name in self._heard)

    @property
    def unavailable(self) -> list[str]:
        """The resources that have a limit and are not measured, so that the limit does nothing; all before a start."""
        return [name for name in self._bounds if name not in self._loads]

    def snapshot(self) -> ResourceSnapshot:
        """Return what was measured last, and the running and queued tasks of the pools that use the monitor now."""
        counts = [user.counts() for user in self._users]
        usage, percent = self._usage, {name: load.usage for name, load in self._loads.items() if load.unit == "%"}
        memory = usage.get("memory", Usage(0.0))
        return ResourceSnapshot(
            timestamp=datetime.now(UTC),
            cpu_percent=percent.get("cpu", 0.0),
            memory_percent=percent.get("memory", 0.0),
            memory_mb=memory.used if memory.own is None else memory.own,
            disk_io_read_mb=_used(usage, "disk_io.read"),
            disk_io_write_mb=_used(usage, "disk_io.write"),
            network_io_sent_mb=_used(usage, "network_io.sent"),
            network_io_recv_mb=_used(usage, "network_io.received"),
            active_tasks=sum(active for active, _ in counts),
            queued_tasks=sum(queued for _, queued in counts),
        )

    def history(self, minutes: float | None = None) -> list[ResourceSnapshot]:
        """Return the samples of the last `minutes`, oldest first; at most the newest 300, which None gives."""
        samples = list(self._history)
        if minutes is None:
            return samples
        since = datetime.now(UTC) - timedelta(minutes=minutes)
        return [sample for sample in samples if sample.timestamp >= since]

    # ---- what is left

    def check_availability(self, required: Mapping[ResourceType | str, float]) -> Availability:
        """Tell whether so much is left below the limits; to be awaited or not, which gives the same.

        The reason says what would be needed in all, and the limit: "Insufficient cpu: 90.0 > 80.0". What a resource
        over its limit says holds for everybody; of CPU, only what others use counts. A resource without a limit passes.
        What was measured counts no more when nothing has followed for `valid_s` seconds, since a probe hangs or fails.
        """
        with self._lock:
            return self._check(amounts_of(required))

    async def allocate(self, task_id: str, resources: Mapping[ResourceType | str, float]) -> bool:
        """Reserve for a task, if so much is left; atomic, over all threads. False changes nothing.

        For an id that has a reservation the new one takes the old one's place; if it does not fit, the old one stays.
        """
        amounts = amounts_of(resources)
        with self._lock:
            before = self._ledger.take_back(task_id)
            available = bool(self._check(amounts))
            if available or before:
                self._ledger.lend(task_id, amounts if available else before)
        return available

    async def release(self, task_id: str) -> None:
        """End a task's reservation; an id that has none is ignored."""
        with self._lock:
            self._ledger.take_back(task_id)

    def allocated(self) -> dict[str, float]:
        """Return what is reserved now, by resource."""
        with self._lock:
            return self._ledger.lent()

    def _check(self, amounts: Mapping[str, float]) -> Availability:
        loads = self._loads
        if self._probing is not None and time.monotonic() > self._valid_until:
            self._ledger.measure({})
            loads = {}
        for name, load in loads.items():
            counted = load.foreign if name == "cpu" else load.usage
            if counted > load.limit and (name in amounts or not name.startswith("gpu")):
                return _insufficient(name, counted + amounts.get(name, 0.0), load.limit)
        for name, amount in amounts.items():
            if name not in self._bounds:
                continue
            needed, limit = self._ledger.taken(name) + amount, self._bounds[name]
            if needed > limit + _ROUNDING:
                return _insufficient(name, needed, limit)
            if name.startswith("gpu") and loads and name not in loads:
                return Availability(False, f"{name} is unavailable: no probe sees a GPU")
        return Availability(True)

    # ---- on a probe's thread

    def _pids(self) -> list[int]:
        return [pid for user in self._users for pid in user.pids()]

    def _take(self, probing: Probing, name: str) -> None:
        """Take in a reading, and tell it; a sample is taken with the first reading of each round of the probes."""
        if self._probing is not probing:
            return  # it came late, after a stop
        usage = probing.usage()
        loads = loads_of(usage, self.limits)
        with self._lock:
            self._usage, self._loads = usage, loads
            self._valid_until = time.monotonic() + probing.valid_s
            self._ledger.measure({key: _in_percent(load) for key, load in loads.items() if not is_pressure(key)})
            if name in self._round:
                self._round.clear()
            first = not self._round
            self._round.add(name)
            self._heard = self._heard | {name}
        if first:
            self._history.append(self.snapshot())
        for user in self._users:
            user.measured(loads, self.valid_s)


def _named(probes: Mapping[str, Probe] | Sequence[Probe]) -> dict[str, Probe]:
    if isinstance(probes, Mapping):
        return dict(probes)
    return {f"{type(probe).__name__}-{number}": probe for number, probe in enumerate(probes)}


def _in_percent(load: Load) -> Load:
    """Return a load for a ledger that is kept in the units of the limits."""
    return Load(load.usage, load.limit, load.warning, load.own)


def _insufficient(name: str, needed: float, limit: float) -> Availability:
    return Availability(False, f"Insufficient {name}: {needed:.1f} > {limit:.1f}")


def _used(usage: Mapping[str, Usage], name: str) -> float:
    return usage[name].used if name in usage else 0.0


__all__ = ["Availability", "MonitorUser", "ResourceMonitor"]
