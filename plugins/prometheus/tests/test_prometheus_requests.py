"""What the listener lets in, tried with raw bytes: everything else is refused, logged once and changes nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from longshore_prometheus import PrometheusSink, _listener

Served = Callable[..., PrometheusSink]
Asking = Callable[..., tuple[int, dict[str, str], bytes]]
TOKEN = "0123456789abcdef0123456789abcdef"
BEARER = f"Authorization: Bearer {TOKEN}"
DEADLINE_S = 10.0


def port_of(sink: PrometheusSink) -> int:
    return int(sink.url.rpartition(":")[2].removesuffix("/metrics"))


@pytest.mark.requirement("req:L03")
def test_metrics_are_served(served: Served, asking: Asking) -> None:
    """GET /metrics with the token gives the metrics, not to be stored, sniffed or framed; no CORS header is there."""
    status, headers, body = asking(served(token=TOKEN), BEARER)
    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["content-length"] == str(len(body))
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert (headers["referrer-policy"], headers["connection"]) == ("no-referrer", "close")
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert [name for name in headers if name.startswith("access-control")] == []


def test_head_has_no_body(served: Served, asking: Asking) -> None:
    """HEAD gives the same head, and nothing after it."""
    status, headers, body = asking(served(token=TOKEN), BEARER, first="HEAD /metrics HTTP/1.1")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "application/openmetrics-text"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=x.y;;", "text/plain; version=0.0.4; charset=utf-8"),
        ("\x80\xff,;=;,", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_format_is_what_the_client_accepts(served: Served, asking: Asking, accept: str, kind: str) -> None:
    """OpenMetrics where it is asked for, else the text format, whatever stands there."""
    status, headers, body = asking(served(), f"Accept: {accept}")
    assert (status, headers["content-type"].startswith(kind)) == (200, True)
    assert body.endswith(b"# EOF\n") is kind.startswith("application")


REFUSED: dict[str, tuple[int, list[str], dict[str, Any]]] = {
    "no token": (401, [], {}),
    "a wrong token": (401, [f"Authorization: Bearer {TOKEN[:-1]}x"], {}),
    "a beginning of the token": (401, [f"Authorization: Bearer {TOKEN[:8]}"], {}),
    "another scheme": (401, [f"Authorization: Basic {TOKEN}"], {}),
    "two tokens": (401, [BEARER, BEARER], {}),
    "a token in the query": (401, [], {"first": f"GET /metrics?token={TOKEN} HTTP/1.1"}),
    "no token for another path": (401, [], {"first": "GET /secret HTTP/1.1"}),
    "another host": (403, [BEARER], {"host": "evil.example"}),
    "a host that leads here": (403, [BEARER], {"host": "127.0.0.1.evil.example"}),
    "another port": (403, [BEARER], {"host": "127.0.0.1:1"}),
    "the address without its port": (403, [BEARER], {"host": "127.0.0.1"}),
    "any address": (403, [BEARER], {"host": "0.0.0.0"}),
    "no host": (403, [BEARER], {"host": "", "first": "GET /metrics HTTP/1.0"}),
    "another site": (403, [BEARER, "Sec-Fetch-Site: cross-site"], {}),
    "a sister site": (403, [BEARER, "Sec-Fetch-Site: same-site"], {}),
    "another origin": (403, [BEARER, "Origin: http://evil.example"], {}),
    "no origin that says so": (403, [BEARER, "Origin: null"], {}),
    **{
        verb: (405, [BEARER], {"first": f"{verb} /metrics HTTP/1.1"})
        for verb in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "X")
    },
    "a body": (413, [BEARER, "Content-Length: 5"], {}),
    "a body in chunks": (413, [BEARER, "Transfer-Encoding: chunked"], {}),
    "the root": (404, [BEARER], {"first": "GET / HTTP/1.1"}),
    "a path upwards": (404, [BEARER], {"first": "GET /metrics/../../etc/passwd HTTP/1.1"}),
    "an escaped path": (404, [BEARER], {"first": "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1"}),
    "an absolute target": (404, [BEARER], {"first": "GET http://evil.example/metrics HTTP/1.1"}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(served: Served, asking: Asking, run: Any, caplog: pytest.LogCaptureFixture, what: str) -> None:
    """A request that is not to be is refused with its status, says no more than why, and is logged once (fault:E4)."""
    status, lines, parts = REFUSED[what]
    sink = served(token=TOKEN)
    run.asked = 0
    for _ in range(2):
        given, headers, body = asking(sink, *lines, **parts)
        assert given == status
        assert TOKEN.encode() not in body
        assert b"longshore_" not in body
    assert headers.get("www-authenticate", "").startswith("Bearer") is (status == 401)
    assert headers.get("allow") == ("GET, HEAD" if status == 405 else None)
    logged = [record for record in caplog.records if record.name == "longshore.sinks"]
    assert len(logged) == 1
    assert f"refused with {status}" in logged[0].getMessage()
    assert TOKEN not in logged[0].getMessage()
    assert run.asked == 0


@pytest.mark.parametrize("host", ["localhost:{port}", "LOCALHOST:{port}", "127.0.0.1:{port}"])
def test_hosts_that_are_ours(served: Served, asking: Asking, host: str) -> None:
    """The address and localhost with the port are accepted, with an origin that is the same."""
    sink = served(token=TOKEN)
    named = host.format(port=port_of(sink))
    assert asking(sink, BEARER, "Sec-Fetch-Site: none", f"Origin: http://{named}", host=named)[0] == 200


def test_hosts_that_are_allowed(served: Served, asking: Asking) -> None:
    """Names of the settings are accepted with the port and without, those with a port as they are."""
    sink = served(token=TOKEN, allowed_hosts=["Metrics.example", "127.0.0.1:1"])
    for host in ("metrics.example", f"metrics.example:{port_of(sink)}", "127.0.0.1:1"):
        assert asking(sink, BEARER, host=host)[0] == 200
    assert asking(sink, BEARER, host="metrics.example:1")[0] == 403


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"a" * (1 << 20), 431),
        (b"GET /" + b"a" * (1 << 15) + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
    ],
)
def test_what_is_no_request(
    served: Served, raw: Callable[[PrometheusSink, bytes], Any], asking: Asking, sent: bytes, status: int
) -> None:
    """Nonsense is answered as such, a head past 16 KiB is read no further, and the next client is served (fault:E4)."""
    sink = served()
    assert raw(sink, sent)[0] == status
    assert asking(sink)[0] == 200


def test_one_that_never_finishes_is_let_go(served: Served, asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends byte by byte, or nothing, is closed once its time is over, and holds up nobody (fault:E4)."""
    monkeypatch.setattr(_listener, "WITHIN_S", 0.2)
    sink = served()
    address = ("127.0.0.1", port_of(sink))
    with socket.create_connection(address) as slow, socket.create_connection(address) as silent:
        slow.sendall(b"GET /metrics HTTP/1.1\r\nHo")
        assert asking(sink)[0] == 200
        for client in (slow, silent):
            client.settimeout(DEADLINE_S)
            assert client.recv(1) == b""


