"""longshore: a large array as the argument of a function in a process."""

from __future__ import annotations

from ours_single import payloads


def measure(n: int) -> float:
    """Return the median ms of n calls."""
    return payloads(n)
