"""Hooks, subscribers and buses that fail, in real runs: they cost themselves, and never a task."""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from typing import Any

import pytest
from longshore import EventBus, PluginError, TaskState, WorkerPool
from longshore.events import TERMINAL_TYPES, AnyEvent
from longshore.testing import MemoryJournal
from support.broken_parts import COUNT, run, settings, work

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]

CLOSING_S = 7.0
"""What a sink gets to close in is 5 s; nothing may keep `stop` longer."""


# ---- subscribers and buses of others


@pytest.mark.requirement("req:B10", "req:F08")
async def test_a_subscriber_that_raises() -> None:
    """A subscriber that raises on every event: each task counts once, and others hear everything."""
    heard: list[AnyEvent] = []

    def raises(event: AnyEvent) -> None:
        raise RuntimeError(event.type)

    async def raises_later(event: AnyEvent) -> None:
        raise RuntimeError(event.type)

    pool = WorkerPool(settings=settings())
    pool.events.subscribe(raises)
    pool.events.subscribe(raises_later)
    pool.events.subscribe(heard.append, TERMINAL_TYPES)
    summary, took_s = await run(pool)
    assert took_s < CLOSING_S
    assert len(heard) == COUNT
    for name in ("raises", "raises_later"):
        assert any(f"{name} is failing" in note and "RuntimeError" in note for note in summary.notes)


async def test_a_subscriber_hears_the_next_run_too() -> None:
    """Who subscribed to a bus that a pool was given is told of every run of that pool."""
    heard: list[AnyEvent] = []
    bus = EventBus()
    pool = WorkerPool(event_bus=bus, settings=settings())
    bus.subscribe(heard.append, TERMINAL_TYPES)
    await run(pool, 100)
    assert len(heard) == 100
    await run(pool, 100)
    assert len(heard) == 200
    bus.close()


@pytest.mark.requirement("req:B10")
async def test_a_subscriber_that_raises_on_completion_counts_once() -> None:
    """A bus that raises on a task's completion leaves 1 completed, 0 failed."""

    class Bus:
        def emit(self, event: Any) -> None:
            if event.type == "task_completed":
                raise RuntimeError("not at home")

    pool = WorkerPool(event_bus=Bus(), settings=settings())
    async with pool:
        assert await (await pool.submit(work, 1)) == 1
        stats = pool.get_stats()
    assert (stats.completed_tasks, stats.failed_tasks, stats.submitted_tasks) == (1, 0, 1)


@pytest.mark.requirement("req:F08")
async def test_a_foreign_bus_that_raises() -> None:
    """A bus of the user's that raises on everything, sync or async, changes nothing."""

    class Plain:
        calls = 0

        def publish(self, event: Any) -> None:
            self.calls += 1
            raise RuntimeError(event.event_type)

    class Awaited:
        calls = 0

        async def emit(self, event: Any) -> None:
            self.calls += 1
            raise RuntimeError(event.type)

    for bus in (Plain(), Awaited()):
        _, took_s = await run(WorkerPool(event_bus=bus, settings=settings()), 1000)
        assert took_s < CLOSING_S
        assert bus.calls >= 1000


async def test_a_foreign_bus_is_let_go_at_the_end() -> None:
    """A bus of the user's that serves two runs after another is told of each event once."""

    class Bus:
        def __init__(self) -> None:
            self.types: list[str] = []

        def emit(self, event: Any) -> None:
            self.types.append(event.type)

    bus = Bus()
    pool = WorkerPool(event_bus=bus, settings=settings())
    for number in (1, 2):
        await run(pool, 10)
        assert bus.types.count("task_completed") == 9 * number
        assert bus.types.count("task_failed") == number


async def test_what_is_no_bus_is_refused() -> None:
    """An `event_bus` that can neither emit nor publish is a TypeError, by the start at the latest."""
    with pytest.raises(TypeError, match="emit or publish"):
        await WorkerPool(event_bus=object(), settings=settings()).start()


