"""`submit_task`: what it takes, what it refuses, what the task gets, and what is told of it."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from longshore import (
    CurrentTask,
    DocumentError,
    PluginError,
    PoolNotRunning,
    Priority,
    ProcessorContext,
    ProcessorMetadata,
    ProcessorResult,
    QueueFull,
    Settings,
    TaskFailed,
    TaskNotFound,
    TaskState,
    TaskTimeout,
    WorkerConfig,
    WorkerPool,
    current_task,
)
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from support.waiting import until

pytestmark = pytest.mark.anyio

Opener = Callable[..., Any]


def double(number: int) -> int:
    return number * 2


async def double_async(number: int) -> int:
    return number * 2


class Doubler:
    """Callables and processors of every kind."""

    def method(self, number: int) -> int:
        return number * 2

    async def method_async(self, number: int) -> int:
        return number * 2

    def __call__(self, number: int) -> int:
        return number * 2


class AsyncDoubler:
    """An object with an async `__call__`."""

    async def __call__(self, number: int) -> int:
        return number * 2


class Processor:
    """A processor of the user's own."""

    def process(self, context: ProcessorContext) -> ProcessorResult:
        if context.document_id == "torn":
            return ProcessorResult(status="failed", errors=["page 3 is missing"], metadata={"reason": "torn"})
        return ProcessorResult(data={"read": context.document_id})


class AsyncProcessor(Processor):
    """The same with a coroutine."""

    async def process(self, context: ProcessorContext) -> ProcessorResult:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().process(context)


@pytest.mark.requirement("req:K04")
async def test_a_status_is_completed_or_failed_and_nothing_else(open_pool: Opener) -> None:
    """In any case, or as an Enum's member, it counts as what it says; any other status fails the task, saying so."""

    class Status(Enum):
        FAILED = "failed"
        COMPLETED = "completed"

    def gives(status: Any) -> ProcessorResult:
        return ProcessorResult(status=status, errors=["torn"] if status != "banana" else [])

    async def gives_async(status: Any) -> ProcessorResult:
        return gives(status)

    async with open_pool() as pool:
        for function in (gives, gives_async):
            for status in ("failed", "FAILED", Status.FAILED):
                with pytest.raises(TaskFailed, match="torn"):
                    await pool.get_task_result(await pool.submit_task("p", status, function))
            for status in ("completed", "Completed", Status.COMPLETED):
                result = await pool.get_task_result(await pool.submit_task("p", status, function))
                assert result.status == "completed"
            for status in ("banana", None, 1):
                with pytest.raises(ValueError, match=f"p returned the status {status!r}, which is neither"):
                    await pool.get_task_result(await pool.submit_task("p", status, function))


@pytest.mark.submission
@pytest.mark.requirement("req:D01")
async def test_ten_thousand_ids_are_distinct(open_pool: Opener) -> None:
    """Every task has an id of its own, a string, also over a restart of the pool."""
    async with open_pool(max_queue_size=2000) as pool:
        ids = [await pool.submit_task("double", n, double_async, Priority.LOW, 30.0, None) for n in range(10_000)]
        assert await pool.get_task_result(ids[-1]) == 19_998
        await pool.stop()
        await pool.start()
        ids += [await pool.submit_task("double", n, double_async) for n in range(10)]
    assert len(set(ids)) == 10_010
    assert all(isinstance(task_id, str) for task_id in ids)


@pytest.mark.parametrize(
    "function",
    [
        double,
        double_async,
        functools.partial(double),
        functools.partial(functools.partial(double_async)),
        lambda number: number * 2,
        Doubler().method,
        Doubler().method_async,
        Doubler(),
        AsyncDoubler(),
        functools.partial(AsyncDoubler()),
    ],
    ids=["function", "async", "partial", "async-partial", "lambda", "method", "async-method", "object", "async-object",
         "async-object-partial"],
)  # fmt: skip
@pytest.mark.requirement("req:E05")
async def test_every_kind_of_callable_gives_its_result(open_pool: Opener, function: Callable[[int], Any]) -> None:
    """Whatever can be called is called with the context, and its result, never a coroutine, is the task's."""
    async with open_pool() as pool:
        task_id = await pool.submit_task("doubler", 21, function)
        assert await pool.get_task_result(task_id) == 42
        assert pool.get_task(task_id).processor_name == "doubler"


