"""What a user may say: the sink's own table, and what OpenTelemetry's variables of the environment say beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from longshore.records import SpanRules
from pydantic import BaseModel, ConfigDict, Field


class OtelSettings(BaseModel):
    """The table `[tool.longshore.sinks.otel]`; what is left out is as OTEL_* says, and else as OpenTelemetry has it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    endpoint: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """The collector, such as "http://localhost:4318": spans go to /v1/traces below it, metrics to /v1/metrics."""
    protocol: Literal["http/protobuf"] = "http/protobuf"
    """The only one there is."""
    traces: bool = True
    """Whether spans are made."""
    metrics: bool = True
    """Whether metrics are measured."""
    ratio: float | None = Field(default=None, ge=0.0, le=1.0)
    """Of the traces that begin with a run or a task of it, the part that is recorded."""
    max_children: int = Field(default=1_000, ge=0)
    """So many tasks are in the run's trace; each later one has a trace of its own, linked to the run's span."""
    max_spans: int = Field(default=100_000, ge=1)
    """Tasks of a run whose spans are made; further ones are counted."""
    max_waiting: int = Field(default=20_000, ge=1)
    """Spans that wait to be sent; those that find no place are dropped and counted."""
    metrics_interval_s: float | None = Field(default=None, gt=0.0)
    """How often metrics are sent while the run goes on; they are sent at its end as well."""
    close_s: float = Field(default=2.0, gt=0.0, le=4.0)
    """How long the end of the run waits for what is still to be sent."""
    service_name: str | None = None
    """What sends it; "longshore" where the environment does not say it either."""


_RATIOS = {"always_on": 1.0, "parentbased_always_on": 1.0, "always_off": 0.0, "parentbased_always_off": 0.0}
_BY_RATIO = ("traceidratio", "parentbased_traceidratio")


class Wishes:
    """The settings and the environment, put together."""

    def __init__(self, settings: OtelSettings, environ: Mapping[str, str]) -> None:
        """Put them together; settings come first, but who switches all off in the environment means it."""
        self.settings = settings
        self._environ = environ
        off = self._said("OTEL_SDK_DISABLED") == "true"
        self.traces = settings.traces and not off and self._said("OTEL_TRACES_EXPORTER") != "none"
        self.metrics = settings.metrics and not off and self._said("OTEL_METRICS_EXPORTER") != "none"

    @property
    def rules(self) -> SpanRules:
        """How the spans of tasks are placed."""
        return SpanRules(most_children=self.settings.max_children, ratio=self._ratio())

    @property
    def names_service(self) -> bool:
        """Whether the environment says what sends."""
        resource = self._environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        return bool(self._said("OTEL_SERVICE_NAME")) or "service.name=" in resource.replace(" ", "")

    @property
    def other_protocol(self) -> str | None:
        """The protocol that the environment asks for, if it is none of ours."""
        said = self._said("OTEL_EXPORTER_OTLP_PROTOCOL")
        return said if said and said != self.settings.protocol else None

    @property
    def collector(self) -> str:
        """Where it is sent to, for people."""
        said = self._environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        return self.settings.endpoint or said or "http://localhost:4318"

    def url(self, signal: str) -> str | None:
        """Return where "traces" or "metrics" go; None leaves it to the exporter, which looks at the environment."""
        base = self.settings.endpoint
        return f"{base.rstrip('/')}/v1/{signal}" if base is not None else None

    def _ratio(self) -> float:
        if self.settings.ratio is not None:
            return self.settings.ratio
        sampler = self._said("OTEL_TRACES_SAMPLER")
        if sampler not in _BY_RATIO:
            return _RATIOS.get(sampler, 1.0)
        try:
            return min(1.0, max(0.0, float(self._said("OTEL_TRACES_SAMPLER_ARG"))))
        except ValueError:
            return 1.0

    def _said(self, variable: str) -> str:
        return self._environ.get(variable, "").strip().lower()
