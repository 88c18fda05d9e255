"""longshore: functions in two threads; a sink counts the events it is told of."""

from __future__ import annotations

from ours import seconds_and_told
from work import noop


def measure(n: int) -> tuple[float, dict[str, float]]:
    """Return the seconds for n tasks, and the part of the events that was told."""
    return seconds_and_told(n, noop, "threads")
