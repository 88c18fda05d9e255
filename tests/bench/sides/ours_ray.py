"""longshore: functions on a local Ray cluster with two workers, nothing tuned; no sink."""

from __future__ import annotations

from ours import seconds
from work import noop


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    return seconds(n, noop, "ray")
