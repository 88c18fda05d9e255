"""pebble: ProcessPool as it comes, schedule, then the result of each future."""

from __future__ import annotations

from time import perf_counter

from pebble import ProcessPool
from work import WORKERS, check, noop, warm_up_size


def _all(pool: ProcessPool, n: int) -> list[int]:
    futures = [pool.schedule(noop, args=[number]) for number in range(n)]
    return [future.result() for future in futures]


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    with ProcessPool(max_workers=WORKERS) as pool:
        _all(pool, warm_up_size(n))
        began = perf_counter()
        results = _all(pool, n)
        took = perf_counter() - began
    check(results, n)
    return took
