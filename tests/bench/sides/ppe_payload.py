"""concurrent.futures: ProcessPoolExecutor, a large array as the argument."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

from single import payload, touch
from work import WORKERS


def measure(n: int) -> float:
    """Return the median ms of n calls."""
    with ProcessPoolExecutor(WORKERS) as pool:
        return payload(n, lambda array: pool.submit(touch, array).result())
