"""Sinks that misbehave, each with a real thread: they cost the caller nothing, and health says what happened."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import pytest
from longshore._delivery import SinkCourier
from longshore._delivery.courier import SLICE_EVENTS
from longshore.events import AnyEvent, Happened, TasksSettled, TasksStarted
from longshore.records import RunInfo, RunSnapshot, RunSummary, SinkHealth
from longshore.task import Attempt, ErrorRecord, Outcome, TaskSpec, TaskState

AT = datetime(2024, 1, 1, tzinfo=UTC)
SPEC = TaskSpec(function=print, name="f", executor="threads")
SNAPSHOT = RunSnapshot(run_id="r", name="demo", started=AT, elapsed_s=1.0)
INFO = RunInfo(run_id="r", started=AT, snapshot=lambda: SNAPSHOT)
SUMMARY = RunSummary(snapshot=SNAPSHOT, state="completed")


def settled(count: int) -> TasksSettled:
    return TasksSettled(SPEC, [Outcome(f"t{i}", None, i, "f", TaskState.COMPLETED) for i in range(count)])


class FakeSink:
    """Keeps what it is told; `on_call` may misbehave."""

    def __init__(self, on_call: Callable[[str], None] = lambda _: None) -> None:
        self.on_call = on_call
        self.told: list[AnyEvent] = []
        self.sizes: list[int] = []
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self.event_types: object = None

    def open(self, run: RunInfo) -> None:
        self._called("open")

    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        self._called("on_events")
        self.told.extend(batch)
        self.sizes.append(len(batch))

    def close(self, summary: RunSummary) -> None:
        self._called("close")
        assert summary is SUMMARY

    def _called(self, method: str) -> None:
        self.calls.append(method)
        self.threads.add(threading.current_thread().name)
        self.on_call(method)


@pytest.fixture
def blocker() -> Iterator[threading.Event]:
    """An event nobody sets while the test runs."""
    event = threading.Event()
    yield event
    event.set()


def until(condition: Callable[[], bool], limit_s: float = 5.0) -> None:
    """Wait for a condition with a deadline."""
    end, turn = time.monotonic() + limit_s, threading.Event()
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        turn.wait(0.005)


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def finish(courier: SinkCourier, deadline: float) -> bool:
    courier.conclude(SUMMARY, deadline)
    return courier.wait()


def test_a_sink_gets_everything_in_order_in_slices_on_its_own_thread() -> None:
    """Open, all events in order in slices of a thousand at most, close: on one thread that is not the caller's."""
    sink = FakeSink()
    courier = SinkCourier("quiet", sink, INFO)
    courier.start()
    for number in range(4):
        courier.put(settled(1300), number * 1300, AT)
    assert finish(courier, soon())
    assert [event.seq for event in sink.told] == list(range(5200))
    assert max(sink.sizes) <= SLICE_EVENTS
    assert (sink.calls[0], sink.calls[-1], sink.threads) == ("open", "close", {"longshore-sink-quiet"})
    assert courier.health() == SinkHealth(name="quiet", delivered=5200)


def test_a_sink_that_wants_few_types_is_told_of_those_only() -> None:
    """What it does not name is neither kept for it nor called dropped; of a batch of ends it gets those it wants."""
    failed = Outcome("bad", None, 0, "f", TaskState.FAILED, None, ErrorRecord(type="x", message=""))
    started = TasksStarted([Attempt("t", SPEC)])
    sink = FakeSink()
    sink.event_types = frozenset({"task_failed", "health_check"})
    courier = SinkCourier("choosy", sink, INFO, limit=10)
    courier.start()
    for number in range(100):
        courier.put(started, number, AT)
    courier.put(TasksSettled(SPEC, [*settled(3).outcomes, failed]), 100, AT)
    courier.put(Happened("health_check", {}), 104, AT)
    courier.put(Happened("resource_warning", {}), 105, AT)
    assert finish(courier, soon())
    assert [(event.seq, event.type) for event in sink.told] == [(103, "task_failed"), (104, "health_check")]
    assert courier.health() == SinkHealth(name="choosy", delivered=2)


@pytest.mark.parametrize("types", [None, 3, "task_failed"])
def test_a_sink_that_names_no_set_of_types_is_told_of_everything(types: object) -> None:
    """An attribute of that name which means something else takes nothing away from it."""
    sink = FakeSink()
    sink.event_types = types
    courier = SinkCourier("odd", sink, INFO)
    courier.start()
    courier.put(settled(3), 0, AT)
    assert finish(courier, soon())
    assert len(sink.told) == 3


def test_a_sink_that_raises_is_quarantined_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """fault:E1 After five calls in a row that raised, a sink gets nothing more; one warning; every event is counted."""

    def fail(method: str) -> None:
        if method == "on_events":
            raise SystemExit("no disk")

    sink = FakeSink(fail)
    courier = SinkCourier("broken", sink, INFO)
    courier.start()
    with caplog.at_level(logging.WARNING):
        for number in range(7):
            courier.put(settled(SLICE_EVENTS), 0, AT)
            until(lambda n=number: courier.health().errors == min(n + 1, 5))  # type: ignore[misc]
        assert finish(courier, soon())
    health = courier.health()
    assert (health.state, health.errors, health.last_error) == ("quarantined", 5, "SystemExit: no disk")
    assert (health.delivered, health.dropped) == (0, 7 * SLICE_EVENTS)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "broken" in caplog.text
    assert sink.calls == ["open", *["on_events"] * 5, "close"]


