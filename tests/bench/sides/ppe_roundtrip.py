"""concurrent.futures: ProcessPoolExecutor, submit and wait for the result, one at a time."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

from futures import roundtrip
from work import WORKERS


def measure(n: int) -> tuple[float, dict[str, float]]:
    """Return the median in microseconds, and the pipes' beside it."""
    return roundtrip(lambda: ProcessPoolExecutor(WORKERS), n)
