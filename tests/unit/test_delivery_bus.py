"""The event bus: who is told, in what order, on which thread, and what a bad subscriber costs."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from unittest.mock import AsyncMock, MagicMock

import pytest
from longshore._delivery import EventBus, ForeignBus
from longshore.events import AnyEvent, Event, Happened, TasksSettled, TasksStarted, TasksSubmitted
from longshore.task import Attempt, Outcome, Task, TaskSpec, TaskState

pytestmark = [pytest.mark.anyio, pytest.mark.events]
AT = datetime(2024, 1, 1, tzinfo=UTC)
SPEC = TaskSpec(function=print, name="f", executor="threads")


@pytest.fixture
def bus() -> object:
    made = EventBus()
    yield made
    made.close()


def life(count: int) -> list[TasksSubmitted | TasksStarted | TasksSettled]:
    """The batches of `count` tasks from submitted to completed."""
    tasks = [Task(f"t{i}", SPEC) for i in range(count)]
    outcomes = [Outcome(task.task_id, None, 0, "f", TaskState.COMPLETED) for task in tasks]
    return [
        TasksSubmitted(SPEC, tasks),
        TasksStarted([Attempt.of(task, 1, 0.0) for task in tasks]),
        TasksSettled(SPEC, outcomes),
    ]


def publish_life(bus: EventBus, count: int) -> None:
    for number, batch in enumerate(life(count)):
        bus.publish_batch(batch, number * count, AT)


def soon_true(condition: Callable[[], bool], limit_s: float = 5.0) -> None:
    end, turn = time.monotonic() + limit_s, threading.Event()
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        turn.wait(0.005)


def test_a_bus_needs_no_loop_and_has_no_thread_before_it_is_used() -> None:
    """A bus can be made and published to anywhere; without subscribers nothing starts and nothing is kept."""
    before = threading.active_count()
    bus = EventBus()
    bus.publish(Event("x"))
    publish_life(bus, 3)
    assert (threading.active_count(), bus.is_healthy(), bus.health()) == (before, True, [])


@pytest.mark.requirement("req:I03")
async def test_plain_and_coroutine_handlers_are_told_in_order(bus: EventBus) -> None:
    """Each gets every event in order: plain ones on the bus's thread, coroutine ones on their own loop."""
    plain: list[tuple[int, str]] = []
    awaited: list[tuple[int, str]] = []

    async def handle(event: AnyEvent) -> None:
        await asyncio.sleep(0)
        awaited.append((event.seq, threading.current_thread().name))

    bus.subscribe(lambda event: plain.append((event.seq, threading.current_thread().name)))
    bus.subscribe(handle)
    publish_life(bus, 100)
    assert await bus.drain(5)
    assert plain == [(seq, "longshore-bus") for seq in range(300)]
    assert awaited == [(seq, threading.current_thread().name) for seq in range(300)]


async def test_types_choose_and_unsubscribing_ends(bus: EventBus) -> None:
    """A subscriber hears only its types, only what comes after it subscribed, and nothing after it left."""
    told: list[str] = []
    bus.publish(Event("early"))
    leave = bus.subscribe(lambda event: told.append(event.type), ["task_completed", "resource_warning"])
    only = bus.subscribe(lambda event: told.append("only"), "worker_error")
    publish_life(bus, 2)
    bus.publish_batch(Happened("resource_warning", {}), 6, AT)
    bus.publish(Event("pipeline_progress"))
    assert await bus.drain(5)
    assert told == ["task_completed", "task_completed", "resource_warning"]
    leave()
    publish_life(bus, 2)
    assert await bus.drain(5)
    assert len(told) == 3
    only()
    assert bus.health() == []
    soon_true(lambda: not any(t.name == "longshore-bus" for t in threading.enumerate()))


async def test_a_late_subscriber_hears_nothing_from_before(bus: EventBus) -> None:
    """What waited for another subscriber is not told to one that came later."""
    gate, first, second = threading.Event(), [], []

    def slow(event: AnyEvent) -> None:
        gate.wait(5)
        first.append(event.type)

    bus.subscribe(slow)
    bus.publish(Event("before"))
    bus.publish(Event("before"))
    bus.subscribe(lambda event: second.append(event.type))
    bus.publish(Event("after"))
    gate.set()
    assert await bus.drain(5)
    assert (first, second) == (["before", "before", "after"], ["after"])


