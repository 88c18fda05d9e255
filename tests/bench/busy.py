"""Work for tasks of a certain length: a busy loop, and how many rounds of it take so long on this machine now."""

from __future__ import annotations

import os
from statistics import median
from time import perf_counter

from work import WORKERS

_TIMED_S = 0.01
"""How long one timing of the loop lasts, more or less: long enough to be even, short enough to have several."""
_TIMINGS = 15


def burn(loops: int) -> int:
    """Go round so many times, and return the number."""
    count = 0
    while count < loops:
        count += 1
    return count


def calibrated(us: float) -> int:
    """Return the rounds that take so many microseconds in this process, by the median of some timings."""
    loops, took_s = 1_000, 0.0
    while took_s < _TIMED_S:
        loops *= 2
        took_s = _timed(loops)
    per_loop_s = median(_timed(loops) for _ in range(_TIMINGS)) / loops
    return max(1, round(us * 1e-6 / per_loop_s))


def _timed(loops: int) -> float:
    began = perf_counter()
    burn(loops)
    return perf_counter() - began


def share_of_ideal(n: int, us: float, took_s: float) -> float:
    """Return, in percent, the time that n tasks of this length need on so many cores at least, of what they took."""
    cores = min(WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    return 100.0 * n * us * 1e-6 / cores / took_s


def check_burnt(results: list[int], n: int, loops: int) -> None:
    """Raise unless n tasks have gone round so many times each."""
    if results != [loops] * n:
        raise AssertionError(f"{n} tasks of {loops} rounds gave {len(results)} results, and not all as they should be")
