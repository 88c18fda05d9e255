"""joblib: functions that use CPU, with its own choice of batch, workers kept from the warm-up on."""

from __future__ import annotations

from time import perf_counter

from busy import burn, calibrated, check_burnt, share_of_ideal
from joblib import Parallel, delayed  # type: ignore[import-untyped]  # joblib ships no types
from work import WORKERS, warm_up_size


def measure(n: int, us: str) -> float:
    """Return the share of the ideal, in percent."""
    loops = calibrated(float(us))
    with Parallel(n_jobs=WORKERS) as parallel:
        parallel(delayed(burn)(loops) for _ in range(warm_up_size(n)))
        began = perf_counter()
        results = parallel(delayed(burn)(loops) for _ in range(n))
        took = perf_counter() - began
    check_burnt(results, n, loops)
    return share_of_ideal(n, float(us), took)
