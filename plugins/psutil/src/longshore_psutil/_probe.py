"""The probe: a ReadRequest comes in, a Reading goes out, once a second, on a thread the pool gives it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import psutil
from longshore.cgroups import ControlGroups
from longshore.hookspecs import hookimpl
from longshore.records import Reading, ReadRequest, Usage

from longshore_psutil._bounds import Cpu, Memory
from longshore_psutil._pressure import pressures
from longshore_psutil._tree import process_table, usage_by_root

_MB = 1_000_000
_UNREADABLE = (OSError, RuntimeError, NotImplementedError, psutil.Error)
"""What psutil raises for counters that a platform or a sandbox does not have."""


class PsutilProbe:
    """Reads cpu, memory, disk_io, network_io and pressure, and what each worker's process tree uses.

    CPU, disk and network are rates over the time since the reading before, 0.0 in the first; a counter that went back
    (a disk was unplugged, an interface came anew) gives 0.0. A figure that cannot be read is left out. CPU and memory
    are told for the machine and for every control group that bounds them, in `Usage.bounds`; limits are read anew each
    time. Files are kept open between readings, until `close`.
    """

    api: int = 1
    resources: Sequence[str] = ("cpu", "memory", "disk_io", "network_io")
    period_s: float = 1.0

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, proc: str = "/proc") -> None:
        """Prepare; nothing is read yet. `clock` gives monotonic seconds, `proc` is where the system tells of itself."""
        self._clock = clock
        self._proc = proc
        self._groups = ControlGroups(f"{proc}/self")
        self._memory = Memory(proc, self._groups)
        self._cpu = Cpu(proc, self._groups)
        self._table = process_table()
        self._last: dict[str, tuple[float, float]] = {}
        self._reading = threading.Lock()

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        """Read everything once; a worker that is gone is left out."""
        with self._reading:
            me = os.getpid()
            roots = [me, *request.worker_pids]
            trees = usage_by_root(self._table.read(roots), roots)
            mine = trees.get(me)  # None where so many files are open that ours cannot be
            own = self._rate("own", mine.cpu_s) if mine is not None else None
            usage = {
                "cpu": Usage.within(self._cpu.bounds(self._rate, own or 0.0), own),
                "memory": Usage.within(self._memory.bounds(), mine.memory_mb if mine is not None else None),
            }
            self._read_disk(usage)
            self._read_network(usage)
            usage.update(pressures(self._proc, self._groups, self._rate))
            workers = {pid: trees[pid] for pid in request.worker_pids if pid in trees}
        return Reading(datetime.now(UTC), usage, workers)

    def close(self) -> None:
        """Close what is kept open; reading again opens it anew."""
        with self._reading:
            for kept in (self._memory, self._cpu, self._table):
                kept.close()

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


__all__ = ["PsutilProbe"]
