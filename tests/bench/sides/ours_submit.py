"""longshore: functions submitted one by one, then each handle awaited; no sink."""

from __future__ import annotations

from ours import seconds_to_submit
from work import noop


def measure(n: int, executor: str) -> float:
    """Return the seconds for n tasks."""
    return seconds_to_submit(n, noop, executor)
