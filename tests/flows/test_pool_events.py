"""What a pool tells on its bus: on ours, on others', to slow and to broken ones, over several runs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import msgspec
import pytest
from longshore import (
    CATALOGUE,
    EVENTS_VERSION,
    EventBus,
    ProcessorContext,
    ProcessorMetadata,
    ProcessorResult,
    RetryPolicy,
    Settings,
    WorkerConfig,
    WorkerPool,
    current_task,
    events_schema,
)
from longshore._processing import ProcessorCall
from longshore.events import AnyEvent
from longshore.testing import RecordingSink
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.events]

DEADLINE_S = 30.0


@asynccontextmanager
async def open_pool(*, bus: object | None = None, sinks: Any = (), **workers: Any) -> AsyncIterator[WorkerPool]:
    settings = Settings(probes=(), workers=WorkerConfig(**workers))
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=settings, event_bus=bus, sinks=sinks) as pool:
        yield pool


def add(a: int, b: int) -> int:
    return a + b


def fail() -> None:
    raise KeyError("mine")


def fail_at_first() -> int:
    if current_task().attempt == 1:
        raise ValueError("first")
    return current_task().attempt


def goes_on() -> None:
    current_task().progress(0.5, "half", step="two", completed_steps=1, total_steps=2)


class Shouts:
    """The least that a processor has."""

    metadata = ProcessorMetadata(name="shouts", version="1", formats=())

    def initialize(self) -> None: ...

    def process(self, context: ProcessorContext) -> ProcessorResult:
        return ProcessorResult(status="completed", data={"id": context.document_id})

    def cleanup(self) -> None: ...

    def health_check(self) -> bool:
        return True


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def sleep_long() -> None:
    await asyncio.sleep(30)


# ---- buses of others

EXPECTED = ["worker_pool_started", "task_submitted", "task_started", "task_completed", "worker_pool_stopped"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("dialect", ["emit", "publish"])
@pytest.mark.requirement("req:I01")
async def test_events_reach_mocks_in_both_dialects(dialect: str, asynchronous: bool) -> None:
    """A mock with `emit` gets `.type` and `.data`, with `publish` `.event_type` and `.payload`; async is awaited."""
    method = AsyncMock() if asynchronous else MagicMock()
    bus = MagicMock(spec=[dialect])
    setattr(bus, dialect, method)
    async with open_pool(bus=bus) as pool:
        assert await (await pool.submit(add, 1, 2)) == 3
    told = [call.args[0] for call in method.call_args_list]
    names = ("type", "data") if dialect == "emit" else ("event_type", "payload")
    assert [getattr(event, names[0]) for event in told] == EXPECTED
    assert getattr(told[3], names[1])["worker_id"].startswith("thread-")
    if asynchronous:
        assert method.await_count == len(EXPECTED)


@pytest.mark.requirement("req:I01", "req:I06")
async def test_events_without_a_bus() -> None:
    """With no bus given everything works, and the pool's own can be subscribed to and is healthy."""
    told: list[str] = []
    async with open_pool(bus=None) as pool:
        pool.events.subscribe(lambda event: told.append(event.type))
        assert await (await pool.submit(add, 1, 2)) == 3
        assert pool.events.is_healthy()
    assert told == EXPECTED[1:]


@pytest.mark.requirement("req:I06")
async def test_events_say_that_the_bus_is_not_well(gate: threading.Event) -> None:
    """`is_healthy` is False while a subscriber raises or does not keep up, and True again when that is over."""
    bus, broken = EventBus(limit_events=10), [True]
    assert bus.is_healthy()

    def picky(event: AnyEvent) -> None:
        if broken[0]:
            raise ValueError("not this one")

    leave = bus.subscribe(picky)
    async with open_pool(bus=bus) as pool:
        await (await pool.submit(add, 1, 2))
        await until(lambda: not bus.is_healthy(), "the handler to have raised")
        broken[0] = False
        await (await pool.submit(add, 1, 2))
        await until(bus.is_healthy, "the handler to be well again")
    leave()
    bus.close()


# ---- over several runs


@pytest.mark.lifecycle
async def test_events_of_the_next_run_reach_old_subscribers() -> None:
    """Subscriptions to the pool's own bus outlive `stop`, of both kinds of handlers, and hold no thread meanwhile."""
    plain: list[str] = []
    awaited: list[str] = []

    async def hear(event: AnyEvent) -> None:
        awaited.append(event.type)

    pool = WorkerPool(settings=Settings(probes=()))
    pool.events.subscribe(lambda event: plain.append(event.type))
    pool.events.subscribe(hear)
    for run in range(1, 4):
        async with asyncio.timeout(DEADLINE_S), pool:
            await (await pool.submit(add, 1, 2))
        assert plain == awaited == EXPECTED * run
        assert not [thread for thread in threading.enumerate() if thread.name == "longshore-bus"]


def test_events_reach_a_handler_whose_loop_is_gone() -> None:
    """A coroutine function that subscribed on a loop which is closed is called on the next pool's loop."""
    told: list[str] = []
    pool = WorkerPool(settings=Settings(probes=()))

    async def hear(event: AnyEvent) -> None:
        told.append(event.type)

    async def once() -> None:
        async with pool:
            await (await pool.submit(add, 1, 2))

    async def subscribe_and_run() -> None:
        pool.events.subscribe(hear)
        await once()

    asyncio.run(subscribe_and_run())
    asyncio.run(once())
    assert told == EXPECTED * 2