@pytest.mark.slow
def test_one_that_never_reads_is_let_go(served: Served, asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not take its answer is closed once its time is over, and holds up nobody (fault:E4)."""
    monkeypatch.setattr(_listener, "WITHIN_S", 0.2)
    sink = served(token=TOKEN)
    assert sink._exposition is not None
    monkeypatch.setattr(sink._exposition, "write", lambda accepted: ("text/plain", b"x" * (64 << 20) + b"the end"))
    with socket.socket() as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.settimeout(DEADLINE_S)
        greedy.connect(("127.0.0.1", port_of(sink)))
        greedy.sendall(f"GET /metrics HTTP/1.1\r\nHost: localhost:{port_of(sink)}\r\n{BEARER}\r\n\r\n".encode())
        assert greedy.recv(1) == b"H"
        assert asking(sink)[0] == 401
        assert sink._listener is not None
        wait = threading.Event()
        for _ in range(int(DEADLINE_S / 0.01)):
            if not sink._listener._clients:
                break
            wait.wait(0.01)
        assert not sink._listener._clients
        received = b"".join(_until_it_ends(greedy))
        assert not received.endswith(b"the end")


def _until_it_ends(client: socket.socket) -> Iterator[bytes]:
    with suppress(ConnectionResetError):
        while data := client.recv(65536):
            yield data


def test_no_more_than_so_many_at_once(
    served: Served, asking: Asking, raw: Callable[[PrometheusSink, bytes], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past 64 connections the next ones are told so and closed; when some have gone, others are served (fault:E4)."""
    assert _listener.CONNECTIONS_MOST == 64
    sink = served()
    with ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(sink)), timeout=DEADLINE_S))
        assert raw(sink, b"")[0] == 503
    statuses = {asking(sink)[0] for _ in range(5)}
    assert 200 in statuses


def test_a_collector_that_raises_costs_one_scrape(
    served: Served, asking: Asking, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What the pool's parts raise is a 500 that shows nothing of it, is logged, and the next scrape goes on."""
    sink, workers = served(), run.workers
    run.workers = [object()]
    status, _, body = asking(sink)
    assert (status, b"object" in body) == (500, False)
    assert "could not be written: AttributeError" in caplog.text
    run.workers = workers
    assert asking(sink)[0] == 200
