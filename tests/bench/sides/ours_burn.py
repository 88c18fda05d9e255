"""longshore: functions that use CPU, in two processes, through `outcomes`; nothing tuned, no sink."""

from __future__ import annotations

from ours import share_burnt


def measure(n: int, us: str) -> float:
    """Return the share of the ideal, in percent."""
    return share_burnt(n, float(us))
