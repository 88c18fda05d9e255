"""longshore: growth of the controller over lazy tasks in two threads."""

from __future__ import annotations

from memory import growth_mb
from work import noop


def measure(n: int) -> float:
    """Return the MB by which resident memory grew over n tasks."""
    return growth_mb(n, noop, "threads", "task")
