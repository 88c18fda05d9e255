"""How much of the memory below the limit is kept: measuring is late, and others may take some meanwhile."""

from __future__ import annotations

from longshore.records import Load

SHARE = 0.05
LEAST_MB = 268.4
"""256 MiB."""
SHARE_MOST = 0.25
"""Of a small limit no more is kept than this, or nothing would run there."""
REACTION_S = 2.0
"""From the moment that others begin to take memory until less is started for it: two readings."""
_SMOOTHING = 0.3


class Reserve:
    """`max(5 % of the limit, 256 MiB, what others took lately in a second x the time to react)`."""

    __slots__ = ("_foreign_mb", "_rate", "_seen_at")

    def __init__(self) -> None:
        """Have seen nobody take anything."""
        self._foreign_mb = 0.0
        self._seen_at: float | None = None
        self._rate = 0.0  # MB/s by which the use of others grows, smoothed

    def see(self, memory: Load, limit_mb: float, now: float) -> float:
        """Take what is measured `now` (monotonic seconds), and return how many of `limit_mb` MB to keep."""
        foreign_mb = memory.foreign * memory.per_unit
        if memory.own is None:  # what others take can't be told from what is taken here
            self._seen_at, self._rate = None, 0.0
        else:
            if self._seen_at is not None and now > self._seen_at:
                rate = max(0.0, foreign_mb - self._foreign_mb) / (now - self._seen_at)
                self._rate += _SMOOTHING * (rate - self._rate)
            self._foreign_mb, self._seen_at = foreign_mb, now
        return min(SHARE_MOST * limit_mb, max(SHARE * limit_mb, LEAST_MB, self._rate * REACTION_S))