@pytest.mark.parametrize("processor", [Processor(), AsyncProcessor()], ids=["plain", "async"])
@pytest.mark.requirement("req:E05")
async def test_a_processor_instance_may_be_given(open_pool: Opener, processor: Any) -> None:
    """An object with `process` is asked to process; its ProcessorResult is the result, a failed one fails the task."""
    async with open_pool() as pool:
        good = await pool.submit_task("reader", ProcessorContext(document_id="a"), processor)
        torn = await pool.submit_task("reader", ProcessorContext(document_id="torn"), processor)
        assert await pool.get_task_result(good) == ProcessorResult(data={"read": "a"})
        with pytest.raises(TaskFailed, match="page 3 is missing"):
            await pool.get_task_result(torn)
        error = pool.get_task(torn).error
        assert error is not None
        assert error.reason == "torn"


@pytest.mark.requirement("req:E05")
async def test_a_coroutine_is_never_a_result(open_pool: Opener) -> None:
    """A plain function that hands out a coroutine fails and says what to do; a class and a number are refused."""
    async with open_pool() as pool:
        task_id = await pool.submit_task("sly", 1, lambda number: double_async(number))
        with pytest.raises(TypeError, match="coroutine"):
            await pool.get_task_result(task_id)
        for wrong, what in ((Processor, "is a class of processors"), (7, "neither a function nor")):
            with pytest.raises(TypeError, match=what):
                await pool.submit_task("wrong", 1, wrong)


class Reader:
    """A processor as a plugin has it."""

    metadata = ProcessorMetadata(name="reader", version="1", timeout_seconds=7.0, retry_count=1, priority=Priority.HIGH)

    @hookimpl
    def initialize(self) -> None:
        """Get ready."""

    @hookimpl
    def process(self, context: ProcessorContext) -> ProcessorResult:
        if current_task().attempt == 1:
            raise OSError("not yet")
        return ProcessorResult(data={"read": context.document_id})

    @hookimpl
    def cleanup(self) -> None:
        """End."""

    @hookimpl
    def health_check(self) -> bool:
        return True


async def test_without_a_function_the_installed_processor_is_taken(open_pool: Opener) -> None:
    """What its metadata says holds where the call says nothing; an unknown name is refused and queues nothing."""
    async with open_pool() as pool:
        pool.replace_processor("reader", Reader)
        document = ProcessorContext(document_id="d")
        plain = await pool.submit_task("reader", document)
        other = await pool.submit_task("reader", document, None, Priority.LOW, 3.0)
        inline = await pool.submit_task("reader", document, executor="inline")
        for task_id in (plain, other, inline):
            assert await pool.get_task_result(task_id) == ProcessorResult(data={"read": "d"})
        record = pool.get_task(plain)
        assert (record.timeout, record.priority, record.attempts) == (7.0, Priority.HIGH, 2)
        record = pool.get_task(other)
        assert (record.timeout, record.priority) == (3.0, Priority.LOW)
        assert (pool.get_task(inline).timeout, pool.get_task(inline).executor) == (None, "inline")
        with pytest.raises(PluginError, match="nosuch"):
            await pool.submit_task("nosuch", 4)
        assert pool.get_stats().submitted_tasks == 3


async def test_a_document_that_will_not_do_fails_unrun(open_pool: Opener, tmp_path: Path) -> None:
    """What an installed processor does not take ends with its reason, and has neither a start nor an attempt."""
    async with open_pool() as pool:
        document = ProcessorContext(document_id="d", file_path=str(tmp_path / "missing.txt"))
        task_id = await pool.submit_task("extract", document)
        with pytest.raises(DocumentError, match="missing"):
            await pool.get_task_result(task_id)
        record = pool.get_task(task_id)
        assert (record.state, record.attempts, record.started_at) == (TaskState.FAILED, 0, None)
        assert pool.explain(task_id).endswith("cannot be opened: No such file or directory")


