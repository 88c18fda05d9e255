"""Attempts in a worker that are not let end by themselves: past their time, cancelled, or slow before others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from longshore.batching import running
from longshore.batching.words import CANCELLED, CUT, DONE, TIMED_OUT, Item
from longshore.worker import current_task
from support.clusters import KILLING, square, wait_at
from support.places import Place, hows, values
from support.waiting import wait_until


def test_an_attempt_past_its_time_is_given_up(place: Place) -> None:
    """It is timed out, its thread left to itself and counted until it ends, and the next attempt runs in another."""
    gate = place.gate("late")
    whole = place.batch(wait_at, [("late",), ("",)], timeout_s=60.0)
    late, other = whole.items
    result = place.run(whole._replace(items=[late._replace(left_s=0.02), other]))
    assert hows(result) == [TIMED_OUT, DONE]
    assert 0.0 < result.records[0].ran_s < 60.0
    assert result.abandoned == 1
    gate.open.set()
    wait_until(lambda: place.yard.abandoned == 0, "the thread to end")
    assert place.run(place.batch(square, [(2,)])).abandoned == 0


def test_a_deadline_over_all_attempts_counts_too(place: Place) -> None:
    """An attempt ends when its task's time over all attempts is over."""
    place.gate("late")
    whole = place.batch(wait_at, [("late",)])
    result = place.run(whole._replace(items=[whole.items[0]._replace(left_s=0.01)]))
    assert hows(result) == [TIMED_OUT]


def overdue() -> tuple[bool, float | None]:
    task = current_task()
    return task.overdue(), task.time_remaining()


def test_a_soft_timeout_is_the_tasks_own_to_see(place: Place) -> None:
    """A task past its soft limit can tell, and is not ended."""
    assert values(place.run(place.batch(overdue, [()], soft_timeout_s=0.0))) == [(True, None)]
    ((late, left_s),) = values(place.run(place.batch(overdue, [()], soft_timeout_s=60.0, timeout_s=60.0)))
    assert not late
    assert 0.0 < left_s <= 60.0


def test_a_running_attempt_is_cancelled(place: Place) -> None:
    """It is given up at once, with the message, and can see it; those behind it go on."""
    gate = place.gate("one")
    going = place.start(place.batch(wait_at, [("one",), ("",)]))
    assert gate.came.wait(10.0)
    place.yard.withdraw({"t-0": "enough"})
    result = going.result(10.0)
    assert hows(result) == [CANCELLED, DONE]
    assert result.records[0].data == b"enough"
    assert result.records[0].ran_s > 0


def test_an_attempt_cancelled_before_it_begins_does_not(place: Place) -> None:
    """What was cancelled while it waited here never runs."""
    place.yard.withdraw({"t-1": "not wanted"})
    result = place.run(place.batch(square, [(2,), (3,)]))
    assert hows(result) == [DONE, CANCELLED]
    assert (result.records[1].data, result.records[1].ran_s) == (b"not wanted", 0.0)


def test_only_so_many_cancellings_are_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten: they were for attempts that ended long ago."""
    monkeypatch.setattr("longshore.batching.yard._WITHDRAWN", 2)
    place.yard.withdraw(dict.fromkeys("abc", ""))
    assert list(place.yard.withdrawn) == ["b", "c"]


def test_where_workers_are_ended_one_that_gave_up_begins_nothing(make_place: Callable[..., Place]) -> None:
    """Its batch ends there, spent, and so does any batch that comes after it, without a record."""
    place = make_place(KILLING)
    place.gate("late")
    result = place.run(place.batch(wait_at, [("late",), ("",)], timeout_s=0.02))
    assert (hows(result), result.spent) == ([TIMED_OUT], True)
    after = place.run(place.batch(square, [(2,)]))
    assert (list(after.records), after.spent) == ([], True)


def test_a_worker_that_is_closing_begins_nothing_more(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has not begun goes back without a record."""
    gate = place.gate("one")
    going = place.start(place.batch(wait_at, [("one",), ("",)]))
    assert gate.came.wait(10.0)
    monkeypatch.setattr(place.yard, "is_over", lambda: True)
    gate.open.set()
    assert hows(going.result(10.0)) == [DONE]


def test_what_stands_behind_a_slow_attempt_is_given_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while in one attempt the controller is told, and the batch ends with that attempt."""
    monkeypatch.setattr(running, "CUT_S", 0.01)
    gate = place.gate("slow")
    whole = place.batch(wait_at, [("slow",), ("",), ("",)])
    going = place.start(whole)
    wait_until(lambda: place.yard.said, "the cut")
    gate.open.set()
    assert values(going.result(10.0)) == ["slow"]
    assert place.yard.said == [(CUT, [whole.number, 1])]


def test_a_batch_that_was_abandoned_as_it_read_its_arguments(place: Place) -> None:
    """Reading arguments counts as running: past its time, or cancelled, it is given up as the rest is."""
    place.gate("reading")
    whole = place.batch(len, [()], timeout_s=0.02)
    item = Item("t-0", 1, None, b"csupport.clusters\nwait_at\n(Vreading\ntR.")
    assert hows(place.run(whole._replace(items=[item]))) == [TIMED_OUT]
