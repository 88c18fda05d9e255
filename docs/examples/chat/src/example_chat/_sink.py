"""The sink: what it wants of the events, and when it says something.

A pool calls it on a thread of its own. So a slow room holds up this sink and nothing else: what comes meanwhile is
kept, and past a bound dropped. It may simply post where it is called.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence

from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, RunSummary

from example_chat._settings import ChatSettings
from example_chat._webhook import NotPosted, Webhook

_LOG = logging.getLogger(__name__)
_TEXT_MOST = 200


class ChatSink:
    """Tells a chat room when a run began, what failed and how it ended."""

    api = 1
    Settings = ChatSettings
    event_types = ("task_failed", "resource_warning")
    """Of all other events none is even made for this sink."""

    def __init__(
        self,
        settings: ChatSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Keep the settings; the environment is read as a run begins. Clock and sleep are for tests."""
        self._settings = settings or ChatSettings()
        self._clock, self._sleep = clock, sleep
        self._webhook: Webhook | None = None
        self._begin("")

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Say that the run begins; ValueError, which the pool tells of, where no URL is set."""
        settings = self._settings
        url = os.environ.get(settings.url_variable)
        if not url:
            raise ValueError(f"set {settings.url_variable} to the URL of the room's webhook")
        token = os.environ.get(settings.token_variable) if settings.token_variable else None
        self._webhook = Webhook(url, token, timeout_s=settings.timeout_s, attempts=settings.attempts, sleep=self._sleep)
        self._begin(run.name)
        self._post(f"{_line(run.name)} begins (run {_line(run.run_id)})")

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Take note of what went wrong, and tell of it if the last message is long enough ago."""
        for event in batch:
            if event.type == "task_failed":
                self._failed += 1
                name, error, message = (_line(event.data.get(key)) for key in ("name", "error", "message"))
                self._shown.append(f"{name}: {error}: {message}")
            elif event.type == "resource_warning" and event.data.get("state") == "crossed":
                self._warned.append(_line(event.data.get("message")))
        if self._clock() - self._posted_at >= self._settings.every_s:
            self._tell()

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Tell what was not told yet, and how the run ended."""
        self._tell()
        counts = summary.snapshot
        text = f"{_line(self._name)} {summary.state}: {counts.completed} completed, {counts.failed} failed"
        self._post(f"{text} ({_line(summary.error)})" if summary.error else text)
        self._webhook = None

    def _begin(self, name: str) -> None:
        self._name = name
        self._failed = 0
        self._shown: deque[str] = deque(maxlen=self._settings.failures_most)  # the last ones; bounded, however many
        self._warned: deque[str] = deque(maxlen=self._settings.failures_most)
        self._posted_at = self._clock()

    def _tell(self) -> None:
        if not self._failed and not self._warned:
            return
        lines = [f"{_line(self._name)}: {self._failed} failed", *self._shown] if self._failed else []
        if self._failed > len(self._shown):
            lines.append(f"... and {self._failed - len(self._shown)} more")
        lines += self._warned
        self._failed = 0
        self._shown.clear()
        self._warned.clear()
        self._post("\n".join(lines))

    def _post(self, text: str) -> None:
        """Send a message; one that does not arrive is said in the log, and the run goes on."""
        if self._webhook is None:
            return
        try:
            self._webhook.post(text)
        except NotPosted as error:
            _LOG.warning("a message to the chat room is lost: %s", error)
        self._posted_at = self._clock()


def _line(text: object) -> str:
    """Return a text on one line that mentions nobody, bounded: names and messages come from files and exceptions."""
    shown = " ".join(str(text).split())[:_TEXT_MOST]
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "@\u200b")
