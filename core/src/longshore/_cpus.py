"""How many CPUs this process may use: the one place that says so, for defaults of workers, threads and limits.

In: the process's affinity, and the quotas of its control groups, version 1 and 2, with those of every group above that
is visible here. What cannot be read sets no limit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_MEMBERSHIP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def usable_cpus(membership: Path = _MEMBERSHIP, mount: Path = _MOUNT) -> int:
    """Return how many CPUs this process may use, at least 1: those it may run on, or fewer by a quota, rounded up.

    The two folders are where the system tells of control groups. Read anew with each call, in some 50 microseconds.
    """
    return max(1, math.ceil(usable_cores(membership, mount)))


def usable_cores(membership: Path = _MEMBERSHIP, mount: Path = _MOUNT) -> float:
    """Return the same without rounding: a quota may be half a core, or two and a half."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([float(cores), *_quotas(membership, mount)])


def _quotas(membership: Path, mount: Path) -> Iterator[float]:
    for line in _text(membership).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            yield from _quotas_v2(_levels(mount, path))
        elif "cpu" in controllers.split(","):
            yield from _quotas_v1(_levels(mount / "cpu", path))


def _quotas_v1(levels: list[Path]) -> Iterator[float]:
    for level in levels:
        quota, period = _text(level / "cpu.cfs_quota_us").strip(), _text(level / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):  # -1 is none
            yield int(quota) / int(period)


def _quotas_v2(levels: list[Path]) -> Iterator[float]:
    for level in levels:
        quota, period = [*_text(level / "cpu.max").split(), "", ""][:2]
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):  # "max" is none
            yield int(quota) / int(period)


def _levels(root: Path, path: str) -> list[Path]:
    """Return the folders of a group and of all above it, up to the mount.

    Inside a container the path may be the host's and not exist here: it then reads as nothing.
    """
    steps = [part for part in path.split("/") if part not in ("", "..")]
    return [root.joinpath(*steps[:depth]) for depth in range(len(steps), -1, -1)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


__all__ = ["usable_cpus"]
