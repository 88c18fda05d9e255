"""What sends: the SDK's exporters, counted, and their end within a limit of time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from longshore.errors import PluginError
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from longshore_otel._settings import Wishes

_BATCH_SPANS = 512
_MISSING = "sending needs OpenTelemetry's exporter for OTLP over HTTP: pip install 'longshore-otel[otlp]'"


def otlp_spans(wishes: Wishes) -> SpanExporter:
    """Return what sends spans; it connects when there are some. PluginError if it is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise PluginError(_MISSING) from error
    return OTLPSpanExporter(endpoint=wishes.url("traces"))


def otlp_metrics(wishes: Wishes) -> MetricExporter:
    """Return what sends metrics; as above."""
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ImportError as error:
        raise PluginError(_MISSING) from error
    return OTLPMetricExporter(endpoint=wishes.url("metrics"))


class CountedExporter(SpanExporter):
    """An exporter, and how many spans it has taken."""

    def __init__(self, exporter: SpanExporter) -> None:
        """Count what `exporter` takes."""
        self._exporter = exporter
        self.sent = self.failed = 0
        self._is_over = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send some; on the batch processor's thread."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            if result is SpanExportResult.SUCCESS:
                self.sent += len(spans)
            else:
                self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """Give up what is being tried; a second time does nothing."""
        if not self._is_over:
            self._is_over = True
            self._exporter.shutdown()


class Outbox(SpanProcessor):
    """Spans on their way: at most `most` wait for the SDK's own thread to send them; what is too much is counted."""

    def __init__(self, exporter: SpanExporter, most: int) -> None:
        """Begin to send."""
        self._exporter = CountedExporter(exporter)
        self._most = most
        self._batches = BatchSpanProcessor(
            self._exporter, max_queue_size=most, max_export_batch_size=min(_BATCH_SPANS, most)
        )
        self._taken = self.refused = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span, unless too many wait."""
        if self._taken - self._exporter.sent - self._exporter.failed >= self._most:
            self.refused += 1
        else:
            self._taken += 1
            self._batches.on_end(span)

    @property
    def made(self) -> int:
        """How many spans were to be sent."""
        return self._taken + self.refused

    @property
    def lost(self) -> int:
        """How many of them did not arrive, as far as is known now."""
        return self.made - self._exporter.sent

    def shutdown(self) -> None:
        """Send what waits; may take as long as the exporter likes."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped

    def abandon(self) -> None:
        """Have the exporter give up; from any thread."""
        self._exporter.shutdown()


def within(limit_s: float, calls: Sequence[Callable[[], object]]) -> bool:
    """Make the calls side by side and wait for them no longer than `limit_s`; return whether all have returned.

    One that has not goes on, on a thread that does not keep the interpreter from its end.
    """
    deadline = time.monotonic() + limit_s
    threads = [threading.Thread(target=call, name="longshore-otel-close", daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
