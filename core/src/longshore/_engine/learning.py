"""What tasks of a kind take, as they were seen to: peaks of memory and cores come in, what to set aside goes out.

A kind is a name and the size of the input, in steps. Of memory the estimate is `max(q95, recent max) x 1.15`: as a
kind's tasks grow it follows at once, as they shrink it falls slowly. A task that was ended before its peak counts as a
lower bound. CPU is recorded and never set aside. Fed by the engine with what executors report; its state is JSON-safe,
so that a journal can keep it for the next run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

from longshore._sketch import Sketch
from longshore.task import TaskSpec

FACTOR = 1.15
"""What is set aside is so much more than what was seen: peaks are seen in steps, and the next input is another."""
QUANTILE = 0.95
FIRST_QUANTILE = 0.8
"""At least so many are to have enough at first, where the others are ended and run again."""
RECENT = 50
"""Of so many tasks that ended last, the largest counts whatever the quantile says."""
DECAY = 0.98
"""With each task that took less, an estimate keeps at least this part of itself."""
RETRY_FACTOR = 2.0
SEEN_FACTOR = 1.5
SURE_AFTER = 8
"""After so many tasks an estimate is trusted: until then 1, 2, 4 of a kind run at once."""
KINDS_MOST = 512
BUCKETS_MOST = 256
_GENERATION = 200  # a quantile is of the last one to two hundred tasks and more, so that it forgets
_LOOK_EVERY = 32  # the quantile is asked for anew with each so many samples: it costs a tenth of a millisecond
_SMALL_BYTES = 1 << 16
_ITEM_BYTES = 64  # what an item of a container is taken to be, roughly: only the power of four counts
_STEP_BITS = 2


class Kind(NamedTuple):
    """Tasks that are expected to take alike: one name, and inputs of like size."""

    name: str
    bucket: int = 0
    """0 up to 64 KiB, then one more with each fourfold size."""

    @staticmethod
    def name_of(spec: TaskSpec) -> str:
        """Return the name that the tasks of a spec have in common."""
        return spec.processor or spec.name

    @classmethod
    def of(cls, spec: TaskSpec, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Self:  # Any: the user's
        """Return the kind of a task with these arguments."""
        return cls(cls.name_of(spec), size_bucket(input_bytes(args, kwargs)))


def input_bytes(args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> int:  # Any: the user's arguments
    """Return about how large arguments are, by what texts, bytes and containers say of their length at no price.

    Other objects count as nothing: asking them could run anybody's code.
    """
    total = 0
    for value in (*args, *kwargs.values()) if kwargs else args:
        kind = type(value)
        if kind in _FLAT:
            total += len(value)
        elif kind in _CONTAINERS:
            total += _ITEM_BYTES * len(value)
    return total


_FLAT = frozenset({bytes, bytearray, str})
_CONTAINERS = frozenset({list, tuple, set, frozenset, dict})


def size_bucket(size_bytes: int) -> int:
    """Return the step that a size is in: 0 up to 64 KiB, then one more with each fourfold size."""
    return -(-((size_bytes - 1) // _SMALL_BYTES).bit_length() // _STEP_BITS) if size_bytes > _SMALL_BYTES else 0


def most_bytes(bucket: int) -> int:
    """Return the largest size that is in a step."""
    return _SMALL_BYTES << (_STEP_BITS * bucket)


def cold_start_mb(limit_mb: float, workers: int) -> float:
    """Return what is set aside for a task of which nothing is known: its worker's share of all there is."""
    return limit_mb / max(1, workers)


def starts_at_once(known: int) -> int:
    """Return how many tasks of a kind may run at once, where `known` of them have shown what they take: 1, 2, 4 ..."""
    return 1 << ((known + 1).bit_length() - 1)


def raised_mb(reserved_mb: float, seen_mb: float, limit_mb: float) -> float:
    """Return what to set aside for a task that was ended for its memory: `max(2 r, 1.5 x seen)`, or the limit."""
    return min(limit_mb, max(RETRY_FACTOR * reserved_mb, SEEN_FACTOR * seen_mb))