@pytest.mark.requirement("req:D07")
async def test_a_timeout_of_ones_own_overrides_the_default(open_pool: Opener) -> None:
    """None is `default_timeout`, a number is that, and 0 or less is refused."""

    async def limit(_: object) -> float | None:
        return current_task().time_remaining()

    async with open_pool(default_timeout=200.0) as pool:
        default, own = (
            await pool.submit_task("limit", None, limit),
            await pool.submit_task("limit", None, limit, timeout=20),
        )
        assert 190 < await pool.get_task_result(default) <= 200
        assert 10 < await pool.get_task_result(own) <= 20
        assert (pool.get_task(default).timeout, pool.get_task(own).timeout) == (200.0, 20)
        for wrong in (0, 0.0, -1.0):
            with pytest.raises(ValueError, match="timeout"):
                await pool.submit_task("limit", None, limit, timeout=wrong)
        assert pool.get_stats().submitted_tasks == 2
        late = await pool.submit_task("late", 30, asyncio.sleep, timeout=0.05)
        with pytest.raises(TaskTimeout, match=r"0\.05 s"):
            await pool.get_task_result(late)
        assert pool.get_task(late).state is TaskState.TIMED_OUT


@pytest.mark.requirement("req:A04")
async def test_a_full_queue_refuses_after_submit_timeout(open_pool: Opener, gate: Any) -> None:
    """`submit_task` waits for room for `submit_timeout`, then raises QueueFull; nothing of it is left."""
    async with open_pool(max_queue_size=10, submit_timeout=0.1) as pool:
        await gate.hold(pool)
        ids = [await pool.submit_task("double", n, double) for n in range(10)]
        began = time.monotonic()
        with pytest.raises(QueueFull, match=r"double.*0\.1 s"):
            await pool.submit_task("double", 10, double)
        assert 0.09 < time.monotonic() - began < 5.0
        urgent = await pool.submit_task("double", 10, double, Priority.CRITICAL)
        await until(lambda: pool.get_stats().submitted_tasks == 12, "the urgent one to be queued")
        assert len(pool.tasks(1000)) == 12
        gate.set()
        assert [await pool.get_task_result(task_id) for task_id in (*ids, urgent)] == [*range(0, 20, 2), 20]
        assert await pool.get_task_result(await pool.submit_task("double", 1, double)) == 2


@pytest.mark.requirement("req:D15")
async def test_a_producer_is_slowed_to_the_pace_of_its_workers(open_pool: Opener) -> None:
    """However many tasks a producer has, no more wait than the queue holds."""
    most = 0
    async with open_pool(max_queue_size=10) as pool:
        for n in range(500):
            await pool.submit_task("double", n, double)
            most = max(most, pool.get_stats().queued_tasks)
        assert await pool.wait_for_completion(20)
        assert pool.get_stats().completed_tasks == 500
    assert 0 < most <= 10


def seen(context: Any) -> dict[str, Any]:
    """Say what a task can see of itself."""
    task: CurrentTask = current_task()
    task.progress(0.5, "half")
    left = task.time_remaining()
    assert left is not None
    return {"context": context, "here": id(context), "attempt": task.attempt, "left": left, "pid": os.getpid()}


async def seen_async(context: Any) -> dict[str, Any]:
    return seen(context)


