"""Documents through pipelines on a real pool: stages as tasks, what runs when, and how each document ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from longshore import (
    Event,
    Pipeline,
    PipelineLimits,
    PipelineResult,
    ProcessorContext,
    Resources,
    Settings,
    Stage,
    TaskState,
    WorkerConfig,
    WorkerPool,
    current_task,
)
from longshore.testing import RecordingSink
from support.waiting import until

pytestmark = pytest.mark.anyio

DEADLINE_S = 8.0
COMPLETED, FAILED, SKIPPED, CANCELLED = TaskState.COMPLETED, TaskState.FAILED, TaskState.SKIPPED, TaskState.CANCELLED


@asynccontextmanager
async def open_pool(
    sink: RecordingSink | None = None, settings: dict[str, Any] | None = None, **workers: Any
) -> AsyncIterator[WorkerPool]:
    """A pool of coroutines that nothing of the user's settings plays into, with a deadline over all that happens."""
    config = WorkerConfig(**{"async_workers": 50, **workers})
    chosen = Settings.model_validate({"probes": [], "workers": config, **(settings or {})})
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=chosen, sinks=[sink] if sink else []) as pool:
        yield pool


class Meter:
    """Stages that count who is inside, by stage and by document, and hold until `open` where that is wanted."""

    def __init__(self, held: bool = False) -> None:
        self.inside: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self.order: list[tuple[str, str]] = []
        self.open = asyncio.Event()
        if not held:
            self.open.set()

    def stage(self, name: str, **options: Any) -> Stage:
        async def work(context: ProcessorContext) -> str:
            self.order.append((name, context.document_id))
            for key in (name, context.document_id):
                self.inside[key] += 1
                self.peak[key] = max(self.peak[key], self.inside[key])
            try:
                await self.open.wait()
                await asyncio.sleep(0)
                return f"{name} of {context.document_id}"
            finally:
                self.inside.subtract((name, context.document_id))

        return Stage(name, work, **options)


def fails(context: ProcessorContext) -> None:
    raise LookupError(f"nothing in {context.document_id}")


def of_type(sink: RecordingSink, kind: str) -> list[dict[str, Any]]:
    return [event.data for event in sink.events if event.type == kind]


# ---- stages are tasks


@pytest.mark.requirement("req:J01", "req:J04")
async def test_each_stage_is_a_task_of_the_pool() -> None:
    """Three stages are three submitted tasks, and each stage's end names its task, its document and its run."""
    sink, meter = RecordingSink(), Meter()
    stages = [meter.stage("a"), meter.stage("b", after=["a"]), meter.stage("c", after=["b"])]
    async with open_pool(sink) as pool:
        run = pool.start_pipeline(Pipeline("three", stages), "report.pdf")
        result = await run
    assert (result.state, result.value, run.state, run.progress) == (COMPLETED, "c of report.pdf", COMPLETED, 1.0)
    submitted = of_type(sink, "task_submitted")
    assert [(data["name"], data["key"], data["group"]) for data in submitted] == [
        (name, "report.pdf", run.pipeline_id) for name in "abc"
    ]
    ended = of_type(sink, "stage_completed")
    assert [data["task_id"] for data in ended] == [data["task_id"] for data in submitted]
    assert ended[0] == {
        "pipeline_id": run.pipeline_id,
        "pipeline": "three",
        "document_id": "report.pdf",
        "stage": "a",
        "state": "completed",
        "task_id": submitted[0]["task_id"],
        "duration_s": result.stages["a"].ran_s,
        "error": None,
    }


