"""What the tests share: a run made by hand, a sink that serves it, raw requests, and an exposition taken apart."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from longshore.events import AnyEvent, TaskCancelled, TaskCompleted, TaskFailed
from longshore.records import (
    Load,
    PoolStats,
    RunInfo,
    RunSnapshot,
    RunSummary,
    SinkHealth,
    StageSnapshot,
    Usage,
    WorkerStats,
    WorkerStatus,
)
from longshore_prometheus import PrometheusSink, _exposition, _figures
from longshore_prometheus._lingering import LINGERING
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

DEADLINE_S = 10.0
STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Exposed:
    """An exposition, taken apart."""

    def __init__(self, text: str, *, openly: bool = False) -> None:
        families = list(open_metrics(text) if openly else plain_text(text))  # type: ignore[no-untyped-call]  # it has no types
        self.types = {family.name: family.type for family in families}
        self.samples: Samples = {}
        for family in families:
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, f"{key} stands there twice"
                self.samples[key] = sample.value

    def __getitem__(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the values of one metric by the values of its labels, those in the order of their names."""
        return {
            tuple(value for _, value in sorted(labels)): value
            for (found, labels), value in self.samples.items()
            if found == name
        }

    def get(self, name: str, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]


class Run:
    """A run made by hand: what it says of itself can be set."""

    def __init__(self) -> None:
        self.snapshot = RunSnapshot(run_id="r1", name="demo", started=STARTED, elapsed_s=1.0)
        self.stats = PoolStats()
        self.workers: list[WorkerStats] = []
        self.asked = 0
        self.info = RunInfo(
            run_id="r1",
            started=STARTED,
            snapshot=self._snapshot,
            stats=lambda: self.stats,
            workers=lambda: self.workers,
        )

    def _snapshot(self) -> RunSnapshot:
        self.asked += 1
        return self.snapshot

    def full(self) -> Run:
        """Fill in something of everything."""
        self.snapshot = RunSnapshot(
            run_id="r1",
            name="demo",
            started=STARTED,
            elapsed_s=1.0,
            eta_low_s=3.0,
            eta_high_s=5.0,
            stages=[
                StageSnapshot(name="parse", executor="threads", queued=2, running=1, retries={"ValueError": 2}),
                StageSnapshot(name="parse", executor="processes", queued=3, running=4, retrying=1),
            ],
            usage={
                "cpu": Usage(1.0, 4.0),
                "memory": Usage(500.0, 2000.0),
                "disk_io.read": Usage(3.0),
                "gpu.0": Usage(50.0, 100.0),
                "pressure.memory.some": Usage(5.0, 100.0),
            },
            loads={
                "cpu": Load(25.0, 80.0),
                "memory": Load(25.0, 75.0, lendable=1500.0),
                "disk_io": Load(3.0, unit="MB/s"),
                "pressure.memory.some": Load(5.0, 20.0),
            },
            sinks=[SinkHealth(name="jsonl", dropped=7)],
        )
        self.stats = PoolStats(throttled_s={"memory": 1.5}, queue={"threads": {"HIGH": 2}, "processes": {"NORMAL": 3}})
        self.workers = [
            WorkerStats(worker_id="t1", worker_type="thread", status=WorkerStatus.BUSY, executor="threads"),
            WorkerStats(
                worker_id="p1", worker_type="process", status=WorkerStatus.IDLE, executor="processes", memory_mb=5
            ),
            WorkerStats(worker_id="p2", worker_type="process", status=WorkerStatus.STOPPED, executor="processes"),
        ]
        return self

    def summary(self) -> RunSummary:
        return RunSummary(snapshot=self.snapshot, state="completed")


def completed(name: str = "parse", duration_s: float = 0.2, seq: int = 0) -> AnyEvent:
    return TaskCompleted(seq, STARTED, f"t{seq}", name, "threads", 2, 1, 0.05, duration_s, "w1")


def failed(error: str, name: str = "parse", state: str = "failed") -> AnyEvent:
    return TaskFailed(0, STARTED, "t", name, "threads", 2, 1, 0.05, 0.2, "w1", state=state, error=error)


def cancelled(name: str = "parse") -> AnyEvent:
    return TaskCancelled(0, STARTED, "t", name, "threads", 2)


@pytest.fixture(autouse=True)
def none_lingers() -> Iterator[None]:
    """Let nothing that lingers outlast its test."""
    yield
    for port in list(LINGERING._ends):
        LINGERING.end(port)


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def events() -> Mapping[str, Callable[..., AnyEvent]]:
    """Events made by hand, by what they tell."""
    return {"completed": completed, "failed": failed, "cancelled": cancelled}


@pytest.fixture
def served(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., PrometheusSink]]:
    """Open a sink on a free port, without a token unless asked for one, for one test; each scrape is new."""
    sinks: list[PrometheusSink] = []
    for module in (_figures, _exposition):
        monkeypatch.setattr(module, "FRESH_S", 0.0)

    def serve(**settings: Any) -> PrometheusSink:
        sink = PrometheusSink(PrometheusSink.Settings(**{"port": 0, "token": False, **settings}))
        sinks.append(sink)
        sink.open(run.info)
        return sink

    yield serve
    for sink in sinks:
        sink.close(run.summary())


def port_of(sink: PrometheusSink) -> int:
    return int(sink.url.rpartition(":")[2].removesuffix("/metrics"))


def ask(sink: PrometheusSink, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, and return status, headers and body of the answer; the connection is closed by then."""
    with socket.create_connection(("127.0.0.1", port_of(sink)), timeout=DEADLINE_S) as client:
        client.sendall(raw)
        received = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


def request(sink: PrometheusSink, *lines: str, first: str = "GET /metrics HTTP/1.1", host: str | None = None) -> bytes:
    """Return the head of a request, with the right Host unless told otherwise."""
    named = f"127.0.0.1:{port_of(sink)}" if host is None else host
    return "\r\n".join([first, *([f"Host: {named}"] if named else []), *lines, "", ""]).encode("latin-1")


@pytest.fixture
def scrape() -> Callable[..., Exposed]:
    """Get the metrics of a sink, taken apart."""

    def get(sink: PrometheusSink, token: str | None = None, *, openly: bool = False) -> Exposed:
        lines = [f"Authorization: Bearer {token}"] if token is not None else []
        if openly:
            lines.append("Accept: application/openmetrics-text; version=1.0.0")
        status, _, body = ask(sink, request(sink, *lines))
        assert status == 200, body
        return Exposed(body.decode("utf-8"), openly=openly)

    return get


@pytest.fixture
def asking() -> Callable[..., tuple[int, dict[str, str], bytes]]:
    """Send a request whose head is made of these parts; return status, headers and body."""

    def send(sink: PrometheusSink, *lines: str, **parts: Any) -> tuple[int, dict[str, str], bytes]:
        return ask(sink, request(sink, *lines, **parts))

    return send


@pytest.fixture
def raw() -> Callable[[PrometheusSink, bytes], tuple[int, dict[str, str], bytes]]:
    """Send bytes as they are."""
    return ask
