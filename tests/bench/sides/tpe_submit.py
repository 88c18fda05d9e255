"""concurrent.futures: ThreadPoolExecutor, submit, then the result of each future."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from futures import seconds_to_submit
from work import WORKERS


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return seconds_to_submit(pool, n)
