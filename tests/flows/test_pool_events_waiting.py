"""What still waits for those who listen when a pool is asked for its health, and when it stops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from longshore import EventBus, Settings, WorkerPool
from longshore.events import AnyEvent

pytestmark = [pytest.mark.anyio, pytest.mark.events]

DEADLINE_S = 30.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    made = threading.Event()
    yield made
    made.set()


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
