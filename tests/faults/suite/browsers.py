"""Whoever asks the dashboard for something, by bytes on a socket: browsers, and what no browser would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 where nothing did."""

    status: int
    head: str
    body: bytes

    def json(self) -> Any:  # Any: JSON
        """Return the body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Door:
    """A dashboard at a port of this machine."""

    port: int
    token: str

    @property
    def host(self) -> str:
        """What a browser sends as its host."""
        return f"127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """Return a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def head(self, method: str, target: str, headers: Mapping[str, str | None] | None = None) -> bytes:
        """Return the head of a request that is in order, but for headers that are given or left out (None)."""
        usual: dict[str, str | None] = {"Host": self.host, "Authorization": f"Bearer {self.token}"}
        every = {**usual, "Connection": "close", **(headers or {})}
        lines = [f"{name}: {value}\r\n" for name, value in every.items() if value is not None]
        return f"{method} {target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1")

    def ask(
        self, method: str, target: str, headers: Mapping[str, str | None] | None = None, body: bytes = b""
    ) -> Answer:
        """Ask, and return the answer once the connection is closed."""
        return self.send(self.head(method, target, headers) + body)

    def send(self, data: bytes) -> Answer:
        """Send bytes as they are."""
        with self.connect() as connection:
            try:
                connection.sendall(data)
            except OSError:  # who is refused early does not hear the rest
                return answer_on(connection)
            return answer_on(connection)


def answer_on(connection: socket.socket, most: int = 1 << 24) -> Answer:
    """Read an answer to the end of the connection."""
    raw = b""
    try:
        while len(raw) < most and (part := connection.recv(65536)):
            raw += part
    except OSError:
        pass
    head, _, body = raw.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    status = text.split(" ", 2)[1] if text.startswith("HTTP/") else "0"
    return Answer(int(status), text, body)


def free_port() -> int:
    """Return a port that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def door(folder: Path, port: int) -> Door:
    """Return the dashboard that keeps its token in this folder."""
    return Door(port, (folder / "token").read_text().strip())
