"""How much a request may be, and how long it may take: bytes on a socket, with times that are made short."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from longshore_dashboard import _listener

Serve = Any  # the fixture: test modules cannot import a conftest
BODY_BYTES = 64 * 1024


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give requests and answers a fifth of a second."""
    monkeypatch.setattr(_listener, "READ_S", 0.2)


def test_the_times_and_sizes_are_those_of_the_table() -> None:
    """Ten seconds to read, and to write; 16 KiB of header."""
    assert (_listener.READ_S, _listener.HEADER_BYTES) == (10.0, 16 * 1024)


def test_a_header_without_end_is_cut_off(serve: Serve) -> None:
    """fault:E4: who sends a header of a gigabyte is cut off after a few KiB, and costs no memory."""
    client = serve()
    sent = 0
    with client.connect() as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {client.authority}\r\nX-Long: ".encode())
        try:
            while sent < 64 * 1024 * 1024:  # as far as the system's own buffers let it come
                sent += connection.send(b"a" * 65536)
        except OSError:
            pass
    assert sent < 32 * 1024 * 1024
    assert client.get("/livez").status == 200


@pytest.mark.parametrize("size", [16 * 1024, 60 * 1024])
def test_a_header_that_is_too_long_is_refused(serve: Serve, size: int) -> None:
    """fault:E4: also one that comes at once, in the headers or in the path."""
    client = serve()
    assert client.get("/api/run", {"X-Long": "a" * size}).status in (400, 431)
    assert client.get(f"/api/run?{'a' * size}").status in (400, 431)
    assert client.get("/api/run", {"X-Long": "a" * 10_000}).status == 200


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("beginning", [b"", b"GE", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_request_that_does_not_come_is_ended(serve: Serve, made: Any, beginning: bytes) -> None:
    """fault:E4: slowloris: the time is that of the whole request, so a byte now and then gains none."""
    client = serve()
    with client.connect() as connection:
        connection.sendall(beginning)
        connection.settimeout(0.02)
        answer = b""
        for _ in range(1000):
            try:
                if beginning:
                    connection.sendall(b"a")
                part = connection.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
            answer += part
            if not part:
                break
        else:
            pytest.fail("the connection was not ended")
    assert b" 408 " in answer or answer == b""


@pytest.mark.usefixtures("hurried")
def test_a_body_that_does_not_come_is_ended(serve: Serve, made: Any) -> None:
    """A body of which the rest is kept back is not waited for."""
    client = serve(run=made.run_info(control=_NoControl()), control=True)
    head = client.head(
        "POST", "/api/control/pause", {"Content-Type": "application/json", "X-Longshore": "1", "Content-Length": "10"}
    )
    with client.connect() as connection:
        connection.sendall(head + b"{")
        assert made.read_all(connection) == b""
    assert client.serving.refusals.count == 1


class _NoControl:
    """A run that is told nothing."""

    def pause(self) -> None:
        """Fail: nobody has ordered it."""
        raise AssertionError("an order was taken from half a request")

    unpause = pause


def test_a_body_that_is_too_long_is_refused(serve: Serve, made: Any) -> None:
    """fault:E4: by what the header says, and by what comes in chunks; and what is no chunk is no request."""
    client = serve(run=made.run_info(control=_NoControl()), control=True)
    assert client.post("/api/control/pause", b"{}", {"Content-Length": str(BODY_BYTES + 1)}).status == 413
    assert client.post("/api/control/pause", b"{}", {"Content-Length": "1" * 40}).status in (400, 413)
    chunked = {"Content-Length": None, "Transfer-Encoding": "chunked"}
    big = b"%x\r\n%s\r\n0\r\n\r\n" % (BODY_BYTES + 1, b" " * (BODY_BYTES + 1))
    assert client.post("/api/control/pause", big, chunked).status == 413
    for chunk in (b"zz\r\n{}\r\n0\r\n\r\n", b"-1\r\n{}\r\n", b"fffffffffffffffffffff\r\n"):
        answer = client.post("/api/control/pause", chunk, chunked)
        assert answer.status in (0, 400), chunk
    assert client.get("/api/run").status == 200


def test_only_orders_have_a_body(serve: Serve) -> None:
    """A body of a GET is refused, so that none can be sent without end."""
    client = serve()
    assert client.get("/api/run", {"Content-Length": "5"}).status == 400
    assert client.get("/api/run", {"Transfer-Encoding": "chunked"}).status == 400
    both = {"Content-Length": "5", "Transfer-Encoding": "chunked"}
    assert client.get("/api/run", both).status == 400


def test_connections_are_bounded(serve: Serve, made: Any) -> None:
    """fault:E3: the 65th connection at once is told to come later; when one leaves there is room again."""
    client = serve()
    held = [client.connect() for _ in range(64)]
    try:
        made.eventually(lambda: client.get("/livez").status == 503, "a refusal")
        held.pop().close()
        made.eventually(lambda: client.get("/livez").status == 200, "room")
    finally:
        for connection in held:
            connection.close()


@pytest.mark.slow
@pytest.mark.usefixtures("hurried")
def test_who_takes_no_answer_is_cut_off(serve: Serve, made: Any) -> None:
    """fault:E3: a page that asks and never reads is given up, and its memory with it."""
    events = [event for number in range(3000) for event in made.events_of(number, key="k" * 200)]
    client = serve(events=events)
    with client.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        keep = client.head("GET", "/api/tasks?limit=1000", {"Connection": "keep-alive"})
        try:
            for _ in range(200):  # asked again and again, the answers are more than any buffer takes
                connection.sendall(keep)
        except OSError:
            pass
        made.eventually(lambda: _gone(connection), "the end of the connection")
    assert client.get("/livez").status == 200


def _gone(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"a")
    except OSError:
        return True
    return False


def test_an_upgrade_is_not_made(serve: Serve) -> None:
    """A request for a web socket is answered as any other."""
    upgrade = {"Connection": "close, upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x" * 16}
    assert serve().get("/api/run", upgrade).status == 200
