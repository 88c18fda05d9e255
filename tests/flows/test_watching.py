"""A pool that watches itself: what it remembers of its run, what it alerts of, and what its sinks can serve of that."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from longshore import Alert, Priority, ResourceMonitor, RunHistory, Settings, WorkerConfig, WorkerPool
from longshore.records import HISTORY_STATE, Reading, Usage
from longshore.testing import MemoryJournal, RecordingSink, ScriptedProbe
from support.waiting import until

pytestmark = pytest.mark.anyio
DEADLINE_S = 20.0


def pool_of(
    *sinks: RecordingSink, journal: Any = None, resume: str | None = None, monitor: Any = None, **tables: Any
) -> WorkerPool:
    """Return a pool of one thread that looks at itself ten times a second."""
    cadence = {"history": {"fine_every_s": 0.1, "every_s": 0.1, **tables.pop("history", {})}, **tables}
    settings = Settings(probes=(), workers=WorkerConfig(thread_workers=1), **cadence)
    return WorkerPool(None, None, monitor, settings=settings, journal=journal, resume=resume, sinks=sinks)


def kept_in(journal: MemoryJournal) -> list[RunHistory]:
    """Return the histories that were recorded, in order."""
    states = [batch.states[HISTORY_STATE] for batch in journal.batches if HISTORY_STATE in batch.states]
    return [RunHistory.from_state(json.loads(json.dumps(state))) for state in states]


@pytest.mark.slow
@pytest.mark.requirement("req:L10", "req:L04")
async def test_a_stall_is_told_of_with_what_is_waited_for(gate: threading.Event) -> None:
    """Event, alert and health name what runs and what waits, and all is over when something moves."""
    sink = RecordingSink()
    async with asyncio.timeout(DEADLINE_S), pool_of(sink, health={"stall_after_s": 0.2}) as pool:
        held = await pool.options(key="a.pdf", name="ocr").submit(gate.wait, DEADLINE_S)
        waits = await pool.options(key="b.pdf").submit(abs, -1)
        await until(pool.alerts, "an alert")
        (alert,) = pool.alerts()
        assert alert.name == "stalled"
        assert "1 running, the longest a.pdf (ocr) on threads for " in alert.message
        assert "1 waiting, of which b.pdf is queued for executor threads with priority NORMAL" in alert.message
        assert "1 of 1 workers of threads are busy" in alert.message
        assert pool.snapshot().alerts == (alert,)
        found = pool.health()
        assert found.reasons == (alert.message,)
        assert (found.live, found.ready) == (True, True)
        gate.set()
        await asyncio.gather(held, waits)
        await until(lambda: not pool.alerts(), "the end of the alert")
        assert pool.health().healthy
        history = pool.history()
    events = [event.data for event in sink.of_type("alert")]
    assert [event["state"] for event in events] == ["raised", "cleared"]
    assert events[0]["message"] == alert.message
    (happening,) = history.happenings
    assert (happening.type, happening.reason) == ("alert", alert.message)
    assert happening.ended is not None


@pytest.mark.requirement("req:L10")
async def test_failures_and_a_machine_that_is_full_raise_alerts() -> None:
    """By the thresholds of the settings; of CPU only what others use counts, for a pool is there to use it."""
    usage = {"memory": Usage(95.0, 100.0, 95.0), "cpu": Usage(2.0, 2.0, 2.0)}
    probe = ScriptedProbe([Reading(datetime.now(UTC), usage)], period_s=0.01)
    monitor = ResourceMonitor({"max_memory_percent": 100.0, "warning_memory_percent": 99.0}, 0.01, [probe])
    async with asyncio.timeout(DEADLINE_S), pool_of(monitor=monitor, alerts={"error_least": 4}) as pool:
        for _ in range(5):
            await (await pool.submit(int, "no number")).outcome()
        await until(lambda: len(pool.alerts()) == 2, "two alerts")
        assert {(one.name, one.subject) for one in pool.alerts()} == {("error_rate", ""), ("resource", "memory")}


@pytest.mark.requirement("req:L09")
async def test_a_pool_looks_after_itself_by_the_clock() -> None:
    """It tells of its health at an interval, unasked, and takes points at two others."""
    sink = RecordingSink()
    async with asyncio.timeout(DEADLINE_S), pool_of(sink, health={"every_s": 0.1}, history={"every_s": 1000}) as pool:
        await until(lambda: len(pool.history().points_fine) > 3, "points")
        await until(lambda: len(sink.of_type("health_check")) > 1, "two looks")
        assert len(pool.metrics_history()) == 1
    assert {event.data["healthy"] for event in sink.of_type("health_check")} == {True}
    assert len(pool.metrics_history()) == 2  # the last is taken as the run ends


@pytest.mark.requirement("req:L07", "req:L09")
async def test_queues_are_counted_by_executor_and_priority(gate: threading.Event) -> None:
    """As they are at that moment: in the statistics, and in each point of the history, beside workers that are busy."""
    async with asyncio.timeout(DEADLINE_S), pool_of() as pool:
        await pool.options(executor="threads").submit(gate.wait, DEADLINE_S)
        await until(lambda: pool.get_stats().running_tasks == 1, "a task to run")
        for priority, count in ((Priority.HIGH, 2), (Priority.NORMAL, 3)):
            for _ in range(count):
                await pool.options(priority=priority).submit(abs, -1)
        wanted = {"threads": {"HIGH": 2, "NORMAL": 3}}
        await until(lambda: pool.get_stats().queue == wanted, "the queue to be filled")
        json.dumps(pool.get_stats().to_dict())
        await until(lambda: pool.history().points_fine[-1].queue == wanted, "a point of that")
        point = pool.history().points_fine[-1]
        assert (point.workers["threads"].total, point.workers["threads"].active) == (1, 1)
        assert (point.submitted, point.queued, point.running) == (6, 5, 1)
        gate.set()
        assert await pool.wait_for_completion(DEADLINE_S)
        assert pool.get_stats().queue == {}


@pytest.mark.requirement("req:L09")
async def test_the_history_lasts_and_a_run_that_goes_on_goes_on_with_it(gate: threading.Event) -> None:
    """The journal has it as the run ends, however short it was; points of the next part come behind those of before."""
    journal = MemoryJournal()
    async with asyncio.timeout(DEADLINE_S), pool_of(journal=journal, history={"every_s": 1000}) as pool:
        await (await pool.submit(abs, -1))
        pool.pause()
        waiting = await pool.submit(abs, -2)
        while not pool.history().bands:
            await asyncio.sleep(0.01)
        pool.unpause()
        await waiting
    recorded = kept_in(journal)[-1]
    assert recorded == RunHistory.from_state(pool.history().to_state())
    assert [point.completed for point in recorded.points_minute] == [0, 2]
    assert [(band.reason, band.ended is not None) for band in recorded.bands] == [("paused", True)]
    async with pool_of(journal=journal, resume=pool.run_id, history={"every_s": 1000}) as again:
        assert again.metrics_history()[:2] == list(recorded.points_minute)
    assert len(again.metrics_history()) == 4


@pytest.mark.requirement("req:L09")
async def test_the_history_is_recorded_as_the_run_goes_on() -> None:
    """At each of the points that are kept for long, so that a controller that is killed leaves all but the last."""
    journal = MemoryJournal()
    async with asyncio.timeout(DEADLINE_S), pool_of(journal=journal) as pool:
        await (await pool.submit(abs, -1))
        await until(lambda: len(kept_in(journal)) > 1, "two records")
    first, *_, last = kept_in(journal)
    assert len(first.points_minute) < len(last.points_minute)


async def test_a_look_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong in one look is told by the loop, and the next one comes: a pool is not dead for that."""
    told: list[dict[str, Any]] = []
    async with asyncio.timeout(DEADLINE_S), pool_of() as pool:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        with monkeypatch.context() as patch:
            patch.setattr(pool._watching._book, "add", lambda *_: 1 / 0)
            await until(lambda: told, "a look")
        points = len(pool.history().points_fine)
        await until(lambda: len(pool.history().points_fine) > points, "another look")
        assert pool.health().live
    assert all(isinstance(one["exception"], ZeroDivisionError) for one in told)


async def test_a_pool_that_never_ran_has_no_history() -> None:
    """It can be asked all the same; and of a run that is over it is as it was at its end."""
    pool = pool_of()
    assert (pool.history(), pool.alerts(), pool.metrics_history()) == (RunHistory(), list[Alert](), [])
    async with pool:
        await (await pool.submit(abs, -1))
    assert pool.metrics_history()[-1].completed == 1
