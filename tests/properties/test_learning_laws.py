"""The laws of what is learnt of a kind of task, for any tasks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore._engine.learning import FACTOR, RECENT, Kind, Learning, Taken, raised_mb, size_bucket

MB = st.floats(0.1, 1e6)
SEEN = st.lists(st.tuples(st.booleans(), MB), min_size=1, max_size=120)


def learnt(seen: list[tuple[bool, float]]) -> Taken:
    taken = Taken()
    for ended, mb in seen:
        taken.cut_off(mb) if ended else taken.saw(mb)
    return taken


@settings(max_examples=150, deadline=None)
@given(SEEN)
def test_an_estimate_covers_the_last_fifty_tasks_and_is_never_more_than_the_largest_needs(
    seen: list[tuple[bool, float]],
) -> None:
    """It is 1.15 times a number that lies between the largest of the last fifty and the largest of all."""
    estimate = learnt(seen).memory_mb
    peaks = [mb for ended, mb in seen if not ended]
    assert estimate is not None
    assert estimate >= FACTOR * max(peaks[-RECENT:], default=0.0) * 0.999
    assert estimate <= FACTOR * max(mb for _, mb in seen) * 1.0101


@settings(max_examples=100, deadline=None)
@given(SEEN, MB)
def test_what_is_seen_is_covered_at_once(seen: list[tuple[bool, float]], mb: float) -> None:
    """The next task of a kind has as much set aside as the last one took, however that ended."""
    for ended in (False, True):
        estimate = learnt([*seen, (ended, mb)]).memory_mb
        assert estimate is not None
        assert estimate >= FACTOR * mb * 0.999


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), MB), max_size=150))
def test_the_state_goes_through_json_and_back(seen: list[tuple[int, bool, float]]) -> None:
    """What is kept is all there is: it tells the same, and learns the same from then on."""
    learning = Learning()
    for bucket, ended, mb in seen:
        kind = Kind("load", bucket)
        learning.cut_off(kind, mb) if ended else learning.saw(kind, mb, mb)
    again = Learning.from_dict(json.loads(json.dumps(learning.to_dict())))
    assert again.to_dict() == learning.to_dict()
    for bucket in range(4):
        mine, theirs = learning.saw(Kind("load", bucket), 7.0), again.saw(Kind("load", bucket), 7.0)
        assert mine.memory_mb == pytest.approx(theirs.memory_mb)


@given(MB, MB, MB)
def test_a_raised_reservation_grows_until_the_limit(reserved: float, seen: float, limit: float) -> None:
    """It is twice as much or the limit, so that trying again ends after a few times."""
    raised = raised_mb(reserved, seen, limit)
    assert raised == limit or raised >= 2 * reserved
    assert raised <= limit


@given(st.integers(0, 1 << 45), st.integers(0, 1 << 45))
def test_a_larger_input_is_never_in_a_smaller_step(one: int, other: int) -> None:
    """Steps rise with the size, and there are few of them."""
    low, high = sorted((one, other))
    assert size_bucket(low) <= size_bucket(high) <= 20
