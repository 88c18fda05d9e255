"""The laws of the estimate that goes by what tasks took before, and how often it is right in simulated runs."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore._tracking.eta import AGES_MOST
from longshore._tracking.foreseen import Foreseen, Left
from longshore.task import Attempt, Outcome, TaskSpec, TaskState

WORK = TaskSpec(function=print, name="work", executor="threads")
SECONDS = st.floats(0.0, 1e5)


def ended(key: str, ran_s: float, state: TaskState = TaskState.COMPLETED, **facts: object) -> Outcome:
    return Outcome(f"t-{key}", key, 0, "work", state, ran_s=ran_s, **facts)  # type: ignore[arg-type]


def running(key: str) -> Attempt:
    return Attempt(f"t-{key}", WORK, (), None, 0, key, 1, 0.0, None, None)


def left(tasks: int, ages: dict[str, float] | None = None, **facts: float) -> Left:
    oldest = sorted(((running(key), age) for key, age in (ages or {}).items()), key=lambda pair: -pair[1])
    given = {"elapsed_s": 0.0, "rate_per_s": 0.0, "mean_s": 0.0, "variation": 0.0, **facts}
    return Left(tasks=tasks, running=len(oldest), oldest=oldest, **given)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(SECONDS, SECONDS), max_size=40),
    st.lists(st.tuples(SECONDS, SECONDS), max_size=10),
    st.lists(SECONDS, max_size=40),
    st.integers(0, 30),
    *[st.just(0.0) | st.floats(1e-3, 1e6)] * 4,
)
def test_the_low_end_is_never_above_the_high_one(
    over: list[tuple[float, float]],
    runs: list[tuple[float, float]],
    waits: list[float],
    unknown: int,
    elapsed_s: float,
    rate_per_s: float,
    mean_s: float,
    variation: float,
) -> None:
    """Whatever was expected and whatever came, both ends are numbers from 0 on, in order."""
    expected = [*(took for took, _ in over), *(took for took, _ in runs), *waits]
    foreseen = Foreseen()
    foreseen.expect({str(at): {"work": took} for at, took in enumerate(expected)}, 1)
    foreseen.settle("work", [ended(str(at), took) for at, (_, took) in enumerate(over)])
    ages = {str(len(over) + at): age for at, (_, age) in enumerate(runs)}
    facts = {"elapsed_s": elapsed_s, "rate_per_s": rate_per_s, "mean_s": mean_s, "variation": variation}
    low, high = foreseen.remaining_s(left(len(runs) + len(waits) + unknown, ages, **facts))
    assert 0.0 <= low <= high < float("inf")


def test_before_a_task_has_ended_the_estimate_is_what_they_took() -> None:
    """Of a run that has just begun the range holds the sum of what all took before, divided among those that run."""
    foreseen = Foreseen()
    foreseen.expect({str(at): {"work": 2.0} for at in range(100)}, 1)
    low, high = foreseen.remaining_s(left(100, dict.fromkeys("0123", 0.0)))
    assert low < 50.0 < high
    assert high < 4 * low


def test_the_longest_task_is_a_floor() -> None:
    """However many run at once, a run ends no sooner than the longest that is left, running or not."""
    foreseen = Foreseen()
    foreseen.expect({"long": {"work": 100.0}, **{str(at): {"work": 1.0} for at in range(8)}}, 1)
    low, high = foreseen.remaining_s(left(9, dict.fromkeys("0123", 0.5)))
    assert 50.0 < low < 100.0 < high
    foreseen.settle("work", [ended(str(at), 1.0) for at in range(8)])
    low, high = foreseen.remaining_s(left(1, {"long": 90.0}, elapsed_s=100.0))
    assert low <= 10.0 <= high


def test_a_slower_machine_is_taken_in() -> None:
    """Once tasks have ended that took twice as long as expected, so are those that are left."""
    foreseen = Foreseen()
    foreseen.expect({str(at): {"work": 1.0} for at in range(100)}, 1)
    foreseen.settle("work", [ended(str(at), 2.0) for at in range(50)])
    low, high = foreseen.remaining_s(left(50, {"50": 0.0}, elapsed_s=100.0))
    assert 85.0 < low < 100.0 < high < 120.0


def test_what_a_failure_takes_along_is_not_waited_for() -> None:
    """The later stages of a document that failed, and those that no run before had, are neither known nor unknown."""
    foreseen = Foreseen()
    foreseen.expect({"a": {"work": 1.0, "more": 9.0}, "b": {"work": 1.0}}, 2)
    assert foreseen.covers(4)
    foreseen.settle("work", [ended("a", 1.0, TaskState.FAILED), ended("b", 1.0)])
    assert foreseen.remaining_s(left(2, elapsed_s=2.0, mean_s=1.0)) == (0.0, 0.0)
    foreseen.settle("more", [ended("b", 5.0)])  # it comes all the same
    assert foreseen.remaining_s(left(1, elapsed_s=7.0, mean_s=1.0)) == (0.0, 0.0)


def test_what_is_forgotten_is_unknown_again() -> None:
    """After `forget` nothing is said for the tasks of these keys; with too much unknown, nothing is covered."""
    foreseen = Foreseen()
    foreseen.expect({key: {"work": 1.0} for key in "abcd"}, 3)
    assert foreseen.covers(12)
    assert not foreseen.covers(25)
    foreseen.forget("abc")
    assert not foreseen.covers(12)
    foreseen.forget("d")
    assert not foreseen.covers(1)


def test_recorded_outcomes_say_nothing_of_today() -> None:
    """What was recorded before the run went on is not pending, and its durations are no measure of this machine."""
    foreseen = Foreseen()
    foreseen.expect({key: {"work": 1.0} for key in "abcd"}, 1)
    foreseen.settle("work", [ended(key, 100.0, restored=True) for key in "abc"])
    low, high = foreseen.remaining_s(left(1, {"d": 0.0}))
    assert low < 1.0 < high < 2.0


class Simulated:
    """Tasks on four workers, each off from what is expected of it; `says` gives what is said at a part of the time."""

    def __init__(self, seed: int, *, off: float = 0.3, slower: float = 1.0, longest_first: bool) -> None:
        rng, free = random.Random(seed), [0.0] * 4
        self.expected = [rng.lognormvariate(0.0, 1.5) for _ in range(120)]
        if longest_first:
            self.expected.sort(reverse=True)
        self.spans: list[tuple[float, float]] = []
        for took in self.expected:
            worker = min(range(4), key=free.__getitem__)
            begun = free[worker]
            free[worker] += took * slower * rng.lognormvariate(0.0, off)
            self.spans.append((begun, free[worker]))
        self.end = max(free)

    def says(self, share: float) -> tuple[float, float, float]:
        now, foreseen = self.end * share, Foreseen()
        foreseen.expect({str(at): {"work": took} for at, took in enumerate(self.expected)}, 1)
        over = [(at, end - begun) for at, (begun, end) in enumerate(self.spans) if end <= now]
        foreseen.settle("work", [ended(str(at), took) for at, took in over])
        ages = {str(at): now - begun for at, (begun, end) in enumerate(self.spans) if begun <= now < end}
        assert len(ages) <= AGES_MOST
        low, high = foreseen.remaining_s(left(len(self.spans) - len(over), ages, elapsed_s=now))
        return low, self.end - now, high


@pytest.mark.parametrize("longest_first", [True, False])
@pytest.mark.parametrize("slower", [0.6, 1.0, 1.8])
def test_the_range_holds_the_truth_in_most_runs(slower: float, longest_first: bool) -> None:
    """In simulated runs of uneven tasks the truth is inside, from the start on, on slower and faster machines too."""
    runs = [Simulated(seed, slower=slower, longest_first=longest_first) for seed in range(30)]
    later = [run.says(share) for run in runs for share in (0.1, 0.2, 0.5, 0.8, 0.95)]
    assert sum(low <= came <= high for low, came, high in later) >= (0.85 if slower == 1.0 else 0.75) * len(later)
    first = [run.says(0.0) for run in runs]
    assert sum(low <= came <= high for low, came, high in first) >= 0.75 * len(first)


def test_the_range_narrows_to_nothing() -> None:
    """Where tasks take what is expected, the range is narrow before half of the time is over, and falls to nothing."""
    run = Simulated(3, off=0.05, longest_first=True)
    told = [run.says(share) for share in (0.0, 0.2, 0.5, 0.8, 1.0)]
    assert all(before[2] > after[2] for before, after in pairwise(told))
    low, came, high = told[2]
    assert low <= came <= high <= 2.0 * low
    assert told[-1] == (0.0, 0.0, 0.0)
