"""Alerts: what is seen of a run raises each once, and clears it; the clock is the test's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from longshore._tracking.alerts import AlertRules, Alerts, Look
from longshore.records import TaskCounts

pytestmark = pytest.mark.requirement("req:L10")
START = datetime(2024, 5, 1, 12, tzinfo=UTC)


class Run:
    """A run as it is seen every two seconds."""

    def __init__(self, **rules: Any) -> None:
        self.alerts = Alerts(AlertRules(**rules))
        self.now = 1000.0
        self.done = self.failed = self.moves = 0
        self.queued = self.running = 0
        self.percent: dict[str, float] = {}
        self.paused = False
        self.asked = 0

    def look(self, seconds: float = 2.0) -> list[tuple[str, str]]:
        """Let time pass, look each two seconds, and return what was raised and cleared."""
        told: list[tuple[str, str]] = []
        end = self.now + seconds
        while self.now < end:
            self.now += 2.0
            self.moves += self.done + self.failed != self._ended_before
            self._ended_before = self.done + self.failed
            submitted = self.queued + self.running + self.done + self.failed
            counts = TaskCounts(
                submitted=submitted,
                queued=self.queued,
                running=self.running,
                completed=self.done,
                failed=self.failed,
            )
            look = Look(counts=counts, moves=self.moves, percent=self.percent, paused=self.paused)
            at = START + timedelta(seconds=self.now)
            told += [(e.data["alert"], e.data["state"]) for e in self.alerts.look(look, self.now, at, self._stuck)]
        return told

    _ended_before = 0

    def _stuck(self) -> str:
        self.asked += 1
        return "2 running, the longest a.pdf"

    @property
    def standing(self) -> list[str]:
        return [alert.name for alert in self.alerts.standing]


def test_many_failures_are_told_once_and_are_over_when_they_are() -> None:
    """Above a tenth, of twenty or more in five minutes; cleared when clearly less fail, not at each swing."""
    run = Run()
    run.done, run.failed = 10, 5
    assert run.look() == []  # what was there before it was first looked at
    run.done, run.failed = 20, 9
    assert run.look() == []  # four of fourteen: too few to say
    run.done = 28
    assert run.look() == [("error_rate", "raised")]
    (alert,) = run.alerts.standing
    assert alert.message == "4 of 22 tasks that ended in the last 300 s failed, 18.2 %: more than 10 %"
    assert (alert.threshold, alert.subject, alert.since.tzinfo) == (10.0, "", UTC)
    run.done = 48
    assert run.look() == []  # 9.5 %: below the level, and not by enough
    run.done = 110
    assert run.look() == [("error_rate", "cleared")]
    assert run.standing == []


def test_failures_that_are_long_ago_count_no_more() -> None:
    """When nothing has failed for the window, the alert is over, also if nothing at all has ended."""
    run = Run()
    run.look()
    run.failed = 30
    assert run.look() == [("error_rate", "raised")]
    assert run.look(290) == []
    assert run.look(20) == [("error_rate", "cleared")]


def test_each_resource_has_an_alert_of_its_own() -> None:
    """Above nine tenths; one that swings around that is told of once, one that is measured no more is over."""
    run = Run()
    run.percent = {"memory": 91.0, "cpu": 50.0, "gpu_memory": 99.0}
    assert run.look() == [("resource", "raised")] * 2
    assert [(one.subject, one.message) for one in run.alerts.standing] == [
        ("memory", "91 % of memory is used: more than 90 %"),
        ("gpu_memory", "99 % of gpu_memory is used: more than 90 %"),
    ]
    for memory in (89.0, 92.0, 82.0, 95.0):
        run.percent = {"memory": memory, "cpu": 50.0, "gpu_memory": 99.0}
        assert run.look() == []
    run.percent = {"memory": 80.0, "cpu": 95.0}
    assert sorted(run.look()) == [("resource", "cleared"), ("resource", "cleared"), ("resource", "raised")]
    assert [one.message for one in run.alerts.standing] == ["95 % of cpu is used by others: more than 90 %"]


def test_few_tasks_a_second_are_told_of_while_others_wait() -> None:
    """Only when some have waited for all of the window; and it is over when enough end, or none waits."""
    run = Run()
    run.running = 4
    assert run.look(300) == []  # nobody waits
    run.queued = 3
    assert run.look(58) == []
    assert run.look(4) == [("throughput", "raised")]
    assert run.alerts.standing[0].message.startswith("0 tasks a second ended in the last 60 s, fewer than 0.1, while")
    run.done = 5
    assert run.look() == []
    run.done = 7
    assert run.look() == [("throughput", "cleared")]
    assert run.look(60) == [("throughput", "raised")]
    run.queued = 0
    assert run.look() == [("throughput", "cleared")]


def test_a_paused_pool_is_alerted_of_nothing_that_waits() -> None:
    """Somebody wants it so; what runs may still be stuck."""
    run = Run(stall_after_s=100.0)
    run.queued, run.paused = 9, True
    assert run.look(1000) == []
    run.running = 1
    assert run.look(110) == [("stalled", "raised")]


def test_no_alert_of_the_rate_where_it_is_turned_off() -> None:
    """A threshold of 0 is never passed."""
    run = Run(rate_least_per_s=0.0, stall_after_s=1e6)
    run.queued = run.running = 5
    assert run.look(1000) == []


def test_a_stall_is_told_once_with_what_runs_and_what_waits() -> None:
    """Nothing at all has to happen for so long; it is over with the first thing that does."""
    run = Run(stall_after_s=600.0, rate_least_per_s=0.0)
    run.running, run.queued, run.moves = 2, 5, 7
    assert run.look(598) == []
    run.moves += 1  # progress of one of them
    assert run.look(598) == []
    assert run.look(4) == [("stalled", "raised")]
    assert run.alerts.standing[0].message == (
        "nothing has started, ended or reported progress for 600 s: 2 running, the longest a.pdf"
    )
    assert run.look(600) == []
    assert run.asked == 1
    run.moves += 1
    assert run.look() == [("stalled", "cleared")]


def test_an_idle_run_does_not_stall() -> None:
    """Without work nothing is expected to happen; nor does waiting for a retry count, which has its time."""
    run = Run(stall_after_s=10.0)
    assert run.look(1000) == []
    run.running = 1
    assert run.look(8) == []
    run.running = 0
    assert run.look(1000) == []


def test_what_is_remembered_is_bounded() -> None:
    """However long a run is, only the marks of the longest window are kept."""
    run = Run()
    run.look(10_000)
    assert len(run.alerts._marks) <= 300 / 2 + 2
