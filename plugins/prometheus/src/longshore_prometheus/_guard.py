"""Who may have the metrics: a request's head comes in, why it is refused goes out. Pure; called by the listener."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple

import h11

PATH: Final = b"/metrics"
_SAME: Final = (b"same-origin", b"none")
_METHODS: Final = (b"GET", b"HEAD")


class Refusal(NamedTuple):
    """An answer that gives nothing away."""

    status: int
    said: str
    """For people, in ASCII; nothing of it is from the request."""
    headers: Sequence[tuple[str, str]] = ()


class Guard:
    """What every request has to be, whatever it asks for; `refuses` may be called from any thread.

    The Host is one of ours, so that no name that leads here gives a web page what only its user may see; likewise a
    browser may ask only for itself. Then comes the token, if there is one, and the path last.
    """

    def __init__(self, token: str | None, *, port: int, names: Sequence[str] = ()) -> None:
        """Ask for this token (None: for none), and accept these names of hosts, with and without a port."""
        self._token = token.encode("ascii") if token is not None else None
        self._port = port
        allowed = {name.lower() for name in names} | {in_url(name.lower(), port) for name in names}
        self._hosts = allowed | _own("localhost", port)

    def refuses(self, request: h11.Request, here: str) -> Refusal | None:
        """Return why this request gets no metrics, None if it does; `here` is the address that it was sent to."""
        headers = list(request.headers)
        hosts = [value.lower().decode("latin-1") for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts | _own(here, self._port):
            return Refusal(403, "this host name is not allowed: add it to sinks.prometheus.allowed_hosts")
        if any(value.lower() not in _SAME for name, value in headers if name == b"sec-fetch-site"):
            return Refusal(403, "other sites may not read this")
        if any(value.lower().decode("latin-1") != f"http://{hosts[0]}" for name, value in headers if name == b"origin"):
            return Refusal(403, "other origins may not read this")
        if request.method not in _METHODS:
            return Refusal(405, "there is only GET and HEAD", [("Allow", "GET, HEAD")])
        if _has_body(headers):
            return Refusal(413, "a request has no body here")
        if not self._knows_token(headers):
            said = "the token is missing or wrong: send the header `Authorization: Bearer TOKEN`"
            return Refusal(401, said, [("WWW-Authenticate", 'Bearer realm="longshore"')])
        if request.target.partition(b"?")[0] != PATH:
            return Refusal(404, "there is only /metrics")
        return None

    def _knows_token(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        if self._token is None:
            return True
        given = [value for name, value in headers if name == b"authorization"]
        scheme, _, token = (given[0] if len(given) == 1 else b"").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


def is_loopback(host: str) -> bool:
    """Tell whether an address, or the name localhost, is reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def in_url(host: str, port: int) -> str:
    """Return host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _own(host: str, port: int) -> set[str]:
    """Return how a client writes a host of ours: with the port, which is left out only where it is 80."""
    full = in_url(host, port)
    return {full, full.removesuffix(":80")} if port == 80 else {full}


def _has_body(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 ")) for name, value in headers
    )
