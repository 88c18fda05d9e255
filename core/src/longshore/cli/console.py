"""What all commands share: exit codes, text that is safe to print, tables and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import IntEnum

from longshore._plain import line as line
from longshore._plain import safe as safe

DASH = "\0-"
"""Stands for the argument "-" while arguments are parsed; no file can have this name."""


class ExitCode(IntEnum):
    """What a command ends with."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    LIMIT = 3
    FAULT = 4
    NOTHING = 5
    HANGUP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


class UsageError(Exception):
    """What was given cannot be used; the message says what to give instead."""


def say(text: str) -> None:
    """Print to stderr, whatever its encoding."""
    _print(safe(text), sys.stderr)


def show(text: str) -> None:
    """Print data to stdout, whatever its encoding."""
    _print(text, sys.stdout)


def show_json(value: object) -> None:
    """Print a value as JSON to stdout."""
    show(json.dumps(value, indent=2, default=str))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows in columns, a line each."""
    cells = [[line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (head, *cells)) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *cells)
    ]


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns to stdout."""
    for text in table(head, rows):
        show(text)


def _print(text: str, stream: object) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    told = text.encode(encoding, "backslashreplace").decode(encoding)
    print(told, file=stream, flush=True)  # type: ignore[call-overload]  # sys.stdout and sys.stderr may be replaced
