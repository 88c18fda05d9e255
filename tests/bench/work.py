"""What every side of a benchmark does: a task that does nothing, and the check that all of them were done."""

from __future__ import annotations

from collections.abc import Iterable

CONCURRENCY = 100
"""Coroutines at once, on every side."""
WORKERS = 2
"""Threads or processes of a pool, on every side."""


def noop(number: int) -> int:
    """Give back what is given."""
    return number


async def async_noop(number: int) -> int:
    """Give back what is given, as a coroutine."""
    return number


def warm_up_size(n: int) -> int:
    """Return how many tasks a side runs before its measured ones."""
    return max(100, n // 20)


def check(results: Iterable[int], n: int) -> None:
    """Raise unless the results are those of the tasks 0 to n-1, each once."""
    count = total = 0
    for result in results:
        count += 1
        total += result
    if (count, total) != (n, n * (n - 1) // 2):
        raise AssertionError(f"{n} tasks gave {count} results that sum to {total}")
