"""What the tasks of the suites run: at the top of a module, so that any worker finds it by its name."""

from __future__ import annotations


def double(x: int) -> int:
    """Return twice as much."""
    return 2 * x
