"""The roster: which moves a worker's status makes, when a heartbeat is told, and when one is missing."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from longshore._runtime.roster import LATE_BEATS, MOVES, Roster, moved
from longshore.events import EventBatch, Happened
from longshore.records import WorkerStats, WorkerStatus

pytestmark = pytest.mark.anyio
IDLE, BUSY, STOPPING, STOPPED, ERROR = WorkerStatus


class Yard:
    """Workers as executors would tell of them, a clock, and a roster over both."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rows: list[WorkerStats] = []
        self.told: list[Happened] = []
        self.roster = Roster(self.ask, self.hear, 1.0, clock=lambda: self.now)

    def ask(self) -> list[tuple[str, WorkerStats]]:
        return [("threads", row) for row in self.rows]

    def hear(self, batch: EventBatch) -> None:
        assert isinstance(batch, Happened)
        self.told.append(batch)

    def say(self, status: WorkerStatus, *, heard_s_ago: float | None = 0.0, **more: object) -> None:
        heard = None if heard_s_ago is None else datetime.now(UTC) - timedelta(seconds=heard_s_ago)
        row = WorkerStats(worker_id="w", worker_type="thread", status=status, last_heartbeat=heard)
        self.rows = [WorkerStats(**{**{name: getattr(row, name) for name in row.__struct_fields__}, **more})]

    def shown(self) -> list[WorkerStatus]:
        return [row.status for row in self.roster.workers()]

    async def beat(self) -> list[str]:
        """Have the roster beat now; return the workers it told of."""
        self.told.clear()
        self.roster._beat()
        self.roster._timer.cancel()  # type: ignore[union-attr]
        return [batch.data["worker_id"] for batch in self.told]


@pytest.mark.lifecycle
@pytest.mark.requirement("req:B02")
def test_statuses_move_by_the_table() -> None:
    """A worker may be seen in what its last status leads to, and in nothing else: stopped is for good."""
    assert set(MOVES) == set(WorkerStatus)
    for old in (IDLE, BUSY, ERROR):
        assert all(moved(old, new) is new for new in WorkerStatus)
    assert [moved(STOPPING, new) for new in WorkerStatus] == [STOPPING, STOPPING, STOPPING, STOPPED, STOPPING]
    assert [moved(STOPPED, new) for new in WorkerStatus] == [STOPPED] * 5


@pytest.mark.requirement("req:B02")
async def test_draining_shows_stopping_then_stopped() -> None:
    """While the pool drains, workers are stopping, also at their last task; who has left, in the end all, stopped."""
    yard = Yard()
    yard.say(BUSY, current_task="t")
    assert yard.shown() == [BUSY]
    yard.roster.drain()
    assert [(row.status, row.current_task) for row in yard.roster.workers()] == [(STOPPING, "t")]
    yard.say(IDLE)
    assert yard.shown() == [STOPPING]
    yard.rows.clear()
    assert [(row.status, row.current_task) for row in yard.roster.workers()] == [(STOPPED, None)]
    yard.roster.stop()
    yard.say(BUSY)
    assert yard.shown() == [STOPPED]


async def test_who_leaves_while_the_pool_runs_is_forgotten() -> None:
    """A worker that is no more has no row, unless the pool is stopping."""
    yard = Yard()
    yard.say(BUSY)
    assert yard.shown() == [BUSY]
    yard.rows.clear()
    assert yard.shown() == []


@pytest.mark.requirement("req:A07")
async def test_heartbeats_are_of_the_living() -> None:
    """A beat tells of idle, busy and stopping workers, of none that is dead or yet to be started."""
    yard = Yard()
    for status in (IDLE, BUSY, STOPPING):
        yard.say(status)
        assert await yard.beat() == ["w"]
    for status in (ERROR, STOPPED):
        yard = Yard()
        yard.say(status)
        assert await yard.beat() == []
    yard = Yard()
    yard.say(IDLE, started=False)
    assert await yard.beat() == []


@pytest.mark.requirement("req:B03")
async def test_the_last_heartbeat_is_that_of_the_last_beat() -> None:
    """It stands still between two beats, however often one asks."""
    yard = Yard()
    yard.say(BUSY)
    first = yard.roster.workers()[0].last_heartbeat
    assert yard.roster.workers()[0].last_heartbeat == first
    await yard.beat()
    second = yard.roster.workers()[0].last_heartbeat
    assert first is not None
    assert second is not None
    assert second > first
    assert second.tzinfo is not None
    assert yard.roster.workers()[0].last_heartbeat == second


@pytest.mark.requirement("req:A07", "req:B02")
async def test_who_gives_no_sign_of_life_is_in_error() -> None:
    """A worker that its executor has not heard of for some beats is in error, has no heartbeat, and may come back."""
    yard = Yard()
    yard.say(BUSY, heard_s_ago=LATE_BEATS - 1.0)
    assert yard.shown() == [BUSY]
    yard.say(BUSY, heard_s_ago=LATE_BEATS + 1.0)
    assert yard.shown() == [ERROR]
    assert await yard.beat() == []
    yard.say(BUSY)
    assert yard.shown() == [BUSY]


@pytest.mark.requirement("req:A07", "req:B02")
async def test_workers_of_a_loop_that_does_not_turn_are_in_error() -> None:
    """Who lives on the loop is seen alive on it only: from another thread, late beats show; on the loop, it turns."""
    yard = Yard()
    yard.say(BUSY, heard_s_ago=None)
    assert yard.shown() == [BUSY]
    yard.now += LATE_BEATS + 1.0
    seen: list[list[WorkerStatus]] = []
    thread = threading.Thread(target=lambda: seen.append(yard.shown()))
    thread.start()
    thread.join(5)
    assert seen == [[ERROR]]
    assert yard.shown() == [BUSY]


async def test_the_beat_keeps_its_period() -> None:
    """Beats are due at multiples of the interval from the start; after a hold-up none is made up for."""
    yard = Yard()
    yard.roster.start()
    loop = asyncio.get_running_loop()
    first = yard.roster._due
    assert first == pytest.approx(loop.time() + 1.0, abs=0.5)
    await yard.beat()
    assert yard.roster._due == first + 1.0
    yard.roster._due -= 100.0
    await yard.beat()
    assert yard.roster._due >= loop.time() - 1.0
    yard.roster.stop()
