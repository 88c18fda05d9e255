"""mpire: map_unordered with the chunks it chooses itself, workers kept from the warm-up on."""

from __future__ import annotations

from time import perf_counter

from mpire.pool import WorkerPool
from work import WORKERS, check, noop, warm_up_size


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    with WorkerPool(n_jobs=WORKERS, keep_alive=True) as pool:
        pool.map_unordered(noop, range(warm_up_size(n)))
        began = perf_counter()
        results = pool.map_unordered(noop, range(n))
        took = perf_counter() - began
    check(results, n)
    return took
