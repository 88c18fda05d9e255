"""Who is answered: a request's method, path and headers come in, a refusal or none goes out; pure.

Asked before anything else is done with a request. The order is: what is no proper request, whose name it asks for, by
which method, from which page, and last who sends it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence

from msgspec import Struct

HEADER_BYTES = 16 * 1024
"""Target and all headers together."""
BODY_BYTES = 64 * 1024
OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""Answered without a token: they tell a status and nothing else."""
CONTROL = "/api/control/"
ACTIONS = ("cancel", "pause", "unpause", "resize")
OWN_HEADER = "x-longshore"
"""Sent with each POST: no page of another origin can have a browser send it without asking first."""
_READ = ("GET", "HEAD")
_ONCE = ("host", "origin", "sec-fetch-site", "authorization", "content-type", "content-length", OWN_HEADER)


class Refusal(Struct, frozen=True):
    """Why a request is not answered."""

    status: int
    reason: str
    allow: str | None = None
    """Of a 405: which methods there are."""


class Asked(Struct, frozen=True, kw_only=True):
    """A request, as far as the rules look at it."""

    method: str
    path: str
    """Below the prefix, and unquoted."""
    headers: Sequence[tuple[str, str]]
    """Names in lower case, in the order they came."""
    target_bytes: int = 0

    def all(self, name: str) -> list[str]:
        """Return all values of a header."""
        return [value for key, value in self.headers if key == name]

    def one(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next(iter(self.all(name)), None)


class Rules(Struct, frozen=True, kw_only=True):
    """What is allowed."""

    hosts: frozenset[str]
    """As the header `Host` may have them, in lower case."""
    token: str
    cookie: str
    """The cookie that holds the token."""
    control: bool = False

    def refusal(self, asked: Asked) -> Refusal | None:
        """Return why this request is refused, None where it is to be answered."""
        return (
            self._improper(asked)
            or self._misplaced(asked)
            or self._method(asked)
            or self._foreign(asked)
            or self._stranger(asked)
            or self._unmarked(asked)
        )

    def knows(self, asked: Asked) -> bool:
        """Tell whether a request carries the token, as a header or in the cookie."""
        given = [value for name, value in _cookies(asked.all("cookie")) if name == self.cookie]
        scheme, _, bearer = (asked.one("authorization") or "").partition(" ")
        if scheme.lower() == "bearer":
            given.append(bearer.strip())
        right = self.token.encode()
        return any(hmac.compare_digest(each.encode("utf-8", "replace"), right) for each in given)

    def _improper(self, asked: Asked) -> Refusal | None:
        size = asked.target_bytes + sum(len(name) + len(value) + 4 for name, value in asked.headers)
        if size > HEADER_BYTES:
            return Refusal(431, "the header of the request is too long")
        if not asked.path.startswith("/"):
            return Refusal(400, "the path does not begin with a slash")
        if any(len(asked.all(name)) > 1 for name in _ONCE):
            return Refusal(400, "a header that may come once came twice")
        return self._body(asked)

    def _body(self, asked: Asked) -> Refusal | None:
        length = asked.one("content-length") or "0"
        if asked.method != "POST" and (length != "0" or asked.one("transfer-encoding")):
            return Refusal(400, "only a POST has a body")
        if not length.isdigit() or len(length) > 9 or int(length) > BODY_BYTES:
            return Refusal(413, f"the body of a request may have {BODY_BYTES} bytes")
        return None

    def _misplaced(self, asked: Asked) -> Refusal | None:
        if (asked.one("host") or "").lower() in self.hosts:
            return None
        return Refusal(403, "this host name is not served here: `allowed_hosts` names those that are")

    def _method(self, asked: Asked) -> Refusal | None:
        allowed = ("POST",) if self._is_control(asked.path) else _READ
        if asked.method in allowed:
            return None
        return Refusal(405, f"the method is not allowed here: {', '.join(allowed)}", ", ".join(allowed))

    def _foreign(self, asked: Asked) -> Refusal | None:
        if (asked.one("sec-fetch-site") or "none").lower() not in ("same-origin", "none"):
            return Refusal(403, "the request comes from a page of another site")
        origin = asked.one("origin")
        if origin is None:
            return None
        scheme, _, authority = origin.lower().partition("://")
        if scheme in ("http", "https") and authority == (asked.one("host") or "").lower():
            return None
        return Refusal(403, "the request comes from a page of another origin")

    def _stranger(self, asked: Asked) -> Refusal | None:
        if asked.path in OPEN_PATHS or self.knows(asked):
            return None
        return Refusal(401, "open the link that was printed when the run began, or send the token as a header")

    def _unmarked(self, asked: Asked) -> Refusal | None:
        if asked.method != "POST":
            return None
        media_type = (asked.one("content-type") or "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            return Refusal(415, "the body has to be application/json")
        if asked.one(OWN_HEADER) is None:
            return Refusal(403, f"the header {OWN_HEADER} is missing")
        return None

    def _is_control(self, path: str) -> bool:
        return self.control and path in {CONTROL + action for action in ACTIONS}


def _cookies(headers: Iterable[str]) -> Iterable[tuple[str, str]]:
    for header in headers:
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            yield name, value
