"""The first line of defence: an ASGI app around the pages that answers nobody who may not ask, before any routing.

It also gives every answer the headers that tell browsers what the pages may do, bounds bodies, and turns what goes
wrong behind it into an answer without a traceback.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longshore_dashboard._rules import BODY_BYTES, OPEN_PATHS, Asked, Refusal, Rules

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_ALWAYS = [
    (b"content-security-policy", _CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
_TOLD = 100
"""Refused requests that are logged, a line each; the others are counted."""
_LINKS = 16
"""Links that were made and not used; the oldest is no longer good when there are more."""
_log = logging.getLogger("longshore.dashboard")


class Refusals:
    """Who was refused: counted, and the first ones logged. For the listener's thread."""

    def __init__(self) -> None:
        """Count from nothing."""
        self.count = 0

    def note(self, status: int, reason: str, what: str = "") -> None:
        """Count one, and log it if it is among the first."""
        self.count += 1
        if self.count <= _TOLD:
            _log.warning("refused with %d%s: %s", status, f" {_plain(what)}" if what else "", reason)
        if self.count == _TOLD:
            _log.warning("more requests that are refused are counted, and not told of")


class Links:
    """Codes that are good for one visit each, and for the token then."""

    def __init__(self) -> None:
        """Have none."""
        self._codes: deque[str] = deque(maxlen=_LINKS)

    def make(self) -> str:
        """Return a new code; from any thread."""
        code = secrets.token_urlsafe(32)
        self._codes.append(code)
        return code

    def use(self, code: str) -> bool:
        """Tell whether a code is good; it no longer is then."""
        found = [known for known in list(self._codes) if secrets.compare_digest(known.encode(), code.encode())]
        for known in found:
            self._codes.remove(known)
        return bool(found)


class Guard:
    """The ASGI app that the listener has."""

    def __init__(
        self,
        app: ASGIApp,
        rules: Rules,
        *,
        prefix: str,
        links: Links,
        refusals: Refusals,
        used: Callable[[], None],
    ) -> None:
        """Guard `app`, whose paths stand below `prefix`; `used` is called when somebody came in by a link."""
        self._app = app
        self._rules = rules
        self._prefix = prefix
        self._links = links
        self._refusals = refusals
        self._used = used

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        asked = _asked(scope, self._prefix)
        answer = _Answer(send)
        code = _code(scope, asked)
        if code is not None and self._is_only_unknown(asked) and self._links.use(code):
            await answer.start(303, [(b"location", f"{self._prefix}/".encode()), self._cookie()])
            self._used()
            return
        refusal = self._rules.refusal(asked)
        if refusal is not None:
            self._refusals.note(refusal.status, refusal.reason, f"{asked.method} {asked.path}")
            await answer.refuse(refusal)
            return
        body = _Body(receive)
        try:
            await self._app({**scope, "path": asked.path, "root_path": ""}, body.receive, answer.send)
        except _TooLong:
            self._refusals.note(413, "the body is too long", f"{asked.method} {asked.path}")
            await answer.refuse(Refusal(413, f"the body of a request may have {BODY_BYTES} bytes"))
        except Exception:  # noqa: BLE001 - whatever a page raises, its reader gets an answer, and the log the cause
            _log.exception("the dashboard could not answer %s", _plain(f"{asked.method} {asked.path}"))
            await answer.refuse(Refusal(500, "this could not be answered: the log of the run says why"))

    def _is_only_unknown(self, asked: Asked) -> bool:
        refusal = self._rules.refusal(asked)
        return refusal is None or refusal.status == 401

    def _cookie(self) -> tuple[bytes, bytes]:
        path = f"{self._prefix}/"
        value = f"{self._rules.cookie}={self._rules.token}; Path={path}; HttpOnly; SameSite=Strict"
        return b"set-cookie", value.encode()


class _Answer:
    """What is sent, with the headers that every answer has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            message = {**message, "headers": [*message.get("headers", ()), *_ALWAYS]}
        await self._send(message)

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
        every = [*headers, (b"cache-control", b"no-store"), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": every})
        await self.send({"type": "http.response.body", "body": body})

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with the reason, and end the connection; where an answer has begun, break it off."""
        if self._begun:
            raise ConnectionAbortedError(refusal.reason)
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        if refusal.allow is not None:
            headers.append((b"allow", refusal.allow.encode()))
        await self.start(refusal.status, headers, json.dumps({"error": refusal.reason}).encode())


class _TooLong(Exception):
    """More came of a body than may."""


class _Body:
    """What is received, up to a bound: a body in chunks says nothing of its length beforehand."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._taken = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        if self._taken > BODY_BYTES:
            raise _TooLong
        return message


def _asked(scope: MutableMapping[str, Any], prefix: str) -> Asked:  # Any: ASGI's scope
    path = scope["path"]
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    target = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    return Asked(method=scope["method"], path=_below(path, prefix), headers=headers, target_bytes=target)


def _below(path: str, prefix: str) -> str:
    """Return a path without the prefix; one that has it not is none of ours, but for what probes of health ask."""
    if not path.startswith("/") or path in OPEN_PATHS:
        return path
    if path.startswith(f"{prefix}/"):
        return path[len(prefix) :]
    return f"/not below {prefix}"


def _code(scope: MutableMapping[str, Any], asked: Asked) -> str | None:  # Any: ASGI's scope
    if asked.path != "/" or asked.method != "GET" or not scope["query_string"]:
        return None
    return next(iter(parse_qs(scope["query_string"].decode("latin-1")).get("code", [])), None)


def _plain(text: str) -> str:
    return text[:100].encode("unicode_escape", "backslashreplace").decode("ascii")
