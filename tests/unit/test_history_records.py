"""The records of a run's history and of its health: as a journal has them, and as they are served."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from longshore import Health, MetricsPoint, RunHistory
from longshore.records import (
    Happening,
    ResourceUse,
    RunInfo,
    ThrottleBand,
    WorkerCount,
)

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)
POINT = MetricsPoint(
    at=AT,
    submitted=9,
    queued=4,
    running=2,
    completed=3,
    rate_per_s=0.1234567,
    usage={"cpu": ResourceUse(71.5, 80.0, 71.5), "disk_io": ResourceUse(None, None, 12.0, "MB/s")},
    workers={"processes": WorkerCount(4, 2)},
    queue={"processes": {"HIGH": 1, "NORMAL": 3}},
)
HISTORY = RunHistory(
    fine_s=2.0,
    minute_s=60.0,
    points_fine=(POINT,),
    points_minute=(POINT, MetricsPoint(at=AT + timedelta(minutes=1))),
    bands=(
        ThrottleBand(reason="memory", began=AT, ended=AT + timedelta(seconds=4)),
        ThrottleBand(reason="paused", began=AT),
    ),
    happenings=(Happening(type="worker_error", subject="w1", reason="it died", began=AT, ended=AT),),
)


def stored(history: RunHistory) -> Any:  # Any: JSON
    return json.loads(json.dumps(history.to_state()))


def test_what_a_journal_has_is_what_was_remembered() -> None:
    """The state is plain JSON, and gives the history again, numbers to the thousandth."""
    read = RunHistory.from_state(stored(HISTORY))
    assert read.points_fine[0].rate_per_s == 0.123
    rounded = RunHistory.from_state(stored(read))
    assert read == rounded
    assert read.points_minute == (read.points_fine[0], HISTORY.points_minute[1])
    assert read.points_fine[0].usage == POINT.usage
    assert (read.points_fine[0].workers, read.points_fine[0].queue) == (POINT.workers, POINT.queue)
    assert (read.bands, read.happenings) == (HISTORY.bands, HISTORY.happenings)
    assert (read.fine_s, read.minute_s) == (2.0, 60.0)


def test_a_state_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """A field that is not known, in whatever place, changes nothing; one that is missing has its default."""
    state = stored(HISTORY)
    state["fields"] = ["novel", *state["fields"][:3]]
    state["minute"] = [["?", *row[:3]] for row in state["minute"]]
    state["bands"][0]["novel"] = 1
    read = RunHistory.from_state(state)
    assert [(point.submitted, point.queued, point.completed) for point in read.points_minute] == [(9, 4, 0), (0, 0, 0)]
    assert len(read.bands) == 2


@pytest.mark.parametrize(
    "state",
    [None, "history", [], {}, {"fields": 3, "fine": [1]}, {"fields": ["at"], "fine": ["x", [None], [{}], [1e300]]}],
)
def test_what_is_no_history_reads_as_an_empty_one(state: object) -> None:
    """A damaged state costs what it held, and raises nothing."""
    assert RunHistory.from_state(state) == RunHistory()


def test_rows_that_cannot_be_read_are_left_out() -> None:
    """The others stay, in order."""
    state = stored(HISTORY)
    state["minute"][1:1] = [[AT.timestamp(), "many"], [*state["minute"][0][:13], {"cpu": 3}]]
    state["bands"].append({"reason": 3})
    state["happenings"].append("?")
    read = RunHistory.from_state(state)
    assert (len(read.points_minute), len(read.bands), len(read.happenings)) == (2, 2, 1)


def test_a_day_takes_little_room() -> None:
    """A day of minutes and ten minutes of fine points of a busy pool are stored in less than a megabyte."""
    day = RunHistory(points_fine=[POINT] * 300, points_minute=[POINT] * 1440)
    assert len(json.dumps(day.to_state())) < 500_000


def test_health_tells_living_from_being_ready() -> None:
    """A full queue keeps work away and is no reason for a restart; a loop that is stuck is one."""
    well = {"running": True, "loop": True, "scheduler": True, "queue": True, "sinks": True}
    assert (Health(healthy=True, checks=well).live, Health(healthy=True, checks=well).ready) == (True, True)
    full = Health(healthy=False, checks={**well, "queue": False})
    assert (full.live, full.ready) == (True, False)
    stuck = Health(healthy=False, checks={**well, "loop": False})
    assert (stuck.live, stuck.ready) == (False, False)
    mute = Health(healthy=False, checks={**well, "sinks": False})
    assert (mute.live, mute.ready) == (True, True)


def test_health_is_told_in_lines() -> None:
    """Each check is one line that begins with how it is; what a reason holds makes no other line."""
    reasons = {"journal": ["the disk\n[+]is full", "again"]}
    found = Health(healthy=False, checks={"loop": True, "journal": False}, found=reasons)
    assert found.lines() == ["[+]loop ok", "[-]journal failed: the disk [+]is full; again"]
    assert found.lines(("journal", "nothing")) == ["[-]journal failed: the disk [+]is full; again"]


def test_a_run_without_a_pool_can_be_asked_as_well() -> None:
    """A sink that is opened by somebody else than a pool hears that nothing was looked at, and of no history."""
    run = RunInfo(run_id="r", started=AT, snapshot=lambda: None)  # type: ignore[arg-type,return-value]  # not called
    assert run.health() == Health(healthy=True)
    assert run.health().lines() == []
    assert run.history() == RunHistory()