class SpeechlessError(Exception):
    """Raises when it is asked what it says."""

    def __str__(self) -> str:
        raise RuntimeError("nothing to say")


def test_a_sink_whose_exception_cannot_be_written_goes_on() -> None:
    """It is counted under its type, and the sink is told what follows, and closed."""
    raised: list[str] = []

    def fail_once(method: str) -> None:
        if method == "on_events" and not raised:
            raised.append(method)
            raise SpeechlessError

    sink = FakeSink(fail_once)
    courier = SinkCourier("speechless", sink, INFO)
    courier.start()
    courier.put(settled(1), 0, AT)
    until(lambda: courier.health().errors == 1)
    courier.put(settled(1), 1, AT)
    assert finish(courier, soon())
    assert (courier.health().delivered, sink.calls[-1]) == (1, "close")
    assert str(courier.health().last_error).startswith("SpeechlessError: ")


def test_a_sink_that_fails_now_and_then_goes_on() -> None:
    """Errors are counted and named, but only a row of them leads to quarantine."""
    turn = iter(range(100))

    def stumble(method: str) -> None:
        if method == "on_events" and next(turn) % 2:
            raise OSError("busy")

    courier = SinkCourier("shaky", FakeSink(stumble), INFO, quarantine_after=2)
    courier.start()
    for number in range(1, 9):
        courier.put(settled(SLICE_EVENTS), 0, AT)
        until(lambda n=number: courier.health().delivered + courier.health().dropped == n * SLICE_EVENTS)  # type: ignore[misc]
    finish(courier, soon())
    health = courier.health()
    assert (health.errors, health.delivered, health.dropped) == (4, 4 * SLICE_EVENTS, 4 * SLICE_EVENTS)
    assert health.state == "failing"


def test_a_sink_that_cannot_open_is_quarantined_and_never_called_again(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is delivered to, or closed on, a sink that did not open."""

    def refuse(method: str) -> None:
        raise RuntimeError(f"{method} refused")

    sink = FakeSink(refuse)
    courier = SinkCourier("shut", sink, INFO)
    with caplog.at_level(logging.WARNING):
        courier.start()
        courier.put(settled(3), 0, AT)
        assert finish(courier, soon())
    assert (sink.calls, courier.health().state, courier.health().dropped) == (["open"], "quarantined", 3)


@pytest.mark.parametrize("kind", ["raises", "sleeps a second", "blocks for ever"])
def test_a_bad_sink_costs_the_caller_nothing(kind: str, blocker: threading.Event) -> None:
    """fault:E1 Telling a bad sink of a million events takes the caller well under 50 ns each, and memory is bounded."""

    def misbehave(method: str) -> None:
        if method == "on_events" and kind == "raises":
            raise ValueError(kind)
        if method == "on_events":
            blocker.wait(1.0 if kind == "sleeps a second" else None)

    courier = SinkCourier(kind, FakeSink(misbehave), INFO)
    courier.start()
    batch, spent = settled(1000), 0.0
    for number in range(1000):
        began = time.thread_time()
        courier.put(batch, number * 1000, AT)
        spent += time.thread_time() - began
    assert spent < 0.05, f"{spent * 1e3:.1f} ns an event"
    assert courier._mailbox.pending <= 101_000
    assert finish(courier, soon(10 if kind == "raises" else 0.05)) == (kind == "raises")
    health = courier.health()
    assert health.state == ("quarantined" if kind == "raises" else "stuck")
    assert health.delivered <= 5000
    kept_at_most = 0 if kind == "raises" else 101_000
    assert 1_000_000 - kept_at_most <= health.dropped + health.delivered <= 1_000_000


def test_a_slow_sink_is_called_slow_and_its_losses_are_counted_to_the_event(blocker: threading.Event) -> None:
    """What was delivered and what was dropped add up to what was told, once the sink has caught up."""
    sink = FakeSink(lambda method: None if method != "on_events" else blocker.wait(5) and None)
    courier = SinkCourier("slow", sink, INFO, limit=10)
    courier.start()
    for number in range(50):
        courier.put(settled(10), number * 10, AT)
    assert courier.health().state == "slow"
    blocker.set()
    assert finish(courier, soon())
    health = courier.health()
    assert health.delivered == len(sink.told) >= 100
    assert health.delivered + health.dropped == 500


def test_what_waits_past_the_deadline_is_dropped_and_the_sink_still_closed(blocker: threading.Event) -> None:
    """A sink that comes back after the deadline gets its close, and no more events."""
    sink = FakeSink(lambda method: None if method != "on_events" else blocker.wait(5) and None)
    courier = SinkCourier("late", sink, INFO)
    courier.start()
    courier.put(settled(3000), 0, AT)
    until(lambda: "on_events" in sink.calls)
    assert not finish(courier, soon(0.02))
    assert courier.health().state == "stuck"
    blocker.set()
    until(lambda: courier.health().state != "stuck")
    health = courier.health()
    assert (health.delivered, health.dropped, sink.calls) == (1000, 2000, ["open", "on_events", "close"])