# ---- what is told


async def varied_run(pool: WorkerPool) -> None:
    """Have everything happen that a pool tells of without a pipeline or a monitor."""
    policy = RetryPolicy(attempts=2, backoff=0.01)
    handles = [
        await pool.submit(add, 1, 2),
        await pool.submit(fail),
        await pool.options(retry=policy, key="k").submit(fail_at_first),
        await pool.submit(goes_on),
        await pool.options(timeout=0.05).submit(sleep_long),
        await pool.options(executor="processes").submit(killed),
        await pool.options(timeout=0.05).submit(time.sleep, 0.3),
        await pool.submit(blocking),
        await pool.submit(sleep_long),
    ]
    handles[-1].cancel()
    await asyncio.gather(*(handle.outcome() for handle in handles))
    assert pool.health().healthy


async def blocking() -> None:
    time.sleep(0.35)


@pytest.mark.slow
@pytest.mark.requirement("req:I02")
async def test_events_fit_the_catalogue() -> None:
    """The payloads of a run in which about everything happens fit their records in the catalogue, field by field."""
    sink = RecordingSink()
    async with open_pool(sinks=[sink], process_workers=1, worker_heartbeat_interval=0.02) as pool:
        await varied_run(pool)
    types = Counter(event.type for event in sink.events)
    for event in sink.events:
        record = msgspec.convert(event.data, CATALOGUE[event.type])
        assert set(event.data) <= set(record.__struct_fields__)
        msgspec.json.encode(event.data)
        assert event.at.tzinfo is not None
    left = {"alert", "resource_warning", "workers_scaled", "pipeline_progress", "stage_completed", "task_overdue"}
    assert set(types) == set(CATALOGUE) - left
    started = sink.events[0]
    assert started.data["events_version"] == EVENTS_VERSION
    assert types["worker_error"] == 2


@pytest.mark.requirement("req:I02")
def test_events_have_a_schema() -> None:
    """The schema has one variant for each type, with the fields of its data, those required, and no others."""
    schema = events_schema()
    variants = {variant["properties"]["type"]["const"]: variant for variant in schema["oneOf"]}
    assert set(variants) == set(CATALOGUE)
    assert schema["version"] == EVENTS_VERSION
    completed = schema["$defs"][variants["task_completed"]["properties"]["data"]["$ref"].rpartition("/")[2]]
    assert {"task_id", "name", "executor", "priority"} == set(completed["required"])
    assert completed["properties"]["duration_s"] == {"type": "number", "default": 0.0}
    assert completed["additionalProperties"] is False
    msgspec.json.encode(schema)


@pytest.mark.requirement("req:I04")
async def test_events_of_the_end_say_all() -> None:
    """An end names the task, its processor, worker and attempt, how long it took, and of a failure the error."""
    sink = RecordingSink()
    async with open_pool(sinks=[sink]) as pool:
        policy = RetryPolicy(attempts=2, backoff=0.001)
        done = await pool.options(retry=policy, name="again", key="k").submit(fail_at_first)
        await done
        failed = await pool.submit(fail)
        outcome = await failed.outcome()
        await (await pool.submit(ProcessorCall(Shouts, "shouts"), ProcessorContext(document_id="d"))).outcome()
    (completed, processed), (lost,) = sink.of_type("task_completed"), sink.of_type("task_failed")
    assert processed.data["processor"] == "shouts"
    assert completed.data["task_id"] == done.task_id
    assert (completed.data["name"], completed.data["key"], completed.data["attempt"]) == ("again", "k", 2)
    assert completed.data["executor"] == "threads"
    assert completed.data["worker_id"].startswith("thread-")
    assert 0.0 <= completed.data["duration_s"] < DEADLINE_S
    assert completed.data["wait_s"] >= 0.0
    assert (lost.data["task_id"], lost.data["state"]) == (failed.task_id, "failed")
    assert (lost.data["error"], lost.data["message"], lost.data["attempt"]) == ("KeyError", "'mine'", 1)
    assert lost.data["duration_s"] == outcome.ran_s
    assert lost.data["worker_id"] == outcome.worker


# ---- slow subscribers


@pytest.mark.requirement("req:I05", "req:F08")
async def test_events_do_not_wait_for_a_slow_subscriber(gate: threading.Event) -> None:
    """Ten thousand tasks run to their end while a handler is stuck at the first event: no end is dropped, the rest
    is bounded, and every drop counted."""
    bus, ends, tasks = EventBus(), Counter[str](), 10_000

    def slow(event: AnyEvent) -> None:
        gate.wait(DEADLINE_S)
        ends[event.type] += 1

    bus.subscribe(slow)
    async with open_pool(bus=bus) as pool:
        async for _ in pool.map(abs, range(tasks)):
            pass
        assert pool.get_stats().completed_tasks == tasks
        (health,) = bus.health()
        assert health.state == "slow"
        assert health.dropped > 0
        (lane,) = bus._lanes
        assert lane.mailbox.pending <= 2 * tasks
        gate.set()
    assert ends["task_completed"] == tasks
    (health,) = bus.health()
    assert sum(ends.values()) + health.dropped == 3 * tasks + 2
    bus.close()
