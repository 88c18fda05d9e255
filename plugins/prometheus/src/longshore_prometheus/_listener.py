"""The listener: one thread that serves HTTP on one socket, under limits, whatever clients send or don't.

A request has 10 s to arrive, an answer 10 s to leave; then, and after each answer, the connection is closed. Of each
only the head is read. `h11` takes the bytes apart; what is answered is somebody else's.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Final, NamedTuple

import h11

CONNECTIONS_MOST: Final = 64
HEAD_MOST: Final = 16 * 1024
WITHIN_S: Final = 10.0
_DRAIN_S: Final = 1.0  # what a client that still sends gets to read its answer in
_DRAIN_MOST: Final = 256 * 1024
_PAUSE_S: Final = 1.0  # before connections are taken again, where there were no descriptors left
_CHUNK: Final = 4096
_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Connection", "close"),
)


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    kind: str
    body: bytes
    headers: Sequence[tuple[str, str]] = ()


Answering = Callable[[h11.Request, str], Answer]
"""Gives the answer to a request, with the address that it was sent to; called on the listener's thread."""


class _Client:
    """One connection: reads a head, then writes an answer, then lets the client go."""

    __slots__ = ("deadline", "draining", "here", "left", "protocol", "received", "socket")

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.socket = sock
        self.here = str(sock.getsockname()[0])
        self.protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MOST)
        self.received = 0
        self.deadline = deadline
        self.left = memoryview(b"")
        self.draining = False


class Listener:
    """Serves one bound socket on a daemon thread, from `start` to `stop`, and closes it."""

    def __init__(
        self,
        bound: socket.socket,
        answer: Answering,
        *,
        refused: Callable[[int, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer requests by `answer`; `refused` is told of what is no request: the status that was sent, and why."""
        self._bound = bound
        self._answer = answer
        self._refused = refused
        self._clock = clock
        self._clients: set[_Client] = set()
        self._paused_until: float | None = None
        self._ring, self._rung = socket.socketpair()
        self._thread = threading.Thread(target=self._work, name="longshore-prometheus", daemon=True)
        self._selector = selectors.DefaultSelector()

    def start(self) -> None:
        """Serve from now on."""
        self._bound.setblocking(False)
        self._selector.register(self._bound, selectors.EVENT_READ)
        self._selector.register(self._rung, selectors.EVENT_READ)
        self._thread.start()

    def stop(self, within_s: float = 2.0) -> None:
        """Close the socket and all connections, from any thread; waits so long for an answer that is being made."""
        with suppress(OSError):  # a second call
            self._ring.send(b"x")
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(within_s)

    def _work(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            for client in list(self._clients):
                self._close(client)
            self._selector.close()
            for sock in (self._bound, self._ring, self._rung):
                sock.close()

    def _turn(self) -> bool:
        """Serve what is ready; False once it is to stop."""
        for key, mask in self._selector.select(self._wait_s()):
            if key.fileobj is self._rung:
                return False
            if key.fileobj is self._bound:
                self._accept()
            elif isinstance(key.data, _Client):
                self._serve(key.data, mask)
        now = self._clock()
        for client in [client for client in self._clients if client.deadline <= now]:
            if not (client.left or client.draining):
                self._refused(408, "nothing whole came in time")
            self._close(client)
        if self._paused_until is not None and self._paused_until <= now:
            self._paused_until = None
            self._selector.register(self._bound, selectors.EVENT_READ)
        return True

    def _wait_s(self) -> float | None:
        dues = [client.deadline for client in self._clients]
        if self._paused_until is not None:
            dues.append(self._paused_until)
        return max(0.0, min(dues) - self._clock()) if dues else None

    def _accept(self) -> None:
        try:
            sock, _ = self._bound.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError:  # no descriptors are left: what waits goes on waiting
            self._selector.unregister(self._bound)
            self._paused_until = self._clock() + _PAUSE_S
            return
        sock.setblocking(False)
        client = _Client(sock, self._clock() + WITHIN_S)
        self._clients.add(client)
        self._selector.register(sock, selectors.EVENT_READ, client)
        if len(self._clients) > 2 * CONNECTIONS_MOST:
            self._close(client)
        elif sum(not other.draining for other in self._clients) > CONNECTIONS_MOST:
            self._guarded(client, lambda: self._refuse(client, 503, "there are too many connections"))

    def _serve(self, client: _Client, mask: int) -> None:
        act = self._drain if client.draining else self._receive
        self._guarded(client, lambda: self._send(client) if mask & selectors.EVENT_WRITE else act(client))

    def _guarded(self, client: _Client, act: Callable[[], None]) -> None:
        try:
            act()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:  # it went away
            self._close(client)

    def _receive(self, client: _Client) -> None:
        data = client.socket.recv(_CHUNK)
        client.received += len(data)
        if not data:
            self._close(client)
            return
        if client.received > HEAD_MOST:
            self._refuse(client, 431, "the head is too large")
            return
        try:
            client.protocol.receive_data(data)
            event = client.protocol.next_event()
        except h11.RemoteProtocolError as error:
            self._refuse(client, error.error_status_hint, "that is no HTTP")
            return
        if isinstance(event, h11.Request):
            self._reply(client, event, self._answer(event, client.here))

    def _refuse(self, client: _Client, status: int, said: str) -> None:
        """Answer what is no request."""
        self._refused(status, said)
        self._reply(client, None, Answer(status, "text/plain; charset=utf-8", f"{said}\n".encode()))

    def _reply(self, client: _Client, request: h11.Request | None, answer: Answer) -> None:
        headers = [
            ("Content-Type", answer.kind),
            ("Content-Length", str(len(answer.body))),
            *answer.headers,
            *_HEADERS,
        ]
        protocol = client.protocol
        reason = HTTPStatus(answer.status).phrase
        parts = [protocol.send(h11.Response(status_code=answer.status, headers=headers, reason=reason))]
        if request is None or request.method != b"HEAD":
            parts.append(protocol.send(h11.Data(data=answer.body)))
        client.left = memoryview(b"".join(part for part in parts if part))
        client.deadline = self._clock() + WITHIN_S
        self._selector.modify(client.socket, selectors.EVENT_WRITE, client)
        self._send(client)

    def _send(self, client: _Client) -> None:
        with suppress(BlockingIOError, InterruptedError):
            client.left = client.left[client.socket.send(client.left) :]
        if client.left:
            return
        # Closed while bytes of the client's are unread, the connection would be reset, and the answer lost.
        client.draining, client.received = True, 0
        client.deadline = self._clock() + _DRAIN_S
        client.socket.shutdown(socket.SHUT_WR)
        self._selector.modify(client.socket, selectors.EVENT_READ, client)

    def _drain(self, client: _Client) -> None:
        data = client.socket.recv(_CHUNK)
        client.received += len(data)
        if not data or client.received > _DRAIN_MOST:
            self._close(client)

    def _close(self, client: _Client) -> None:
        self._clients.discard(client)
        with suppress(KeyError, ValueError):  # not registered any more
            self._selector.unregister(client.socket)
        client.socket.close()
