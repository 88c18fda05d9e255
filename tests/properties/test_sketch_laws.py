"""The laws of the quantile sketch, for any values, and held against an established one."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from ddsketch import LogCollapsingLowestDenseDDSketch
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore._sketch import KEPT_MOST, SMALLEST, Sketch

VALUES = st.one_of(
    st.floats(1e-6, 1e7),
    st.floats(1e-6, 1e3),
    st.integers(0, 20).map(float),
    st.floats(-5.0, 5.0).map(lambda power: 10.0**power),
)


def _drawn_out(values: list[float], seed: int, count: int) -> list[float]:
    rng = random.Random(seed)
    return [rng.choice(values) * rng.choice((1.0, rng.lognormvariate(0.0, 1.0))) for _ in range(count)]


MANY = st.builds(
    _drawn_out, st.lists(VALUES, min_size=1, max_size=20), st.integers(0, 10_000), st.integers(KEPT_MOST + 1, 600)
)
FEW_AND_MANY = pytest.mark.parametrize("examples", [30, pytest.param(300, marks=pytest.mark.slow)], ids=["few", "many"])
SHARES = st.one_of(st.floats(0.0, 1.0), st.sampled_from((0.0, 0.5, 0.9, 0.95, 0.99, 1.0)))


def sketch_of(values: list[float], buckets_most: int | None = None) -> Sketch:
    sketch = Sketch() if buckets_most is None else Sketch(buckets_most)
    for value in values:
        sketch.add(value)
    return sketch


def exact(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


@FEW_AND_MANY
def test_a_quantile_is_within_one_percent_of_the_exact_one(examples: int) -> None:
    """Of any values, the quantile at any share is off by no more than 1 % of the value at that rank."""

    @settings(max_examples=examples, deadline=None)
    @given(MANY, SHARES)
    def law(values: list[float], share: float) -> None:
        assert sketch_of(values).quantile(share) == pytest.approx(exact(values, share), rel=0.010001, abs=SMALLEST)

    law()


@FEW_AND_MANY
def test_it_agrees_with_an_established_sketch_of_the_same_accuracy(examples: int) -> None:
    """ddsketch, given the same values at the same accuracy, answers the same to within both errors."""

    @settings(max_examples=examples, deadline=None)
    @given(MANY, SHARES)
    def law(values: list[float], share: float) -> None:
        other = LogCollapsingLowestDenseDDSketch(relative_accuracy=0.01, bin_limit=2048)
        for value in values:
            other.add(value)
        ours = sketch_of(values)
        assert ours.quantile(share) == pytest.approx(other.get_quantile_value(share), rel=0.0203, abs=SMALLEST)
        assert ours.count == other.count
        assert ours.mean == pytest.approx(other.sum / other.count)

    law()


@FEW_AND_MANY
def test_count_ends_mean_and_deviation_are_exact(examples: int) -> None:
    """What is no quantile is not rounded to a bucket; the median of few values is not either."""

    @settings(max_examples=examples, deadline=None)
    @given(st.lists(VALUES, min_size=1, max_size=600))
    def law(values: list[float]) -> None:
        sketch = sketch_of(values)
        assert (sketch.count, sketch.least, sketch.most) == (len(values), min(values), max(values))
        assert sketch.mean == pytest.approx(statistics.fmean(values))
        if len(values) > 1:
            assert sketch.deviation == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6 * max(values))
        rel = 1e-12 if len(values) <= KEPT_MOST else 0.0101
        assert sketch.median == pytest.approx(statistics.median(values), rel=rel, abs=SMALLEST)

    law()


@FEW_AND_MANY
def test_parts_merged_answer_as_the_whole(examples: int) -> None:
    """Merging gives what adding everything to one sketch would, up to the last digits of sums."""

    @settings(max_examples=examples, deadline=None)
    @given(st.lists(st.lists(VALUES, max_size=200), min_size=1, max_size=5), SHARES)
    def law(parts: list[list[float]], share: float) -> None:
        whole, merged = sketch_of([value for part in parts for value in part]), Sketch()
        for part in parts:
            merged.merge(sketch_of(part))
        assert merged.count == whole.count
        assert merged.quantile(share) == whole.quantile(share)
        assert (merged.least, merged.most) == (whole.least, whole.most)
        assert merged.mean == pytest.approx(whole.mean)
        assert merged.deviation == pytest.approx(whole.deviation, rel=1e-6, abs=1e-6 * whole.most)

    law()


@FEW_AND_MANY
def test_buckets_are_bounded_and_high_quantiles_survive_it(examples: int) -> None:
    """However many buckets the values ask for there are at most so many, and the highest ones stay exact."""

    @settings(max_examples=examples, deadline=None)
    @given(MANY, st.integers(4, 60))
    def law(values: list[float], buckets_most: int) -> None:
        sketch = sketch_of(values, buckets_most)
        assert sketch.buckets <= buckets_most
        assert sketch.count == len(values)
        assert sketch.quantile(1.0) == pytest.approx(max(values), rel=0.010001)
        high = exact(values, 0.99)
        if max(values) < high * math.exp(0.02 * (buckets_most - 2)):
            assert sketch.quantile(0.99) == pytest.approx(high, rel=0.010001, abs=SMALLEST)

    law()


@FEW_AND_MANY
def test_what_is_asked_beyond_a_value_is_beyond_it(examples: int) -> None:
    """A quantile of the values beyond one is beyond it, never falls with its share, and is None without any."""

    @settings(max_examples=examples, deadline=None)
    @given(st.lists(VALUES, min_size=1, max_size=300), VALUES, SHARES)
    def law(values: list[float], beyond: float, share: float) -> None:
        ranked = sketch_of(values).ranked()
        given_share, top = ranked.quantile(share, beyond=beyond), ranked.quantile(1.0, beyond=beyond)
        if given_share is None or top is None:
            assert given_share is top is None
            assert not ranked.count(beyond=beyond)
        else:
            assert beyond < given_share <= top

    law()


@pytest.mark.parametrize("odd", [-1.0, float("nan"), float("inf")])
def test_what_is_no_duration_counts_as_zero(odd: float) -> None:
    """A measurement that can't be true is counted, as 0, and spoils nothing."""
    sketch = sketch_of([1.0, odd])
    assert (sketch.count, sketch.least, sketch.most, sketch.mean) == (2, 0.0, 1.0, 0.5)
