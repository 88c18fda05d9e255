"""A run that is served, and requests as bytes: what a browser would never send is sent, too."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from longshore.events import AnyEvent, TaskCompleted, TaskFailed, TaskStarted, TaskSubmitted
from longshore.records import RunInfo, RunSnapshot, RunSummary
from longshore_dashboard import DashboardSink

DEADLINE_S = 30.0
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Answer:
    """What came back: status, headers in lower case, body without its chunks' lengths."""

    def __init__(self, raw: bytes) -> None:
        """Read it."""
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.raw = raw
        self.status = int(first.split(" ")[1]) if first else 0
        pairs = [line.partition(":") for line in lines]
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        if self.headers.get("transfer-encoding") == "chunked":
            self.body = _unchunked(self.body)

    def json(self) -> Any:  # Any: JSON
        """Return the body."""
        return json.loads(self.body)


class Client:
    """Speaks to one sink by plain sockets."""

    def __init__(self, sink: DashboardSink) -> None:
        """Speak to this one."""
        serving = sink._serving
        assert serving is not None
        self.sink, self.serving = sink, serving
        self.token = serving.rules.token
        self.cookie = serving.rules.cookie
        self.authority = serving._address.authority
        host, _, port = self.authority.rpartition(":")
        self.where = (host, int(port)) if port.isdigit() else None

    def connect(self) -> socket.socket:
        """Return a connection."""
        if self.where is not None:
            return socket.create_connection(self.where, timeout=DEADLINE_S)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(DEADLINE_S)
        made.connect(str(self.serving._address.path))
        return made

    def head(self, method: str, target: str, headers: dict[str, str | None] | None = None) -> bytes:
        """Return the head of a request, with host and token unless they are given as something else or as None."""
        usual: dict[str, str | None] = {"Host": self.authority, "Authorization": f"Bearer {self.token}"}
        every = {**usual, "Connection": "close", **(headers or {})}
        lines = [f"{name}: {value}\r\n" for name, value in every.items() if value is not None]
        return f"{method} {target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1")

    def raw(self, data: bytes) -> Answer:
        """Send bytes, and return what comes back until the connection is closed."""
        with self.connect() as connection:
            with suppress(OSError):  # who is refused early does not hear the rest
                connection.sendall(data)
            return Answer(read_all(connection))

    def get(self, target: str, headers: dict[str, str | None] | None = None, *, method: str = "GET") -> Answer:
        """Ask for a path."""
        return self.raw(self.head(method, target, headers))

    def post(self, target: str, body: bytes, headers: dict[str, str | None] | None = None) -> Answer:
        """Give an order as the page does, unless headers say otherwise."""
        usual = {"Content-Type": "application/json", "X-Longshore": "1", "Content-Length": str(len(body))}
        return self.raw(self.head("POST", target, {**usual, **(headers or {})}) + body)

    def follow(self, headers: dict[str, str | None] | None = None) -> Followed:
        """Follow the run."""
        connection = self.connect()
        connection.sendall(self.head("GET", "/api/events", headers))
        return Followed(connection)


class Followed:
    """A page that follows: events one by one."""

    def __init__(self, connection: socket.socket) -> None:
        """Read the head of the answer."""
        self.connection = connection
        self._file = connection.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            if not line:
                break
            head += line
        self.answer = Answer(head)

    def events(self) -> Iterator[dict[str, Any]]:  # Any: JSON
        """Yield events as they come: id, event and data; comments as {"comment": text}."""
        text = b""
        while size := self._file.readline():
            length = int(size, 16)
            text += self._file.read(length)
            self._file.readline()
            if length == 0:
                return
            while b"\n\n" in text:
                part, _, text = text.partition(b"\n\n")
                yield _event(part.decode())

    def close(self) -> None:
        """Leave."""
        self._file.close()
        self.connection.close()


def _event(text: str) -> dict[str, Any]:  # Any: JSON
    found: dict[str, Any] = {}
    for line in text.split("\n"):
        name, _, value = line.partition(": ")
        found["comment" if line.startswith(":") else name] = json.loads(value) if name in ("data", "id") else value
    return found


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length:
            break
        whole, body = whole + body[:length], body[length + 2 :]
    return whole


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return data


def events_of(number: int, *, failed: bool = False, key: str | None = None, message: str = "no") -> list[AnyEvent]:
    """Return the events of a task that ended."""
    at, task_id, seq = BEGAN + timedelta(seconds=number), f"t{number}", 3 * number
    task: Any = {"task_id": task_id, "name": "work", "executor": "threads", "priority": 2, "key": key}  # Any: fields
    ended: Any = {"seq": seq + 3, "at": at + timedelta(seconds=2), "wait_s": 0.5, "duration_s": 1.0, **task}
    end: AnyEvent = TaskCompleted(worker_id="thread-0", **ended)
    if failed:
        end = TaskFailed(worker_id="thread-0", error="ValueError", message=message, **ended)
    started = TaskStarted(seq=seq + 2, at=at + timedelta(seconds=1), **task)
    return [TaskSubmitted(seq=seq + 1, at=at, **task), started, end]


def run_info(**more: Any) -> RunInfo:  # Any: RunInfo's
    """Return a run as a pool would give it."""
    return RunInfo(**{"run_id": "r1", "started": BEGAN, "snapshot": snapshot, **more})


def snapshot() -> RunSnapshot:
    """Return an empty run."""
    return RunSnapshot(run_id="r1", name="longshore", started=BEGAN, elapsed_s=1.0)


def summary(state: str = "completed") -> RunSummary:
    """Return the end of one."""
    return RunSummary(snapshot=snapshot(), state=state)


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait for something, with a deadline."""
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until, f"{what} did not come about within {DEADLINE_S:g} s"
        time.sleep(0.005)


Serve = Callable[..., Client]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a run: settings by name; `run` for another RunInfo, `events` to begin with."""
    with ExitStack() as opened:

        def start(*, run: RunInfo | None = None, events: Sequence[AnyEvent] = (), **settings: Any) -> Client:
            sink = DashboardSink(DashboardSink.Settings(announce=False, **settings))
            sink.open(run if run is not None else run_info())
            opened.callback(sink.close, summary())
            if events:
                sink.on_events(events)
            return Client(sink)

        yield start


@pytest.fixture
def made() -> SimpleNamespace:
    """What tests make runs of: test modules cannot import a conftest."""
    return SimpleNamespace(
        events_of=events_of,
        run_info=run_info,
        snapshot=snapshot,
        summary=summary,
        eventually=eventually,
        read_all=read_all,
        began=BEGAN.timestamp(),
    )