@pytest.mark.requirement("req:J04")
async def test_progress_follows_the_tasks() -> None:
    """What a stage says of itself moves the document; progress never goes back, first and last are always told."""
    seen: list[Event] = []
    go = asyncio.Event()

    async def slow(context: ProcessorContext) -> None:
        current_task().progress(0.5)
        await go.wait()

    pipeline = Pipeline("two", [Stage("a", lambda context: 1, executor="threads"), Stage("b", slow, after=["a"])])
    async with open_pool() as pool:
        pool.events.subscribe(seen.append, types={"pipeline_progress"})
        run = pool.start_pipeline(pipeline, ProcessorContext(document_id="d"))
        assert (run.state, run.progress) == (TaskState.PENDING, 0.0)
        await until(lambda: run.progress == 0.75, "half of the second stage")
        assert {name: (stage.state, stage.progress) for name, stage in run.stages.items()} == {
            "a": (COMPLETED, 1.0),
            "b": (TaskState.PROCESSING, 0.5),
        }
        await until(lambda: any(event.data["progress"] == 0.75 for event in seen), "the event of it")
        go.set()
        await run
        await until(lambda: seen[-1].data["state"] == "completed", "the last event")
    told = [event.data for event in seen]
    assert [data["progress"] for data in told] == sorted(data["progress"] for data in told)
    assert told[0] == {
        "pipeline_id": run.pipeline_id,
        "pipeline": "two",
        "document_id": "d",
        "state": "pending",
        "progress": 0.0,
        "current_stage": None,
        "completed_stages": 0,
        "total_stages": 2,
    }
    assert (told[-1]["progress"], told[-1]["completed_stages"], told[-1]["current_stage"]) == (1.0, 2, None)


# ---- the graph


async def test_stages_that_need_each_other_not_run_side_by_side_and_results_meet() -> None:
    """Both middle stages of a diamond run at once; the last gets the results of both."""
    meter = Meter(held=True)

    async def join(context: ProcessorContext) -> dict[str, Any]:
        return dict(context.previous_results)

    stages = [
        Stage("a", lambda context: "a", executor="threads"),
        meter.stage("left", after=["a"]),
        meter.stage("right", after=["a"]),
        Stage("end", join, after=["left", "right"]),
    ]
    async with open_pool() as pool:
        run = pool.start_pipeline(Pipeline("diamond", stages), "d")
        await until(lambda: meter.inside["left"] and meter.inside["right"], "both")
        meter.open.set()
        assert (await run).value == {"left": "left of d", "right": "right of d"}


async def test_each_document_flows_on_by_itself_and_the_later_stage_goes_first() -> None:
    """One worker has few documents begun and not done, however many wait: one more while the pool hears of an end."""
    meter = Meter()
    stages = [meter.stage("a"), meter.stage("b", after=["a"]), meter.stage("c", after=["b"])]
    names = [f"d{number}" for number in range(30)]
    async with open_pool(async_workers=1) as pool:
        results = await collect(pool.run_pipeline(Pipeline("p", stages), names), [])
    assert [result.document_id for result in results] == names
    begun, most = 0, 0
    for stage, _ in meter.order:
        begun += (stage == "a") - (stage == "c")
        most = max(most, begun)
    assert most <= 3


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_documents_are_taken_as_there_is_room(asynchronous: bool) -> None:
    """No more than `in_flight` are under way or ended and not taken, from plain and async iterables alike."""
    taken = 0

    def documents() -> Iterator[str]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield f"d{number}"

    async def later() -> AsyncIterator[str]:
        for name in documents():
            yield name

    meter = Meter()
    given = 0
    async with open_pool() as pool:
        source = later() if asynchronous else documents()
        async for result in pool.run_pipeline(Pipeline("p", [meter.stage("a")]), source, in_flight=4):
            given += 1
            assert result.ok
            if not asynchronous:
                assert taken <= given + 4
    assert (given, taken) == (40, 40)
    assert meter.peak["a"] <= 4


async def test_what_the_documents_raise_is_raised_after_the_results_before() -> None:
    """An iterable that breaks costs no document that came before."""

    def documents() -> Iterator[str]:
        yield from ("a", "b")
        raise LookupError("no more")

    given: list[PipelineResult] = []
    async with open_pool() as pool:
        with pytest.raises(LookupError, match="no more"):
            await collect(pool.run_pipeline(Pipeline("p", [Meter().stage("s")]), documents()), given)
    assert sorted(result.document_id for result in given) == ["a", "b"]


# ---- bounds


