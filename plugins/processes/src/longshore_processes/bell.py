"""A bell: by it other threads wake one that waits in a selector."""

from __future__ import annotations

import os
from contextlib import suppress
from math import inf
from typing import Final

_MOST: Final = 4096
_SOON_S: Final = 0.02


class Bell:
    """A pipe; ringing it again before it was heard costs next to nothing."""

    __slots__ = ("_far", "_near", "_rung", "looks_at")

    def __init__(self) -> None:
        """Open the pipe."""
        self._near, self._far = os.pipe()
        os.set_blocking(self._near, False)
        os.set_blocking(self._far, False)
        self._rung = False
        self.looks_at = inf
        """When who listens looks by itself. To be set before looking a last time at what it might be rung for."""

    def fileno(self) -> int:
        """Return what is ready for reading when it was rung."""
        return self._near

    def ring(self) -> None:
        """Wake who listens; from any thread, never blocks."""
        if not self._rung:
            self._rung = True
            with suppress(OSError):  # full: it is awake; closed: it is over
                os.write(self._far, b"\0")

    def ring_unless_soon(self, now: float) -> None:
        """Wake who listens, unless it looks by itself soon; from any thread, never blocks."""
        if self.looks_at - now > _SOON_S:
            self.ring()

    def heard(self) -> None:
        """Have it silent again; to be called before looking at what it was rung for: what comes later rings again."""
        with suppress(BlockingIOError):
            os.read(self._near, _MOST)
        self._rung = False

    def close(self) -> None:
        """Close the pipe; ringing it does nothing from now on."""
        os.close(self._near)
        far, self._far = self._far, -1
        os.close(far)
