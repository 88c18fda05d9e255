"""The live view: rows at the foot of the terminal, redrawn from snapshots; what others print goes above them."""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Callable
from typing import TextIO

from longshore.records import RunInfo, RunSnapshot, RunSummary
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from longshore_rich._frame import frame
from longshore_rich._story import summary_entries
from longshore_rich._text import glyphs_for
from longshore_rich._ticker import Ticker
from longshore_rich._views import looked_at

_MANY_LANES = 24
"""A frame with more takes 1.3 ms of CPU where one with eight takes 0.6: it is drawn half as often."""


class LiveView:
    """Draws a run at `refresh_hz` frames a second, however many events there are, and leaves the summary behind."""

    def __init__(self, console: Console, *, refresh_hz: float) -> None:
        """Prepare to draw on `console`, which must be a terminal."""
        self._console = console
        self._glyphs = glyphs_for(console.encoding)
        self._period_s = 1.0 / refresh_hz
        self._ticker = Ticker(self.draw, period_s=self._period_s, name="longshore-rich-live")
        self._snapshot: Callable[[], RunSnapshot] | None = None
        self._logs = LogsAbove()
        # rich would redirect standard output to our stream even where it is a file: data must stay out of the view.
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=bool(sys.stdout and sys.stdout.isatty()),
            redirect_stderr=True,
            vertical_overflow="crop",
        )

    @property
    def error(self) -> Exception | None:
        """What ended the drawing early."""
        return self._ticker.error

    def start(self, run: RunInfo) -> None:
        """Draw the first frame and go on drawing."""
        self._snapshot = run.snapshot
        before = sys.stderr
        self._live.start()
        atexit.register(self._live.stop)  # a run that is never closed must not leave the cursor hidden
        self._logs.lead(before, sys.stderr)
        self.draw()
        self._ticker.start()

    def draw(self) -> None:
        """Draw one frame; when no snapshot is to be had, the frame before stays."""
        snapshot = looked_at(self._snapshot)
        if snapshot is None:
            return
        self._ticker.period_s = self._period_s * (2 if len(snapshot.stages) > _MANY_LANES else 1)
        size = self._console.size
        # One column stays free: characters that are wider than they claim would wrap, and a wrapped row stays behind.
        rows = frame(snapshot, size.width - 1, size.height, self._glyphs)
        self._live.update(Group(*rows), refresh=True)

    def stop(self, summary: RunSummary) -> None:
        """Take the rows away, show the cursor, and write the summary; log handlers get their streams back."""
        try:
            self._ticker.stop()
            self._live.stop()
        finally:
            self._logs.give_back()
        atexit.unregister(self._live.stop)
        for entry in summary_entries(summary):
            self._console.print(Text(self._glyphs.clean(entry.text, 2000), entry.style), soft_wrap=True)


class LogsAbove:
    """Leads log handlers that write to one stream to another for a while.

    A handler keeps the stream it was made with, so it would write into the middle of the rows.
    """

    def __init__(self) -> None:
        """Prepare; nothing is led anywhere yet."""
        self._led: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []

    def lead(self, before: TextIO, now: TextIO) -> None:
        """Lead the root logger's handlers that write to `before` to `now`."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is before and before is not now:
                handler.setStream(now)
                self._led.append((handler, before))

    def give_back(self) -> None:
        """Give every handler its own stream back."""
        for handler, stream in self._led:
            handler.setStream(stream)
        self._led.clear()
