"""CloudEvents: the fields of a line come in, the same as a CloudEvent of version 1.0 goes out, in its JSON format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from longshore_jsonl._schema import cloud_type

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What a string of CloudEvents may not hold, in JSON either."""
_ENDS = frozenset({"task_completed", "task_failed", "task_cancelled"})
_TRACED_MOST = 100_000  # tasks whose traceparent is remembered; the oldest is forgotten first


class CloudEvents:
    """Wraps the events of one run.

    `id` is unique below `source`, for a run that goes on under its id as well; `sequence` rises within a run.
    """

    def __init__(self, run_id: str, started: datetime) -> None:
        """Wrap what is told of a run that began at `started`."""
        self._source = f"/runs/{quote(run_id, safe='')}"
        self._begun = f"{int(started.timestamp() * 1000):x}"
        self._traced: dict[str, str] = {}

    def wrap(self, seq: int, at: datetime, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON-safe
        """Return one event."""
        subject = data.get("key") or data.get("task_id") or data.get("document_id")
        traceparent = self._trace(kind, data)
        return {
            "specversion": "1.0",
            "id": f"{self._begun}-{seq}",
            "source": self._source,
            "type": cloud_type(_allowed(kind)),
            **({"subject": _allowed(str(subject))} if subject else {}),
            "time": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "sequence": f"{seq:012d}",
            **({"traceparent": _allowed(traceparent)} if traceparent else {}),
            "data": data,
        }

    def _trace(self, kind: str, data: Mapping[str, Any]) -> str | None:  # Any: JSON-safe values
        """Return the span that an event's task was submitted in, as the task's first events have said."""
        task_id = data.get("task_id")
        if not isinstance(task_id, str):
            return None
        told = data.get("traceparent")
        if isinstance(told, str):
            if len(self._traced) >= _TRACED_MOST:
                del self._traced[next(iter(self._traced))]
            self._traced[task_id] = told
        return self._traced.pop(task_id, None) if kind in _ENDS else self._traced.get(task_id)


def _allowed(text: str) -> str:
    """Return a text in which characters that are forbidden are spelled out."""
    return _FORBIDDEN.sub(_spelled, text)


def _spelled(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
