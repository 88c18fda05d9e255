"""Sinks that fail, in real runs: they cost themselves, and never a task."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from longshore import PluginError, RunSummary, Settings, WorkerPool
from longshore.events import TERMINAL_TYPES, AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, SinkHealth
from longshore.testing import RecordingSink
from support.broken_parts import COUNT, run, settings, work

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]

CLOSING_S = 7.0
"""What a sink gets to close in is 5 s; nothing may keep `stop` longer."""


class RaisingSink(RecordingSink):
    """Raises in the methods named, and records in the others."""

    def __init__(self, *methods: str, error: BaseException | None = None) -> None:
        super().__init__()
        self.calls: list[str] = []
        self._methods = methods
        self._error = error or ZeroDivisionError("a sink's own fault")

    def _called(self, method: str) -> None:
        self.calls.append(method)
        if method in self._methods:
            raise self._error

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Raise, or record."""
        self._called("open")
        super().open(run)

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Raise, or record."""
        self._called("on_events")
        super().on_events(batch)

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Raise, or record."""
        self._called("close")
        super().close(summary)


class BlockingSink(RecordingSink):
    """Blocks in one of its methods until it is let go; nobody waits for it."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.go = threading.Event()
        self.inside = threading.Event()
        self._method = method

    def _called(self, method: str) -> None:
        if method == self._method:
            self.inside.set()
            self.go.wait(600)

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Block, or record."""
        self._called("open")
        super().open(run)

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Block, or record."""
        self._called("on_events")
        super().on_events(batch)

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Block, or record."""
        self._called("close")
        super().close(summary)


class SlowSink(RecordingSink):
    """Takes a second for every call."""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Take a second, then record."""
        threading.Event().wait(1.0)
        super().on_events(batch)


def health(summary: RunSummary) -> dict[str, SinkHealth]:
    """Return the health of each sink in a summary."""
    return {one.name: one for one in summary.snapshot.sinks}


# ---- sinks


async def test_a_healthy_sink_gets_everything() -> None:
    """A sink that works is told of every end once, opened before and closed after, and its health says ok."""
    sink = RecordingSink()
    pool = WorkerPool(settings=settings(), sinks=[sink])
    summary, _ = await run(pool)
    assert len(sink.of_type(*TERMINAL_TYPES)) == COUNT
    told = health(summary)["RecordingSink"]
    assert (told.state, told.dropped, told.errors) == ("ok", 0, 0)
    assert told.delivered == len(sink.events)
    assert [event.seq for event in sink.events] == sorted({event.seq for event in sink.events})
    assert sink.run is not None
    assert sink.run.run_id == summary.snapshot.run_id
    assert sink.summary is not None
    assert sink.summary.state == "completed"
    assert summary.notes == []


@pytest.mark.parametrize("error", [ZeroDivisionError("a sink's own fault"), SystemExit(3)])
async def test_a_sink_that_raises(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """fault:E1: a sink that raises in every call changes no outcome; the summary names it, with what it raised."""
    raising, healthy = RaisingSink("on_events", error=error), RecordingSink()
    with caplog.at_level(logging.CRITICAL):
        summary, took_s = await run(WorkerPool(settings=settings(), sinks=[raising, healthy]))
    assert took_s < CLOSING_S
    told = health(summary)["RaisingSink"]
    assert told.state in ("failing", "quarantined")
    assert told.errors >= 1
    assert type(error).__name__ in str(told.last_error)
    assert told.delivered == 0
    assert told.delivered + told.dropped == health(summary)["RecordingSink"].delivered
    assert any("RaisingSink" in note and type(error).__name__ in note for note in summary.notes)
    assert len(healthy.of_type(*TERMINAL_TYPES)) == COUNT
    assert "close" in raising.calls


@pytest.mark.parametrize("method", ["open", "close"])
async def test_a_sink_that_raises_at_an_end(method: str, caplog: pytest.LogCaptureFixture) -> None:
    """fault:E1: raising when opened or closed is the sink's own affair too, and the summary says so."""
    with caplog.at_level(logging.CRITICAL):
        summary, took_s = await run(WorkerPool(settings=settings(), sinks=[RaisingSink(method)]))
    assert took_s < CLOSING_S
    told = health(summary)["RaisingSink"]
    assert told.state == ("quarantined" if method == "open" else "failing")
    assert told.errors == 1
    assert any("RaisingSink" in note for note in summary.notes)


@pytest.mark.slow
async def test_a_slow_sink() -> None:
    """fault:E1: a sink that takes a second for each call changes no outcome, and what it missed is counted."""
    slow, healthy = SlowSink(), RecordingSink()
    started = time.monotonic()
    summary, took_s = await run(WorkerPool(settings=settings(), sinks=[slow, healthy]), 20_000)
    assert took_s < CLOSING_S
    assert time.monotonic() - started < CLOSING_S + 10
    told = health(summary)["SlowSink"]
    assert told.state in ("slow", "stuck")
    assert told.dropped > 0
    under_way = health(summary)["RecordingSink"].delivered - told.delivered - told.dropped
    assert 0 <= under_way <= 1000  # what is in the call it is in, which nobody waits for
    assert any("SlowSink" in note for note in summary.notes)