@pytest.mark.requirement("req:F08")
async def test_a_raising_subscriber_hurts_nobody_else(bus: EventBus, caplog: pytest.LogCaptureFixture) -> None:
    """What a handler raises is counted and logged once; the others are told, and it is called again."""
    told: list[int] = []

    def bad(event: AnyEvent) -> None:
        raise SystemExit("bad")

    async def worse(event: AnyEvent) -> None:
        raise asyncio.CancelledError

    with caplog.at_level(logging.WARNING):
        bus.subscribe(bad)
        bus.subscribe(worse)
        bus.subscribe(lambda event: told.append(event.seq))
        publish_life(bus, 1)
        assert await bus.drain(5)
    assert told == [0, 1, 2]
    assert [health.errors for health in bus.health()] == [3, 0, 3]
    assert [health.state for health in bus.health()] == ["failing", "ok", "failing"]
    assert len(caplog.records) == 2
    assert not bus.is_healthy()


class SpeechlessError(Exception):
    """Raises when it is asked what it says."""

    def __str__(self) -> str:
        raise RuntimeError("nothing to say")


@pytest.mark.requirement("req:F08")
async def test_an_exception_that_cannot_be_written_silences_nobody_else(bus: EventBus) -> None:
    """What a handler raises may itself raise when it is asked what it says: it is counted all the same."""
    told: list[int] = []

    def bad(event: AnyEvent) -> None:
        raise SpeechlessError

    bus.subscribe(bad)
    bus.subscribe(lambda event: told.append(event.seq))
    publish_life(bus, 1)
    assert await bus.drain(5)
    assert told == [0, 1, 2]
    assert bus.health()[0].errors == 3
    assert str(bus.health()[0].last_error).startswith("SpeechlessError: ")


@pytest.mark.requirement("req:I05")
async def test_a_subscriber_that_never_returns_cannot_grow_memory() -> None:
    """Events wait up to a bound, drops are counted, and the publisher never waits."""
    gate = threading.Event()
    bus = EventBus(limit_events=100)
    bus.subscribe(lambda event: gate.wait(20))
    for _ in range(100):
        publish_life(bus, 100)
    (lane,) = bus._lanes
    assert lane.mailbox.pending <= 1000
    assert not bus.is_healthy()
    assert bus.health()[0].state == "slow"
    assert bus.health()[0].dropped >= 30_000 - 2 * 1000 - 300
    gate.set()
    bus.close(5)


async def test_async_handler_subscribed_without_a_loop_runs_on_the_first_that_publishes() -> None:
    """A coroutine function may be subscribed before any loop runs."""
    bus, told = EventBus(), []

    async def handle(event: AnyEvent) -> None:
        told.append((event.type, threading.current_thread()))

    thread = threading.Thread(target=lambda: (bus.subscribe(handle), bus.publish(Event("first"))))
    thread.start()
    thread.join(5)
    assert told == []
    await bus.emit(Event("second"))
    assert await bus.drain(5)
    assert told == [("first", threading.current_thread()), ("second", threading.current_thread())]


def test_a_closed_loop_ends_its_subscription_quietly() -> None:
    """A handler whose loop is gone is told nothing; publishing goes on, and draining does not wait for it."""
    bus = EventBus()

    async def subscribe() -> None:
        async def handle(event: AnyEvent) -> None: ...

        bus.subscribe(handle)

    asyncio.run(subscribe())
    publish_life(bus, 5)
    assert bus.health()[0].dropped == 15
    began = time.monotonic()
    assert asyncio.run(bus.drain(20))
    assert time.monotonic() - began < 10


async def test_publishing_from_many_threads_loses_nothing(bus: EventBus) -> None:
    """Events of each thread arrive complete and in its order."""
    told: list[tuple[str, int]] = []
    bus.subscribe(lambda event: told.append((event.type, event.data["n"])))
    threads = [
        threading.Thread(target=lambda k=k: [bus.publish(Event(k, {"n": n})) for n in range(200)]) for k in "abc"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join, 5)
    assert await bus.drain(5)
    for kind in "abc":
        assert [n for k, n in told if k == kind] == list(range(200))


