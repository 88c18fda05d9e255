"""The views: a run begins, goes on and ends; each shows that in its own way, from snapshots, on a thread of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TextIO

from longshore.records import RunInfo, RunSnapshot, RunSummary

from longshore_rich._ink import Ink
from longshore_rich._mode import wants_colour
from longshore_rich._story import Entry, Story, summary_entries, told
from longshore_rich._text import glyphs_for
from longshore_rich._ticker import Ticker

_LOOK_S = 0.5
"""Seconds between two looks at the run, which decide whether there is something to tell."""


class View(Protocol):
    """One way to show a run."""

    @property
    def error(self) -> Exception | None:
        """What ended the view early, such as a terminal that went away."""

    def start(self, run: RunInfo) -> None:
        """Begin to show the run."""

    def stop(self, summary: RunSummary) -> None:
        """Show how it ended, and end every thread; raises when the output takes nothing more."""


class NoView:
    """Shows nothing."""

    error: Exception | None = None

    def start(self, run: RunInfo) -> None:
        """Do nothing."""

    def stop(self, summary: RunSummary) -> None:
        """Do nothing."""


class PlainView:
    """Tells a run in lines, each written whole; with no control character but those of colour, where wanted."""

    def __init__(
        self,
        stream: TextIO,
        env: Mapping[str, str],
        *,
        as_json: bool,
        period_s: float,
        look_s: float = _LOOK_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to write to `stream`, in colour where `env` says so; `clock` gives monotonic seconds."""
        self._stream = stream
        self._clock = clock
        self._story = Story(period_s=period_s)
        self._glyphs = glyphs_for(getattr(stream, "encoding", None), env)
        self._ink = Ink(env, colour=wants_colour(terminal=stream.isatty(), env=env))
        self._format = self._as_json if as_json else self._as_text
        self._ticker = Ticker(self._look, period_s=look_s, name="longshore-rich-lines")
        self._run_id = ""
        self._snapshot: Callable[[], RunSnapshot] | None = None

    @property
    def error(self) -> Exception | None:
        """What ended the view early."""
        return self._ticker.error

    def start(self, run: RunInfo) -> None:
        """Write the first line and begin to look."""
        self._run_id, self._snapshot = run.run_id, run.snapshot
        self._write(self._story.begin(run, self._clock()))
        self._ticker.start()

    def stop(self, summary: RunSummary) -> None:
        """Stop looking and write the summary."""
        self._ticker.stop()
        self._write(summary_entries(summary))

    def _look(self) -> None:
        snapshot = looked_at(self._snapshot)
        if snapshot is not None:
            self._write(self._story.advance(snapshot, self._clock()))

    def _write(self, entries: list[Entry]) -> None:
        if entries:
            self._stream.write("".join(f"{self._format(entry)}\n" for entry in entries))
            self._stream.flush()

    def _as_text(self, entry: Entry) -> str:
        return told(entry, self._glyphs, self._ink)

    def _as_json(self, entry: Entry) -> str:
        row = {"v": 1, "ts": time.time(), "type": entry.type, "run": self._run_id, **entry.data}
        return json.dumps(_decodable(row), ensure_ascii=True, separators=(",", ":"))


def _decodable(value: Any) -> Any:  # Any: JSON-safe values
    """Spell out halves of surrogate pairs (a file name that is no UTF-8), which no strict reader takes."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case dict():
            return {name: _decodable(item) for name, item in value.items()}
        case list() | tuple():
            return [_decodable(item) for item in value]
        case _:
            return value


def looked_at(snapshot: Callable[[], RunSnapshot] | None) -> RunSnapshot | None:
    """Return how the run stands, or None when that cannot be told just now."""
    try:
        return snapshot() if snapshot else None
    except Exception:  # noqa: BLE001 - the host's code: one failed look must not end a view
        return None