class Taken:
    """What tasks of one kind took."""

    __slots__ = (
        "_before",
        "_floor",
        "_floor_left",
        "_level",
        "_look",
        "_now",
        "_recent",
        "_target",
        "cores",
        "count",
        "ended",
    )

    def __init__(self) -> None:
        """Have seen none."""
        self.count = 0
        """Of how many tasks the peak is known."""
        self.ended = 0
        """How many were ended before their peak, so that only a lower bound is known."""
        self.cores: float | None = None
        """Cores one task uses, smoothed over the last ones; None where that is not known."""
        self._now, self._before = Sketch(BUCKETS_MOST), Sketch(BUCKETS_MOST)
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._floor = 0.0  # what the last tasks took that were ended: they would have taken more
        self._floor_left = 0
        self._look = 0
        self._target = self._level = 0.0

    @property
    def memory_mb(self) -> float | None:
        """What to set aside for the next one; None while nothing is known."""
        return self._level * FACTOR if self.count or self.ended else None

    @property
    def most_mb(self) -> float:
        """The largest of the last tasks."""
        return max(self._recent, default=0.0)

    @property
    def first_mb(self) -> float | None:
        """What to set aside at first, where who takes more is ended and runs again with the most: it costs least.

        Of the last peaks, the one for which the memory of a first try, and that of a second for those above it, come to
        least on average; no more than one of five is to be above. For a kind with two humps that is the lower one,
        while few of its tasks are in the upper.
        """
        peaks = sorted(self._recent)
        if not peaks:
            return self.memory_mb
        count, most = len(peaks), peaks[-1]
        best = min(
            range(int(FIRST_QUANTILE * (count - 1)), count), key=lambda at: peaks[at] + (count - 1 - at) / count * most
        )
        return peaks[best] * FACTOR

    def saw(self, peak_mb: float, cores: float | None = None) -> None:
        """Count a task that took `peak_mb` at most, and used so many cores."""
        if cores is not None:
            self.cores = cores if self.cores is None else self.cores + 0.1 * (cores - self.cores)
        self.count += 1
        self._add(peak_mb)
        self._recent.append(peak_mb)
        if self._floor_left:
            self._floor_left -= 1
            if not self._floor_left:
                self._floor, self._look = 0.0, 0
        self._look -= 1
        if self._look < 0 or peak_mb > self._target:
            self._settle()
        self._level = max(self._target, self._level * DECAY)

    def cut_off(self, seen_mb: float) -> None:
        """Count a task that had taken `seen_mb` when it was ended, and would have taken more."""
        self.ended += 1
        self._add(seen_mb)
        self._floor, self._floor_left = max(self._floor, seen_mb), RECENT
        self._settle()
        self._level = max(self._level, self._target)

    def _add(self, mb: float) -> None:
        if self._now.count >= _GENERATION:
            self._before, self._now = self._now, Sketch(BUCKETS_MOST)
        self._now.add(mb)

    def _settle(self) -> None:
        """Set what the estimate goes to."""
        self._look = _LOOK_EVERY
        both = Sketch(BUCKETS_MOST)
        both.merge(self._before)
        both.merge(self._now)
        self._target = max(both.quantile(QUANTILE) or 0.0, self.most_mb, self._floor)

    def to_dict(self) -> dict[str, Any]:  # Any: JSON-safe values
        """Return all that is known, in JSON-safe values."""
        return {
            "count": self.count,
            "ended": self.ended,
            "cores": self.cores,
            "now": self._now.to_dict(),
            "before": self._before.to_dict(),
            "recent": list(self._recent),
            "floor": [self._floor, self._floor_left],
            "level": self._level,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:  # Any: JSON-safe values
        """Return what `to_dict` told of; KeyError, TypeError or ValueError for anything else."""
        taken = cls()
        taken.count, taken.ended = int(state["count"]), int(state["ended"])
        taken.cores = None if state["cores"] is None else float(state["cores"])
        taken._now = Sketch.from_dict(state["now"], BUCKETS_MOST)
        taken._before = Sketch.from_dict(state["before"], BUCKETS_MOST)
        taken._recent.extend(float(value) for value in state["recent"])
        taken._floor, taken._floor_left = float(state["floor"][0]), int(state["floor"][1])
        taken._settle()
        taken._level = float(state["level"])
        return taken


class Learning:
    """What is known of each kind; the kinds heard of longest ago are forgotten past `KINDS_MOST`."""

    __slots__ = ("_kinds", "changes")

    def __init__(self) -> None:
        """Know none."""
        self._kinds: dict[Kind, Taken] = {}
        self.changes = 0
        """Rises with all that is learnt: who keeps the state need not keep what has not changed."""

    def __len__(self) -> int:
        """Return how many kinds are known."""
        return len(self._kinds)

    def items(self) -> Iterator[tuple[Kind, Taken]]:
        """Yield what is known by kind, the one heard of last at the end."""
        yield from self._kinds.items()

    def saw(self, kind: Kind, peak_mb: float, cores: float | None = None) -> Taken:
        """Learn from a task that ended by itself."""
        taken = self._of(kind)
        taken.saw(peak_mb, cores)
        return taken

    def cut_off(self, kind: Kind, seen_mb: float) -> Taken:
        """Learn from a task that was ended while it took `seen_mb`."""
        taken = self._of(kind)
        taken.cut_off(seen_mb)
        return taken

    def get(self, kind: Kind) -> Taken | None:
        """Return what is known of a kind; of one that is new, what is known of the same name with smaller inputs."""
        for bucket in range(kind.bucket, -1, -1):
            taken = self._kinds.get(Kind(kind.name, bucket))
            if taken is not None:
                return taken
        return None

    def _of(self, kind: Kind) -> Taken:
        self.changes += 1
        taken = self._kinds.pop(kind, None) or Taken()
        self._kinds[kind] = taken
        if len(self._kinds) > KINDS_MOST:
            del self._kinds[next(iter(self._kinds))]
        return taken

    def to_dict(self) -> dict[str, Any]:  # Any: JSON-safe values
        """Return all that is known in JSON-safe values, for `from_dict`."""
        kinds = [[kind.name, kind.bucket, taken.to_dict()] for kind, taken in self._kinds.items()]
        return {"version": 1, "kinds": kinds}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:  # Any: whatever was kept
        """Return what `to_dict` told of. What can't be read is left out: it is learnt anew."""
        learning = cls()
        kinds = state.get("kinds") if state.get("version") == 1 else None
        for entry in kinds if isinstance(kinds, Sequence) else ():
            try:
                name, bucket, taken = entry
                learning._kinds[Kind(str(name), int(bucket))] = Taken.from_dict(taken)
            except (KeyError, TypeError, ValueError, IndexError):
                continue
        return learning
