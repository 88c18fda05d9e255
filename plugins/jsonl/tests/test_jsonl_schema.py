"""The schema that is published of the lines, and lines held against it by an independent reader."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from longshore import CATALOGUE, Settings, WorkerConfig, WorkerPool
from longshore.events import Event, TaskCompleted, TaskStarted
from longshore.records import FailureGroup, RunInfo, RunSnapshot, RunSummary
from longshore_jsonl import JsonlSink

DOCS = Path(__file__).parents[3] / "docs"
PAGES = {"native": DOCS / "jsonl.schema.json", "cloudevents": DOCS / "cloudevents.schema.json"}
DEADLINE_S = 50.0
AT = datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)
TRACEPARENT = f"00-{1:032x}-{2:016x}-01"
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def validator(form: str) -> Any:  # Any: of a class that depends on the draft
    schema = json.loads(PAGES[form].read_text(encoding="utf-8"))
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("form", list(PAGES))
def test_the_published_schema_is_the_catalogue(form: str) -> None:
    """The file in the docs is what `python -m longshore_jsonl schema` prints, which is made of the catalogue."""
    command = [sys.executable, "-m", "longshore_jsonl", "schema", "--format", form]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    assert PAGES[form].read_text(encoding="utf-8") == done.stdout, f"write it anew: {' '.join(command[1:])}"


def test_every_type_has_its_fields_there() -> None:
    """For each type of the catalogue, and the summary, the fields and which always come are said."""
    schema = json.loads(PAGES["native"].read_text(encoding="utf-8"))
    rules = {rule["if"]["properties"]["type"]["const"]: rule["then"] for rule in schema["allOf"]}
    assert set(rules) == {*CATALOGUE, "run_summary"}
    assert {"task_id", "state", "duration_s"} < set(rules["task_completed"]["properties"])
    assert "data_run" in rules["worker_pool_started"]["required"]
    assert {"completed", "notes", "state"} < set(rules["run_summary"]["properties"])


@pytest.mark.anyio
@pytest.mark.parametrize("form", list(PAGES))
async def test_the_lines_of_a_run_are_valid(form: str, tmp_path: Path) -> None:
    """Every line of a real run, failures and the summary included, is as the schema says."""
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(JsonlSink.Settings.model_validate({"path": str(path), "format": form}))
    workers = WorkerConfig(async_workers=1, thread_workers=1, worker_heartbeat_interval=0.1)
    async with asyncio.timeout(DEADLINE_S), WorkerPool(workers, settings=Settings(probes=()), sinks=[sink]) as pool:
        await (await pool.options(key="a.pdf").submit(abs, -1))
        await (await pool.submit(int, "no number")).outcome()
        pool.health()
        pool.events.publish(Event("mine", {"type": "x", "anything": [1]}))
    check, lines = validator(form), rows(path)
    for row in lines:
        check.validate(row)
    kinds = {row["type"] for row in lines}
    wanted = {"worker_pool_started", "task_submitted", "task_failed", "run_summary"}
    if form == "cloudevents":
        wanted = {f"dev.longshore.{kind.replace('_', '.')}.v1" for kind in wanted}
    assert wanted < kinds


@pytest.mark.parametrize("form", list(PAGES))
def test_the_schema_refuses_what_is_wrong(form: str) -> None:
    """A field of another type, and one that is missing, are found."""
    data = {"task_id": 7, "name": "x", "executor": "threads", "priority": 2}
    head = {"v": 1, "seq": 1, "ts": 1.0, "type": "task_submitted", "run": "r"}
    row: dict[str, Any] = {**head, **data}
    if form == "cloudevents":
        row = wrapped(Event("task_submitted", data, 1, AT))
    assert next(validator(form).iter_errors(row)).json_path.endswith(".task_id")
    assert not validator(form).is_valid({**row, "specversion": "0.3", "v": 2})


def wrapped(*events: Any, run_id: str = "r1", started: datetime = AT, path: Path | None = None) -> Any:
    """Return what the last of these events is as a CloudEvent."""
    from longshore_jsonl._cloud import CloudEvents

    cloud = CloudEvents(run_id, started)
    return [cloud.wrap(event.seq, event.at, event.type, event.data) for event in events][-1]


COMMON = ("parse", "threads", 2)


def test_a_cloudevent_has_what_the_specification_wants() -> None:
    """Required attributes, subject, time, sequence and the data; the trace of a task is in its later events as well."""
    started = TaskStarted(6, AT, "t7", *COMMON, key="a.pdf", traceparent=TRACEPARENT)
    ended = TaskCompleted(7, AT, "t7", *COMMON, key="a.pdf")
    assert wrapped(started, ended) == {
        "specversion": "1.0",
        "id": f"{int(AT.timestamp() * 1000):x}-7",
        "source": "/runs/r1",
        "type": "dev.longshore.task.completed.v1",
        "subject": "a.pdf",
        "time": "2026-01-02T03:04:05.250000Z",
        "datacontenttype": "application/json",
        "sequence": "000000000007",
        "traceparent": TRACEPARENT,
        "data": ended.data,
    }
    assert "traceparent" not in wrapped(started, ended, ended)
    assert wrapped(TaskCompleted(7, AT, "t7", *COMMON))["subject"] == "t7"
    assert "subject" not in wrapped(Event("mine", {}, 1, AT))


def test_ids_are_unique_for_a_run_that_goes_on() -> None:
    """A run that is resumed under its id counts anew, and its events are no duplicates of those from before."""
    event = TaskCompleted(7, AT, "t7", *COMMON)
    assert wrapped(event)["id"] != wrapped(event, started=AT + timedelta(seconds=5))["id"]
    assert wrapped(event, run_id="a b/ü")["source"] == "/runs/a%20b%2F%C3%BC"


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[2J", "\x7f\x9b31m", "caf\udce9.txt", "\ufffe"])
def test_attributes_hold_no_character_that_is_forbidden(name: str, tmp_path: Path) -> None:
    """CloudEvents forbids control characters and surrogates in attributes, escaped ones too: they are spelled out."""
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(JsonlSink.Settings(path=str(path), format="cloudevents"))
    snapshot = RunSnapshot(run_id="r", name="docs", started=AT, elapsed_s=1.0)
    sink.open(RunInfo(run_id="r", started=AT, snapshot=lambda: snapshot))
    sink.on_events([TaskCompleted(1, AT, "t1", *COMMON, key=name), Event(name, {}, 2, AT)])
    failures = [FailureGroup(type="X", message=name, reason=None, count=1, labels=[name])]
    sink.close(
        RunSummary(
            snapshot=RunSnapshot(run_id="r", name="n", started=AT, elapsed_s=1.0, failures=failures), state="completed"
        )
    )
    assert all(0x20 <= byte < 0x7F for byte in path.read_bytes().replace(b"\n", b""))
    check = validator("cloudevents")
    for row in rows(path):
        check.validate(row)
        assert not any(CONTROL.search(str(value)) for field, value in row.items() if field != "data")
