"""The memory of one GPU: what is measured and what is lent come in, what is free comes out. Called by `devices`.

It counts once: what is measured, and what is lent and does not show in that yet. Nobody says whose the memory is that
is used (the process ids a driver gives mean little in a container), so what rose while something was lent is taken to
be ours, as far as that may have taken so much. Workers keep such memory when their task has ended, for the next one: it
is not free for others, and is free for us.
"""

from __future__ import annotations

from math import inf

from longshore.records import Device


class DeviceMemory:
    """Use and loans of one device, in MB; while nothing is measured, what is lent of its last known size counts."""

    __slots__ = ("_is_measured", "_kept_mb", "_lent_mb", "_may_mb", "_others_mb", "_peak_mb", "_used_mb", "total_mb")

    def __init__(self) -> None:
        """Know nothing."""
        self.total_mb = inf
        """All there is; infinite where nobody ever said."""
        self._is_measured = False
        self._used_mb = 0.0
        self._others_mb = 0.0
        self._kept_mb = 0.0  # ours, and of no running task
        self._lent_mb = 0.0
        self._may_mb = 0.0  # what running tasks may have taken: more than what is lent, where they gave no figure
        self._peak_mb = 0.0  # the most that ours may have taken since they began

    @property
    def usable_mb(self) -> float:
        """What is not used by others; 0 where nobody ever said."""
        return self.total_mb - self._others_mb if self.total_mb < inf else 0.0

    @property
    def free_mb(self) -> float:
        """What can be lent now."""
        return self.total_mb - max(self._used_mb - self._kept_mb, self._others_mb + self._lent_mb)

    def see(self, measured: Device | None, *, lent: bool) -> None:
        """Take what is measured now, while anything of the device is lent or not."""
        if measured is not None and measured.memory_mb is not None:
            self.total_mb = measured.memory_mb
        if measured is None or measured.memory_mb is None or measured.memory_used_mb is None:
            self._is_measured = False
            self._used_mb = self._others_mb = self._kept_mb = 0.0
            return
        used_mb = self._used_mb = measured.memory_used_mb
        if not self._is_measured:  # the first, or the first again: all that may be ours is
            self._is_measured = True
            self._others_mb, self._kept_mb = max(0.0, used_mb - self._lent_mb), 0.0
        ours_mb = max(0.0, used_mb - self._others_mb)
        if lent:
            self._others_mb, self._kept_mb = min(self._others_mb, used_mb), min(self._kept_mb, ours_mb)
        else:
            self._kept_mb = self._peak_mb = min(ours_mb, self._peak_mb)
            self._others_mb = used_mb - self._kept_mb

    def lend(self, memory_mb: float, may_mb: float, *, first: bool) -> None:
        """Lend so much, to a task that may take `may_mb`; `first` if nothing of the device was lent."""
        self._lent_mb += memory_mb
        self._may_mb += may_mb
        self._peak_mb = max(self._kept_mb if first else self._peak_mb, self._may_mb)

    def take_back(self, memory_mb: float, may_mb: float, *, last: bool) -> None:
        """Take so much back; `last` if nothing of the device is lent any more."""
        self._lent_mb = 0.0 if last else self._lent_mb - memory_mb
        self._may_mb = 0.0 if last else self._may_mb - may_mb
        # What shows and is not what others that run may have taken is what this one leaves, until it is measured anew.
        left_mb = max(0.0, self._used_mb - self._others_mb - self._kept_mb - self._may_mb)
        self._kept_mb += min(may_mb, left_mb)
