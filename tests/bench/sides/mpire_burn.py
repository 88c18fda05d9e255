"""mpire: functions that use CPU, with the chunks it chooses itself, workers kept from the warm-up on."""

from __future__ import annotations

from time import perf_counter

from busy import burn, calibrated, check_burnt, share_of_ideal
from mpire.pool import WorkerPool
from work import WORKERS, warm_up_size


def measure(n: int, us: str) -> float:
    """Return the share of the ideal, in percent."""
    loops = calibrated(float(us))
    with WorkerPool(n_jobs=WORKERS, keep_alive=True) as pool:
        pool.map_unordered(burn, [loops] * warm_up_size(n))
        began = perf_counter()
        results = pool.map_unordered(burn, [loops] * n)
        took = perf_counter() - began
    check_burnt(results, n, loops)
    return share_of_ideal(n, float(us), took)
