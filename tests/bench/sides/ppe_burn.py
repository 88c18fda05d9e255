"""concurrent.futures: ProcessPoolExecutor, functions that use CPU, submitted one by one."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from time import perf_counter

from busy import burn, calibrated, check_burnt, share_of_ideal
from work import WORKERS, warm_up_size


def measure(n: int, us: str) -> float:
    """Return the share of the ideal, in percent."""
    loops = calibrated(float(us))
    with ProcessPoolExecutor(WORKERS) as pool:
        for future in [pool.submit(burn, loops) for _ in range(warm_up_size(n))]:
            future.result()
        began = perf_counter()
        futures = [pool.submit(burn, loops) for _ in range(n)]
        results = [future.result() for future in futures]
        took = perf_counter() - began
    check_burnt(results, n, loops)
    return share_of_ideal(n, float(us), took)
