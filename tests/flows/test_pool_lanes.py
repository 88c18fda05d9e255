"""Which executor a call goes to, and that each takes every kind of callable and gives its value, never a coroutine."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutine
from pathlib import Path
from typing import Any

import pytest
from longshore import (
    ProcessorContext,
    ProcessorMetadata,
    ProcessorResult,
    Settings,
    TaskTimeout,
    WorkerConfig,
    WorkerPool,
    current_task,
)
from longshore._processing import ProcessorCall
from longshore.testing import RecordingSink

pytestmark = [pytest.mark.anyio, pytest.mark.submission]

DEADLINE_S = 20.0


@asynccontextmanager
async def open_pool(*sinks: RecordingSink, executor: str | None = None, **workers: Any) -> AsyncIterator[WorkerPool]:
    settings = Settings(probes=(), executor=executor, workers=WorkerConfig(**{"process_workers": 1, **workers}))
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=settings, sinks=sinks) as pool:
        yield pool


def double(x: int) -> int:
    return 2 * x


async def double_async(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


class Plain:
    """Things that can be called, each giving twice what it is given."""

    def method(self, x: int) -> int:
        return 2 * x

    @classmethod
    def of_class(cls, x: int) -> int:
        return 2 * x

    @staticmethod
    def static(x: int) -> int:
        return 2 * x

    def __call__(self, x: int) -> int:
        return 2 * x


class Asynchronous:
    """The same as coroutines."""

    async def method(self, x: int) -> int:
        return 2 * x

    @classmethod
    async def of_class(cls, x: int) -> int:
        return 2 * x

    async def __call__(self, x: int) -> int:
        return 2 * x


@dataclass(frozen=True)
class Twice:
    """A class is a callable as well; what it gives is as good as a number here."""

    x: int

    def __eq__(self, other: object) -> bool:
        return other == 2 * self.x

    def __hash__(self) -> int:
        return hash(2 * self.x)


class Doubles:
    """The least that a processor has."""

    metadata = ProcessorMetadata(name="doubles", version="1", formats=())

    def initialize(self) -> None: ...

    def process(self, context: ProcessorContext) -> ProcessorResult:
        return ProcessorResult(status="completed", data={"value": 2 * int(context.document_id)})

    def cleanup(self) -> None: ...

    def health_check(self) -> bool:
        return True


class DoublesAsync(Doubles):
    async def process(self, context: ProcessorContext) -> ProcessorResult:  # type: ignore[override]  # either is allowed
        await asyncio.sleep(0)
        return super().process(context)


PLAIN: dict[str, Callable[..., Any]] = {
    "function": double,
    "lambda": lambda x: 2 * x,
    "partial": partial(double),
    "method": Plain().method,
    "classmethod": Plain.of_class,
    "staticmethod": Plain.static,
    "object": Plain(),
    "builtin": (2).__mul__,
    "class": Twice,
}
COROUTINES: dict[str, Callable[..., Any]] = {
    "function": double_async,
    "partial": partial(double_async),
    "method": Asynchronous().method,
    "classmethod": Asynchronous.of_class,
    "object": Asynchronous(),
    "partial of an object": partial(Asynchronous()),
}


@pytest.mark.requirement("req:E05")
async def test_lanes_take_every_callable() -> None:
    """Each kind of plain callable gives its value in threads, processes and inline, each async one on the loop."""
    async with open_pool() as pool:
        for executor in ("threads", "processes", "inline"):
            on = pool.options(executor=executor)
            got = {kind: await (await on.submit(function, 21)) for kind, function in PLAIN.items()}
            assert got == dict.fromkeys(PLAIN, 42), executor
        for isolation in ("task", "shared"):
            on = pool.options(executor="asyncio", isolation=isolation)
            got = {kind: await (await on.submit(function, 21)) for kind, function in COROUTINES.items()}
            assert got == dict.fromkeys(COROUTINES, 42), isolation


@pytest.mark.slow
@pytest.mark.requirement("req:E05")
async def test_lanes_take_processors() -> None:
    """A processor's class runs in every executor that suits it, with a plain `process` and with an asynchronous one."""
    context = ProcessorContext(document_id="21")
    async with open_pool() as pool:
        for executor in ("threads", "processes"):
            for kind in (Doubles, DoublesAsync):
                call = ProcessorCall(kind, "doubles")
                result = await (await pool.options(executor=executor).submit(call, context))
                assert result.data == {"value": 42}, (executor, kind)


