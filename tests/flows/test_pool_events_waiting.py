"""What still waits for those who listen when a pool is asked for its health, and when it stops."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from longshore import EventBus, ProgressTracker, RunSummary, Settings, WorkerPool
from longshore.events import AnyEvent
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.events]

DEADLINE_S = 30.0


def add(a: int, b: int) -> int:
    return a + b


@pytest.mark.requirement("req:I06")
async def test_a_pool_is_not_well_with_a_handler_that_hangs(gate: threading.Event) -> None:
    """The pool's health names the handler that does not come back, and takes it as a reason no longer once it does."""
    now, called = [0.0], threading.Event()
    bus = EventBus(clock=lambda: now[0])

    def hangs(event: AnyEvent) -> None:
        called.set()
        gate.wait(DEADLINE_S)

    bus.subscribe(hangs, name="hangs")
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=Settings(probes=()), event_bus=bus) as pool:
        await (await pool.submit(add, 1, 2))
        await asyncio.to_thread(called.wait, DEADLINE_S)
        now[0] = 3.0
        health = pool.health()
        assert (health.healthy, health.reasons) == (False, ("event handler hangs is stuck",))
        assert health.checks["handlers"] is False
        gate.set()
        assert await bus.drain(DEADLINE_S)
        assert pool.health().healthy
    bus.close()


TASKS = 30


class HeldBus:
    """A bus of others that is held at its first event."""

    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate
        self.types = Counter[str]()

    def emit(self, event: Any) -> None:
        self.gate.wait(DEADLINE_S)
        self.types[event.type] += 1


class HeldAsyncBus(HeldBus):
    async def emit(self, event: Any) -> None:
        while not self.gate.is_set():
            await asyncio.sleep(0.005)
        self.types[event.type] += 1


class HeldTracker:
    """A tracker of others, likewise."""

    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate
        self.types = Counter[str]()

    def start_task(self, task_id: str, processor_name: str, document_id: str) -> None:
        self.gate.wait(DEADLINE_S)

    def update_task(self, *args: Any, **kwargs: Any) -> None: ...

    def complete_task(self, task_id: str, success: bool = True, error: str | None = None) -> None:
        self.types["task_completed"] += success


async def run_held(**given: Any) -> tuple[WorkerPool, RunSummary]:
    """A run of which nobody who listens has heard when it stops."""
    pool = WorkerPool(settings=Settings(probes=()), **given)
    async with asyncio.timeout(DEADLINE_S), pool:
        for _ in range(TASKS):
            await (await pool.submit(add, 1, 2))
    assert pool.summary is not None
    return pool, pool.summary


@pytest.mark.requirement("req:I05", "req:F08")
@pytest.mark.parametrize("kind", [HeldBus, HeldAsyncBus, HeldTracker])
async def test_what_waits_when_a_pool_stops_is_noted_and_told_later(
    kind: Callable[[threading.Event], Any],
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run ends as it went, says for whom how many events were waiting, and each end of a task is told after it."""
    monkeypatch.setattr("longshore.pool._CLOSE_S", 0.05)
    theirs = kind(gate)
    keyword = "progress_tracker" if kind is HeldTracker else "event_bus"
    pool, summary = await run_held(**{keyword: theirs})
    assert summary.state == "completed"
    (note,) = summary.notes
    found = re.fullmatch(
        rf"event handler {keyword}:{kind.__name__} is slow: "
        r"(\d+) events delivered, 0 dropped, (\d+) still waiting when the pool stopped",
        note,
    )
    assert found, note
    assert sum(map(int, found.groups())) == 3 * TASKS + 2
    assert not theirs.types["task_completed"]
    gate.set()
    await until(lambda: pool.events.health() == [], "the listener to have been told all")
    assert theirs.types["task_completed"] == TASKS


async def test_what_waits_for_the_next_run_comes_once(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that is started again while its listener still has the last run's events tells it each event once."""
    monkeypatch.setattr("longshore.pool._CLOSE_S", 0.05)
    theirs = HeldBus(gate)
    pool, _ = await run_held(event_bus=theirs)
    async with asyncio.timeout(DEADLINE_S), pool:
        await (await pool.submit(add, 1, 2))
        gate.set()
    await until(lambda: pool.events.health() == [], "the listener to have been told all")
    assert theirs.types["task_completed"] == TASKS + 1
    assert theirs.types["worker_pool_stopped"] == 2


async def test_a_tracker_of_ours_knows_the_end_of_a_run_it_was_late_for(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held up by a handler before it, our own tracker still takes in all ends after the pool has stopped."""
    monkeypatch.setattr("longshore.pool._CLOSE_S", 0.05)
    tracker = ProgressTracker()
    bus = EventBus()
    leave = bus.subscribe(lambda event: gate.wait(DEADLINE_S))
    _, summary = await run_held(event_bus=bus, progress_tracker=tracker)
    assert [note.split()[2] for note in summary.notes][-1] == "progress_tracker"
    gate.set()
    await until(lambda: tracker.get_statistics()["total_tasks"] == TASKS, "the tracker to know all ends")
    leave()
    bus.close()