@pytest.mark.parametrize("executor", ["asyncio", "threads", "processes"])
@pytest.mark.requirement("req:E15")
async def test_the_context_is_handed_through_unchanged(open_pool: Opener, executor: str) -> None:
    """A processor gets the context that was given; attempt number, deadline and progress are within its reach."""
    context = ProcessorContext(
        document_id="d1", file_path="/a/b", mime_type="text/plain", metadata={"k": [1, 2]}, previous_results={"s": {}}
    )
    told: list[AnyEvent] = []
    async with open_pool() as pool:
        pool.events.subscribe(told.append, {"task_progress"})
        function = seen_async if executor == "asyncio" else seen
        task_id = await pool.submit_task("seen", context, function, timeout=10, executor=executor)
        found = await pool.get_task_result(task_id)
        assert found["context"] == context
        assert type(found["context"]) is ProcessorContext
        assert (found["here"] == id(context)) is (executor != "processes")
        assert (found["pid"] == os.getpid()) is (executor != "processes")
        assert found["attempt"] == 1
        assert 0 < found["left"] <= 10
        assert pool.get_task(task_id).context is context
        assert pool.get_task(task_id).key == "d1"
    assert [(event.data["task_id"], event.data["message"]) for event in told] == [(task_id, "half")]


@pytest.mark.events
@pytest.mark.requirement("req:D10")
async def test_submitted_is_told_before_started(open_pool: Opener) -> None:
    """`task_submitted` has id, processor and priority, and comes before `task_started`, as that before the end."""
    told: list[AnyEvent] = []
    async with open_pool() as pool:
        pool.events.subscribe(told.append)
        ids = [await pool.submit_task("double", n, double, Priority(n % 5)) for n in range(20)]
        await pool.wait_for_completion()
    for n, task_id in enumerate(ids):
        mine = [event for event in told if event.data.get("task_id") == task_id]
        assert [event.type for event in mine] == ["task_submitted", "task_started", "task_completed"]
        assert [event.seq for event in mine] == sorted(event.seq for event in mine)
        assert (mine[0].data["processor"], mine[0].data["priority"]) == ("double", n % 5)


@pytest.mark.lifecycle
@pytest.mark.requirement("req:C14")
async def test_submitting_when_not_running_is_refused(gate: Any) -> None:
    """Before the start, during the stop and after it, `submit_task` raises PoolNotRunning."""
    pool = WorkerPool(settings=Settings(probes=(), workers=WorkerConfig(thread_workers=1)))
    with pytest.raises(PoolNotRunning):
        await pool.submit_task("double", 1, double)
    with pytest.raises(TaskNotFound):
        await pool.get_task_result("nosuch")
    await pool.start()
    (held,) = await gate.hold(pool)
    stopping = asyncio.create_task(pool.stop())
    await asyncio.sleep(0)
    with pytest.raises(PoolNotRunning):
        await pool.submit_task("double", 1, double)
    gate.set()
    await stopping
    assert await pool.get_task_result(held) == "held"
    with pytest.raises(PoolNotRunning):
        await pool.submit_task("double", 1, double)


@pytest.mark.requirement("req:D16")
@pytest.mark.concurrency
async def test_eight_threads_submit_a_thousand_tasks_each(open_pool: Opener) -> None:
    """Any thread may submit through the pool's loop, and everybody gets what is his."""
    results: dict[int, list[int]] = {}

    async def all_of(pool: WorkerPool, number: int) -> list[int]:
        ids = [await pool.submit_task("double", number * 1000 + n, double_async) for n in range(500)]
        return [await pool.get_task_result(task_id) for task_id in ids]

    def client(pool: WorkerPool, number: int) -> None:
        by_id = asyncio.run_coroutine_threadsafe(all_of(pool, number), pool.loop)
        futures = [pool.submit_threadsafe(double_async, number * 1000 + n) for n in range(500, 1000)]
        results[number] = by_id.result(20) + [future.result(20) for future in futures]

    async with open_pool(max_queue_size=100) as pool:
        threads = [threading.Thread(target=client, args=(pool, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        loop = asyncio.get_running_loop()
        for thread in threads:
            await loop.run_in_executor(None, thread.join)
        assert pool.get_stats().completed_tasks == 8000
    assert results == {number: [2 * (number * 1000 + n) for n in range(1000)] for number in range(8)}
