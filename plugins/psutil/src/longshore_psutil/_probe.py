"""The probe: a ReadRequest comes in, a Reading goes out, once a second, on a thread the pool gives it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import psutil
from longshore.hookspecs import hookimpl
from longshore.records import Reading, ReadRequest, Usage

from longshore_psutil._cgroup import Cgroup
from longshore_psutil._tree import process_table, usage_by_root

_MB = 1_000_000
_UNREADABLE = (OSError, RuntimeError, NotImplementedError, psutil.Error)
"""What psutil raises for counters that a platform or a sandbox does not have."""


class PsutilProbe:
    """Reads cpu, memory, disk_io and network_io of the machine, and what each worker's process tree uses.

    CPU, disk and network are rates over the time since the reading before, 0.0 in the first; a counter that went back
    (a disk was unplugged, an interface came anew) gives 0.0. A disk or network figure that cannot be read is left out.
    Where a control group leaves less than the machine does, its figures are given.
    """

    api: int = 1
    resources: Sequence[str] = ("cpu", "memory", "disk_io", "network_io")
    period_s: float = 1.0

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, cgroup: Cgroup | None = None) -> None:
        """Prepare; nothing is read yet. `clock` gives monotonic seconds."""
        self._clock = clock
        self._cgroup = cgroup or Cgroup()
        self._table = process_table()
        self._last: dict[str, tuple[float, float]] = {}

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        """Read everything once; a worker that is gone is left out."""
        me = os.getpid()
        roots = [me, *request.worker_pids]
        trees = usage_by_root(self._table.read(roots), roots)
        usage = {"cpu": self._cpu(trees[me].cpu_s), "memory": self._memory(trees[me].memory_mb)}
        self._read_disk(usage)
        self._read_network(usage)
        workers = {pid: trees[pid] for pid in request.worker_pids if pid in trees}
        return Reading(datetime.now(UTC), usage, workers)

    def _cpu(self, own_s: float) -> Usage:
        own = self._rate("own", own_s)
        busy_s, cores = _busy()
        machine = Usage(self._rate("busy", busy_s), float(cores), own)
        quota = self._cgroup.cpu()
        if quota is None or quota.cores >= cores:
            return machine
        within = own if quota.used_s is None else self._rate("quota", quota.used_s)
        return Usage(within, quota.cores, own)

    def _memory(self, own_mb: float) -> Usage:
        host = psutil.virtual_memory()
        total_mb = host.total / _MB
        levels = [Usage((host.total - host.available) / _MB, total_mb), *self._cgroup.memory(total_mb)]
        # Use and limit of one level belong together: the level that leaves least is the one that counts.
        tightest = min(levels, key=lambda level: (level.capacity or 0.0) - level.used)
        return Usage(tightest.used, tightest.capacity, own_mb)

    def _read_disk(self, usage: dict[str, Usage]) -> None:
        try:
            counters = psutil.disk_io_counters(nowrap=False)
        except _UNREADABLE:
            counters = None
        if counters is not None:
            usage["disk_io.read"] = Usage(self._rate("read", counters.read_bytes / _MB))
            usage["disk_io.write"] = Usage(self._rate("write", counters.write_bytes / _MB))

    def _read_network(self, usage: dict[str, Usage]) -> None:
        try:
            counters = psutil.net_io_counters(nowrap=False)
        except _UNREADABLE:
            counters = None
        if counters is not None:
            usage["network_io.sent"] = Usage(self._rate("sent", counters.bytes_sent / _MB))
            usage["network_io.received"] = Usage(self._rate("received", counters.bytes_recv / _MB))

    def _rate(self, name: str, value: float) -> float:
        """Return by how much `name` rose per second since it was last asked for."""
        now = self._clock()
        before, since = self._last.get(name, (value, now))
        self._last[name] = (value, now)
        return max(0.0, value - before) / (now - since) if now > since else 0.0


def _busy() -> tuple[float, int]:
    """Return the seconds the CPUs this process may use have been busy, and how many they are."""
    every = psutil.cpu_times(percpu=True)
    allowed = _affinity()
    times = [times for number, times in enumerate(every) if allowed is None or number in allowed] or every
    idle_s = sum(cpu.idle + getattr(cpu, "iowait", 0.0) for cpu in times)
    # Guest time stands in user time already, as the kernel counts.
    guest_s = sum(getattr(cpu, "guest", 0.0) + getattr(cpu, "guest_nice", 0.0) for cpu in times)
    return sum(sum(cpu) for cpu in times) - guest_s - idle_s, len(times)


def _affinity() -> set[int] | None:
    if not hasattr(os, "sched_getaffinity"):
        return None
    return os.sched_getaffinity(0)


__all__ = ["PsutilProbe"]
