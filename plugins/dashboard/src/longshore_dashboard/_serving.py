"""All that serves one run, put together: store, logs, feed, pages, guard and listener; opened and closed as one."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial

from longshore.events import AnyEvent
from longshore.records import RunInfo, RunSummary
from longshore.runs import RunStore

from longshore_dashboard._api import Api
from longshore_dashboard._assets import read_assets
from longshore_dashboard._feed import KINDS, Feed
from longshore_dashboard._guard import Guard, Links, Refusals
from longshore_dashboard._listener import Limits, Listener
from longshore_dashboard._logs import LogRing
from longshore_dashboard._orders import Orders
from longshore_dashboard._plain import Plain
from longshore_dashboard._routes import Pages, make_router
from longshore_dashboard._rules import Rules
from longshore_dashboard._settings import DashboardSettings
from longshore_dashboard._shown import Shown
from longshore_dashboard._sockets import Address
from longshore_dashboard._stream import Stream
from longshore_dashboard._threads import PageThreads

_CONNECTIONS = 64
_BESIDE = 32
"""Connections for pages and health beside those that follow the run."""
_THREADS = 4
_START_S = 10.0
_STOP_S = 4.0
_LINKS_TOLD = 20
"""Links that are printed; who has let in so many browsers makes the next by `link`."""


class Serving:
    """The pages of one run, from the moment this is made until `shut`."""

    def __init__(self, run: RunInfo, settings: DashboardSettings) -> None:
        """Bind and listen; OSError where the address can't be had, and then nothing is left open."""
        self._settings = settings
        self._links, self.refusals = Links(), Refusals()
        self._told = 0
        self._shutting = threading.Lock()
        with ExitStack() as opened:
            self._address = Address(settings)
            opened.callback(self._address.close)
            self._store = RunStore()
            opened.callback(self._store.close)
            self._logs = opened.enter_context(LogRing())
            threads = PageThreads(_THREADS)
            opened.callback(threads.shutdown)
            self._assemble(run, threads)
            self._listener.start(_START_S)
            opened.callback(self._listener.stop, _STOP_S)
            if settings.token_file is not None:  # only now: who sees it finds that it is good
                opened.callback(self._keep_token(os.path.expanduser(settings.token_file)))
            self._opened = opened.pop_all()
        if settings.announce:
            self._tell("the dashboard is at")

    def _assemble(self, run: RunInfo, threads: PageThreads) -> None:
        settings, control = self._settings, run.control if self._settings.control else None
        plain = Plain(keys=settings.show_keys, errors=settings.show_errors)
        self._shown = shown = Shown(run, self._store, self._logs, plain, control=control is not None)
        self.feed = Feed(
            whole=shown.document,
            moment=shown.moment,
            over=lambda: shown.summary is not None,
            also=self._logged,
            threads=threads,
            most=settings.max_clients,
        )
        self._lines_told = 0
        self.rules = Rules(
            hosts=self._address.hosts,
            token=secrets.token_urlsafe(32),
            cookie=f"longshore_{hashlib.sha256(run.run_id.encode('utf-8', 'replace')).hexdigest()[:12]}",
            control=control is not None,
        )
        groups = [Pages(read_assets()).routes(), Api(shown, threads).routes(), Stream(self.feed).routes()]
        if control is not None:
            groups.append(Orders(shown, control, threads).routes())
        guard = Guard(
            make_router(*groups),
            self.rules,
            prefix=settings.url_prefix,
            links=self._links,
            refusals=self.refusals,
            used=lambda: self._tell("somebody came in; for another browser it is at"),
        )
        limits = Limits(max(_CONNECTIONS, settings.max_clients + _BESIDE), self.refusals.note)
        self._listener = Listener(guard, self._address, limits, begin=self.feed.begin, end=self.feed.end)

    def link(self) -> str:
        """Return a link that lets one browser in, once; from any thread."""
        return f"http://{self._address.authority}{self._settings.url_prefix}/?code={self._links.make()}"

    def take(self, batch: Sequence[AnyEvent]) -> None:
        """Take events in, and tell who follows what kinds of things have changed."""
        self._store.take(batch)
        if self.feed.followers:
            self.feed.tell(_kinds({event.type for event in batch}))

    def conclude(self, summary: RunSummary) -> None:
        """Show the run as it ended."""
        self._shown.conclude(summary)
        self.feed.tell(KINDS)

    def shut(self) -> None:
        """Tell who follows of the end, and let go of all; a second time does nothing."""
        with self._shutting:
            self._opened.close()

    def _logged(self) -> Sequence[str]:
        told, self._lines_told = self._lines_told, self._logs.count
        return ("logs",) if self._lines_told > told else ()

    def _tell(self, what: str) -> None:
        if self._settings.announce and self._told < _LINKS_TOLD and sys.stderr is not None:
            self._told += 1
            where = f"{self.link()} by the socket {self._address.path}" if self._address.path else self.link()
            print(f"longshore: {what} {where}", file=sys.stderr)

    def _keep_token(self, path: str) -> Callable[[], None]:
        """Write the token where only its user can read it, whole or not at all; return what removes it."""
        beside = f"{path}.{secrets.token_hex(4)}"
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{self.rules.token}\n")
        os.replace(beside, path)
        return partial(_remove, path)


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _kinds(types: set[str]) -> Sequence[str]:
    """Return what pages show that events of these types have changed."""
    kinds = set[str]()
    for kind in types:
        if kind.startswith("task_"):
            kinds.add("tasks")
        if kind in ("task_completed", "task_cancelled", "task_failed") or kind.startswith("worker"):
            kinds.add("workers")
        if kind == "task_failed":
            kinds.add("failures")
        if kind in ("resource_warning", "worker_heartbeat", "alert"):
            kinds.add("resources")
    return sorted(kinds)
