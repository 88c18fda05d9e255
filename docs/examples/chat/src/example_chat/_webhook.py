"""One message to a webhook: JSON with a `text`, as Slack and Mattermost take it; tried again where that may help.

A webhook's URL is a secret. It stands in no message, log line or exception of this module.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

_WAIT_S, _WAIT_MOST_S = 1.0, 10.0


class NotPosted(Exception):
    """A message that did not arrive, with the reason; never with the URL."""


class _NoRedirects(HTTPRedirectHandler):
    """Follows none: a token would travel to whoever the answer names."""

    def redirect_request(self, *_: object) -> None:
        """Give no request."""


class Webhook:
    """Where messages go."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout_s: float = 5.0,
        attempts: int = 3,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Post to `url`; nothing is opened yet. ValueError for what is no URL of the web."""
        if not url.startswith(("https://", "http://")):
            raise ValueError("a webhook begins with https:// (or http://, for one on this machine)")
        self._url, self._token = url, token
        self._timeout_s, self._attempts, self._sleep = timeout_s, attempts, sleep
        self._opener = build_opener(_NoRedirects)

    def post(self, text: str) -> None:
        """Send a message; NotPosted where it did not arrive after all attempts, or never will."""
        for attempt in range(1, self._attempts + 1):
            reason, wait_s = self._try(text)
            if reason is None:
                return
            if wait_s is None or attempt == self._attempts:
                raise NotPosted(f"{reason}, after {attempt} attempts")
            self._sleep(min(_WAIT_MOST_S, max(wait_s, _WAIT_S * 2 ** (attempt - 1))))

    def _try(self, text: str) -> tuple[str | None, float | None]:
        """Return what went wrong, None if nothing; and how long to wait before another try, None if that is no use."""
        body = json.dumps({"text": text}).encode("utf-8", "replace")
        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            with self._opener.open(Request(self._url, body, headers), timeout=self._timeout_s):
                return None, None
        except HTTPError as error:
            with error:
                again = error.code == 429 or error.code >= 500
                return f"the room answered {error.code}", _asked_wait_s(error) if again else None
        except (OSError, HTTPException) as error:  # its text may hold the URL
            return f"the room can't be reached ({type(error).__name__})", 0.0


def _asked_wait_s(error: HTTPError) -> float:
    try:
        return float(error.headers.get("Retry-After", "0"))
    except ValueError:  # a date: our own wait will do
        return 0.0
