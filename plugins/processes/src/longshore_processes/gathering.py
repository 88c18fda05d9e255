"""When the pool is told of what has ended: waking it costs the same for one outcome as for many.

Used by whoever holds the baton (`handover.py`); the time is given.
"""

from __future__ import annotations

from typing import Final

_MOST: Final = 512
_MOST_S: Final = 0.004


class Gathering:
    """Outcomes are held back while there is more to do meanwhile, up to a number and for a moment."""

    __slots__ = ("until",)

    def __init__(self) -> None:
        """Hold back nothing."""
        self.until: float | None = None
        """When what is held back is told at the latest; None while nothing is."""

    def goes_on(self, count: int, now: float, *, more: bool) -> bool:
        """Tell whether `count` outcomes, at least one, are to wait for others; `more` says that others are coming."""
        if self.until is None:
            self.until = now + _MOST_S
        if more and count < _MOST and now < self.until:
            return True
        self.until = None
        return False
