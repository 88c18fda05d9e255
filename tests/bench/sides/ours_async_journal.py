"""longshore: as ours_async, with the journal `sqlite`, and a version by which a resumed run would know its tasks."""

from __future__ import annotations

from ours import seconds_with_a_journal
from work import async_noop


def measure(n: int) -> float:
    """Return the seconds for n tasks."""
    return seconds_with_a_journal(n, async_noop, "asyncio")
