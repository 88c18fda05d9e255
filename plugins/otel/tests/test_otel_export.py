"""Sending: what the environment says, and collectors that are dead, refuse, hang or are slow."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from longshore import PluginError, Settings, WorkerConfig, WorkerPool
from longshore.events import Event, TaskCompleted, TaskFailed
from longshore.records import RunInfo, RunSnapshot, RunSummary, SpanPlace, SpanRules, TaskSpans
from longshore_otel import OtelSink
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

pytestmark = pytest.mark.slow

DEADLINE_S = 50.0
AT = datetime(2026, 1, 2, 3, 4, 5, 250_001, tzinfo=UTC)
SNAPSHOT = RunSnapshot(run_id="r1", name="docs", started=AT, elapsed_s=2.5, completed=2)
SUMMARY = RunSummary(snapshot=SNAPSHOT, state="completed")
SPANS = TaskSpans.begin(SpanRules(), None, bytes(range(1, 25)))
INFO = RunInfo(run_id="r1", started=AT, snapshot=lambda: SNAPSHOT, name="docs", spans=SPANS)


def ended(number: int, **more: Any) -> TaskCompleted:
    fields = {"name": "parse", "executor": "threads", "priority": 2, "duration_s": 0.5, **more}
    return TaskCompleted(number, AT, f"x-{number:x}", **fields)


async def run(sink: OtelSink, tasks: int = 3) -> RunSummary:
    """Run some tasks with the sink, and return the summary; a run that does not end fails the test."""
    pool = WorkerPool(WorkerConfig(async_workers=1, thread_workers=1), settings=Settings(probes=()), sinks=[sink])
    async with asyncio.timeout(DEADLINE_S), pool:
        assert [value async for value in pool.map(abs, range(tasks))] == list(range(tasks))
    assert pool.summary is not None
    return pool.summary


@pytest.mark.anyio
async def test_a_dead_collector_costs_the_run_nothing_but_its_spans() -> None:
    """Where nobody listens the run ends well and in time, and its summary says how many spans were lost."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    summary = await run(OtelSink(OtelSink.Settings(endpoint=url, close_s=0.2)))
    assert (summary.state, summary.snapshot.completed) == ("completed", 3)
    (note,) = summary.notes
    assert "4 of 4 spans were not sent" in note
    assert url in note


@pytest.mark.anyio
@pytest.mark.parametrize("status", [500, 503, 400])
async def test_a_collector_that_refuses_is_told_of(collector: Any, status: int) -> None:
    """What it answers costs spans, counted, and not the run's end."""
    collector.status = status
    summary = await run(OtelSink(OtelSink.Settings(endpoint=collector.url, close_s=0.5, metrics=False)))
    assert summary.state == "completed"
    assert any("4 of 4 spans were not sent" in note for note in summary.notes)
    assert collector.requests >= 1


@pytest.mark.anyio
async def test_a_collector_that_hangs_does_not_hold_up_the_end(collector: Any) -> None:
    """The run is over while the collector still has not answered, and says what it does not know to be sent."""
    collector.held.clear()
    summary = await run(OtelSink(OtelSink.Settings(endpoint=collector.url, close_s=0.2)))
    assert not collector.held.is_set()
    assert collector.requests >= 1
    assert any("4 of 4 spans were not sent" in note for note in summary.notes)


class Gate(SpanExporter):
    """Sends nothing until it may."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.sent = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.open.wait(DEADLINE_S)
        self.sent += len(spans)
        return SpanExportResult.SUCCESS


def opened(settings: dict[str, Any], **more: Any) -> OtelSink:
    sink = OtelSink(OtelSink.Settings(metrics=False, **settings), **more)
    sink.open(INFO)
    return sink


def test_spans_that_find_no_place_are_counted() -> None:
    """While sending stands still at most `max_waiting` spans wait; the others are dropped, and how many is told."""
    gate = Gate()
    sink = opened({"max_waiting": 10}, span_exporter=gate)
    sink.on_events([ended(number) for number in range(25)])
    gate.open.set()
    with pytest.raises(PluginError, match=r"\d+ of 26 spans were not sent, \d+ of them since 10 waited") as caught:
        sink.close(SUMMARY)
    lost = int(str(caught.value).split()[0])
    assert gate.sent + lost == 26
    assert 15 <= lost <= 16  # the run's own span may have found room again


def test_no_more_spans_are_made_than_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """After `max_spans` tasks further ones have none, which is said; the run's is made all the same."""
    exporter = InMemorySpanExporter()
    sink = opened({"max_spans": 5}, span_exporter=exporter)
    sink.on_events([ended(number) for number in range(8)])
    with caplog.at_level(logging.WARNING, "longshore.otel"):
        sink.close(SUMMARY)
    assert len(exporter.get_finished_spans()) == 6
    assert "3 tasks have no span: max_spans is 5" in caplog.text


HOSTILE = ["caf\udce9.txt", "two\nlines\x1b[2J", "\x00", "🚢", "x" * 10_000]