@pytest.mark.slow
@pytest.mark.requirement("req:F08")
async def test_a_subscriber_that_blocks_for_ever() -> None:
    """A subscriber that never returns keeps no task, and the end of the run not past the closing time."""
    go = threading.Event()

    def blocks(_: AnyEvent) -> None:
        go.wait(600)

    bus = EventBus()
    bus.subscribe(blocks)
    try:
        _, took_s = await run(WorkerPool(event_bus=bus, settings=settings()))
        assert took_s < CLOSING_S
    finally:
        go.set()
        bus.close()


# ---- hooks

HOOKS = """
from longshore.hookspecs import hookimpl

TOLD = []

class Raises:
    @hookimpl
    def admit(self, task, snapshot):
        raise RuntimeError("admit")

    @hookimpl
    def route(self, task):
        raise RuntimeError("route")

    @hookimpl
    def task_settled(self, task, outcome):
        raise RuntimeError("task_settled")

    @hookimpl
    def pool_started(self, pool_info):
        raise RuntimeError("pool_started")

    @hookimpl
    def pool_stopped(self, summary):
        raise RuntimeError("pool_stopped")

class Vetoes:
    @hookimpl
    def admit(self, task):
        return "no fives today" if task.args and task.args[0] % 5 == 0 else None

class Routes:
    @hookimpl
    def route(self, task):
        return "inline" if task.spec.name.endswith("in_place") else None

class Nonsense:
    @hookimpl
    def route(self, task):
        return 42

class Watches:
    @hookimpl
    def pool_started(self, pool_info):
        TOLD.append(("started", pool_info.run_id, None))

    @hookimpl
    def task_settled(self, task, outcome):
        TOLD.append(("settled", task, outcome))

    @hookimpl
    def pool_stopped(self, summary):
        TOLD.append(("stopped", summary.snapshot.run_id, summary))
"""

NAMES = {"raises": "Raises", "vetoes": "Vetoes", "routes": "Routes", "nonsense": "Nonsense", "watches": "Watches"}


@pytest.fixture
def told(fake_distributions: Any) -> list[tuple[str, Any, Any]]:  # Any: another conftest's class
    """Install the hooks above; return what the one called `watches` is told."""
    module = fake_distributions.add("hooks-of-a-test", HOOKS, hooks=NAMES)
    kept: list[tuple[str, Any, Any]] = importlib.import_module(module).TOLD
    return kept


