"""When a worker has done enough, or has grown too much, and another is to take its place.

Used on the supervisor's thread only.
"""

from __future__ import annotations

from typing import NamedTuple

from longshore_processes.handle import Handle


class Recycling(NamedTuple):
    """How long a worker is kept; None is for ever."""

    max_tasks: int | None = None
    """Attempts that one worker runs, failed ones included."""
    max_memory_mb: float | None = None
    """MB of its own that it may have after a task; what initializers keep counts, too."""

    @property
    def on(self) -> bool:
        """Whether workers are ever replaced for these."""
        return self.max_tasks is not None or self.max_memory_mb is not None

    def left(self, handle: Handle) -> int | None:
        """Return how many more attempts a worker may be given, None for any number."""
        if self.max_tasks is None:
            return None
        return max(0, self.max_tasks - handle.completed - handle.failed - handle.waiting())

    def is_spent(self, handle: Handle) -> bool:
        """Tell whether a worker has been given all that it may run."""
        return self.left(handle) == 0

    def is_overgrown(self, handle: Handle) -> bool:
        """Tell whether a worker has grown too much; asked between tasks."""
        if self.max_memory_mb is None:
            return False
        gauge = handle.gauge()
        return gauge is not None and gauge.own_mb() > self.max_memory_mb