@pytest.mark.parametrize("executor", ["threads", "processes", "inline"])
@pytest.mark.requirement("req:E05")
async def test_lanes_never_give_a_coroutine(executor: str) -> None:
    """A plain function that turns out to give a coroutine fails, and its error says where to run it."""
    async with open_pool() as pool:
        on = pool.options(executor=executor)
        with pytest.raises(ValueError, match="cannot run the coroutine"):
            await on.submit(double_async, 21)
        outcome = await (await on.submit(gives_coroutine, 21)).outcome()
        assert not iscoroutine(outcome.value)
        assert outcome.error is not None
        assert outcome.error.type == "TypeError"
        assert "async def" in outcome.error.message


def gives_coroutine(x: int) -> Any:
    return double_async(x)


ROUTES: list[tuple[Callable[..., Any], str | None, str | None, str]] = [
    # function, settings' executor, the executor named, where it goes
    (double, None, None, "threads"),
    (double_async, None, None, "asyncio"),
    (double, None, "processes", "processes"),
    (double, None, "inline", "inline"),
    (double_async, None, "asyncio", "asyncio"),
    (double, "processes", None, "processes"),
    (double_async, "processes", None, "asyncio"),
    (double, "processes", "threads", "threads"),
    (partial(double_async), "threads", None, "asyncio"),
]


@pytest.mark.parametrize(("function", "by_settings", "named", "lane"), ROUTES)
@pytest.mark.requirement("req:E04")
async def test_lanes_by_the_table(
    function: Callable[..., Any], by_settings: str | None, named: str | None, lane: str
) -> None:
    """What is named wins, then settings where they can run it, then what suits; events and outcome say where it ran."""
    sink = RecordingSink()
    async with open_pool(sink, executor=by_settings) as pool:
        on = pool if named is None else pool.options(executor=named)
        outcome = await (await on.submit(function, 21)).outcome()
        assert outcome.value == 42
    for kind in ("task_submitted", "task_started", "task_completed"):
        (event,) = sink.of_type(kind)
        assert event.data["executor"] == lane
    kinds = {"threads": "thread", "asyncio": "async", "processes": "process", "inline": "inline"}
    assert str(outcome.worker).startswith(f"{kinds[lane]}-")


@pytest.mark.requirement("req:E01", "req:E06")
async def test_lanes_on_the_loop() -> None:
    """Coroutines run on the pool's own loop and thread; one that takes too long is timed out, and says so."""

    async def where() -> tuple[int, bool]:
        return threading.get_ident(), asyncio.get_running_loop() is loop

    loop = asyncio.get_running_loop()
    async with open_pool() as pool:
        assert await (await pool.submit(where)) == (threading.get_ident(), True)
        began = time.monotonic()
        with pytest.raises(TaskTimeout, match="timed out"):
            await (await pool.options(timeout=0.1).submit(asyncio.sleep, 1.0))
        assert time.monotonic() - began < 0.9


@pytest.mark.requirement("req:E02")
async def test_lanes_in_threads_leave_the_loop_free() -> None:
    """While every thread blocks, the loop turns within 50 ms, each time; the best of five rounds."""
    rounds: list[float] = []
    async with open_pool(thread_workers=4) as pool:
        while len(rounds) < 5 and min(rounds, default=1.0) >= 0.05:
            rounds.append(await longest_gap(pool))
    assert min(rounds) < 0.05


async def longest_gap(pool: WorkerPool) -> float:
    """Return how long the loop took for a turn at most, while all four threads blocked, twice over."""
    gaps: list[float] = []
    barrier = threading.Barrier(4)

    def block() -> None:
        barrier.wait(DEADLINE_S)
        time.sleep(0.1)

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            gaps.append(time.monotonic() - before - 0.005)

    ticker = asyncio.create_task(tick())
    for handle in [await pool.submit(block) for _ in range(8)]:
        await handle
    ticker.cancel()
    assert len(gaps) > 4
    return max(gaps[1:])


