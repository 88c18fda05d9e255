"""A chat room on loopback: what it was told, and what it is to answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Room:
    """What came, and the answers that are still to be given; then 200."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.tokens: list[str | None] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        room = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                room.texts.append(json.loads(body)["text"])
                room.tokens.append(self.headers["Authorization"])
                status, headers = room.answers.pop(0) if room.answers else (200, {})
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hooks/s3cr3t"


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """Return a room that listens, its URL in the environment."""
    made = Room()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("CHAT_URL", made.url)
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()
