"""The limits the kernel's control groups set: reads a few small files, gives plain numbers, called once a reading.

Version 1 and 2 are read alike: the group this process is in, and every group above it that is visible here. What cannot
be read sets no limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from longshore.records import Usage

_MB = 1_000_000


class _Names(NamedTuple):
    """Where one version keeps the memory figures."""

    limit: str
    used: str
    cache: str
    """Key in memory.stat of the page cache that is given up first."""


_V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Names("memory.max", "memory.current", "inactive_file")


class CpuQuota(NamedTuple):
    """A bound on CPU time, and what the group has used of it so far."""

    cores: float
    used_s: float | None


class Cgroup:
    """The control groups of the process whose `cgroup` file is given."""

    def __init__(self, membership: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> None:
        """Remember where to look; nothing is read yet."""
        self._membership = membership
        self._mount = mount

    def memory(self, host_mb: float) -> Iterator[Usage]:
        """Give use and limit of every level whose limit is below `host_mb`, page cache left out of the use."""
        for level, names in [
            *((at, _V1) for at in self._levels("memory")),
            *((at, _V2) for at in self._levels("")),
        ]:
            limit, used = _number(level / names.limit), _number(level / names.used)
            if limit is None or used is None or limit / _MB >= host_mb:
                continue
            working = max(0.0, used - (_keyed(level / "memory.stat", names.cache) or 0.0))
            yield Usage(working / _MB, limit / _MB)

    def cpu(self) -> CpuQuota | None:
        """Return the tightest CPU quota of all levels, or None where there is none."""
        quotas = [*self._cpu_v1(), *self._cpu_v2()]
        return min(quotas, key=lambda quota: quota.cores, default=None)

    def _cpu_v1(self) -> Iterator[CpuQuota]:
        for level, account in zip(self._levels("cpu"), self._levels("cpuacct"), strict=False):
            quota, period = _number(level / "cpu.cfs_quota_us"), _number(level / "cpu.cfs_period_us")
            if quota and period and quota > 0:
                used_ns = _number(account / "cpuacct.usage")
                yield CpuQuota(quota / period, None if used_ns is None else used_ns / 1e9)

    def _cpu_v2(self) -> Iterator[CpuQuota]:
        for level in self._levels(""):
            fields = _text(level / "cpu.max").split()
            if len(fields) == 2 and fields[0].isdigit() and fields[1].isdigit():
                used_us = _keyed(level / "cpu.stat", "usage_usec")
                yield CpuQuota(int(fields[0]) / int(fields[1]), None if used_us is None else used_us / 1e6)

    def _levels(self, controller: str) -> list[Path]:
        """Return the folders from our own group up to the mount; `controller` "" is version 2."""
        for line in _text(self._membership).splitlines():
            _, controllers, path = [*line.split(":", 2), "", ""][:3]
            if controller in controllers.split(","):
                root = self._mount / controller if controller else self._mount
                steps = [part for part in path.split("/") if part not in ("", "..")]
                # Inside a container the path may be the host's and not exist here: it then reads as nothing.
                return [root.joinpath(*steps[:depth]) for depth in range(len(steps), -1, -1)]
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    return _parse(_text(path))


def _keyed(path: Path, key: str) -> float | None:
    for line in _text(path).splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return _parse(value)
    return None


def _parse(text: str) -> float | None:
    try:
        return float(int(text))
    except ValueError:  # "max", or nothing at all
        return None
