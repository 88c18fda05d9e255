"""joblib: a large array as the argument, which it writes to a file and maps into the worker."""

from __future__ import annotations

from joblib import Parallel, delayed  # type: ignore[import-untyped]  # joblib ships no types
from single import payload, touch
from work import WORKERS


def measure(n: int) -> float:
    """Return the median ms of n calls."""
    with Parallel(n_jobs=WORKERS) as parallel:
        return payload(n, lambda array: float(parallel([delayed(touch)(array)])[0]))
