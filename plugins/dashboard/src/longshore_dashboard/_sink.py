"""The sink: a run that begins opens its pages, its events go into their store, its end closes them, now or later."""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, RunSummary

from longshore_dashboard._settings import DashboardSettings

if TYPE_CHECKING:
    # A tenth of a second, with all that serves pages: for runs that have any.
    from longshore_dashboard._serving import Serving


class DashboardSink:
    """Serves a run to browsers, from a thread and a loop of its own; the pool never waits for a page.

    What comes in is kept in a temporary database, which is gone with the sink, and in memory only what has not ended.
    With `linger_s` the pages outlive the run for that long, at the end of the interpreter too, which Ctrl-C cuts short.
    """

    api: int = 1
    Settings = DashboardSettings

    def __init__(self, settings: DashboardSettings | None = None) -> None:
        """Keep the settings; nothing is bound before the run begins."""
        self._settings = settings or DashboardSettings()
        self._serving: Serving | None = None
        self._begun = threading.Event()

    @property
    def controls(self) -> bool:
        """Whether it may steer the run: where settings say so."""
        return self._settings.control

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Bind, listen, and print a link; OSError where the address can't be had."""
        from longshore_dashboard._serving import Serving

        self._serving = Serving(run, self._settings)
        self._begun.set()

    def link(self, within_s: float = 10.0) -> str:
        """Return a link that lets one browser in, once; from any thread.

        Waits so long at most for the pages of a run that has just begun; ValueError where there are none.
        """
        self._begun.wait(within_s)
        serving = self._serving
        if serving is None:
            raise ValueError("the dashboard has no pages before the run has begun, and after it is closed")
        return serving.link()

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Take the events in."""
        if self._serving is None:
            raise ValueError("the dashboard was given events before it was opened")
        self._serving.take(batch)

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Show the end of the run, and let go of all, after a while where settings say so."""
        serving, self._serving = self._serving, None
        self._begun.clear()
        if serving is None:
            return
        serving.conclude(summary)
        if self._settings.linger_s > 0:
            _Lingering(serving, self._settings)
        else:
            serving.shut()


class _Lingering:
    """Pages that outlive their run: they end after a while, which the end of the interpreter waits for."""

    def __init__(self, serving: Serving, settings: DashboardSettings) -> None:
        self._serving = serving
        self._announce = settings.announce
        self._until = time.monotonic() + settings.linger_s
        self._over = threading.Event()
        self._timer = threading.Timer(settings.linger_s, self._end)
        self._timer.daemon = True
        self._timer.start()
        atexit.register(self._wait)

    def _wait(self) -> None:
        left_s = self._until - time.monotonic()
        if self._announce and left_s > 1 and sys.stderr is not None:
            print(f"longshore: the dashboard stays for {left_s:.0f} s; Ctrl-C ends that", file=sys.stderr)
        try:
            self._over.wait(max(0.0, left_s))
        except KeyboardInterrupt:
            self._timer.cancel()
        self._end()

    def _end(self) -> None:
        self._over.set()
        self._serving.shut()
        atexit.unregister(self._wait)
