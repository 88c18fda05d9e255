"""longshore: as ours_async, with a subscriber that takes a second for each event."""

from __future__ import annotations

from ours import seconds_beside_a_slow_subscriber
from work import async_noop


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    return seconds_beside_a_slow_subscriber(n, async_noop, "asyncio")
