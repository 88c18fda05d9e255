"""How many CPUs this process may use: the one place that says so, for defaults of workers, threads and limits.

In: the process's affinity, and the quotas of its control groups, version 1 and 2, with those of every group above that
is visible here. What cannot be read sets no limit.
"""

from __future__ import annotations

import math
import os

from longshore.cgroups import ControlGroups


def usable_cpus(groups: ControlGroups | None = None) -> int:
    """Return how many CPUs this process may use, at least 1: those it may run on, or fewer by a quota, rounded up.

    `groups` are its control groups, None for those of this process. Read anew with each call, in some 150 microseconds.
    """
    return max(1, math.ceil(usable_cores(groups)))


def usable_cores(groups: ControlGroups | None = None) -> float:
    """Return the same without rounding: a quota may be half a core, or two and a half."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [group.cpu_quota() for group in (groups or ControlGroups()).levels("cpu")]
    return min([float(cores), *(quota for quota in quotas if quota is not None)])


__all__ = ["usable_cpus"]
