"""The sink: chooses a view when the run begins, and hands the run's end to it; events themselves draw nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Literal, TextIO

from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, RunSummary
from pydantic import BaseModel, ConfigDict, Field
from rich.console import detect_legacy_windows

from longshore_rich._above import Above
from longshore_rich._live import LiveView
from longshore_rich._mode import choose_mode
from longshore_rich._notebook import NotebookView, in_notebook
from longshore_rich._views import NoView, PlainView, View


class RichSink:
    """Shows a run: alive on a terminal or in a notebook, as lines elsewhere, as JSON lines or not at all if asked.

    The view is drawn from the run's snapshots on a thread of its own, which `close` ends; events of tasks cost nothing.
    Nothing is written to standard output. A terminal that goes away is raised at the next heartbeat or warning, and
    else as the pool stops.
    """

    api: int = 1
    event_types = frozenset({"worker_heartbeat", "resource_warning", "worker_pool_stopped"})
    """Whatever comes now and then: only to raise what ended the view."""

    class Settings(BaseModel):
        """The table `[tool.longshore.sinks.rich]`."""

        model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

        view: Literal["auto", "live", "lines", "json", "none"] = "auto"
        """How to show a run that does not say so itself."""
        refresh_hz: float = Field(default=4.0, gt=0, le=30)
        """Frames a second of the live view; half as many with more than 24 stages."""
        lines_period_s: float = Field(default=30.0, gt=0)
        """Seconds between two lines of progress, tenths of the way aside."""
        taskbar: bool = True
        """Whether the live view shows progress in the taskbar too, on terminals that are known to take it."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        stream: TextIO | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Keep the settings; `stream` instead of standard error and `env` instead of the environment are for tests."""
        self._settings = settings or self.Settings()
        self._stream = stream
        self._env = env
        self._view: View = NoView()

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Begin to show the run."""
        self._view = self._chosen(run.view if run.view != "auto" else self._settings.view)
        self._view.start(run)

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Draw nothing; raise what ended the view, so that the host knows."""
        if self._view.error is not None:
            raise self._view.error

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Show how the run ended, and end the view's thread."""
        view, self._view = self._view, NoView()
        view.stop(summary)

    def _chosen(self, asked: str) -> View:
        stream = self._stream or sys.stderr
        if stream is None:  # a process without standard streams
            return NoView()
        env = os.environ if self._env is None else self._env
        if asked in ("auto", "live") and self._stream is None and in_notebook():
            return NotebookView(refresh_hz=self._settings.refresh_hz)
        # A terminal holds one live view: where another is drawn already, rich's too, ours goes above it as lines.
        taken = isinstance(stream, Above) or hasattr(stream, "rich_proxied_file")
        if taken and asked in ("auto", "live"):
            asked = "lines"
        match choose_mode(asked, terminal=stream.isatty() and not detect_legacy_windows(), env=env):
            case "none":
                return NoView()
            case "live":
                return LiveView(stream, env, refresh_hz=self._settings.refresh_hz, taskbar=self._settings.taskbar)
            case mode:
                return PlainView(stream, env, as_json=mode == "json", period_s=self._settings.lines_period_s)
