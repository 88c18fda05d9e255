"""How many tasks end a second: a ring of one-second buckets, written by the fold, read by the snapshot."""

from __future__ import annotations

from math import floor

WINDOW_S = 10


class RateRing:
    """Ends per second over the last ten full seconds and the one under way."""

    __slots__ = ("_counts", "_since", "_starts")

    def __init__(self, since: float) -> None:
        """Begin at monotonic `since`; until ten seconds have passed, the rate is over the time since."""
        self._since = since
        self._counts = [0] * (WINDOW_S + 1)
        self._starts = [-1] * (WINDOW_S + 1)

    def add(self, count: int, now: float) -> None:
        """Count `count` ends at `now`."""
        second = floor(now)
        slot = second % (WINDOW_S + 1)
        if self._starts[slot] == second:
            self._counts[slot] += count
        else:
            self._starts[slot], self._counts[slot] = second, count

    def per_second(self, now: float) -> float:
        """Return the ends per second as of `now`; 0.0 when no time has passed."""
        oldest = floor(now) - WINDOW_S
        span = now - max(self._since, float(oldest))
        ended = sum(count for start, count in zip(self._starts, self._counts, strict=True) if start >= oldest)
        return ended / span if span > 0 else 0.0
