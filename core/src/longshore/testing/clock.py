"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class FakeClock:
    """Monotonic seconds and a wall clock; time passes only by `advance`, and is never taken back."""

    def __init__(self, now: float = 0.0, wall: datetime = _START) -> None:
        """Start at monotonic `now` and at the timezone-aware `wall`."""
        if wall.tzinfo is None:
            raise ValueError("FakeClock needs a timezone-aware wall clock")
        self._now = now
        self._wall = wall

    def monotonic(self) -> float:
        """Return the monotonic seconds; give this bound method where a clock is wanted."""
        return self._now

    def wall(self) -> datetime:
        """Return the wall clock, timezone-aware."""
        return self._wall

    def advance(self, seconds: float) -> float:
        """Let `seconds` pass on both clocks; return the monotonic time."""
        if seconds < 0:
            raise ValueError(f"time passes forwards only, not by {seconds} s")
        self._now += seconds
        self._wall += timedelta(seconds=seconds)
        return self._now

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forwards or back, as an administrator or a time server does; no time passes."""
        self._wall += timedelta(seconds=seconds)


__all__ = ["FakeClock"]
