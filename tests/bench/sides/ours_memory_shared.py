"""longshore: growth of the controller over lazy coroutine tasks, awaited in the worker."""

from __future__ import annotations

from memory import growth_mb
from work import async_noop


def measure(n: int) -> float:
    """Return the MB by which resident memory grew over n tasks."""
    return growth_mb(n, async_noop, "asyncio", "shared")
