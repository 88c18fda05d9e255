"""The history of a run: points, times of throttling and happenings go in, and stay within their bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from longshore._tracking.history import TEXT_MOST, HistoryBook, HistoryBounds
from longshore.events import Happened
from longshore.records import MetricsPoint, RunHistory

pytestmark = pytest.mark.requirement("req:L09")
START = datetime(2024, 5, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def filled(seconds: int, held: Any = lambda now: None, before: RunHistory | None = None, **bounds: Any) -> HistoryBook:
    """Return a book that was given a point each two seconds."""
    book = HistoryBook(HistoryBounds(**bounds), before)
    for now in range(0, seconds, 2):
        book.add(MetricsPoint(at=at(now), submitted=now), held(now), 5000.0 + now)
    return book


def test_a_day_of_minutes_and_ten_minutes_of_fine_points() -> None:
    """After a day and an hour there are 1440 points a minute apart, and 300 of the last ten minutes."""
    history = filled(25 * 3600).history()
    assert (history.minute_s, history.fine_s) == (60.0, 2.0)
    assert len(history.points_minute) == 1440
    gaps = {b.at - a.at for a, b in zip(history.points_minute, history.points_minute[1:], strict=False)}
    assert gaps == {timedelta(minutes=1)}
    assert history.points_minute[0].at == at(3600)
    assert len(history.points_fine) == 300
    assert history.points_fine[-1].at - history.points_fine[0].at == timedelta(seconds=598)


def test_the_first_point_is_kept_at_once() -> None:
    """A run of a few seconds has a history too."""
    history = filled(6).history()
    assert [point.at for point in history.points_minute] == [at(0)]
    assert len(history.points_fine) == 3


def test_bounds_are_settings() -> None:
    """How often, and how many of each, is for settings to say."""
    history = filled(1000, every_s=10.0, most=5, fine_most=7).history()
    assert [point.submitted for point in history.points_minute] == [950, 960, 970, 980, 990]
    assert len(history.points_fine) == 7


def test_throttling_is_bands_by_their_reason() -> None:
    """A reason whose figures change is one band, another reason another one; one that goes on has no end."""

    def held(now: int) -> str | None:
        if 10 <= now < 40:
            return f"memory {80 + now / 10} % is over the limit of 75 %: at most {now} tasks at once"
        return "paused" if now >= 50 else None

    bands = filled(60, held).history().bands
    assert [(band.began, band.ended) for band in bands] == [(at(10), at(40)), (at(50), None)]
    assert bands[0].reason == "memory 81.0 % is over the limit of 75 %: at most 10 tasks at once"


def test_a_band_that_comes_back_at_once_is_the_same_one() -> None:
    """What stops for one look and goes on is no second band; and there are only so many bands."""
    bands = filled(40, lambda now: None if now in (10, 20) else "paused").history().bands
    assert [(band.began, band.ended) for band in bands] == [(at(0), None)]
    many = filled(8000, lambda now: "paused" if now % 20 == 0 else None).history().bands
    assert len(many) == 400
    assert len(filled(8000, lambda now: "x" if now % 20 == 0 else None, happenings_most=3).history().bands) == 3


def test_what_happens_is_remembered_with_its_reason_and_time() -> None:
    """Moments begin and end at once, a blocked loop began before it was told of, levels and alerts have an end."""
    book = HistoryBook(HistoryBounds())
    warning = {"resource": "memory", "level": "hard", "message": "memory 91 % is over the limit"}
    alert = {"alert": "stalled", "subject": "", "message": "nothing moves"}
    book.hear(Happened("worker_heartbeat", {"worker_id": "w"}), at(0))
    book.hear(Happened("worker_error", {"worker_id": "w1", "error": "died of signal 9"}), at(1))
    book.hear(Happened("worker_blocked", {"worker_id": "w2", "error": "slept", "blocked_s": 1.5}), at(5))
    book.hear(Happened("resource_warning", {**warning, "state": "crossed"}), at(6))
    book.hear(Happened("alert", {**alert, "state": "raised"}), at(7))
    book.hear(Happened("workers_scaled", {"executor": "threads", "before": 1, "workers": 2, "reason": "load"}), at(8))
    book.hear(Happened("resource_warning", {**warning, "state": "cleared"}), at(9))
    told = [(one.type, one.subject, one.began, one.ended) for one in book.history().happenings]
    assert told == [
        ("worker_error", "w1", at(1), at(1)),
        ("worker_blocked", "w2", at(3.5), at(5)),
        ("resource_warning", "memory hard", at(6), at(9)),
        ("alert", "stalled", at(7), None),
        ("workers_scaled", "threads", at(8), at(8)),
    ]
    reasons = [one.reason for one in book.history().happenings]
    assert reasons == [
        "died of signal 9",
        "slept",
        "memory 91 % is over the limit",
        "nothing moves",
        "from 1 to 2 workers: load",
    ]
    book.end(at(20))
    assert book.history().happenings[3].ended == at(20)


def test_happenings_are_bounded_in_number_and_length() -> None:
    """A flood of events costs the oldest, and an endless text its end."""
    book = HistoryBook(HistoryBounds(happenings_most=10))
    for number in range(100):
        book.hear(Happened("worker_error", {"worker_id": f"w{number}", "error": "x" * 10_000}), at(number))
    happenings = book.history().happenings
    assert [one.subject for one in happenings] == [f"w{number}" for number in range(90, 100)]
    assert len(happenings[0].reason) == TEXT_MOST


def test_a_run_that_goes_on_has_what_was_recorded_before() -> None:
    """Points are appended; what had no end when the controller died ended with the last that is known."""
    first = filled(200, lambda now: "paused" if now > 100 else None)
    first.hear(Happened("alert", {"alert": "stalled", "subject": "", "state": "raised", "message": "m"}), at(150))
    before = RunHistory.from_state(first.state())
    again = HistoryBook(HistoryBounds(), before)
    again.add(MetricsPoint(at=at(9000)), None, 10.0)
    history = again.history()
    assert [point.at for point in history.points_minute] == [at(0), at(60), at(120), at(180), at(9000)]
    assert (len(history.points_fine), history.points_fine[-1].at) == (101, at(9000))
    assert [(band.began, band.ended) for band in history.bands] == [(at(102), at(198))]
    assert [one.ended for one in history.happenings] == [at(198)]
    assert RunHistory.from_state(again.state()) == history


def test_what_was_given_out_does_not_change() -> None:
    """Whoever reads the history on another thread holds what he was given, whatever comes."""
    book = filled(10)
    given = book.history()
    book.add(MetricsPoint(at=at(10)), "paused", 6000.0)
    book.end(at(11))
    assert len(given.points_fine) == 5
    assert given.bands == ()
