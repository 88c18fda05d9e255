"""A collector that a test can ask, on loopback: what the sink sends by OTLP over HTTP comes in, decoded."""

from __future__ import annotations

import gzip
import importlib
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import attach, detach
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

DEADLINE_S = 30.0


def plain(attributes: Any) -> dict[str, Any]:  # Any: protobuf's own
    """Return attributes as a dict."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


class Arrived:
    """A span as it arrived."""

    def __init__(self, span: SpanMessage, resource: dict[str, Any]) -> None:
        self.name = span.name
        self.kind = SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")
        self.trace_id, self.span_id = span.trace_id.hex(), span.span_id.hex()
        self.parent_id = span.parent_span_id.hex()
        self.attributes = plain(span.attributes)
        self.links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
        self.events = [(event.name, plain(event.attributes), event.time_unix_nano) for event in span.events]
        self.began_ns, self.ended_ns = span.start_time_unix_nano, span.end_time_unix_nano
        self.failed, self.said = span.status.code == 2, span.status.message
        self.resource = resource


class Collector:
    """What has come in so far; `status` is what it answers with, `held` keeps it from answering."""

    def __init__(self) -> None:
        self.spans: list[Arrived] = []
        self.metrics: dict[str, list[Any]] = {}  # Any: protobuf's data points, by the name of the metric
        self.units: dict[str, str] = {}
        self.headers: list[dict[str, str]] = []
        self.requests = 0
        self.status = 200
        self.held = threading.Event()
        self.held.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.requests += 1
        self.headers.append(dict(request.headers))
        self.held.wait(DEADLINE_S)
        if self.status == 200:
            self._spans(body) if request.path == "/v1/traces" else self._metrics(body)
        with suppress(OSError):  # whoever asked has given up
            request.send_response(self.status)
            request.send_header("Content-Length", "0")
            request.end_headers()

    def _spans(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = plain(group.resource.attributes)
            self.spans += [Arrived(span, resource) for scope in group.scope_spans for span in scope.spans]

    def _metrics(self, body: bytes) -> None:
        for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
                self.units[metric.name] = metric.unit
                self.metrics[metric.name] = list(getattr(metric, metric.WhichOneof("data")).data_points)

    def named(self, name: str) -> list[Arrived]:
        return [span for span in self.spans if span.name == name]

    def close(self) -> None:
        self.held.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE_S)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that takes everything."""
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def attributes_of() -> Callable[[Any], dict[str, Any]]:
    """Attributes of a data point as a dict."""
    return lambda point: plain(point.attributes)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the machine says of OpenTelemetry has a part in a test."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


MODULE = """
import os, time
from opentelemetry import trace

def here(item=None):
    return place(trace.get_current_span())

def place(span):
    context = span.get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"

async def here_async(item=None):
    return here()

def with_own_spans(url):
    "Does what instrumented code does: makes a span, and has its own SDK send it."
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=url + "/v1/traces")))
    with provider.get_tracer("user").start_as_current_span("query"):
        result = here()
    provider.shutdown()
    return result

def fail(item=None):
    raise ValueError("no such page")

def die(item=None):
    os._exit(7)

def sleep(item=None):
    time.sleep(60)
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:  # Any: a module made here
    """Functions that workers can import."""
    name = f"traced_work_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module(name)
    del sys.modules[name]


@pytest.fixture
def span_of_ours() -> Callable[[bool], AbstractContextManager[SpanContext]]:
    """A span of the caller's, which is the current one inside."""

    @contextmanager
    def caller(sampled: bool = True) -> Iterator[SpanContext]:
        context = SpanContext(secrets.randbits(127) + 1, secrets.randbits(63) + 1, False, TraceFlags(sampled))
        token = attach(set_span_in_context(NonRecordingSpan(context)))
        yield context
        detach(token)

    return caller
