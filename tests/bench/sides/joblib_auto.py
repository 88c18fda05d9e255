"""joblib: Parallel with its own choice of batch, workers kept from the warm-up on."""

from __future__ import annotations

from time import perf_counter

from joblib import Parallel, delayed  # type: ignore[import-untyped]  # joblib ships no types
from work import WORKERS, check, noop, warm_up_size


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    with Parallel(n_jobs=WORKERS) as parallel:
        parallel(delayed(noop)(number) for number in range(warm_up_size(n)))
        began = perf_counter()
        results = parallel(delayed(noop)(number) for number in range(n))
        took = perf_counter() - began
    check(results, n)
    return took