@pytest.mark.anyio
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
async def test_whatever_tasks_are_called_arrives(collector: Any, name: str) -> None:
    """No name, key or message can cost a batch; what is no Unicode is spelled out, what is long is cut."""

    def fail() -> None:
        raise ValueError(name)

    sink = OtelSink(OtelSink.Settings(endpoint=collector.url, metrics=False))
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=Settings(probes=()), sinks=[sink]) as pool:
        await (await pool.options(name=name, key=name).submit(fail)).outcome()
    task = next(span for span in collector.spans if span.name.endswith(" task"))
    shown = name.encode("utf-8", "backslashreplace").decode()
    if len(name) > 4096:
        shown = f"{name[:4096]}... (10000 characters)"
    assert task.name == f"{shown} task"
    assert task.attributes["longshore.task.key"] == shown
    assert task.said == shown


@pytest.mark.anyio
async def test_the_environment_is_honoured(collector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint, headers, the service's name and its attributes come from OTEL_* where settings are silent."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=indexer,deployment.environment.name=test")
    await run(OtelSink())
    resource = collector.named("run longshore")[0].resource
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("indexer", "test")
    assert {headers["x-token"] for headers in collector.headers} == {"secret"}
    assert "longshore.task.duration" in collector.metrics


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("environ", "sent"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, (False, False)),
        ({"OTEL_TRACES_EXPORTER": "none"}, (False, True)),
        ({"OTEL_METRICS_EXPORTER": "none"}, (True, False)),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, (False, True)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, (False, True)),
    ],
)
async def test_the_environment_switches_off(collector: Any, environ: dict[str, str], sent: tuple[bool, bool]) -> None:
    """Who switches OpenTelemetry off there, or a part of it, gets none of it."""
    await run(OtelSink(OtelSink.Settings(endpoint=collector.url), environ=environ))
    assert (bool(collector.spans), bool(collector.metrics)) == sent


def test_another_protocol_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """The sink speaks http/protobuf only, and says so where the environment asks for another protocol."""
    sink = OtelSink(
        OtelSink.Settings(metrics=False, endpoint="http://127.0.0.1:9", close_s=0.01),
        environ={"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    )
    with caplog.at_level(logging.WARNING, "longshore.otel"):
        sink.open(INFO)
    assert "http/protobuf only" in caplog.text
    with pytest.raises(PluginError):
        sink.close(SUMMARY)


def test_settings_that_cannot_be_meant_are_refused() -> None:
    """A misspelt setting, another protocol, a ratio above 1 are errors."""
    for wrong in ({"endpont": "x"}, {"protocol": "grpc"}, {"ratio": 1.5}, {"endpoint": "localhost:4318"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            OtelSink.Settings.model_validate(wrong)


WITHOUT = """
import sys
sys.modules["opentelemetry.exporter"] = None
from datetime import UTC, datetime
from longshore.records import RunInfo
from longshore_otel import OtelSink
try:
    OtelSink().open(RunInfo(run_id="r", started=datetime.now(UTC), snapshot=lambda: None))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_without_an_exporter_it_says_what_to_install() -> None:
    """The plugin without its extra names it, instead of an import that failed."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=50)
    assert "PluginError" in done.stdout, done.stderr
    assert "pip install 'longshore-otel[otlp]'" in done.stdout


def test_a_task_that_its_worker_died_of_says_which_process_that_was() -> None:
    """Whether the worker's end is told before the task's or after it, the span has the pid and the exit code."""
    exporter = InMemorySpanExporter()
    sink = opened({}, span_exporter=exporter)
    common = ("parse", "processes", 2)
    deaths = [
        Event("worker_error", {"worker_id": "w", "error": "x", "task_id": f"x-{n}", "pid": 40 + n}) for n in (1, 2)
    ]
    failures = [TaskFailed(n, AT, f"x-{n}", *common, exit_code=7, error="longshore.errors.WorkerDied") for n in (1, 2)]
    sink.on_events([deaths[0], *failures, deaths[1]])
    sink.close(SUMMARY)
    spans = {str((span.attributes or {}).get("longshore.task.id")): span for span in exporter.get_finished_spans()}
    for number in (1, 2):
        told = spans[f"x-{number}"].attributes or {}
        assert (told["process.pid"], told["process.exit.code"], told["longshore.task.result"]) == (
            40 + number,
            7,
            "error",
        )


def test_what_was_restored_has_no_span() -> None:
    """A task that a resumed run has from its journal was not run by it, and is no part of its trace."""
    exporter = InMemorySpanExporter()
    sink = opened({}, span_exporter=exporter)
    sink.on_events([ended(1, restored=True), ended(2)])
    sink.close(SUMMARY)
    assert sorted(span.name for span in exporter.get_finished_spans()) == ["parse task", "run docs"]


def test_times_are_exact() -> None:
    """Nanoseconds are made of a time without a float between: microseconds stay what they were."""
    exporter = InMemorySpanExporter()
    sink = opened({}, span_exporter=exporter)
    sink.on_events([ended(1)])
    sink.close(SUMMARY)
    task = next(span for span in exporter.get_finished_spans() if span.name == "parse task")
    assert task.end_time == 1_767_323_045_250_001_000
    assert task.start_time == task.end_time - 500_000_000
    assert SpanPlace.read(SPANS.of("x-1").traceparent) == SPANS.of("x-1")
