"""The live view: rows at the foot of the terminal, redrawn from snapshots; what others print goes above them."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from typing import TextIO

from longshore.records import RunInfo, RunSnapshot, RunSummary

from longshore_rich._above import Others
from longshore_rich._frame import Frames, rows_for
from longshore_rich._ink import Ink
from longshore_rich._mode import Size, terminal_size, wants_colour
from longshore_rich._painter import Painter
from longshore_rich._story import AlertLines, summary_lines, told
from longshore_rich._taskbar import CLEAR, progress_code, takes_progress
from longshore_rich._text import glyphs_for
from longshore_rich._ticker import Ticker
from longshore_rich._views import looked_at

_MANY_STAGES = 24
"""A frame of more is drawn half as often."""


class LiveView:
    """Draws a run at `refresh_hz` frames a second, however many events there are, and leaves the summary behind."""

    def __init__(self, stream: TextIO, env: Mapping[str, str], *, refresh_hz: float, taskbar: bool = True) -> None:
        """Prepare to draw on `stream`, which must be a terminal."""
        self._stream = stream
        self._env = env
        self._glyphs = glyphs_for(getattr(stream, "encoding", None), env)
        self._frames = Frames(self._glyphs)
        self._alerts = AlertLines()
        self._ink = Ink(env, colour=wants_colour(terminal=True, env=env))
        self._painter = Painter(stream, self._size)
        self._others = Others(stream, self._painter.above)
        self._period_s = 1.0 / refresh_hz
        self._ticker = Ticker(self.draw, period_s=self._period_s, name="longshore-rich-live")
        self._snapshot: Callable[[], RunSnapshot] | None = None
        self._taskbar = taskbar and takes_progress(env)
        self._code = ""

    @property
    def error(self) -> Exception | None:
        """What ended the drawing early."""
        return self._ticker.error

    def start(self, run: RunInfo) -> None:
        """Draw the first frame and go on drawing."""
        self._snapshot = run.snapshot
        atexit.register(self._leave)  # a run that is never closed must not leave the cursor hidden
        self._others.take()
        self.draw()
        self._ticker.start()

    def draw(self) -> None:
        """Draw one frame of the size the terminal has now; when no snapshot is to be had, the frame before stays."""
        snapshot = looked_at(self._snapshot)
        if snapshot is None:
            return
        self._ticker.period_s = self._period_s * (2 if len(snapshot.stages) > _MANY_STAGES else 1)
        for entry in self._alerts.entries(snapshot.alerts):
            self._painter.above(f"{told(entry, self._glyphs, self._ink)}\n")
        size = self._size()
        # One column stays free: at the last one terminals differ in where the cursor is.
        rows = self._frames.frame(snapshot, max(1, size.width - 1), rows_for(*size))
        self._painter.paint([self._ink(row) for row in rows], size, self._progress(snapshot))

    def stop(self, summary: RunSummary) -> None:
        """Take the rows away, show the cursor, and write the summary; others get their streams back."""
        try:
            self._ticker.stop()
            self._painter.erase(CLEAR if self._taskbar else "")
        finally:
            self._others.give_back()
            atexit.unregister(self._leave)
        self._stream.write(summary_lines(summary, self._glyphs, self._ink))
        self._stream.flush()

    def _size(self) -> Size:
        return terminal_size(self._stream, self._env)

    def _leave(self) -> None:
        self._painter.erase(CLEAR if self._taskbar else "")
        self._others.give_back()

    def _progress(self, snapshot: RunSnapshot) -> str:
        """Return the taskbar's code where it has changed."""
        code = progress_code(snapshot) if self._taskbar else ""
        changed = code != self._code
        self._code = code
        return code if changed else ""
