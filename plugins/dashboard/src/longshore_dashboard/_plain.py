"""What pages show of records: JSON-safe values, texts cut and fit for UTF-8, less what settings keep from view."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from longshore.records import FailureGroup, RunningTask
from longshore.runs import AttemptRow, Bar, Bin, FailureView, StageView, TaskDetail, TaskRow
from msgspec import Struct

TEXT_CHARS = 256
"""After which a text is cut, with the exceptions below."""
_LONGER = {"message": 2_000, "reason": 1_000, "traceback": 16_384, "output_tail": 16_384}
_OF_TASKS: Mapping[type, frozenset[str]] = {
    TaskRow: frozenset({"key", "note"}),
    FailureView: frozenset({"keys"}),
    FailureGroup: frozenset({"labels"}),
    RunningTask: frozenset({"label", "message"}),
}
"""Fields that hold what tasks work on, or say of themselves."""
_OF_ERRORS: Mapping[type, frozenset[str]] = {
    TaskRow: frozenset({"note", "reason"}),
    AttemptRow: frozenset({"message"}),
    TaskDetail: frozenset({"message", "traceback", "output_tail"}),
    FailureView: frozenset({"message", "reason", "traceback", "output_tail"}),
    FailureGroup: frozenset({"message", "reason"}),
}
"""Fields that hold what exceptions say, which may be anything."""
_NONE: frozenset[str] = frozenset()
Json = Any  # Any: JSON-safe values, whose shape the records give


def _is_boundless(value: object) -> bool:
    """Tell whether a field says that there is no bound, which JSON can't: left out, it is what it is by default."""
    return isinstance(value, float) and math.isinf(value)


class Plain:
    """Turns records into JSON-safe values."""

    def __init__(self, *, keys: bool, errors: bool) -> None:
        """Show or hide what tasks work on, and what exceptions say."""
        self.keys = keys
        self.errors = errors

    def of(self, value: object, name: str = "") -> Json:
        """Return a record, or a collection of them, as JSON-safe values; times become seconds since 1970.

        `name` is that of the field it stands in, which says how long a text may be.
        """
        match value:
            case None | bool() | int():
                return value
            case float():
                return value if math.isfinite(value) else None
            case Enum():
                return value.value
            case str():
                return cut(value, _LONGER.get(name, TEXT_CHARS))
            case datetime():
                return value.timestamp()
            case Bar() | Bin():
                return value
            case Struct():
                return self._record(value)
            case Mapping():
                return {cut(str(key), TEXT_CHARS): self.of(one, str(key)) for key, one in value.items()}
            case Iterable():
                return [self.of(one, name) for one in value]
            case _:
                return cut(repr(value), TEXT_CHARS)

    def _record(self, record: Struct) -> dict[str, Json]:
        hidden = self._hidden(type(record))
        fields = {
            name: self._blank(value) if name in hidden else self.of(value, name)
            for name, value in ((name, getattr(record, name)) for name in record.__struct_fields__)
            if not _is_boundless(value)
        }
        if isinstance(record, StageView):
            fields |= {"total": record.total, "left": record.left}
        return fields

    def _hidden(self, kind: type) -> frozenset[str]:
        keys = _NONE if self.keys else _OF_TASKS.get(kind, _NONE)
        return keys if self.errors else keys | _OF_ERRORS.get(kind, _NONE)

    @staticmethod
    def _blank(value: object) -> Json:
        return "" if isinstance(value, str) else [] if isinstance(value, list | tuple) else None


def cut(text: str, chars: int) -> str:
    """Return at most so many characters of a text, which can be encoded, whatever it holds."""
    short = text if len(text) <= chars else f"{text[: chars - 1]}…"
    return short if short.isascii() else short.encode("utf-8", "backslashreplace").decode("utf-8")
