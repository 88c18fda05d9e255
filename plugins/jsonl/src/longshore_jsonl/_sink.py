"""The sink: batches of events come in, each leaves as one write of whole lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from longshore import EVENTS_VERSION
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, RunSummary
from pydantic import BaseModel, ConfigDict, Field

from longshore_jsonl._cloud import CloudEvents
from longshore_jsonl._file import AppendFile
from longshore_jsonl._row import RowEncoder
from longshore_jsonl._schema import ENVELOPE, SUMMARY

_BYTES_A_MB = 1_000_000
_ENVELOPE = frozenset(ENVELOPE)


class JsonlSink:
    """Writes every event as one line of JSON, and a last line of type `run_summary`.

    Each line is an object `{"v", "seq", "ts", "type", "run", ...}` with the event's data beside these; a name of the
    data that is taken is written as `data_<name>`. With `format = "cloudevents"` it is a CloudEvent, with the data in
    it. Lines are valid JSON in ASCII whatever tasks and files are called. An event given twice is written twice. What
    the disk refuses raises OSError: those events are lost, what follows starts on a line of its own.
    """

    api: int = 1

    class Settings(BaseModel):
        """The table `[tool.longshore.sinks.jsonl]`."""

        model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

        path: str = "events.jsonl"
        """Where to write; relative to the working folder, `~` is the home folder. The folder must exist."""
        append: bool = True
        """Keep what earlier runs wrote; false empties the file first."""
        max_string: int = Field(default=16_384, ge=64)
        """Characters after which a string is cut."""
        format: Literal["native", "cloudevents"] = "native"
        """What a line is: our own compact object, or a CloudEvent 1.0 that has the event's data in it."""
        rotate_mb: float | None = Field(default=None, gt=0.0)
        """MB (10**6 bytes) beyond which the file does not grow: then it becomes `<path>.1`, and a new one is begun."""
        keep: int = Field(default=5, ge=1)
        """How many such earlier files are kept."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Keep the settings; the file is opened with the run."""
        self._settings = settings or self.Settings()
        self._encoder = RowEncoder(self._settings.max_string)
        self._file: AppendFile | None = None
        self._run_id = ""
        self._cloud: CloudEvents | None = None
        self._last_seq = 0

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Open the file; raises OSError where that is impossible, for a symbolic link too."""
        settings = self._settings
        self._run_id = run.run_id
        if settings.format == "cloudevents":
            self._cloud = CloudEvents(run.run_id, run.started)
        most_bytes = None if settings.rotate_mb is None else max(1, int(settings.rotate_mb * _BYTES_A_MB))
        path = Path(settings.path).expanduser()
        self._file = AppendFile(path, append=settings.append, most_bytes=most_bytes, keep=settings.keep)

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Append the events in one write; raises OSError when the disk is full."""
        self._last_seq = batch[-1].seq
        self._write(b"".join([self._line(event.seq, event.at, event.type, event.data) for event in batch]))

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Append the line `run_summary` and let go of the file."""
        if self._file is None:
            return
        with self._file:
            self._write(self._line(self._last_seq + 1, datetime.now(UTC), SUMMARY, summary_data(summary)))

    def _line(self, seq: int, at: datetime, kind: str, data: dict[str, Any]) -> bytes:  # Any: JSON-safe values
        if self._cloud is not None:
            return self._encoder.encode(self._cloud.wrap(seq, at, kind, data))
        if not _ENVELOPE.isdisjoint(data):
            data = {f"data_{name}" if name in _ENVELOPE else name: value for name, value in data.items()}
        return self._encoder.encode(
            {"v": EVENTS_VERSION, "seq": seq, "ts": at.timestamp(), "type": kind, "run": self._run_id, **data}
        )

    def _write(self, lines: bytes) -> None:
        if self._file is None:
            raise ValueError("the jsonl sink was given events before it was opened")
        self._file.write(lines)


def summary_data(summary: RunSummary) -> dict[str, Any]:  # Any: JSON-safe values
    """Return the summary's fields beside those of its last snapshot, as plain values."""
    fields: dict[str, Any] = msgspec.to_builtins(summary)
    snapshot = fields.pop("snapshot")
    del snapshot["run_id"]
    return {**fields, **snapshot}
