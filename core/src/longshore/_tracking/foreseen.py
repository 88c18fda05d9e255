"""When a run will be over, where it is known how long its tasks took before: expectations in, a range of seconds out.

The fold tells of tasks that ended, and the snapshot asks. With e what a task is expected to take, a the age of one that
runs, p how many have run at once on average, and r how much longer than expected those took that ended, the range spans

    low  = max(sum of what is left / (1 + doubt) / p, the longest of what is left, less its doubt)
    high = max(sum of what is left * (1 + doubt) / p + the longest that waits * (1 - 1/p), the longest that runs)

The first term of `high` is Graham's bound: whatever their order, tasks end no later than that. The doubt of one task
is 1.64 times c and the doubt of r together, with c the root mean square by which those that ended were off from r * e,
over e. That of a sum is smaller, for errors of single tasks cancel each other out, but not that of r, which all have in
common. At first r is 1, c is what reruns were seen to be off by (_OFF), and r may be off as far as a machine that
others use (_DRIFT); what has ended says more of both the more tasks it is, and of the more even size. A task that runs
longer than expected counts as if it had ended, and may take as long again as it is over. What lies between tasks is not
measured, and of very short ones it is most of the time: up to 5 ms a task, `high` goes by the rate at which tasks end
now, where that says more. In simulated runs nine ranges of ten hold the truth where the machine is as fast as before,
eight where it is not and tasks begin by their size: then those that end first are those that took less than expected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import NamedTuple

from longshore.task import Attempt, Outcome, TaskState

_SPREADS = 1.64  # standard deviations to each side: 90 % of cases
_BEFORE, _OFF, _DRIFT = 5.0, 0.3, 0.5  # as if so many had ended, off by so much; and how far off r is at first
_START_S = 2.0  # as if so much had ended as expected: the first tasks of a worker take its start and imports along
_LEAST_S, _MOST_S = 1e-6, 1e9  # of durations
_COVERED = 0.5
_FASTER = 2.0  # what is handed out together waits in the worker: by the number of those that run, p would be too large
_BETWEEN_MOST_S = 0.005

_At = tuple[str, str]
"""The name and the key of a task."""


class Ratio(NamedTuple):
    """How tasks compare with what was expected of them."""

    ratio: float
    """How much longer they take."""
    off: float
    """How far off a single one is, as a part of what it should have taken by the ratio."""
    doubt: float
    """How far off the ratio may be, as a part of it."""

    @property
    def single(self) -> float:
        """How far off what is said of a single one may be, in all but the unlikely cases."""
        return _SPREADS * sqrt(self.off * self.off + self.doubt * self.doubt)


class Left(NamedTuple):
    """What is asked of: how many tasks have not ended, and what of them runs, as the fold knows it."""

    tasks: int
    running: int
    oldest: Sequence[tuple[Attempt, float]]
    """The oldest that run, with their ages."""
    elapsed_s: float
    """Since the first task started."""
    rate_per_s: float
    """Of tasks that end, over the last seconds; 0.0 for none."""
    mean_s: float
    """What those took that ended, and `variation` their deviation as a part of that."""
    variation: float


class Foreseen:
    """How long the tasks that have not ended are expected to take.

    Written by the fold's thread; `remaining_s` may be called from any. Costs 1 us a task that ends, and in memory an
    entry for each that has not.
    """

    __slots__ = ("_absent", "_busy_s", "_never", "_pending", "_rising", "_seen", "_squares", "_stages", "_sum")

    def __init__(self) -> None:
        """Expect nothing."""
        self._pending: dict[_At, float] = {}
        self._rising: list[tuple[float, _At]] = []
        self._sum = self._squares = 0.0  # over what is pending
        self._stages: dict[str, list[str]] = {}  # by key
        self._absent: dict[str, int] = {}  # by key: tasks that are counted on, and are not expected to come
        self._never = 0  # all of these
        self._seen = _Seen()
        self._busy_s = 0.0

    def expect(self, seconds: Mapping[str, Mapping[str, float]], stages: int) -> None:
        """Expect tasks: seconds by key and name; of the `stages` that each key is counted for, only those named come.

        What is no number of seconds above 0 counts as nothing at all.
        """
        self.forget(seconds)
        for key, named in seconds.items():
            for name, took in named.items():
                self._pending[name, key] = took = took if 0.0 < took < _MOST_S else 0.0
                self._sum += took
                self._squares += took * took
            self._stages[key] = list(named)
            self._miss(key, max(0, stages - len(named)))
        self._rising = sorted((took, at) for at, took in self._pending.items())

    def forget(self, keys: Iterable[str]) -> None:
        """Expect nothing more of these."""
        for key in keys:
            for name in self._stages.pop(key, ()):
                self._drop((name, key))
            self._never -= self._absent.pop(key, 0)

    def run(self, seconds: float) -> None:
        """Take note of how long an attempt has run."""
        self._busy_s += seconds

    def settle(self, name: str, outcomes: Sequence[Outcome]) -> None:
        """Take in tasks that ended; what failed does not come to the stages after it."""
        for outcome in outcomes:
            key = outcome.key or ""
            expected = self._drop((name, key))
            if not outcome.restored:
                self._busy_s += outcome.ran_s
                if expected and outcome.attempts == 1 and outcome.state is not TaskState.CANCELLED:
                    self._seen.add(expected, outcome.ran_s)
            if expected is None and self._absent.get(key):
                self._miss(key, -1)
            elif not outcome.ok and key in self._stages:
                self._miss(key, sum(self._drop((stage, key)) is not None for stage in self._stages[key]))

    def covers(self, tasks: int) -> bool:
        """Tell whether this says enough of so many tasks that have not ended."""
        return bool(self._stages) and self._unknown(tasks) <= (1.0 - _COVERED) * tasks

    def remaining_s(self, left: Left) -> tuple[float, float]:
        """Return the least and the most seconds that what is left will likely take."""
        pending, running = self._pending, {(one.spec.name, one.key or ""): age for one, age in left.oldest}
        runs = [(pending.get(at, 0.0), age) for at, age in running.items() if at in pending]
        seen = self._seen.of(pair for pair in runs if pair[1] > pair[0])
        ratio, single = seen.ratio, seen.single
        aged = [(ratio * took, age) for took, age in runs]
        low = [max(0.0, took / (1.0 + single) - age) for took, age in aged]
        high = [max(0.0, took * (1.0 + single) - age, age - took) for took, age in aged]
        longest = ratio * next(
            (took for took, at in reversed(self._rising) if at in pending and at not in running), 0.0
        )
        waiting = max(0.0, ratio * self._sum - sum(took for took, _ in aged))
        waiting, doubt = self._waiting(waiting, left, seen)
        usual = self._at_once(left)
        most = min(max(usual, float(left.running)), _FASTER * usual)
        least_s = max((waiting / (1.0 + doubt) + sum(low)) / most, longest / (1.0 + single), *low)
        drained_s = (waiting * (1.0 + doubt) + sum(high)) / usual + longest * (1.0 + single) * (1.0 - 1.0 / usual)
        if left.rate_per_s > 0.0:
            drained_s = max(
                drained_s, min(left.tasks / left.rate_per_s, drained_s + left.tasks * _BETWEEN_MOST_S / usual)
            )
        return least_s, max(least_s, drained_s, *high)

    def _waiting(self, expected_s: float, left: Left, seen: Ratio) -> tuple[float, float]:
        """Return what all that waits will take, and how far off that may be, as a part of it."""
        unknown = self._unknown(left.tasks)
        usual_s = left.mean_s or seen.ratio * self._sum / max(1, len(self._pending))
        sum_s = expected_s + unknown * usual_s
        if sum_s <= 0.0:
            return 0.0, 0.0
        own = max(0.0, self._squares) * (seen.ratio * seen.off) ** 2
        drawn = unknown * (left.variation * usual_s) ** 2
        return sum_s, _SPREADS * sqrt(own + drawn + (seen.doubt * expected_s) ** 2) / sum_s

    def _at_once(self, left: Left) -> float:
        """Return how many tasks have run at once on average."""
        ages = [age for _, age in left.oldest]
        younger = max(0, left.running - len(ages)) * min(ages, default=0.0)
        if left.elapsed_s <= 0:
            return float(max(1, left.running))
        return max(1.0, (self._busy_s + sum(ages) + younger) / left.elapsed_s)

    def _unknown(self, tasks: int) -> int:
        """Return of how many of the tasks that have not ended nothing is known."""
        return max(0, tasks - len(self._pending) - self._never)

    def _miss(self, key: str, tasks: int) -> None:
        self._absent[key] = self._absent.get(key, 0) + tasks
        self._never += tasks

    def _drop(self, at: _At) -> float | None:
        took = self._pending.pop(at, None)
        if took is not None:
            self._sum -= took
            self._squares -= took * took
            while self._rising and self._rising[-1][1] not in self._pending:
                self._rising.pop()
        return took


class _Seen:
    """What tasks took, beside what they were expected to."""

    __slots__ = ("_both", "_expected", "_expected2", "_took", "_took2")

    def __init__(self) -> None:
        self._expected = self._took = self._expected2 = self._took2 = self._both = 0.0

    def add(self, expected: float, took: float) -> None:
        if expected < _LEAST_S:
            return
        took = max(took, _LEAST_S)
        self._expected += expected
        self._took += took
        self._expected2 += expected * expected
        self._took2 += took * took
        self._both += expected * took

    def of(self, more: Iterable[tuple[float, float]]) -> Ratio:
        """Return how tasks compare with what was expected of them, with `more` of what was expected and came."""
        seen = _Seen()
        for name in _Seen.__slots__:
            setattr(seen, name, getattr(self, name))
        for expected, took in more:
            seen.add(expected, took)
        return seen._ratio()

    def _ratio(self) -> Ratio:
        if not self._expected:
            return Ratio(1.0, _OFF, _DRIFT)
        # So many tasks of like size would say as much: one that is much larger than all others is about one.
        weighed = self._expected + _START_S
        count = self._expected * self._expected / self._expected2 * self._expected / weighed
        ratio = (self._took + _START_S) / weighed
        squares = self._took2 - 2.0 * ratio * self._both + ratio * ratio * self._expected2
        square = max(0.0, squares) / (ratio * ratio * (self._expected2 + _START_S * _START_S / _BEFORE))
        off = sqrt((count * square + _BEFORE * _OFF * _OFF) / (count + _BEFORE))
        doubt = 1.0 / sqrt(count / (off * off) + 1.0 / (_DRIFT * _DRIFT))
        return Ratio(ratio ** (count * doubt * doubt / (off * off)), off, doubt)
