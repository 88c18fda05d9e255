"""longshore: a function that spins past its time limit in the only process, others waiting behind it."""

from __future__ import annotations

from ours_single import deadlines


def measure(n: int) -> tuple[float, dict[str, float]]:
    """Return the median ms from deadline to error over n trials, and how many others were lost."""
    return deadlines(n)
