"""Circuit breakers in a running pool: by option, by settings, by what a processor says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from longshore import CircuitBreaker, ProcessorContext, Settings, TaskState, WorkerPool
from support.waiting import until

pytestmark = pytest.mark.anyio
RULE = CircuitBreaker(failures=2, open_s=0.2, trials=1)


class Service:
    """What tasks call: it is down, or it works."""

    def __init__(self) -> None:
        self.works = False
        self.calls = 0

    async def call(self) -> str:
        self.calls += 1
        if not self.works:
            raise ConnectionError("down")
        return "done"


async def fail_twice(pool: Any, service: Service) -> None:
    for _ in range(2):
        outcome = await (await pool.submit(service.call)).outcome()
        assert isinstance(outcome.exception, ConnectionError)


async def test_tasks_wait_while_what_they_call_is_down_and_go_on_when_it_works() -> None:
    """Nothing is called meanwhile; those that wait can say why; the events tell when it began and ended."""
    service, told = Service(), list[tuple[str, str]]()
    async with WorkerPool() as pool:

        def hear(event: Any) -> None:
            told.append((event.data["resource"], event.data["state"]))

        pool.events.subscribe(hear, ["resource_warning"])
        careful = pool.options(breaker=RULE, name="service")
        await fail_twice(careful, service)
        handles = [await careful.submit(service.call) for _ in range(5)]
        assert service.calls == 2
        service.works = True
        assert await asyncio.gather(*handles) == ["done"] * 5
        await pool.events.drain(10.0)
    circuit = [state for resource, state in told if resource == "circuit.service"]
    assert circuit == ["crossed", "cleared"]


async def test_without_being_asked_for_nothing_is_held_back() -> None:
    """By default tasks fail as often as they like."""
    service = Service()
    async with WorkerPool(settings=Settings()) as pool:
        for _ in range(5):
            await fail_twice(pool, service)
    assert service.calls == 10


async def test_settings_turn_it_on_for_all_that_say_nothing() -> None:
    """The table alone, or with numbers; a task's own goes first."""
    assert Settings.model_validate({"breaker": {}}).breaker is not None
    service, settings = Service(), Settings.model_validate({"breaker": {"failures": 2, "open_s": 3600}})
    async with WorkerPool(settings=settings) as pool:
        await fail_twice(pool, service)
        waits = await pool.submit(service.call)
        own = await (await pool.options(breaker=RULE).submit(service.call)).outcome()
        assert isinstance(own.exception, ConnectionError)
        assert waits.state is TaskState.QUEUED
        waits.cancel()


@pytest.mark.requirement("req:F06")
async def test_a_processor_asks_for_its_own(processing: Any) -> None:
    """By its metadata, for whoever submits documents to it."""

    class Failing:
        def work(self, context: ProcessorContext) -> dict[str, Any]:
            raise ConnectionError("down")

    kind = processing.kind(Failing, breaker=CircuitBreaker(failures=2, open_s=3600.0))
    async with processing.pool_of(p=kind) as pool:
        for number in range(2):
            await processing.end_of(pool, document_id=str(number))
        waits = await pool.submit_task("p", ProcessorContext(document_id="3"))
        await until(lambda: "the circuit breaker of p is open" in pool.explain(waits), "being held back")
        pool.cancel(waits)