async def test_draining_gives_up_at_its_time(bus: EventBus) -> None:
    """A handler that blocks makes `drain` say so, rather than hang."""
    gate = threading.Event()
    bus.subscribe(lambda event: gate.wait(20))
    bus.publish(Event("x"))
    assert not await bus.drain(0.02)
    gate.set()


class Colour(StrEnum):
    RED = "colour_red"


class TheirEvent:
    def __init__(self) -> None:
        self.event_type = Colour.RED
        self.payload = {"k": 1}


@pytest.mark.requirement("req:I01")
async def test_events_of_others_are_understood(bus: EventBus) -> None:
    """An object with type and data, or event_type and payload, is told as an event with a time."""
    told: list[AnyEvent] = []
    bus.subscribe(told.append)
    bus.publish(TheirEvent())
    bus.publish(Event("open", {"k": 2}, at=datetime(2024, 1, 1)))  # a time without a zone is the point
    publish_life(bus, 1)
    with pytest.raises(TypeError, match=r"\.type"):
        bus.publish(object())
    assert await bus.drain(5)
    assert [(event.type, event.data) for event in told[:2]] == [
        ("colour_red", {"k": 1}),
        ("open", {"k": 2}),
    ]
    assert type(told[0].type) is str
    assert all(event.at.tzinfo for event in told)
    assert len(told) == 5


class SyncEmit:
    def __init__(self) -> None:
        self.got: list[tuple[str, object]] = []

    def emit(self, event: object) -> None:
        self.got.append((event.type, event.data["task_id"]))  # type: ignore[attr-defined]


class AsyncPublish(SyncEmit):
    emit = None  # type: ignore[assignment]

    async def publish(self, event: object) -> None:
        await asyncio.sleep(0)
        self.got.append((event.event_type, event.payload["task_id"]))  # type: ignore[attr-defined]


class TwoArguments(SyncEmit):
    def emit(self, event_type: str, data: dict[str, object], *, urgent: bool = False) -> None:  # type: ignore[override]
        self.got.append((event_type, data["task_id"]))


@pytest.mark.parametrize("kind", [SyncEmit, AsyncPublish, TwoArguments])
@pytest.mark.requirement("req:I01")
async def test_buses_of_others_are_told(bus: EventBus, kind: type[SyncEmit]) -> None:
    """A bus with emit or publish, sync or async, of one or two arguments, gets every event in order."""
    theirs = kind()
    leave = ForeignBus(theirs).attach(bus)
    publish_life(bus, 1)
    assert await bus.drain(5)
    assert theirs.got == [("task_submitted", "t0"), ("task_started", "t0"), ("task_completed", "t0")]
    assert bus.health()[0].name == f"event_bus:{kind.__name__}"
    leave()
    assert bus.health() == []


@pytest.mark.requirement("req:I01")
async def test_mocks_pass_for_buses(bus: EventBus) -> None:
    """A MagicMock and an AsyncMock are told, the latter awaited."""
    plain, awaited = MagicMock(), MagicMock(emit=AsyncMock())
    ForeignBus(plain).attach(bus)
    ForeignBus(awaited).attach(bus)
    publish_life(bus, 1)
    assert await bus.drain(5)
    assert plain.emit.call_count == 3
    assert awaited.emit.await_count == 3


async def test_a_plain_function_may_return_an_awaitable(bus: EventBus) -> None:
    """What a plain function returns is awaited on the loop it was subscribed on; without one it is an error."""
    told: list[str] = []

    async def late(event: AnyEvent) -> None:
        told.append(event.type)

    bus.subscribe(lambda event: late(event))
    bus.subscribe(partial(late))
    thread = threading.Thread(target=lambda: bus.subscribe(lambda event: late(event)))
    thread.start()
    thread.join(5)
    bus.publish(Event("x"))
    assert await bus.drain(5)
    assert told == ["x", "x"]
    assert sorted(health.errors for health in bus.health()) == [0, 0, 1]


def test_what_is_no_bus_is_refused() -> None:
    """An object without emit or publish is refused at once, by name."""
    with pytest.raises(TypeError, match="emit or publish"):
        ForeignBus(object())
