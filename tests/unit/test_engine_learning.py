"""What is learnt of a kind of task: its estimate, what it does with tasks that were ended, and its state."""

from __future__ import annotations

import json

import pytest
from longshore._engine.learning import (
    KINDS_MOST,
    RECENT,
    Kind,
    Learning,
    Taken,
    cold_start_mb,
    input_bytes,
    raised_mb,
    size_bucket,
    starts_at_once,
)
from longshore.task import TaskSpec


def work() -> None:
    """Stand for a user's function."""


def taken_of(*peaks: float) -> Taken:
    taken = Taken()
    for peak in peaks:
        taken.saw(peak)
    return taken


def test_nothing_is_set_aside_for_a_kind_that_was_never_seen() -> None:
    """What is not known is not guessed here."""
    assert Taken().memory_mb is None
    assert Learning().get(Kind("load")) is None


def test_the_estimate_is_the_largest_of_late_and_fifteen_percent_more() -> None:
    """One large task among small ones counts in full at once."""
    assert taken_of(100.0).memory_mb == pytest.approx(115.0)
    assert taken_of(*[100.0] * 40, 900.0).memory_mb == pytest.approx(900.0 * 1.15)


def test_the_estimate_falls_slowly_when_tasks_take_less() -> None:
    """With each smaller task it keeps 98 %; after hundreds it is where they are."""
    taken = taken_of(1000.0, *[10.0] * RECENT)
    assert taken.memory_mb is not None
    assert taken.memory_mb >= 1000.0 * 0.98**RECENT
    before = taken.memory_mb
    taken.saw(10.0)
    assert 0.97 * before <= taken.memory_mb <= before
    for _ in range(1000):
        taken.saw(10.0)
    assert taken.memory_mb == pytest.approx(11.5, rel=0.05)


def test_tasks_that_were_ended_are_lower_bounds_and_no_peaks() -> None:
    """The estimate is never below what an ended task had taken; nobody takes that for what it would have taken."""
    taken = taken_of(100.0)
    taken.cut_off(800.0)
    assert (taken.count, taken.ended) == (1, 1)
    assert taken.most_mb == 100.0
    assert taken.memory_mb == pytest.approx(800.0 * 1.15)
    for _ in range(1000):
        taken.saw(100.0)
    assert taken.memory_mb == pytest.approx(115.0, rel=0.05)


def test_only_ended_tasks_are_enough_for_an_estimate() -> None:
    """A kind whose first task was ended for its memory is not started with nothing set aside."""
    taken = Taken()
    taken.cut_off(500.0)
    assert taken.memory_mb == pytest.approx(575.0)


@pytest.mark.parametrize(
    ("reserved", "seen", "limit", "raised"),
    [(100, 120, 10_000, 200), (100, 400, 10_000, 600), (0, 10, 10_000, 15), (4000, 4100, 6000, 6000)],
)
def test_what_is_set_aside_after_too_little_was(reserved: float, seen: float, limit: float, raised: float) -> None:
    """Twice what was, or one and a half of what was seen, whichever is more, and never more than there is."""
    assert raised_mb(reserved, seen, limit) == raised


@pytest.mark.parametrize(("known", "at_once"), [(0, 1), (1, 2), (2, 2), (3, 4), (6, 4), (7, 8), (100, 64)])
def test_a_cold_kind_is_ramped_up(known: int, at_once: int) -> None:
    """One at first; two when it has shown what it takes; four when those have, and so on."""
    assert starts_at_once(known) == at_once
    assert cold_start_mb(8000.0, 8) == 1000.0
    assert cold_start_mb(8000.0, 0) == 8000.0


@pytest.mark.parametrize(
    ("size", "bucket"), [(0, 0), (1 << 16, 0), ((1 << 16) + 1, 1), (1 << 18, 1), ((1 << 18) + 1, 2), (1 << 20, 2)]
)
def test_sizes_are_in_steps_of_four(size: int, bucket: int) -> None:
    """Small inputs tell nothing, large ones by their order of magnitude."""
    assert size_bucket(size) == bucket


class Hostile:
    """Asked for anything, it fails."""

    def __len__(self) -> int:
        raise RuntimeError("nobody may ask")

    @property
    def nbytes(self) -> int:
        raise RuntimeError("nobody may ask")


def test_the_size_of_an_input_is_told_without_asking_strangers() -> None:
    """Texts, bytes and containers say how long they are; the user's own objects are not touched."""
    assert input_bytes(("abc", b"12345", Hostile()), {"more": [1, 2], "least": 7}) == 8 + 128
    spec = TaskSpec(function=work, name="load", executor="quay")
    assert Kind.of(spec, (b"x" * (1 << 18),), None) == Kind("load", 1)


def test_a_new_size_is_expected_to_take_what_the_next_smaller_one_did() -> None:
    """Until inputs of its size were seen; never what larger ones took."""
    learning = Learning()
    learning.saw(Kind("load", 1), 100.0)
    learning.saw(Kind("load", 5), 5000.0)
    known = learning.get(Kind("load", 3))
    assert known is not None
    assert known.memory_mb == pytest.approx(115.0)
    assert learning.get(Kind("load", 0)) is None


def test_cores_are_recorded() -> None:
    """What a kind uses of CPU is known, for people to read."""
    taken = Taken()
    taken.saw(10.0, 2.0)
    taken.saw(10.0, 1.0)
    assert taken.cores == pytest.approx(1.9)


def test_kinds_are_bounded_and_the_oldest_forgotten() -> None:
    """A pool that sees a new name with every task does not grow by them."""
    learning = Learning()
    for number in range(KINDS_MOST + 10):
        learning.saw(Kind(f"n{number}"), 1.0)
    assert len(learning) == KINDS_MOST
    assert learning.get(Kind("n0")) is None
    assert learning.get(Kind(f"n{KINDS_MOST + 9}")) is not None


@pytest.mark.parametrize(
    "state", [{}, {"version": 2, "kinds": []}, {"version": 1, "kinds": None}, {"version": 1, "kinds": [["a", 0, {}]]}]
)
def test_a_state_that_cannot_be_read_is_learnt_anew(state: dict[str, object]) -> None:
    """An old or broken journal costs what it knew, and nothing else."""
    assert len(Learning.from_dict(state)) == 0


def test_the_state_is_json_and_comes_back_as_it_was() -> None:
    """A journal that keeps texts can keep it; what was learnt goes on from there."""
    learning = Learning()
    for number in range(500):
        learning.saw(Kind("load", number % 2), float(number), 1.5)
    learning.cut_off(Kind("load", 1), 2000.0)
    again = Learning.from_dict(json.loads(json.dumps(learning.to_dict())))
    assert again.to_dict() == learning.to_dict()
    for kind in (Kind("load", 0), Kind("load", 1)):
        mine, theirs = learning.saw(kind, 3000.0), again.saw(kind, 3000.0)
        assert mine.memory_mb == theirs.memory_mb
