"""What pipelines refuse, try again, give up on, and say beforehand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from longshore import (
    Pipeline,
    PipelineResult,
    PluginError,
    ProcessorContext,
    Resources,
    ResourceUnavailable,
    RetryPolicy,
    Settings,
    SettingsError,
    Stage,
    TaskState,
    WorkerPool,
)
from longshore.pipeline import prepare
from longshore.testing import RecordingSink
from msgspec.structs import replace

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def open_pool() -> AsyncIterator[WorkerPool]:
    """A pool that nothing of the user's settings plays into, with a deadline over all that happens."""
    async with asyncio.timeout(8.0), WorkerPool(settings=Settings(probes=())) as pool:
        yield pool


async def echo(context: ProcessorContext) -> str:
    return context.document_id


async def read(stream: AsyncIterator[PipelineResult]) -> list[PipelineResult]:
    return [result async for result in stream]


async def test_a_stage_is_tried_again_as_it_says() -> None:
    """Retries belong to the stage; the document waits for the attempt that stands."""
    tries: Counter[str] = Counter()

    async def flaky(context: ProcessorContext) -> str:
        tries[context.document_id] += 1
        if tries[context.document_id] < 3:
            raise ConnectionError("again")
        return "third"

    retry = RetryPolicy(attempts=3, backoff=0.0)
    async with open_pool() as pool:
        result = await pool.start_pipeline(Pipeline("p", [Stage("a", flaky, retry=retry)]), "d")
    assert (result.value, result.stages["a"].attempts) == ("third", 3)


@pytest.mark.requirement("req:J02")
async def test_a_document_that_passes_its_pipelines_time_has_timed_out() -> None:
    """What runs then is cancelled, nothing more is begun, and the document has timed out."""

    async def hang(context: ProcessorContext) -> None:
        await asyncio.Event().wait()

    pipeline = Pipeline("p", [Stage("a", hang), Stage("b", hang, after=["a"])], timeout=60)
    async with open_pool() as pool:
        prepared = prepare(pipeline, pool._processors, 300.0)
        assert prepared.timeout_s == 60
        result = await pool.start_pipeline(replace(prepared, timeout_s=0.05), "d")
    assert result.state is TaskState.TIMED_OUT
    assert [outcome.state for outcome in result.stages.values()] == [TaskState.CANCELLED, TaskState.CANCELLED]
    assert result.failure is result.stages["a"]
    assert "timeout of 0.05 s" in str(result.stages["a"].error)


@pytest.mark.requirement("req:J02")
async def test_a_multiplied_timeout_ends_its_stage() -> None:
    """A stage of 1 s times 0.1 has timed out after a tenth of a second, and so has its document."""

    async def hang(context: ProcessorContext) -> None:
        await asyncio.Event().wait()

    async with open_pool() as pool:
        result = await pool.start_pipeline(Pipeline("p", [Stage("a", hang, timeout=1, timeout_multiplier=0.1)]), "d")
    assert (result.state, result.ended_by) == (TaskState.TIMED_OUT, "a")
    assert 0.1 <= result.stages["a"].ran_s < 1.0
    assert "timeout of 0.1 s" in str(result.stages["a"].error)


@pytest.mark.requirement("req:J06")
async def test_a_plan_submits_nothing() -> None:
    """`plan` answers for a pipeline object and for a name in the settings, before the pool has started as well."""
    table = {"pipelines": {"named": {"stages": [{"name": "a", "processor": "os.path:basename", "executor": "inline"}]}}}
    settings = Settings.model_validate({"probes": [], **table})
    pool = WorkerPool(settings=settings)
    (planned,) = pool.plan("named")
    assert (planned.name, planned.executor, planned.processor) == ("a", "inline", "basename")
    async with pool:
        assert [stage.executor for stage in pool.plan(Pipeline("p", [Stage("x", echo)]))] == ["asyncio"]
        assert pool.get_stats().submitted_tasks == 0


@pytest.mark.requirement("req:J01")
async def test_processors_by_name_are_tasks_too(tmp_path: Path) -> None:
    """Each processor of an installed pipeline's kind is a task that names its processor, under its stage's name."""
    (tmp_path / "page.txt").write_text("a page of text\n" * 100)
    sink = RecordingSink()
    stages = [
        Stage("read it", "extract", executor="threads"),
        Stage("cut it", "chunk", after=["read it"], executor="threads"),
        Stage("count it", lambda context: len(context.previous_results["cut it"]["chunks"]), after=["cut it"]),
    ]
    async with asyncio.timeout(8.0), WorkerPool(settings=Settings(probes=()), sinks=[sink]) as pool:
        result = await pool.start_pipeline(Pipeline("p", stages), tmp_path / "page.txt")
    assert result.ok
    assert result.value >= 1
    submitted = [event.data for event in sink.events if event.type == "task_submitted"]
    assert [(data["name"], data.get("processor")) for data in submitted] == [
        ("read it", "extract"),
        ("cut it", "chunk"),
        ("count it", None),
    ]