@pytest.mark.requirement("req:J03")
async def test_the_bounds_of_a_stage_hold_over_all_documents_of_a_call() -> None:
    """max_parallel bounds a stage over the call; other stages are not held up by it."""
    free, bound = Meter(held=True), Meter(held=True)
    stages = [free.stage("a"), bound.stage("b", after=["a"], max_parallel=3)]
    results: list[PipelineResult] = []
    async with open_pool() as pool:
        stream = pool.run_pipeline(Pipeline("p", stages), [f"d{number}" for number in range(60)])
        collecting = asyncio.create_task(collect(stream, results))
        await until(lambda: free.inside["a"] > 3, "many of the free stage")
        free.open.set()
        await until(lambda: bound.inside["b"] == 3 and free.inside["a"] == 0, "three of the bound stage")
        bound.open.set()
        await collecting
    assert [result.ok for result in results] == [True] * 60
    assert bound.peak["b"] == 3


@pytest.mark.requirement("req:J03")
@pytest.mark.parametrize(
    ("limits", "asks"),
    [
        (PipelineLimits(max_parallel_stages=2), Resources()),
        (PipelineLimits(max_memory_mb=100), Resources(memory_mb=50)),
        (PipelineLimits(max_cpu_cores=0.02), Resources(cpu=0.01)),
    ],
)
async def test_the_limits_of_a_pipeline_hold_for_each_document(limits: PipelineLimits, asks: Resources) -> None:
    """Six stages that could run at once never do: two at a time and document, whichever bound says so."""
    meter = Meter(held=True)
    pipeline = Pipeline("p", [meter.stage(f"s{number}", resources=asks) for number in range(6)], limits=limits)
    names = [f"d{number}" for number in range(5)]
    results: list[PipelineResult] = []
    async with open_pool() as pool:
        collecting = asyncio.create_task(collect(pool.run_pipeline(pipeline, names), results))
        await until(lambda: all(meter.inside[name] == 2 for name in names), "two stages of every document")
        meter.open.set()
        await collecting
    assert [result.ok for result in results] == [True] * 5
    assert [meter.peak[name] for name in names] == [2] * 5


@pytest.mark.requirement("req:J08")
async def test_a_hundred_documents_and_a_hundred_runs_at_once() -> None:
    """A hundred documents of a call, and a hundred runs, are inside one stage at the same moment, and all complete."""
    for alone in (False, True):
        meter = Meter(held=True)
        pipeline = Pipeline("p", [meter.stage("a"), meter.stage("b", after=["a"])])
        names = [f"d{number}" for number in range(100)]
        async with open_pool(async_workers=200, max_concurrent_tasks=200) as pool:
            if alone:
                waiting = asyncio.gather(*[pool.start_pipeline(pipeline, name) for name in names])
            else:
                waiting = asyncio.ensure_future(collect(pool.run_pipeline(pipeline, names), []))
            await until(lambda meter=meter: meter.inside["a"] == 100, "all inside")
            meter.open.set()
            results = await waiting
        assert [result.value for result in sorted(results, key=lambda one: int(one.document_id[1:]))] == [
            f"b of {name}" for name in names
        ]


@pytest.mark.requirement("req:J08")
async def test_runs_of_one_pipeline_have_their_bounds_each() -> None:
    """Two runs with a stage of the same name do not share its max_parallel, its rate, or the pipeline's limits."""
    meter = Meter(held=True)
    stage = meter.stage("same", max_parallel=1, max_per_second=0.01, resources=Resources(memory_mb=100))
    pipeline = Pipeline("p", [stage], limits=PipelineLimits(max_memory_mb=100, max_parallel_stages=1))
    async with open_pool() as pool:
        runs = [pool.start_pipeline(pipeline, name) for name in ("x", "y")]
        await until(lambda: meter.inside["same"] == 2, "both inside")
        meter.open.set()
        assert [(await run).ok for run in runs] == [True, True]
    assert len({run.pipeline_id for run in runs}) == 2


