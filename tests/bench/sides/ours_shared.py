"""longshore: coroutines awaited in the worker (isolation shared); no sink."""

from __future__ import annotations

from ours import seconds
from work import async_noop


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    return seconds(n, async_noop, "asyncio", isolation="shared")