@pytest.mark.usefixtures("told")
async def test_a_hook_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that always raises changes no outcome; it is left alone, and the summary says so."""
    with caplog.at_level(logging.CRITICAL):
        summary, _ = await run(WorkerPool(settings=settings(hooks=("raises",))))
    (note,) = [note for note in summary.notes if "hook raises" in note]
    assert "quarantined" in note


async def test_a_hook_that_raises_hides_nothing_from_the_others(
    told: list[tuple[str, Any, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    """Beside a hook that raises, another one is told of everything."""
    with caplog.at_level(logging.CRITICAL):
        summary, _ = await run(WorkerPool(settings=settings(hooks=("raises", "watches"))), 500)
    assert [kind for kind, _, _ in told] == ["started", *["settled"] * 500, "stopped"]
    run_id = summary.snapshot.run_id
    assert (told[0][1], told[-1][1]) == (run_id, run_id)


@pytest.mark.usefixtures("told")
async def test_a_hook_that_vetoes() -> None:
    """A refused task never runs: by itself it raises PluginError with the reason, in a stream it has failed."""
    ran: list[int] = []
    async with WorkerPool(settings=settings(hooks=("vetoes",))) as pool:
        with pytest.raises(PluginError, match="no fives today"):
            await pool.submit(ran.append, 5)
        with pytest.raises(PluginError, match="no fives today"):
            pool.submit_nowait(ran.append, 10)
        given = {outcome.index: outcome async for outcome in pool.outcomes(ran.append, range(200))}
        assert pool.snapshot().failed == 40, "what the stream gave; the two that raised were no tasks"
    assert sorted(ran) == [number for number in range(200) if number % 5]
    assert sorted(given) == list(range(200))
    for index, outcome in given.items():
        assert outcome.ok == bool(index % 5)
        if not outcome.ok:
            assert outcome.state is TaskState.FAILED
            assert outcome.error is not None
            assert outcome.error.reason == "vetoed"
            assert "no fives today" in outcome.error.message


@pytest.mark.usefixtures("told")
async def test_a_stream_of_which_all_is_refused_ends() -> None:
    """A stream whose every item is refused gives a failure for each, and ends; ordered, too."""
    async with WorkerPool(settings=settings(hooks=("vetoes",))) as pool:
        for ordered in (False, True):
            async with asyncio.timeout(10):
                given = [one async for one in pool.outcomes(work, range(0, 5000, 5), ordered=ordered)]
            assert len(given) == 1000
            assert not any(outcome.ok for outcome in given)


@pytest.mark.usefixtures("told")
async def test_a_hook_that_routes() -> None:
    """A hook names the executor of a task that names none; a name in the options goes before, and others stay."""

    def in_place(*_: int) -> str:
        return threading.current_thread().name

    def elsewhere() -> str:
        return threading.current_thread().name

    mine = threading.current_thread().name
    async with WorkerPool(settings=settings(hooks=("routes",))) as pool:
        assert await (await pool.submit(in_place)) == mine
        assert await (await pool.submit(elsewhere)) != mine
        assert await (await pool.options(name="in_place").submit(elsewhere)) == mine
        assert await (await pool.options(executor="threads").submit(in_place)) != mine
        assert [outcome.value async for outcome in pool.outcomes(in_place, [1])] == [mine]


@pytest.mark.usefixtures("told")
@pytest.mark.requirement("req:F09")
async def test_a_hook_that_answers_nonsense(caplog: pytest.LogCaptureFixture) -> None:
    """An answer of the wrong kind is no answer; it is counted, and noted in the summary."""
    with caplog.at_level(logging.CRITICAL):
        async with WorkerPool(settings=settings(hooks=("nonsense",))) as pool:
            assert await (await pool.submit(work, 1)) == 1
    assert pool.summary is not None
    assert any("hook nonsense" in note and "int" in note for note in pool.summary.notes)


async def test_a_hook_is_told_of_each_settled_task(told: list[tuple[str, Any, Any]]) -> None:
    """A hook is told of every end once, with the task and the outcome that stands, after the journal has it."""
    journal = MemoryJournal()
    await run(WorkerPool(settings=settings(hooks=("watches",)), journal=journal), 1000)
    settled = [(task, outcome) for kind, task, outcome in told if kind == "settled"]
    assert len(settled) == 1000
    assert all(task.task_id == outcome.task_id and task.args == (outcome.index,) for task, outcome in settled)
    assert [outcome.task_id for _, outcome in settled] == [outcome.task_id for outcome in journal.outcomes]


async def test_a_hook_is_told_of_handles_and_cancelled_ones(told: list[tuple[str, Any, Any]]) -> None:
    """Tasks that were submitted one by one, and those that were cancelled while they waited, are told of as well."""
    async with WorkerPool(settings=settings(hooks=("watches",))) as pool:
        assert await (await pool.submit(work, 1)) == 1
        pool.pause()
        waiting = await pool.submit(work, 2)
        waiting.cancel()
        assert (await waiting.outcome()).state is TaskState.CANCELLED
        pool.unpause()
    states = [outcome.state for kind, _, outcome in told if kind == "settled"]
    assert states == [TaskState.COMPLETED, TaskState.CANCELLED]


async def test_a_hook_that_is_not_there_stops_the_start() -> None:
    """A hook named that is not installed is a PluginError from `start`, and nothing is left running."""
    pool = WorkerPool(settings=settings(hooks=("nosuchhook",)))
    before = set(threading.enumerate())
    with pytest.raises(PluginError, match="nosuchhook"):
        await pool.start()
    assert set(threading.enumerate()) <= before