@pytest.mark.slow
async def test_what_a_sink_missed_is_counted_exactly() -> None:
    """fault:E1: a sink that was held up gets the end of every task all the same; what it missed is counted, exactly."""
    blocking, healthy = BlockingSink("on_events"), RecordingSink()
    async with WorkerPool(settings=settings(), sinks=[blocking, healthy]) as pool:
        async for _ in pool.outcomes(work, range(15_000)):
            pass
        blocking.go.set()
    assert pool.summary is not None
    told = health(pool.summary)
    missed = told["BlockingSink"]
    assert missed.state == "slow"
    assert missed.dropped > 0
    assert missed.delivered == len(blocking.events)
    assert missed.delivered + missed.dropped == told["RecordingSink"].delivered == len(healthy.events)
    assert len(blocking.of_type(*TERMINAL_TYPES)) == 15_000
    assert any("BlockingSink" in note and str(missed.dropped) in note for note in pool.summary.notes)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["open", "on_events", "close"])
async def test_a_sink_that_blocks_for_ever(method: str) -> None:
    """fault:E1: a sink that never returns keeps no task and, past its closing time, not the end of the run."""
    blocking, healthy = BlockingSink(method), RecordingSink()
    try:
        summary, took_s = await run(WorkerPool(settings=settings(), sinks=[blocking, healthy]))
        assert blocking.inside.is_set()
        assert took_s < CLOSING_S
        told = health(summary)
        assert told["BlockingSink"].state == "stuck"
        assert told["RecordingSink"].state == "ok"
        assert len(healthy.of_type(*TERMINAL_TYPES)) == COUNT
        assert any("BlockingSink" in note and "stuck" in note for note in summary.notes)
    finally:
        blocking.go.set()


@pytest.mark.requirement("req:F08")
async def test_a_blocked_sink_holds_up_no_task() -> None:
    """While a sink is inside a call that does not return, tasks run and end as if it was not there."""
    blocking = BlockingSink("on_events")
    async with WorkerPool(settings=settings(), sinks=[blocking]) as pool:
        await (await pool.submit(work, 0))
        assert await asyncio.to_thread(blocking.inside.wait, 10)
        async with asyncio.timeout(10):
            given = [value async for value in pool.map(work, (n for n in range(5000) if n % 10 != 3))]
        assert len(given) == 4500
        assert not blocking.of_type(*TERMINAL_TYPES)
        blocking.go.set()
    assert len(blocking.of_type(*TERMINAL_TYPES)) == 4501


async def test_two_sinks_of_one_class_are_told_apart() -> None:
    """Two sinks of the same class have a health each, under names of their own."""
    summary, _ = await run(WorkerPool(settings=settings(), sinks=[RecordingSink(), RecordingSink()]), 100)
    assert len(health(summary)) == 2


async def test_a_sink_that_cannot_be_made_stops_the_start() -> None:
    """A sink named that is not there is a PluginError from `start`: nobody runs for an hour without the sink wanted."""
    pool = WorkerPool(settings=settings(sinks=("nosuchsink",)))
    with pytest.raises(PluginError, match="nosuchsink"):
        await pool.start()
    assert await pool.stop() is None


async def test_what_goes_wrong_while_sinks_are_closed_is_told_by_the_pool_itself() -> None:
    """A sink that raises as it is closed is in the summary's notes, and among those that no sink was told."""
    well = RecordingSink()
    pool = WorkerPool(settings=Settings(probes=()), sinks=[RaisingSink("close"), well])
    async with pool:
        await (await pool.submit(asyncio.sleep, 0, "done"))
    assert pool.summary is not None
    [late] = pool.summary.late
    assert "ZeroDivisionError" in late
    assert late in pool.summary.notes
    assert well.summary is not None
    assert not well.summary.late
    assert late not in well.summary.notes


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ([5], r"sinks\[0\] is 'int' and lacks open, on_events, close: a sink is the name of a plugin, or an object"),
        ([RecordingSink(), None], r"sinks\[1\] is 'NoneType' and lacks"),
        ([RecordingSink], r"sinks\[0\] is the class RecordingSink: give an instance of it"),
        ("jsonl", r"give a list of sinks, such as \['jsonl'\]"),
    ],
)
async def test_what_is_no_sink_is_refused_when_the_pool_is_made(wrong: Any, told: str) -> None:
    """What can never be told of a run is an error of whoever gave it, which says what a sink needs."""
    with pytest.raises(TypeError, match=told):
        WorkerPool(settings=settings(), sinks=wrong)
