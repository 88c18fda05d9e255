"""longshore: the same, submitted one by one."""

from __future__ import annotations

from ours import share_burnt


def measure(n: int, us: str) -> float:
    """Return the share of the ideal, in percent."""
    return share_burnt(n, float(us), one_by_one=True)
