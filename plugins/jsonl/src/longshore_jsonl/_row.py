"""Rows: JSON-safe values come in, one line of ASCII goes out, whatever the values hold.

The quick way is taken when nothing in a row is out of the ordinary, which the encoded line itself shows;
else the row is put in order value by value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

_DEPTH = 6
"""Levels of nesting that are written; event data are flat and a summary has four, so what is deeper is a mistake."""
_UNUSUAL = re.compile("[^\x00-\x7e]+")
"""What is to be escaped in JSON text beyond what msgspec escapes: DEL, and all that is not ASCII."""


class RowEncoder:
    """Turns rows into lines: plain ASCII without control characters, strings cut at `max_string` characters."""

    def __init__(self, max_string: int) -> None:
        """Prepare; one encoder serves one thread."""
        self._max_string = max_string
        self._quick = msgspec.json.Encoder(enc_hook=_described)

    def encode(self, row: Mapping[str, Any]) -> bytes:  # Any: JSON-safe values, and what passes for them
        """Return the row as one line, newline included; never raises for what is in it."""
        try:
            line = self._quick.encode(row)
        except (TypeError, ValueError, RecursionError, OverflowError):  # a surrogate, a strange key, a ring
            return self._careful(row)
        if len(line) > self._max_string:  # only then can a string be
            return self._careful(row)
        if not line.isascii() or b"\x7f" in line:
            line = _UNUSUAL.sub(_escaped, line.decode()).encode("ascii")
        return line + b"\n"

    def _careful(self, row: Mapping[str, Any]) -> bytes:  # Any: as above
        text = json.dumps(self._plain(row, _DEPTH), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        return text.encode("ascii") + b"\n"

    def _plain(self, value: Any, depth: int) -> Any:  # Any: as above
        match value:
            case None | bool():
                return value
            case str():
                return self._text(value)
            case int():
                return value if -(2**63) <= value < 2**64 else self._text(hex(value))
            case float():
                return value if math.isfinite(value) else None
            case Mapping() | list() | tuple() | set() | frozenset() if depth == 0:
                return "..."
            case Mapping():
                return {self._text(_described(key)): self._plain(item, depth - 1) for key, item in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._plain(item, depth - 1) for item in value]
            case _:
                return self._text(_described(value))

    def _text(self, text: str) -> str:
        if len(text) > self._max_string:
            text = f"{text[: self._max_string]}... ({len(text)} characters)"
        # A lone surrogate (a file name that is no UTF-8) is valid in no strict reader: it is spelled out instead.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found.group())[1:-1]


def _described(value: Any) -> str:  # Any: whatever is not JSON-safe
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - the `__str__` of a foreign object
        return f"<{type(value).__name__}>"