@pytest.mark.parametrize("executor", ["asyncio", "threads", "processes"])
@pytest.mark.requirement("req:A06")
async def test_lanes_time_out_by_default(executor: str) -> None:
    """Where a task names no limit, `default_timeout` ends it, in every executor that can end one."""
    function = asyncio.sleep if executor == "asyncio" else time.sleep
    async with open_pool(default_timeout=0.2) as pool:
        with pytest.raises(TaskTimeout, match=r"timeout of 0\.2 s"):
            await (await pool.options(executor=executor).submit(function, 1.0))


def beside(folder: str) -> int:
    """Compute until another does so at the same time and knows of it, and return the process."""
    here, give_up = Path(folder), time.monotonic() + DEADLINE_S / 2
    for mark in ("began", "saw"):
        (here / f"{os.getpid()}.{mark}").touch()
        while len(list(here.glob(f"*.{mark}"))) < 2:
            if time.monotonic() > give_up:
                raise TimeoutError("no other came")
    return os.getpid()


@pytest.mark.scaling
@pytest.mark.requirement("req:E03")
async def test_lanes_in_processes_compute_at_the_same_time(tmp_path: Path) -> None:
    """Two tasks are in the midst of their work at once, each in a process of its own, with no lock between them."""
    async with open_pool(process_workers=2) as pool:
        on = pool.options(executor="processes")
        pids = {await handle for handle in [await on.submit(beside, str(tmp_path)) for _ in range(2)]}
    assert len(pids) == 2
    assert os.getpid() not in pids


def look(context: ProcessorContext) -> tuple[ProcessorContext, int, bool]:
    task = current_task()
    task.progress(0.5)
    remaining = task.time_remaining()
    return context, task.attempt, remaining is not None and 0.0 < remaining <= 9.0


async def look_async(context: ProcessorContext) -> tuple[ProcessorContext, int, bool]:
    return look(context)


@pytest.mark.parametrize("executor", ["asyncio", "threads", "processes"])
@pytest.mark.requirement("req:E15")
async def test_lanes_hand_the_context_through(executor: str) -> None:
    """What is given arrives as it is, and the task can see its attempt, the time it has left, and report progress."""
    context = ProcessorContext(document_id="d", mime_type="text/plain", metadata={"a": [1]}, previous_results={"b": 2})
    sink = RecordingSink()
    async with open_pool(sink) as pool:
        function = look_async if executor == "asyncio" else look
        got, attempt, limited = await (await pool.options(executor=executor, timeout=9).submit(function, context))
        assert (got, attempt, limited) == (context, 1, True)
        if executor != "processes":
            assert got is context
    assert [event.data["progress"] for event in sink.of_type("task_progress")] == [0.5]


@pytest.mark.parametrize("executor", ["asyncio", "threads", "processes", "inline"])
@pytest.mark.requirement("req:E12", "req:E13")
async def test_lanes_survive_what_is_no_exception(executor: str) -> None:
    """CancelledError, SystemExit, KeyboardInterrupt and GeneratorExit cost the task that raises them, and no more."""
    async with open_pool(thread_workers=1, async_workers=1) as pool:
        on = pool.options(executor=executor)
        for kind in (asyncio.CancelledError, SystemExit, KeyboardInterrupt, GeneratorExit):
            outcome = await (await on.submit(raises_async if executor == "asyncio" else raises, kind)).outcome()
            assert not outcome.ok
            assert outcome.error is not None
            assert outcome.error.type.rpartition(".")[2] == kind.__name__
            assert await (await on.submit(double_async if executor == "asyncio" else double, 21)) == 42
        assert pool.get_stats().failed_tasks == 4


def raises(kind: type[BaseException]) -> None:
    raise kind("mine")


async def raises_async(kind: type[BaseException]) -> None:
    raise kind("mine")
