"""JSON and newline-delimited JSON: every key with its value, a line each, in the order of the file."""

from __future__ import annotations

import json
from typing import Any

from longshore import track

from longshore_documents.decode import decode
from longshore_documents.failures import Reason, refusal
from longshore_documents.source import Source
from longshore_documents.writer import Writer

Json = Any  # Any: whatever JSON holds; numbers are kept as they are written


def read_json(source: Source, writer: Writer) -> None:
    """Read one value; several, a line each, are read as ndjson is."""
    decoded = decode(source.data)
    writer.describe(encoding=decoded.encoding)
    try:
        value = _loads(decoded.text)
    except ValueError:
        if not _begins_with_a_value(decoded.text):
            raise
        read_ndjson(source, writer)
        return
    writer.describe(records=len(value) if isinstance(value, list) else None)
    for item in track(value if isinstance(value, list) else [value], message="records"):
        writer.block("\n".join(_lines(item)))


def read_ndjson(source: Source, writer: Writer) -> None:
    """Read a value a line; raises DocumentError "malformed" naming the first line that is none."""
    decoded = decode(source.data)
    lines = [(number, line) for number, line in enumerate(decoded.text.split("\n"), 1) if line.strip()]
    writer.describe(encoding=decoded.encoding, records=len(lines))
    for number, line in track(lines, message="records"):
        try:
            writer.block("\n".join(_lines(_loads(line))))
        except (ValueError, RecursionError) as error:
            raise refusal(Reason.MALFORMED, f"{source.name}: line {number} is not JSON") from error


def _begins_with_a_value(text: str) -> bool:
    lines = [line for line in text.split("\n", 200) if line.strip()]
    try:
        return len(lines) > 1 and isinstance(_loads(lines[0]), dict | list)
    except (ValueError, RecursionError):
        return False


def _loads(text: str) -> Json:
    # Numbers stay text: no digit is lost, and no integer of a million digits is computed.
    return json.loads(text, parse_int=str, parse_float=str)


def _lines(value: Json) -> list[str]:
    """Return the scalars of a value, each below or beside its key; iterative, as nesting is the file's to choose."""
    lines: list[str] = []
    stack: list[tuple[str, Json, int]] = [("", value, 0)]
    while stack:
        key, item, depth = stack.pop()
        indent = "  " * min(depth, 20)
        if isinstance(item, dict):
            inner = depth + 1 if key else depth
            lines.extend([f"{indent}{key}:"] if key else [])
            stack.extend((str(name), item[name], inner) for name in reversed(item))
        elif isinstance(item, list):
            inner = depth + 1 if key else depth
            lines.extend([f"{indent}{key}:"] if key else [])
            stack.extend(("", element, inner) for element in reversed(item))
        else:
            lines.append(f"{indent}{key}: {_scalar(item)}" if key else f"{indent}{_scalar(item)}")
    return lines


def _scalar(item: Json) -> str:
    if item is None:
        return "null"
    if isinstance(item, bool):
        return "true" if item else "false"
    return str(item)
