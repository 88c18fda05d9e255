"""longshore-otel: the sink `otel`, a span of the run and of each task, and metrics, by OpenTelemetry."""

from longshore_otel._sink import OtelSink

__all__ = ["OtelSink"]