@pytest.mark.requirement("req:J06")
def test_a_dry_run_prints_the_plan(inside: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """The command prints the stages in their order with their bounds and conditions, and runs nothing."""
    (tmp_path / "file").touch()
    (tmp_path / "longshore.toml").write_text(
        '[pipelines.p]\nstages = [{ name = "b", processor = "job:size", after = ["a"], condition = "job:picky" },'
        ' { name = "a", processor = "job:always_fails", executor = "threads", retries = 2, max_parallel = 3 }]'
    )
    code, out, errors = inside("run", "p", "file", "--dry-run")
    assert (code, out) == (0, "file\n")
    first, second = [line.strip() for line in errors.splitlines() if line.startswith("  ")]
    assert first.startswith(
        "a: processor=always_fails, executor=threads, timeout_s=300.0, attempts=3, max_parallel=3, "
    )
    assert second.startswith("b: processor=size, executor=processes, after=a, timeout_s=300.0, attempts=1, ")
    assert second.endswith("condition=picky")


async def test_a_pipeline_by_name_that_is_wrong_is_told() -> None:
    """A name near another, and a table that is wrong, are SettingsErrors that say which."""
    stage = {"name": "a", "processor": "os.path:basename"}
    tables = {"good": {"stages": [stage]}, "bad": {"stages": [{**stage, "max_parallel": 101}]}}
    pool = WorkerPool(settings=Settings.model_validate({"probes": [], "pipelines": tables}))
    with pytest.raises(SettingsError, match="did you mean 'good'"):
        pool.plan("goood")
    with pytest.raises(SettingsError, match=r"pipelines.bad: (.|\n)*max_parallel"):
        pool.plan("bad")


async def test_what_cannot_be_submitted_costs_only_its_document() -> None:
    """A payload that can't travel is the failure of its document."""

    def local(context: ProcessorContext) -> str:
        return context.document_id

    async with open_pool() as pool:
        stage = Stage("a", local, executor="processes")
        bad = ProcessorContext(document_id="bad", metadata={"lock": asyncio.Lock(), "loop": pool.loop})
        results = await read(pool.run_pipeline(Pipeline("p", [stage]), ["good", bad]))
        assert {result.document_id: result.state for result in results} == {
            "good": TaskState.COMPLETED,
            "bad": TaskState.FAILED,
        }


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"executor": "nowhere"}, PluginError, "no executor named 'nowhere'"),
        ({"resources": Resources(gpu=3)}, ResourceUnavailable, "more than there can ever be"),
        ({"executor": "inline", "timeout": 5}, ValueError, "timeout"),
    ],
    ids=lambda given: str(given),
)
async def test_a_stage_that_can_never_run_is_refused_at_the_start(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """An unknown executor, too much of a resource and an option out of place are told once, before any document."""

    def local(context: ProcessorContext) -> str:
        return context.document_id

    pipeline = Pipeline("p", [Stage("a", echo), Stage("b", local, after=["a"], **options)])
    async with open_pool() as pool:
        with pytest.raises(error, match=message):
            pool.start_pipeline(pipeline, "d")
        with pytest.raises(error, match=message):
            pool.run_pipeline(pipeline, ["d"] * 50)
        stats = pool.snapshot()
        assert (stats.submitted, stats.failed) == (0, 0)
        assert not pool._runs


async def test_in_flight_is_at_least_one() -> None:
    """A stream that may have no document under way is refused."""
    pipeline = Pipeline("p", [Stage("a", echo)])
    async with open_pool() as pool:
        with pytest.raises(ValueError, match="in_flight must be at least 1"):
            pool.run_pipeline(pipeline, [], in_flight=0)
        assert await read(pool.run_pipeline(pipeline, [])) == []


@pytest.mark.parametrize(
    "documents", ["README.md", b"x", Path("README.md"), ProcessorContext(document_id="d")], ids=repr
)
async def test_one_document_is_no_stream(documents: Any) -> None:
    """What is one document where many are wanted is refused, with what to write."""
    async with open_pool() as pool:
        with pytest.raises(TypeError, match=r"give a list, .* or use start_pipeline for one"):
            pool.run_pipeline(Pipeline("p", [Stage("a", echo)]), documents)


async def test_what_is_no_document_is_refused() -> None:
    """A number is neither documents nor one of them, and costs the progress of the pool nothing."""
    pipeline: Any = Pipeline("p", [Stage("a", echo)])
    async with open_pool() as pool:
        with pytest.raises(TypeError, match="an iterable of contexts or paths, not 3"):
            pool.run_pipeline(pipeline, 3)  # type: ignore[arg-type]  # the point
        with pytest.raises(TypeError, match="a ProcessorContext or the path of a file, not 3"):
            pool.start_pipeline(pipeline, 3)  # type: ignore[arg-type]  # the point
        with pytest.raises(TypeError, match="a ProcessorContext or the path of a file, not 3"):
            await read(pool.run_pipeline(pipeline, [3]))  # type: ignore[list-item]  # the point
