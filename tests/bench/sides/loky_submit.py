"""loky: its ProcessPoolExecutor as it comes, submit, then the result of each future."""

from __future__ import annotations

from futures import seconds_to_submit
from loky import ProcessPoolExecutor
from work import WORKERS


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    with ProcessPoolExecutor(WORKERS) as pool:
        return seconds_to_submit(pool, n)
