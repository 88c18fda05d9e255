"""The bus at its limits: what it is made with, what waits past it, and a call that does not return."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from longshore._delivery import EventBus
from longshore.events import AnyEvent, Event, TasksSettled
from longshore.task import Outcome, TaskSpec, TaskState

pytestmark = [pytest.mark.anyio, pytest.mark.events]
AT = datetime(2024, 1, 1, tzinfo=UTC)
SPEC = TaskSpec(function=print, name="f", executor="threads")


def publish_ends(bus: EventBus, count: int) -> None:
    for number in range(count):
        bus.publish_batch(TasksSettled(SPEC, [Outcome(f"t{number}", None, 0, "f", TaskState.COMPLETED)]), number, AT)


@pytest.mark.parametrize(("limit", "error"), [("x", TypeError), (True, TypeError), (2.5, TypeError), (0, ValueError)])
def test_a_limit_that_is_none_is_refused(limit: Any, error: type[Exception]) -> None:
    """A bus is not made with a limit that would fail its thread at the first event, or keep nothing."""
    with pytest.raises(error, match="limit_events"):
        EventBus(limit_events=limit)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "coroutine"])
async def test_draining_is_told_of_its_end_past_the_limit(asynchronous: bool) -> None:
    """However many ends of tasks wait, and were dropped, `drain` is True once the rest has been handled."""
    bus, told, gate = EventBus(limit_events=10), [], threading.Event()

    def plain(event: AnyEvent) -> None:
        gate.wait(5)
        told.append(event.type)

    async def coroutine(event: AnyEvent) -> None:
        told.append(event.type)

    bus.subscribe(coroutine if asynchronous else plain)
    publish_ends(bus, 500)
    draining = asyncio.create_task(bus.drain(30))
    await asyncio.sleep(0)
    gate.set()
    assert await draining
    (health,) = bus.health()
    assert health.dropped > 0
    assert len(told) + health.dropped == 500
    bus.close(5)


async def test_draining_ends_when_the_handlers_loop_ends() -> None:
    """What waits for a handler whose loop is gone is dropped, and nobody waits for it."""
    bus, reached = EventBus(), threading.Event()

    async def hang(event: AnyEvent) -> None:
        reached.set()
        await asyncio.Event().wait()

    async def subscribe() -> None:
        bus.subscribe(hang)
        bus.publish(Event("x"))
        await asyncio.to_thread(reached.wait, 5)
        draining.append(asyncio.run_coroutine_threadsafe(bus.drain(30), main))
        bus.publish(Event("y"))

    main, draining = asyncio.get_running_loop(), []
    await asyncio.to_thread(asyncio.run, subscribe())
    assert await asyncio.wrap_future(draining[0])
    bus.close(5)


@pytest.mark.requirement("req:I06")
@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "coroutine"])
async def test_a_call_that_does_not_return_is_not_well(asynchronous: bool) -> None:
    """A handler that is in one call for more than two seconds, with more to be told, is stuck until it comes back."""
    now = [0.0]
    bus, called, gate = EventBus(clock=lambda: now[0]), threading.Event(), threading.Event()

    def plain(event: AnyEvent) -> None:
        called.set()
        gate.wait(5)

    async def coroutine(event: AnyEvent) -> None:
        called.set()
        await asyncio.to_thread(gate.wait, 5)

    def standing() -> tuple[bool, str, int]:
        (health,) = bus.health()
        return bus.is_healthy(), health.state, health.waiting

    bus.subscribe(coroutine if asynchronous else plain)
    bus.publish(Event("first"))
    await asyncio.to_thread(called.wait, 5)
    now[0] = 3.0
    assert standing() == (True, "ok", 1)  # nobody waits behind it
    bus.publish(Event("second"))
    assert standing() == (False, "stuck", 2)
    now[0] = 2.0
    assert standing() == (True, "ok", 2)
    gate.set()
    assert await bus.drain(5)
    now[0] = 9.0
    assert standing() == (True, "ok", 0)
    bus.close(5)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "coroutine"])
async def test_a_subscription_that_finishes_is_told_what_waits(asynchronous: bool) -> None:
    """It hears all that was published before, and nothing after; with nothing waiting it is over at once."""
    bus, told, gate = EventBus(), [], threading.Event()

    def plain(event: AnyEvent) -> None:
        gate.wait(5)
        told.append(event.type)

    async def coroutine(event: AnyEvent) -> None:
        await asyncio.to_thread(gate.wait, 5)
        told.append(event.type)

    handler = coroutine if asynchronous else plain
    for number in range(20):
        subscription = bus.subscribe(handler)
        publish_ends(bus, number)
        subscription.finish()
        bus.publish(Event("late"))
        gate.set()
        assert await bus.drain(5)
        assert told == ["task_completed"] * number
        assert bus.health() == []
        told.clear()
        gate.clear()
