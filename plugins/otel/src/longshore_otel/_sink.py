"""The sink: it opens what sends, hands events on to what makes spans and metrics, and ends it all within a time."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from longshore.errors import PluginError
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, RunSummary, SpanRules

from longshore_otel._results import ENDS, OF_SPANS
from longshore_otel._settings import OtelSettings, Wishes

if TYPE_CHECKING:
    # Fifty milliseconds and more, with the SDK: for runs that are told of, not for who only looks at the sink.
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter

    from longshore_otel._export import Outbox
    from longshore_otel._meters import Meters
    from longshore_otel._spans import SpanMaker

_log = logging.getLogger("longshore.otel")


class OtelSink:
    """Makes a span of the run and of each task in it, and metrics, and sends them by OTLP.

    A task's span is the child of the span it was submitted in, and the parent of those that its own code makes, in
    whatever process. Sending is done by the SDK's own threads; nothing of it is begun before the run is opened, and
    its end waits no longer than `close_s` for it. What was not sent is counted, and told: `close` raises PluginError.
    """

    api: int = 1
    Settings = OtelSettings

    def __init__(
        self,
        settings: OtelSettings | None = None,
        *,
        span_exporter: SpanExporter | None = None,
        metric_exporter: MetricExporter | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Keep the settings; exporters of your own take the place of OTLP's, and are shut down at the run's end."""
        self._wishes = Wishes(settings or OtelSettings(), environ)
        self._given = span_exporter, metric_exporter
        self._outbox: Outbox | None = None
        self._spans: SpanMaker | None = None
        self._meters: Meters | None = None

    @property
    def span_rules(self) -> SpanRules | None:
        """How the spans of tasks are to be placed; None where none are made."""
        return self._wishes.rules if self._wishes.traces else None

    @property
    def event_types(self) -> frozenset[str]:
        """The events that are of use."""
        none: frozenset[str] = frozenset()
        return (OF_SPANS if self._wishes.traces else none) | (ENDS if self._wishes.metrics else none)

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Begin; raises PluginError where the exporter is not installed."""
        from longshore_otel._export import Outbox, otlp_metrics, otlp_spans
        from longshore_otel._meters import Meters
        from longshore_otel._spans import SpanMaker

        wishes, (spans, metrics) = self._wishes, self._given
        settings, resource = wishes.settings, self._resource()
        if wishes.other_protocol is not None and None in self._given:
            _log.warning("OTEL_EXPORTER_OTLP_PROTOCOL is %s: the sink speaks http/protobuf only", wishes.other_protocol)
        if wishes.traces and run.spans is not None:
            self._outbox = Outbox(spans or otlp_spans(wishes), settings.max_waiting)
            self._spans = SpanMaker(run, run.spans, self._outbox, resource, settings.max_spans)
        if wishes.metrics:
            exporter = metrics or otlp_metrics(wishes)
            self._meters = Meters(run, exporter, resource, settings.metrics_interval_s, settings.close_s)

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Make spans and measure; sends nothing by itself."""
        if self._spans is not None:
            self._spans.take(batch)
        if self._meters is not None:
            self._meters.take(batch)

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Make the span of the run, and send what is left, within the time for that; raises PluginError for losses."""
        from longshore_otel._export import within

        if self._spans is not None:
            self._spans.finish(summary, time.time_ns())
        ends = [part for part in (self._outbox, self._meters) if part is not None]
        calls: list[Callable[[], object]] = [part.shutdown for part in ends]
        if not within(self._wishes.settings.close_s, calls):
            within(0.1, [part.abandon for part in ends])
        losses = self._losses()
        if losses:
            told = f"{'; '.join(losses)}: is there a collector at {self._wishes.collector}?"
            _log.warning("%s", told)  # for the summary that other sinks are closed with this comes too late
            raise PluginError(told)

    def _losses(self) -> list[str]:
        losses = []
        if self._outbox is not None and self._outbox.lost:
            losses.append(f"{self._outbox.lost} of {self._outbox.made} spans were not sent")
            if self._outbox.refused:
                losses[-1] += f", {self._outbox.refused} of them since {self._wishes.settings.max_waiting} waited"
        if self._meters is not None and self._meters.failed:
            losses.append(f"metrics could not be sent {self._meters.failed} times")
        if self._spans is not None and self._spans.passed_over:
            _log.warning(
                "%d tasks have no span: max_spans is %d", self._spans.passed_over, self._wishes.settings.max_spans
            )
        return losses

    def _resource(self) -> Resource:
        from opentelemetry.sdk.resources import Resource

        own: dict[str, str | int] = {"host.name": socket.gethostname(), "process.pid": os.getpid()}
        service = self._wishes.settings.service_name
        if service is not None or not self._wishes.names_service:
            own["service.name"] = service or "longshore"
        return Resource.create(own)
