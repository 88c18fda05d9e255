"""The sink: a run opens the listener, its events go into the store that the pages read, its end closes both."""

from __future__ import annotations

import hashlib
import secrets
import sys
from collections.abc import Sequence

from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, RunSummary

from longshore_dashboard._assets import read_assets
from longshore_dashboard._guard import Guard, Links, Refusals
from longshore_dashboard._listener import Limits, Listener
from longshore_dashboard._routes import Pages, make_router
from longshore_dashboard._rules import Rules
from longshore_dashboard._settings import DashboardSettings
from longshore_dashboard._sockets import Address

_CONNECTIONS = 64
_BESIDE = 32
"""Connections for pages and health beside those that follow the run."""
_START_S = 10.0


class DashboardSink:
    """Serves the run to browsers, from a thread and a loop of its own."""

    api: int = 1
    Settings = DashboardSettings

    def __init__(self, settings: DashboardSettings | None = None) -> None:
        """Keep the settings; nothing is bound before the run begins."""
        self._settings = settings or DashboardSettings()
        self._links = Links()
        self._refusals = Refusals()
        self._address: Address | None = None
        self._listener: Listener | None = None

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Bind, listen, and print the link; OSError where the address can't be had."""
        settings = self._settings
        self._address = address = Address(settings)
        rules = Rules(
            hosts=address.hosts,
            token=secrets.token_urlsafe(32),
            cookie=f"longshore_{hashlib.sha256(run.run_id.encode()).hexdigest()[:12]}",
            control=settings.control and run.control is not None,
        )
        router = make_router(Pages(read_assets()).routes())
        guard = Guard(router, rules, prefix=settings.url_prefix, links=self._links, refusals=self._refusals)
        limits = Limits(max(_CONNECTIONS, settings.max_clients + _BESIDE), self._refusals.note)
        self._listener = Listener(guard, address, limits, lambda: None)
        self._listener.start(_START_S)
        if settings.announce:
            print(f"longshore: the dashboard is at {self.link()}", file=sys.stderr)

    def link(self) -> str:
        """Return a link that lets one browser in, once; ValueError before the run has begun. From any thread."""
        if self._address is None:
            raise ValueError("the dashboard has no address before the run has begun")
        return f"http://{self._address.authority}{self._settings.url_prefix}/?code={self._links.make()}"

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Take the events in."""

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Let go of the address and the thread."""
        if self._listener is not None:
            self._listener.stop(_START_S)