async def collect(stream: AsyncIterator[PipelineResult], kept: list[PipelineResult]) -> list[PipelineResult]:
    """Read a stream to its end; what was given before an exception is kept."""
    async for result in stream:
        kept.append(result)
    return kept


# ---- how documents end


@pytest.mark.requirement("req:J06")
async def test_a_critical_failure_ends_the_document() -> None:
    """What depends on the stage is skipped, what runs and what has not begun is cancelled, progress stays below 1."""
    meter = Meter(held=True)
    sink = RecordingSink()
    stages = [
        meter.stage("beside"),
        Stage("breaks", fails, executor="threads"),
        meter.stage("depends", after=["breaks"]),
        meter.stage("further", after=["depends"]),
        meter.stage("later", after=["beside"]),
    ]
    async with open_pool(sink) as pool:
        run = pool.start_pipeline(Pipeline("p", stages), "d")
        result = await run
    assert {name: outcome.state for name, outcome in result.stages.items()} == {
        "beside": CANCELLED,
        "breaks": FAILED,
        "depends": SKIPPED,
        "further": SKIPPED,
        "later": CANCELLED,
    }
    assert (result.state, result.value, result.failure) == (FAILED, None, result.stages["breaks"])
    assert run.progress < 1.0
    last = of_type(sink, "pipeline_progress")[-1]
    assert (last["state"], last["completed_stages"], last["total_stages"]) == ("failed", 0, 5)
    assert len(of_type(sink, "stage_completed")) == 5
    assert len(of_type(sink, "task_submitted")) == 2


@pytest.mark.requirement("req:J06")
async def test_a_stage_that_is_not_critical_may_fail() -> None:
    """The document completes without its result, its dependants run, and the failure can be seen."""
    sink = RecordingSink()

    async def end(context: ProcessorContext) -> list[str]:
        return sorted(context.previous_results)

    stages = [
        Stage("optional", fails, executor="threads", critical=False),
        Meter().stage("other"),
        Stage("end", end, after=["optional", "other"]),
    ]
    async with open_pool(sink) as pool:
        run = pool.start_pipeline(Pipeline("p", stages), "d")
        result = await run
    assert (result.state, result.value, result.failure, run.progress) == (COMPLETED, ["other"], None, 1.0)
    assert result.stages["optional"].state is FAILED
    (failed,) = [data for data in of_type(sink, "stage_completed") if data["stage"] == "optional"]
    assert (failed["state"], failed["error"]) == ("failed", "LookupError")
    assert of_type(sink, "pipeline_progress")[-1]["completed_stages"] == 3


@pytest.mark.requirement("req:J06")
async def test_a_condition_skips_its_stage() -> None:
    """A stage whose condition is false is no task but skipped, and the document completes; one that raises fails."""
    sink = RecordingSink()

    async def text(context: ProcessorContext) -> str:
        return context.document_id

    short = Meter().stage("ocr", after=["text"], condition=lambda context: len(context.previous_results["text"]) < 3)
    stages = [Stage("text", text), short]
    async with open_pool(sink) as pool:
        long, brief = [await pool.start_pipeline(Pipeline("p", stages), name) for name in ("long one", "no")]
        broken = Pipeline("p", [Meter().stage("a", condition=lambda context: 1 / 0)])
        failed = await pool.start_pipeline(broken, "d")
    assert (long.state, long.stages["ocr"].state, long.value) == (COMPLETED, SKIPPED, None)
    assert brief.value == "ocr of no"
    last = {data["document_id"]: data for data in of_type(sink, "pipeline_progress")}
    told = {name: (data["state"], data["progress"], data["completed_stages"]) for name, data in last.items()}
    assert told == {"long one": ("completed", 1.0, 2), "no": ("completed", 1.0, 2), "d": ("failed", 0.0, 0)}
    assert [data["name"] for data in of_type(sink, "task_submitted")] == ["text", "text", "ocr"]
    assert [data["task_id"] for data in of_type(sink, "stage_completed") if data["state"] == "skipped"] == [None]
    assert (failed.state, type(failed.stages["a"].exception)) == (FAILED, ZeroDivisionError)
