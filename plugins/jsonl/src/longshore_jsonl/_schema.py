"""The JSON Schema of the lines, made of the catalogue of events, so that it can't say anything else than they do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from longshore import CATALOGUE, EVENTS_VERSION
from longshore.records import RunSnapshot, RunSummary

SUMMARY = "run_summary"
ENVELOPE: Mapping[str, Any] = {  # Any: JSON Schema, as all here
    "v": {"const": EVENTS_VERSION, "description": "Version of the format: within one, fields are only added."},
    "seq": {"type": "integer", "description": "Rises by one within a run; a gap tells of events that were dropped."},
    "ts": {"type": "number", "description": "When, in seconds since 1970."},
    "type": {"type": "string"},
    "run": {"type": "string", "description": "The run's id."},
}
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/$defs/{name}"


def lines_schema() -> dict[str, Any]:
    """Return the schema of a line of the native form; a type that is not in the catalogue is allowed, and any field."""
    payloads, parts = _payloads()
    named = {kind: {name_of(field): schema for field, schema in one.items()} for kind, (one, _) in payloads.items()}
    needed = {kind: [name_of(field) for field in required] for kind, (_, required) in payloads.items()}
    rules = [
        _when({"type": {"const": kind}}, {"properties": fields, "required": needed[kind]})
        for kind, fields in named.items()
    ]
    return {
        "$schema": _DRAFT,
        "title": "A line of the sink jsonl of longshore",
        "type": "object",
        "properties": dict(ENVELOPE),
        "required": list(ENVELOPE),
        "allOf": rules,
        "$defs": parts,
    }


def cloudevents_schema() -> dict[str, Any]:
    """Return the schema of a line of the form `cloudevents`; as above."""
    payloads, parts = _payloads()
    text = {"type": "string", "minLength": 1}
    rules = [
        _when(
            {"type": {"const": cloud_type(kind)}},
            {"properties": {"data": {"type": "object", "properties": fields, "required": required}}},
        )
        for kind, (fields, required) in payloads.items()
    ]
    properties = {
        "specversion": {"const": "1.0"},
        "id": {**text, "description": "Unique below `source`."},
        "source": {**text, "pattern": "^/runs/"},
        "type": {**text, "pattern": rf"^dev\.longshore\..+\.v{EVENTS_VERSION}$"},
        "subject": {**text, "description": "The task's key, else its id; a document."},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "sequence": {"type": "string", "pattern": "^[0-9]{12,}$", "description": "Rises within a run."},
        "traceparent": {**text, "description": "The span that the task was submitted in."},
        "data": {"type": "object"},
    }
    optional = {"subject", "traceparent"}
    return {
        "$schema": _DRAFT,
        "title": "A line of the sink jsonl of longshore, as a CloudEvent",
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "allOf": rules,
        "$defs": parts,
    }


def cloud_type(kind: str) -> str:
    """Return the type of a CloudEvent for one of ours."""
    return f"dev.longshore.{kind.replace('_', '.')}.v{EVENTS_VERSION}"


def name_of(field: str) -> str:
    """Return what a field of an event's data is called in a line, where the envelope has names of its own."""
    return f"data_{field}" if field in ENVELOPE else field


def _payloads() -> tuple[dict[str, tuple[dict[str, Any], list[str]]], dict[str, Any]]:
    """Return for each type the fields of its data and which always come, and what these refer to."""
    records: list[type[msgspec.Struct]] = [*CATALOGUE.values(), RunSummary, RunSnapshot]
    _, parts = msgspec.json.schema_components(records, ref_template=_REF)
    payloads = {kind: _fields(parts.pop(record.__name__)) for kind, record in CATALOGUE.items()}
    summary, snapshot = _fields(parts.pop("RunSummary")), _fields(parts.pop("RunSnapshot"))
    both = {**summary[0], **snapshot[0]}
    payloads[SUMMARY] = (
        {name: schema for name, schema in both.items() if name not in ("snapshot", "run_id")},
        [name for name in (*summary[1], *snapshot[1]) if name not in ("snapshot", "run_id")],
    )
    return payloads, dict(_open(parts.items()))


def _fields(schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    return dict(schema["properties"]), list(schema.get("required", ()))


def _open(parts: Iterable[tuple[str, dict[str, Any]]]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Allow fields that come later."""
    for name, schema in parts:
        yield name, {key: value for key, value in schema.items() if key != "additionalProperties"}


def _when(properties: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": properties}, "then": then}
