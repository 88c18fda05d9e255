"""A hundred documents through three stages at once while attempts fail: what is told is read from `events.jsonl`."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from longshore import (
    Pipeline,
    PipelineResult,
    ProcessorContext,
    ProcessorResult,
    RetryPolicy,
    Settings,
    Stage,
    TaskState,
    WorkerConfig,
    WorkerDied,
    WorkerPool,
)

pytestmark = pytest.mark.anyio

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
MOST = {"extract": 4, "chunk": 3, "weigh": 5}
RETRY = RetryPolicy(attempts=4, backoff=0.01, jitter=0.0, retry_on=(ConnectionError, WorkerDied))
ENDS = {"completed", "failed", "timed_out", "cancelled"}
TASK_ENDS = {"task_completed", "task_failed", "task_cancelled"}
Work = Callable[[ProcessorContext], Any]  # Any: what a stage gives


def faulty(stage: str, work: Work, *, dies: bool = False) -> Work:
    """Return the work with a fault in 5 % of its attempts, in each run the same; with `dies`, some end the worker."""

    def run(context: ProcessorContext) -> Any:
        import os
        import zlib

        from longshore import current_task

        name = Path(context.document_id).name
        drawn = zlib.crc32(f"{stage} {name} {current_task().attempt}".encode()) % 100
        if drawn < 5:
            if dies and drawn == 0:
                os._exit(3)
            raise ConnectionError(f"attempt {current_task().attempt} of {stage} was to fail")
        return work(context)

    return run


def three_stages(extract: Work, executor: str, *, dies: bool) -> Pipeline:
    """Return `extract`, then `chunk` and `weigh`, with a bound each."""

    def chunk(context: ProcessorContext) -> list[str]:
        text = str(context.previous_results["extract"]["text"])
        return [text[at : at + 1000] for at in range(0, len(text), 1000)]

    def weigh(context: ProcessorContext) -> int:
        return sum(map(len, context.previous_results["chunk"]))

    def stage(name: str, work: Work, *after: str) -> Stage:
        function = faulty(name, work, dies=dies)
        most = MOST[name]
        return Stage(name, function, after=after, executor=executor, retry=RETRY, timeout=60, max_parallel=most)

    return Pipeline(
        "three", [stage("extract", extract), stage("chunk", chunk, "extract"), stage("weigh", weigh, "chunk")]
    )


async def through(pipeline: Pipeline, paths: list[str], events: Path, deadline_s: float) -> list[PipelineResult]:
    """Send the documents through on one pool that writes its events, all of them in flight at once."""
    config = WorkerConfig(thread_workers=12, process_workers=4)
    sinks = {"jsonl": {"path": str(events)}}
    settings = Settings.model_validate({"probes": [], "sinks": sinks, "workers": config})
    async with asyncio.timeout(deadline_s), WorkerPool(settings=settings) as pool:
        return [result async for result in pool.run_pipeline(pipeline, paths, in_flight=len(paths))]


def check(results: list[PipelineResult], paths: list[str], rows: list[dict[str, Any]]) -> None:
    """Fold the events, and nothing of our own, and compare: ends, bounds, progress, sums."""
    assert sorted(result.document_id for result in results) == sorted(paths), "every document ends, once"
    check_bounds(rows)
    last = Counter(ends_of(rows, len(paths)))
    assert last == Counter(result.state.value for result in results)

    submitted = Counter(row["task_id"] for row in rows if row["type"] == "task_submitted")
    ended = Counter(row["task_id"] for row in rows if row["type"] in TASK_ENDS)
    assert submitted == ended
    assert set(ended.values()) == {1}
    stages = Counter((row["stage"], row["state"]) for row in rows if row["type"] == "stage_completed")
    mine = Counter((name, one.state.value) for result in results for name, one in result.stages.items())
    assert stages == mine
    assert sum(count for (_, state), count in stages.items() if state != "skipped") == len(submitted)
    tried = sum(one.attempts for result in results for one in result.stages.values())
    by_type = Counter(row["type"] for row in rows)
    assert by_type["task_started"] == tried == len(submitted) + by_type["task_retried"]
    assert by_type["task_retried"] > 0, "faults came, and were tried again"


def check_bounds(rows: list[dict[str, Any]]) -> None:
    """Count what runs of each stage, and find no more than its bound."""
    inside: dict[str, str] = {}
    peak = Counter[str]()
    for row in rows:
        if row["type"] == "task_started":
            inside[row["task_id"]] = row["name"]
            running = Counter(inside.values())
            peak = peak | running
        elif row["type"] in {"task_retried", *TASK_ENDS}:
            inside.pop(row["task_id"], None)
    assert all(1 < peak[name] <= most for name, most in MOST.items()), f"bounds of stages: {peak}"


def ends_of(rows: list[dict[str, Any]], documents: int) -> list[str]:
    """Return how each document ended, once, after a progress that never went back."""
    progress: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["type"] == "pipeline_progress":
            progress[row["pipeline_id"]].append(row)
    assert len(progress) == documents
    for told in progress.values():
        assert [row["progress"] for row in told] == sorted(row["progress"] for row in told)
        assert [row["state"] in ENDS for row in told] == [False] * (len(told) - 1) + [True]
        assert (told[-1]["progress"] == 1.0) is (told[-1]["state"] == "completed")
    return [told[-1]["state"] for told in progress.values()]


def read(events: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in events.read_text().splitlines()]


@pytest.mark.requirement("req:J04", "req:J08")
async def test_a_hundred_documents_at_once_with_faults(tmp_path: Path) -> None:
    """With a fault in 5 % of all attempts and 3 retries each document completes, in bounds, and as the events say."""
    paths = []
    for number in range(100):
        path = tmp_path / f"{number}.txt"
        path.write_text("word " * number * 10)
        paths.append(str(path))

    def extract(context: ProcessorContext) -> ProcessorResult:
        return ProcessorResult(data={"text": Path(str(context.file_path)).read_text()})

    events = tmp_path / "events.jsonl"
    results = await through(three_stages(extract, "threads", dies=False), paths, events, deadline_s=20)
    check(results, paths, read(events))
    assert {result.document_id: result.value for result in results} == {
        path: number * 50 for number, path in enumerate(paths)
    }


@pytest.mark.slow
@pytest.mark.requirement("req:J03", "req:J08")
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real documents, ../shared/corpus, is not there")
async def test_a_hundred_real_documents_at_once_with_faults(tmp_path: Path) -> None:
    """Real documents in worker processes, some of which die: all of the above, and a bad document costs only itself."""
    files = sorted((path for path in CORPUS.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    paths = [str(path) for path in files[-200:-100]]

    def extract(context: ProcessorContext) -> ProcessorResult:
        from longshore_documents import ExtractProcessor

        processor = ExtractProcessor()
        processor.initialize()
        return processor.process(context)

    events = tmp_path / "events.jsonl"
    results = await through(three_stages(extract, "processes", dies=True), paths, events, deadline_s=300)
    check(results, paths, read(events))
    states = Counter(result.state for result in results)
    assert states[TaskState.COMPLETED] > 50
    assert all(result.ended_by == "extract" for result in results if not result.ok), "only what can't be read failed"
