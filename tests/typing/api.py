"""What type checkers see of running work: `mypy --strict` and pyrefly read this file, and nothing runs it.

`assert_type` says what a checker must find. A line that must be refused ends in `# type: ignore[code]`, and one that is
not refused any more is an error itself, for an unused one is.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, assert_type

import longshore
from longshore import (
    CurrentTask,
    EventBus,
    Handle,
    Outcome,
    Pipeline,
    PipelineProgress,
    PipelineResult,
    PipelineRun,
    PipelineStream,
    PoolExecutor,
    PoolStats,
    Priority,
    ProcessorContext,
    ProcessorResult,
    ProgressTracker,
    ResourceLimits,
    ResourceMonitor,
    Resources,
    RetryPolicy,
    RunSummary,
    Settings,
    Shared,
    Stage,
    Stream,
    Submitter,
    SyncStream,
    TaskProgress,
    TaskState,
    WorkerConfig,
    WorkerPool,
    WorkerStats,
)
from longshore.records import ResourceSnapshot, TaskRecord


def size(path: str, *, unit: int = 1) -> float:
    return len(path) / unit


async def fetch(url: str) -> bytes:
    return url.encode()


async def numbers() -> AsyncIterator[int]:
    yield 1


class Scale:
    def __call__(self, value: int) -> complex:
        return value * 1j


def the_same_without_async() -> None:
    assert_type(longshore.map(size, ["a"]), SyncStream[float])
    assert_type(longshore.map(fetch, ["a"], executor="asyncio"), SyncStream[bytes])
    assert_type(longshore.starmap(size, [("a",)], workers=2), SyncStream[float])
    assert_type(longshore.outcomes(size, ["a"], ordered=True, timeout=3.0), SyncStream[Outcome])
    for value in longshore.map(Scale(), range(3)):
        assert_type(value, complex)
    with longshore.outcomes(fetch, ["a"], key=str) as stream:
        assert_type(next(stream), Outcome)
    assert_type(list(longshore.track([1, 2])), list[int])
    longshore.map(size)  # type: ignore[call-overload]
    longshore.map(3, ["a"])  # type: ignore[call-overload]
    longshore.outcomes(size, ["a"], workers="two")  # type: ignore[arg-type]


async def one_by_one(pool: WorkerPool) -> None:
    handle = await pool.submit(size, "a", unit=2)
    assert_type(handle, Handle[float])
    assert_type(await handle, float)
    assert_type(await handle.outcome(), Outcome)
    assert_type(handle.state, TaskState)
    assert_type(await pool.submit(fetch, "a"), Handle[bytes])
    assert_type(await (await pool.submit(fetch, "a")), bytes)
    assert_type(await pool.submit(size, handle), Handle[float])
    assert_type(pool.submit_nowait(Scale(), 3), Handle[complex])
    assert_type(pool.submit_threadsafe(fetch, "a"), concurrent.futures.Future[bytes])
    assert_type(pool.submit_threadsafe(fetch, "a").result(), bytes)
    assert_type(await pool.process("extract", ProcessorContext(document_id="a")), Handle[ProcessorResult])
    await pool.submit("size", "a")  # type: ignore[call-overload]
    await pool.submit()  # type: ignore[call-overload]


async def streams(pool: WorkerPool) -> None:
    assert_type(pool.map(size, ["a"]), Stream[float])
    async for value in pool.map(fetch, ["a"]):
        assert_type(value, bytes)
    assert_type(pool.map(Scale(), numbers()), Stream[complex])
    async with pool.outcomes(size, ["a"], total=1, ordered=True) as stream:
        async for outcome in stream:
            assert_type(outcome, Outcome)
            assert_type(outcome.ok, bool)
            assert_type(outcome.state, TaskState)
    assert_type(pool.starmap(size, [("a",)]), Stream[float])
    assert_type([value async for value in pool.map(lambda item: str(item), [1])], list[str])
    pool.map(size, 3)  # type: ignore[call-overload]


async def options(pool: WorkerPool) -> None:
    fast = pool.options(
        executor="processes",
        priority=Priority.HIGH,
        timeout=30,
        retry=RetryPolicy(attempts=3, retry_on=(OSError,)),
        resources=Resources(cpu=1, memory_mb=512, gpu=1),
    )
    assert_type(fast, Submitter)
    assert_type(fast.options(key="a"), Submitter)
    assert_type(fast.map(size, ["a"]), Stream[float])
    assert_type(await fast.submit(fetch, "a"), Handle[bytes])
    RetryPolicy(attempts="3")  # type: ignore[arg-type]
    RetryPolicy(trials=3)  # type: ignore[call-arg]
    Resources(cpu=1, memory_gb=2)  # type: ignore[call-arg]
    fast.share(3)  # type: ignore[attr-defined]


async def life(config: WorkerConfig, settings: Settings) -> None:
    async with WorkerPool(config, settings=settings, sinks=["rich"]) as pool:
        assert_type(pool, WorkerPool)
        assert_type(pool.settings, Settings)
        assert_type(pool.events, EventBus)
        assert_type(pool.get_stats(), PoolStats)
        assert_type(pool.get_worker_stats(), list[WorkerStats])
        assert_type(pool.health(), longshore.Health)
        assert_type(pool.diagnose(), longshore.Diagnosis)
        assert_type(pool.share({"a": 1}), Shared[dict[str, int]])
        assert_type(pool.pause(), None)
    assert_type(await pool.stop(timeout=3), RunSummary | None)
    WorkerPool(sinks="rich", workers=3)  # type: ignore[call-arg]


async def by_name(pool: WorkerPool) -> None:
    task_id = await pool.submit_task("extract", ProcessorContext(document_id="a"), resources={"cpu": 10.0}, timeout=3)
    assert_type(task_id, str)
    assert_type(await pool.wait_for_completion(timeout=1), bool)
    assert_type(pool.get_task(task_id), TaskRecord)
    assert_type(pool.tasks(limit=10), Sequence[TaskRecord])
    assert_type(pool.explain(task_id), str)
    assert_type(await pool.retry_task(task_id), str)
    await pool.submit_task("extract")  # type: ignore[call-arg]


def first(context: ProcessorContext) -> str:
    return context.document_id


async def pipelines(pool: WorkerPool) -> None:
    pipeline = Pipeline("documents", [Stage("first", first), Stage("chunk", "chunk", after=["first"], timeout=3)])
    run = pool.start_pipeline(pipeline, ProcessorContext(document_id="a"))
    assert_type(run, PipelineRun)
    assert_type(await run, PipelineResult)
    assert_type(run.progress, float)
    results = pool.run_pipeline(pipeline, ["a", "b"], in_flight=10)
    assert_type(results, PipelineStream)
    async for result in results:
        assert_type(result.stages, Mapping[str, Outcome])
    assert_type(pool.plan(pipeline), list[longshore.PlannedStage])
    Stage("first", first, ["a"])  # type: ignore[call-arg]
    Stage("first", 3)  # type: ignore[arg-type]


def the_standard_executor() -> None:
    with PoolExecutor(max_workers=4, executor="processes") as executor:
        assert_type(executor, PoolExecutor)
        assert_type(executor.submit(size, "a"), concurrent.futures.Future[float])
        assert_type(executor.with_options(timeout=3).submit(size, "a").result(), float)
        assert_type(list(executor.map(size, ["a", "b"], chunksize=2)), list[float])
    PoolExecutor(max_workers="4")  # type: ignore[arg-type]


def inside_a_task() -> None:
    task = longshore.current_task()
    assert_type(task, CurrentTask)
    assert_type(task.progress(0.4, "page 3 of 10"), None)
    assert_type(task.time_remaining(), float | None)
    assert_type(task.cancelled(), bool)
    assert_type(task.worker_state, dict[str, Any])
    task.progress("half")  # type: ignore[arg-type]


def settings_and_limits() -> None:
    assert_type(longshore.load_settings().settings, Settings)
    settings = Settings(workers=WorkerConfig(async_workers=2), limits=ResourceLimits(max_cpu_percent=50))
    assert_type(settings.workers.async_workers, int)
    assert_type(settings.limits.max_memory_percent, float)
    WorkerConfig(async_workers="two")  # type: ignore[arg-type]


async def monitor_and_tracker(monitor: ResourceMonitor, tracker: ProgressTracker) -> None:
    available, reason = monitor.check_availability({"cpu": 10.0})
    assert_type(available, bool)
    assert_type(reason, str | None)
    assert_type(monitor.snapshot(), ResourceSnapshot)
    assert_type(tracker.get_task_progress("a"), TaskProgress | None)
    assert_type(tracker.get_pipeline_progress("a"), PipelineProgress | None)
    ResourceMonitor(check_interval="often")  # type: ignore[arg-type]


def listen(bus: EventBus) -> None:
    bus.subscribe(lambda event: None, types=["task_failed"])
    assert_type(bus.is_healthy(), bool)
    bus.subscribe(3)  # type: ignore[arg-type]
