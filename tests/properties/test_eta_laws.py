"""The laws of the estimate of when a run is over, and how often it is right in simulated runs."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore._sketch import Sketch
from longshore._tracking.eta import AGES_MOST, MIN_ENDED, remaining_s

TASKS = 200
Draw = Callable[[random.Random], float]
SECONDS = st.floats(0.0, 1e5)


def sketch_of(values: list[float]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


@settings(max_examples=200, deadline=None)
@given(
    st.lists(SECONDS, max_size=150),
    st.lists(SECONDS, max_size=60),
    st.integers(0, 1000),
    st.just(0.0) | st.floats(1e-3, 1e6),
    st.just(0.0) | st.floats(1e-3, 1e6),
)
def test_the_low_end_is_never_above_the_high_one(
    took: list[float], ages_s: list[float], waiting: int, elapsed_s: float, recent_per_s: float
) -> None:
    """Whatever was measured, both ends are numbers from 0 on, in order, and 0 once nothing is left."""
    left = waiting + len(ages_s)
    said = remaining_s(
        left=left,
        ended=len(took),
        elapsed_s=elapsed_s,
        recent_per_s=recent_per_s,
        running=len(ages_s),
        ages_s=ages_s,
        durations=sketch_of(took),
    )
    if left == 0:
        assert said == (0.0, 0.0)
    elif len(took) < MIN_ENDED or elapsed_s == 0:
        assert said is None
    else:
        assert said is not None
        assert 0.0 <= said[0] <= said[1] < float("inf")


def test_nothing_is_said_before_something_is_known() -> None:
    """With fewer than five ended tasks there is no estimate, however long they have run."""
    known = sketch_of([1.0] * 4)
    assert remaining_s(left=9, ended=4, elapsed_s=9, recent_per_s=1, running=2, ages_s=(5, 1), durations=known) is None


def test_a_task_that_runs_much_longer_than_usual_pushes_the_high_end() -> None:
    """The longer the last task has run beyond what is usual, the longer it may still take; a young one ends soon."""

    def last(age_s: float) -> tuple[float, float]:
        said = remaining_s(
            left=1,
            ended=100,
            elapsed_s=100,
            recent_per_s=1,
            running=1,
            ages_s=(age_s,),
            durations=sketch_of([1.0] * 100),
        )
        assert said is not None
        return said

    assert last(0.5) == (0.5, pytest.approx(1.0))
    highs = [last(age_s)[1] for age_s in (2.0, 10.0, 60.0, 600.0)]
    assert highs == [2.0, 10.0, 60.0, 600.0]
    assert last(60.0)[0] == 0.0


class Simulated:
    """Tasks on workers, first come first served; `says` gives what is said at a moment, and what came."""

    def __init__(self, seed: int, draw: Draw, workers: int) -> None:
        rng, free = random.Random(seed), [0.0] * workers
        self.spans: list[tuple[float, float]] = []
        for _ in range(TASKS):
            worker = min(range(workers), key=free.__getitem__)
            begun = free[worker]
            free[worker] += draw(rng)
            self.spans.append((begun, free[worker]))
        self.end = max(free)

    def says(self, at: float) -> tuple[tuple[float, float], float]:
        now = sorted(end for _, end in self.spans)[int(TASKS * at) - 1]
        ended = [(begun, end) for begun, end in self.spans if end <= now]
        ages_s = sorted((now - begun for begun, end in self.spans if begun <= now < end), reverse=True)
        said = remaining_s(
            left=TASKS - len(ended),
            ended=len(ended),
            elapsed_s=now,
            recent_per_s=sum(end > now - 10 for _, end in ended) / min(now, 10.0),
            running=len(ages_s),
            ages_s=ages_s[:AGES_MOST],
            durations=sketch_of([end - begun for begun, end in ended]),
        )
        assert said is not None
        return said, self.end - now


@pytest.mark.parametrize(
    ("draw", "workers", "share"),
    [
        (lambda rng: rng.lognormvariate(0.0, 1.0), 4, 0.85),
        (lambda rng: rng.expovariate(1.0), 16, 0.85),
        (lambda rng: rng.lognormvariate(-1.0, 2.0), 4, 0.75),
        (lambda rng: 0.1 * rng.paretovariate(1.2), 4, 0.75),
    ],
    ids=["uneven", "many workers", "heavy tail", "heavier tail"],
)
def test_the_range_holds_the_truth_in_most_runs(draw: Draw, workers: int, share: float) -> None:
    """In simulated runs the true remaining time is inside the range far more often than not, heavy tails included."""
    told = [Simulated(seed, draw, workers).says(at) for seed in range(40) for at in (0.1, 0.2, 0.5, 0.8, 0.95, 0.99)]
    hits = [low <= came + 1e-9 and came - 1e-9 <= high for (low, high), came in told]
    assert sum(hits) >= share * len(hits)


def test_even_tasks_give_a_narrow_range_that_falls_to_nothing() -> None:
    """Where all tasks take the same, the range is less than two tasks wide, and falls as the run goes on."""
    run = Simulated(1, lambda _: 1.0, 4)
    told = [run.says(at) for at in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)]
    assert all(low <= came <= high <= low + 2.0 for (low, high), came in told)
    assert all(before[1] > after[1] for (before, _), (after, _) in pairwise(told))
    assert told[-1][0] == (0.0, 0.0)
