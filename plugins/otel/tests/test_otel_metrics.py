"""Metrics: what is counted as tasks end, and what is read of the run when they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from longshore import Settings, WorkerConfig, WorkerPool
from longshore.events import TaskCompleted, TaskFailed
from longshore.records import (
    PoolStats,
    RunInfo,
    RunSnapshot,
    RunSummary,
    StageSnapshot,
    Usage,
    WorkerStats,
    WorkerStatus,
)
from longshore_otel import OtelSink

DEADLINE_S = 50.0
AT = datetime(2026, 1, 2, tzinfo=UTC)
Told = Callable[[Any], dict[str, Any]]
SNAPSHOT = RunSnapshot(
    run_id="r1",
    name="docs",
    started=AT,
    elapsed_s=2.5,
    stages=[StageSnapshot(name="parse", executor="threads", running=2, queued=5)],
    usage={
        "cpu": Usage(2.0, 4.0),
        "memory": Usage(1000.0, 4000.0),
        "disk_io.read": Usage(3.0, None),
        "gpu.0": Usage(50.0, 100.0),
        "gpu_memory.0": Usage(10.0, 80.0),
    },
)


def worker(worker_id: str, status: WorkerStatus) -> WorkerStats:
    return WorkerStats(worker_id=worker_id, worker_type="thread", executor="threads", status=status)


WORKERS = [
    worker("w0", WorkerStatus.BUSY),
    worker("w1", WorkerStatus.BUSY),
    worker("w2", WorkerStatus.IDLE),
    worker("w3", WorkerStatus.ERROR),
    worker("w4", WorkerStatus.STOPPED),
]


@pytest.fixture
def sent(collector: Any) -> Any:  # Any: the collector, with what a run that is known has sent
    sink = OtelSink(OtelSink.Settings(endpoint=collector.url, traces=False))
    stats = PoolStats(throttled_s={"memory": 1.5})
    sink.open(
        RunInfo(
            run_id="r1",
            started=AT,
            snapshot=lambda: SNAPSHOT,
            name="docs",
            stats=lambda: stats,
            workers=lambda: WORKERS,
        )
    )
    common = ("parse", "threads", 2)
    sink.on_events(
        [
            TaskCompleted(3, AT, "t1", *common, duration_s=0.2, key="a.pdf"),
            TaskCompleted(4, AT, "t2", *common, duration_s=0.3, key="b.pdf"),
            TaskFailed(5, AT, "t3", *common, duration_s=9.0, error="ValueError", message="x"),
        ]
    )
    sink.close(RunSummary(snapshot=SNAPSHOT, state="completed"))
    assert collector.spans == []
    return collector


def test_durations_are_told_apart_by_stage_and_result_and_by_no_key(sent: Any, attributes_of: Told) -> None:
    """`longshore.task.duration` counts each end, in seconds; what tasks work on is no attribute of it."""
    points = {attributes_of(point)["longshore.task.result"]: point for point in sent.metrics["longshore.task.duration"]}
    assert sent.units["longshore.task.duration"] == "s"
    assert {result: (point.count, point.sum) for result, point in points.items()} == {
        "success": (2, 0.5),
        "failure": (1, 9.0),
    }
    assert attributes_of(points["failure"]) == {
        "longshore.pipeline.name": "docs",
        "longshore.stage.name": "parse",
        "longshore.backend.name": "threads",
        "longshore.task.result": "failure",
        "error.type": "ValueError",
    }
    assert list(points["success"].explicit_bounds)[:2] == [0.005, 0.01]


def number(point: Any) -> float:  # Any: protobuf's
    return float(getattr(point, point.WhichOneof("value")))


def test_what_is_there_now_is_told(sent: Any, attributes_of: Told) -> None:
    """Tasks that run and wait, workers by state, time lost by reason, and the machine's use, each in its unit."""
    stage = {"longshore.stage.name": "parse", "longshore.backend.name": "threads"}
    of_threads = {"longshore.backend.name": "threads"}
    expected: dict[str, tuple[str, list[tuple[dict[str, str], float]]]] = {
        "longshore.task.active": ("{task}", [(stage, 2)]),
        "longshore.task.queued": ("{task}", [(stage, 5)]),
        "longshore.worker.count": (
            "{worker}",
            [
                ({**of_threads, "longshore.worker.state": state}, count)
                for state, count in (("available", 1), ("busy", 2), ("offline", 1))
            ],
        ),
        "longshore.throttle.time": ("s", [({"longshore.throttle.reason": "memory"}, 1.5)]),
        "longshore.resource.utilization": (
            "1",
            [({"longshore.resource.name": "cpu"}, 0.5), ({"longshore.resource.name": "memory"}, 0.25)],
        ),
        "longshore.resource.io": ("By/s", [({"longshore.resource.name": "disk_io.read"}, 3e6)]),
        "hw.gpu.utilization": ("1", [({"hw.id": "0"}, 0.5)]),
        "hw.gpu.memory.usage": ("By", [({"hw.id": "0"}, 1e7)]),
        "hw.gpu.memory.limit": ("By", [({"hw.id": "0"}, 8e7)]),
    }
    for name, (unit, points) in expected.items():
        told = [(attributes_of(point), number(point)) for point in sent.metrics[name]]
        assert sorted(told, key=str) == sorted(points, key=str), name
        assert sent.units[name] == unit


def test_a_run_that_is_over_before_it_was_measured_tells_its_workers(collector: Any, attributes_of: Told) -> None:
    """What is sent at the end, when there are no workers any more, has those that there were."""
    there = list(WORKERS)
    sink = OtelSink(OtelSink.Settings(endpoint=collector.url, traces=False))
    sink.open(RunInfo(run_id="r1", started=AT, snapshot=lambda: SNAPSHOT, name="docs", workers=lambda: there))
    sink.on_events([TaskCompleted(3, AT, "t1", "parse", "threads", 2, duration_s=0.2)])
    there.clear()
    sink.on_events([TaskCompleted(4, AT, "t2", "parse", "threads", 2, duration_s=0.2)])
    sink.close(RunSummary(snapshot=SNAPSHOT, state="completed"))
    points = collector.metrics["longshore.worker.count"]
    states = {attributes_of(point)["longshore.worker.state"]: number(point) for point in points}
    assert states == {"available": 1, "busy": 2, "offline": 1}


@pytest.mark.anyio
async def test_a_run_sends_its_metrics_at_its_end(collector: Any, attributes_of: Told) -> None:
    """A real run, over executors, is in what is sent last; however many names there are, attributes have a bound."""
    sink = OtelSink(OtelSink.Settings(endpoint=collector.url))
    workers = WorkerConfig(async_workers=1, thread_workers=1)
    async with asyncio.timeout(DEADLINE_S), WorkerPool(workers, settings=Settings(probes=()), sinks=[sink]) as pool:
        await (await pool.options(executor="processes").submit(abs, -1))
        for n in range(250):
            await (await pool.options(name=f"task{n}").submit(abs, -1))
    points = collector.metrics["longshore.task.duration"]
    assert sum(point.count for point in points) == 251
    assert {attributes_of(point)["longshore.backend.name"] for point in points} == {"processes", "threads"}
    there = collector.metrics["longshore.worker.count"]
    assert {attributes_of(point)["longshore.backend.name"] for point in there} >= {"processes", "threads"}
    names = {attributes_of(point)["longshore.stage.name"] for point in points}
    assert len(names) == 201
    assert "_other" in names
