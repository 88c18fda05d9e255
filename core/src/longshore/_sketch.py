"""A quantile sketch over logarithmic buckets: durations in, quantiles within 1 % out, in bounded space.

Called by the fold for a sample of the run times, by the statistics for every task, by the ETA, and by the engine for
the memory of tasks. Sketches of parts merge into that of the whole. Written by one thread; it may be read from any.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from math import ceil, exp, inf, log, sqrt
from typing import Any, Self

RELATIVE_ERROR = 0.01
SMALLEST = 1e-9
"""Anything smaller counts as 0."""
BUCKETS_MOST = 2048
"""Enough for seventeen orders of magnitude; past it, the lowest buckets are put together."""
KEPT_MOST = 100
"""So many values are kept as they are: of few, quantiles are exact."""

_LOG_GAMMA = log((1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR))  # of the ratio of a bucket's upper to its lower end
_PER_LOG = 1.0 / _LOG_GAMMA
_ZERO = ceil(log(SMALLEST) * _PER_LOG) - 1  # the bucket of what counts as 0


class Sketch:
    """Counts of numbers from 0 on; adding costs 0.3 us. Count, mean, deviation and both ends are exact."""

    __slots__ = ("_buckets", "_buckets_most", "_floor", "_kept", "_spread", "count", "least", "mean", "most")

    def __init__(self, buckets_most: int = BUCKETS_MOST) -> None:
        """Make an empty sketch of at most so many buckets."""
        self._buckets: dict[int, int] = {}
        self._buckets_most = buckets_most
        self._floor = _ZERO  # the lowest bucket there may be
        self._kept: list[float] | None = []
        self._spread = 0.0  # sum of the squared distances from the mean
        self.count = 0
        self.mean = 0.0
        """The mean of what was added; 0.0 while there is none."""
        self.least = inf
        self.most = 0.0

    def add(self, value: float) -> None:
        """Count `value`; what is negative or no finite number counts as 0."""
        if not 0.0 <= value < inf:
            value = 0.0
        # Comparisons, and no calls: it is made for every task of the statistics.
        bucket = ceil(log(value) * _PER_LOG) if value >= SMALLEST else _ZERO
        if bucket < self._floor:
            bucket = self._floor
        buckets = self._buckets
        buckets[bucket] = buckets.get(bucket, 0) + 1
        if len(buckets) > self._buckets_most:
            self._collapse()
        if self._kept is not None:
            self._keep((value,))
        self.count = count = self.count + 1
        off = value - self.mean
        self.mean = mean = self.mean + off / count
        self._spread += off * (value - mean)
        if value < self.least:
            self.least = value
        if value > self.most:
            self.most = value

    def merge(self, other: Sketch) -> None:
        """Take in what `other` has counted, as if it had been added here."""
        if not other.count:
            return
        buckets = self._buckets
        for bucket, count in other._buckets.copy().items():
            bucket = max(self._floor, bucket)
            buckets[bucket] = buckets.get(bucket, 0) + count
            if len(buckets) > self._buckets_most:
                self._collapse()
        if self._kept is not None:
            self._keep(other._kept)
        whole, off = self.count + other.count, other.mean - self.mean
        self._spread += other._spread + off * off * self.count * other.count / whole
        self.mean += off * other.count / whole
        self.count = whole
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)

    def ranked(self) -> Ranked:
        """Return what is counted now, in order, to ask more than one thing of."""
        kept = self._kept
        if kept is not None:
            return Ranked([(value, 1) for value in sorted(kept)])
        least, most, buckets = self.least, self.most, self._buckets.copy()
        return Ranked([(min(most, max(least, _value(bucket))), buckets[bucket]) for bucket in sorted(buckets)])

    def quantile(self, share: float) -> float | None:
        """Return the value that `share` (0 to 1) of all are at most, within 1 %; None while there is none."""
        return self.ranked().quantile(share)

    @property
    def median(self) -> float | None:
        """The middle value, within 1 %; of an even number the mean of the two in the middle."""
        return self.ranked().median

    @property
    def deviation(self) -> float:
        """The standard deviation, of a sample; 0.0 while there are fewer than two."""
        return sqrt(max(0.0, self._spread / (self.count - 1))) if self.count > 1 else 0.0

    @property
    def variation(self) -> float:
        """The standard deviation as a fraction of the mean; 0.0 while there are fewer than two."""
        return self.deviation / self.mean if self.mean > 0 else 0.0

    @property
    def buckets(self) -> int:
        """How many buckets there are."""
        return len(self._buckets)

    def to_dict(self) -> dict[str, Any]:  # Any: JSON-safe values
        """Return all it has counted in JSON-safe values, for `from_dict`."""
        return {
            "buckets": [[bucket, count] for bucket, count in sorted(self._buckets.items())],
            "floor": self._floor,
            "kept": self._kept,
            "count": self.count,
            "mean": self.mean,
            "spread": self._spread,
            "least": self.least if self.count else None,
            "most": self.most,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], buckets_most: int = BUCKETS_MOST) -> Self:  # Any: JSON-safe values
        """Return a sketch that has counted what `to_dict` told of another; KeyError, TypeError or ValueError else."""
        sketch = cls(buckets_most)
        sketch._buckets = {int(bucket): int(count) for bucket, count in state["buckets"]}
        sketch._floor = int(state["floor"])
        sketch._kept = None if state["kept"] is None else [float(value) for value in state["kept"]]
        sketch.count, sketch.mean, sketch._spread = int(state["count"]), float(state["mean"]), float(state["spread"])
        sketch.least = inf if state["least"] is None else float(state["least"])
        sketch.most = float(state["most"])
        return sketch

    def _collapse(self) -> None:
        """Put the lowest bucket into the next one, and whatever comes below that."""
        low = self._buckets.pop(min(self._buckets))
        self._floor = min(self._buckets)
        self._buckets[self._floor] += low

    def _keep(self, values: Iterable[float] | None) -> None:
        """Keep these values, unless there are too many, or they are not all known."""
        kept = None if values is None or self._kept is None else [*self._kept, *values]
        self._kept = kept if kept is not None and len(kept) <= KEPT_MOST else None


class Ranked:
    """Values in order, and how often each counts: a sketch at one moment."""

    __slots__ = ("_upto", "_values")

    def __init__(self, counted: Sequence[tuple[float, int]]) -> None:
        """Take values in rising order with their counts."""
        self._values = [value for value, _ in counted]
        self._upto = list(accumulate((count for _, count in counted), initial=0))

    def quantile(self, share: float, *, beyond: float = -1.0) -> float | None:
        """Return the value that `share` of those greater than `beyond` are at most; None where there are none."""
        below = self._upto[bisect_right(self._values, beyond)]
        count = self._upto[-1] - below
        return self._at(below + int(share * (count - 1))) if count else None

    def count(self, *, beyond: float) -> int:
        """Return how many values are greater than `beyond`."""
        return self._upto[-1] - self._upto[bisect_right(self._values, beyond)]

    def logs(self, *, beyond: float) -> float:
        """Return the sum of log(value / beyond) over the values greater than `beyond`."""
        first = bisect_right(self._values, beyond)
        counts = [above - below for below, above in pairwise(self._upto[first:])]
        return sum(log(value / beyond) * count for value, count in zip(self._values[first:], counts, strict=True))

    @property
    def median(self) -> float | None:
        """The middle value; of an even number the mean of the two in the middle; None while there is none."""
        count = self._upto[-1]
        return (self._at((count - 1) // 2) + self._at(count // 2)) / 2 if count else None

    def _at(self, rank: int) -> float:
        """Return the value at a rank from 0."""
        return self._values[bisect_right(self._upto, rank) - 1]


def _value(bucket: int) -> float:
    """Return the point of a bucket that is off by at most the error from both its ends."""
    return 0.0 if bucket <= _ZERO else exp(bucket * _LOG_GAMMA) * (1.0 - RELATIVE_ERROR)
