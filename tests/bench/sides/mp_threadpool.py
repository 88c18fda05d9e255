"""multiprocessing.pool.ThreadPool: imap_unordered as it comes, one item a chunk."""

from __future__ import annotations

from multiprocessing.pool import ThreadPool
from time import perf_counter

from work import WORKERS, check, noop, warm_up_size


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    with ThreadPool(WORKERS) as pool:
        list(pool.imap_unordered(noop, range(warm_up_size(n))))
        began = perf_counter()
        results = list(pool.imap_unordered(noop, range(n)))
        took = perf_counter() - began
    check(results, n)
    return took
