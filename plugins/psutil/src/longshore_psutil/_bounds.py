"""What bounds memory and CPU: the machine, and every control group this process is in, each with its own use.

Read anew each time, so that a limit that is lowered counts from the next reading on. Of a group that has no limit, or
whose files cannot be read, nothing is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import psutil
from longshore.cgroups import ControlGroup, ControlGroups, figure_of
from longshore.records import Bound

from longshore_psutil._procfs import TICKS_PER_S, KeptFile

_MB = 1_000_000
_RECLAIMABLE = {
    1: ("total_inactive_file", "total_active_file"),
    2: ("inactive_file", "active_file", "slab_reclaimable"),
}
"""What is given back before memory runs out: the page cache, on both lists, for what was read twice is on the active
one. So the kernel counts MemAvailable of the machine. Files of tmpfs are on neither. In version 1 the names with
"total_" include the groups below, as the use does."""
HOST = "host"
Rate = Callable[[str, float], float]
"""Tells by how much a named count rose per second since it was asked for last."""


class Memory:
    """Bounds of memory in MB; page cache that is given up first counts as free, memory of tmpfs as used."""

    def __init__(self, proc: str, groups: ControlGroups) -> None:
        """Remember where to look."""
        self._meminfo = KeptFile(f"{proc}/meminfo")
        self._groups = groups

    def bounds(self) -> list[Bound]:
        """Return the machine's, then those of the control groups that allow less than all of it."""
        host = self._host()
        found = (_memory_of(group) for group in self._groups.levels("memory"))
        return [host, *(bound for bound in found if bound is not None and bound.capacity < host.capacity)]

    def close(self) -> None:
        """Close what is kept open."""
        self._meminfo.close()

    def _host(self) -> Bound:
        text = self._meminfo.read().replace(b":", b"").decode("ascii", "replace").replace(" kB", "")
        total_kb, available_kb = figure_of(text, "MemTotal"), figure_of(text, "MemAvailable")
        if total_kb and available_kb is not None:
            return Bound(HOST, (total_kb - available_kb) * 1024 / _MB, total_kb * 1024 / _MB)
        host = psutil.virtual_memory()
        return Bound(HOST, (host.total - host.available) / _MB, host.total / _MB)


def _memory_of(group: ControlGroup) -> Bound | None:
    used = group.number("memory.current" if group.version == 2 else "memory.usage_in_bytes")
    if used is None:
        return None
    stat = group.text("memory.stat")
    limit = group.memory_limit_bytes(stat)
    if limit is None:
        return None
    reclaimable = sum(figure_of(stat, name) or 0 for name in _RECLAIMABLE[group.version])
    return Bound(_named(group), max(0, used - reclaimable) / _MB, limit / _MB)


class Cpu:
    """Bounds of CPU in cores."""

    def __init__(self, proc: str, groups: ControlGroups) -> None:
        """Remember where to look."""
        self._stat = KeptFile(f"{proc}/stat")
        self._groups = groups

    def bounds(self, rate: Rate, own: float) -> list[Bound]:
        """Return that of the CPUs this process may run on, then those of quotas; `own` is what we ourselves use."""
        busy_s, cores = self._busy()
        return [Bound(HOST, rate("busy", busy_s), float(cores)), *self._quotas(rate, own, cores)]

    def close(self) -> None:
        """Close what is kept open."""
        self._stat.close()

    def _quotas(self, rate: Rate, own: float, cores: int) -> Iterator[Bound]:
        accounts: dict[str, ControlGroup] | None = None
        for group in self._groups.levels("cpu"):
            quota = group.cpu_quota()
            if quota is None or quota >= cores:
                continue
            if group.version == 2:
                used_s = _seconds(figure_of(group.text("cpu.stat"), "usage_usec"), 1e6)
            else:
                if accounts is None:
                    accounts = {one.name: one for one in self._groups.levels("cpuacct") if one.version == 1}
                account = accounts.get(group.name)
                used_s = _seconds(account.number("cpuacct.usage"), 1e9) if account is not None else None
            yield Bound(_named(group), own if used_s is None else rate(f"{group.version} {group.name}", used_s), quota)

    def _busy(self) -> tuple[float, int]:
        """Return the seconds the CPUs this process may use have been busy, and how many they are."""
        allowed = _affinity()
        every = dict(_cpus_of(self._stat.read())) or dict(enumerate(_cpus_of_psutil()))
        ours = [busy_s for number, busy_s in every.items() if allowed is None or number in allowed]
        busy = ours or list(every.values())  # a container may count its CPUs anew, and show others than it runs on
        return sum(busy), len(busy)


def _cpus_of(stat: bytes) -> Iterator[tuple[int, float]]:
    """Yield number and busy seconds of each CPU that is told of in /proc/stat."""
    for line in stat.split(b"\n"):
        name, *fields = line.split()[:9] or [b""]
        if name.startswith(b"cpu") and name[3:].isdigit() and len(fields) >= 5:
            ticks = [int(field) for field in fields]
            # Of user, nice, system, idle, iowait, irq, softirq, steal; guest time stands in user time already.
            yield int(name[3:]), (sum(ticks) - ticks[3] - ticks[4]) / TICKS_PER_S


def _cpus_of_psutil() -> Iterator[float]:
    for cpu in psutil.cpu_times(percpu=True):
        guest_s = getattr(cpu, "guest", 0.0) + getattr(cpu, "guest_nice", 0.0)
        yield sum(cpu) - guest_s - cpu.idle - getattr(cpu, "iowait", 0.0)


def _affinity() -> set[int] | None:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


def _named(group: ControlGroup) -> str:
    return f"cgroup {group.name}"


def _seconds(count: int | None, per_s: float) -> float | None:
    return None if count is None else count / per_s
