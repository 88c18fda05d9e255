"""longshore: coroutines, each a Task with a context of its own; no sink."""

from __future__ import annotations

from ours import seconds
from work import async_noop


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    return seconds(n, async_noop, "asyncio")
