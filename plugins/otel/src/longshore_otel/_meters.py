"""Metrics: ends of tasks are counted as they come; what is there now is read from snapshots as it is sent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from longshore.events import AnyEvent
from longshore.records import RunInfo, Usage, WorkerStatus
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from longshore_otel._results import ENDS, error_type, result_of
from longshore_otel._text import Names

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_STATES = {WorkerStatus.IDLE: "available", WorkerStatus.BUSY: "busy"}
_MB = 1_000_000
_LOOK_S = 1.0
_Observations = Iterable[Observation]


class CountedMetrics(MetricExporter):
    """An exporter of metrics, and how often it failed."""

    def __init__(self, exporter: MetricExporter) -> None:
        """Count what becomes of what `exporter` is given."""
        # The SDK's reader asks an exporter for these two by the same names.
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)
        self._exporter = exporter
        self.failed = 0
        self._is_over = False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Send some; on the reader's thread. Any: as the SDK has it."""
        result = MetricExportResult.FAILURE
        try:
            result = self._exporter.export(metrics_data, timeout_millis, **kwargs)
        finally:
            self.failed += result is not MetricExportResult.SUCCESS
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Send what is held back."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Give up what is being tried; a second time does nothing. Any: as the SDK has it."""
        if not self._is_over:
            self._is_over = True
            self._exporter.shutdown(timeout_millis, **kwargs)


class Meters:
    """Measures one run."""

    def __init__(
        self, run: RunInfo, exporter: MetricExporter, resource: Resource, interval_s: float | None, close_s: float
    ) -> None:
        """Begin to measure, and to send every `interval_s`, on the SDK's own thread."""
        self._run, self._close_s = run, close_s
        self._exporter = CountedMetrics(exporter)
        self._reader = PeriodicExportingMetricReader(self._exporter, interval_s * 1000 if interval_s else None)
        self._provider = MeterProvider([self._reader], resource, shutdown_on_exit=False)
        self._stages, self._errors = Names(), Names()
        self._seen: Sequence[Observation] = ()  # the workers, as they were while the run told of something
        self._looked = -_LOOK_S
        self._counted = False  # whether workers were measured while there were any
        meter = self._provider.get_meter("longshore")
        self._duration = meter.create_histogram(
            "longshore.task.duration",
            "s",
            "How long the last attempt of a task ran",
            explicit_bucket_boundaries_advisory=_BUCKETS_S,
        )
        self._observe(meter)

    def take(self, batch: Sequence[AnyEvent]) -> None:
        """Take some events, of whatever types."""
        self._look()
        for event in batch:
            self._take(event)

    def _look(self) -> None:
        """See what workers there are, until they have been measured: a short run is measured once it has none."""
        now = time.monotonic()
        if not self._counted and (not self._seen or now - self._looked >= _LOOK_S):
            self._looked = now
            with suppress(Exception):  # a pool that is just ending may have nobody to ask
                self._seen = self._counts() or self._seen

    def _take(self, event: AnyEvent) -> None:
        if event.type in ENDS and not event.data.get("restored"):
            self._end(event.data)

    @property
    def failed(self) -> int:
        """How often sending failed."""
        return self._exporter.failed

    def shutdown(self) -> None:
        """Send once more, and end."""
        self._provider.shutdown(self._close_s * 1000)

    def abandon(self) -> None:
        """Have the exporter give up; from any thread."""
        self._exporter.shutdown()

    def _end(self, data: dict[str, Any]) -> None:  # Any: the data of an event
        result = result_of(data)
        error = error_type(data, result)
        attributes = {
            "longshore.pipeline.name": self._run.name,
            "longshore.stage.name": self._stages.of(data["name"]),
            "longshore.backend.name": data["executor"],
            "longshore.task.result": result,
            **({"error.type": self._errors.of(error)} if error is not None else {}),
        }
        self._duration.record(data.get("duration_s", 0.0), attributes)

    def _observe(self, meter: Meter) -> None:
        task, one = "{task}", "1"
        meter.create_observable_up_down_counter("longshore.task.active", [self._active], task, "Tasks that run")
        meter.create_observable_up_down_counter("longshore.task.queued", [self._queued], task, "Tasks that wait")
        meter.create_observable_up_down_counter(
            "longshore.worker.count", [self._worker_counts], "{worker}", "Workers, by what they do"
        )
        meter.create_observable_counter(
            "longshore.throttle.time", [self._throttled], "s", "How long tasks waited since the machine was short"
        )
        meter.create_observable_gauge(
            "longshore.resource.utilization", [self._used], one, "What is used of what there is of a resource"
        )
        meter.create_observable_gauge("longshore.resource.io", [self._moved], "By/s", "Bytes that the machine moves")
        meter.create_observable_gauge("hw.gpu.utilization", [self._gpus], one, "How busy a GPU is")
        meter.create_observable_gauge("hw.gpu.memory.usage", [self._gpu_memory], "By", "Memory of a GPU in use")
        meter.create_observable_gauge("hw.gpu.memory.limit", [self._gpu_limits], "By", "Memory of a GPU")

    # ---- read by the SDK's thread

    def _active(self, _: CallbackOptions) -> _Observations:
        return self._by_stage("running")

    def _queued(self, _: CallbackOptions) -> _Observations:
        return self._by_stage("queued")

    def _by_stage(self, count: str) -> Sequence[Observation]:
        counts: Counter[tuple[str, str]] = Counter()
        for stage in self._run.snapshot().stages:
            counts[self._stages.of(stage.name), stage.executor] += getattr(stage, count)
        return [
            Observation(number, {"longshore.stage.name": name, "longshore.backend.name": executor})
            for (name, executor), number in counts.items()
        ]

    def _worker_counts(self, _: CallbackOptions) -> _Observations:
        """Return the workers there are; of a run that was over before they were measured, those that it had."""
        now = self._counts()
        told = now if now or self._counted else self._seen
        self._counted = self._counted or bool(told)
        return told

    def _counts(self) -> Sequence[Observation]:
        counts = Counter(
            (worker.executor, _STATES.get(worker.status, "offline"))
            for worker in self._run.workers()
            if worker.status is not WorkerStatus.STOPPED
        )
        return [
            Observation(number, {"longshore.backend.name": executor, "longshore.worker.state": state})
            for (executor, state), number in counts.items()
        ]

    def _throttled(self, _: CallbackOptions) -> _Observations:
        short_s = self._run.stats().throttled_s
        return [Observation(seconds, {"longshore.throttle.reason": reason}) for reason, seconds in short_s.items()]

    def _usage(self, prefix: str) -> list[tuple[str, Usage]]:
        """Return the use of those resources whose key begins so, with what follows in it."""
        usage = self._run.snapshot().usage
        return [(key.removeprefix(prefix), one) for key, one in usage.items() if key.startswith(prefix)]

    def _used(self, _: CallbackOptions) -> _Observations:
        named = [(key, one) for key, one in self._usage("") if key in ("cpu", "memory") and one.capacity]
        return [Observation(one.used / (one.capacity or 1.0), {"longshore.resource.name": key}) for key, one in named]

    def _moved(self, _: CallbackOptions) -> _Observations:
        moved = [(key, one) for key, one in self._usage("") if key.partition(".")[0] in ("disk_io", "network_io")]
        return [Observation(one.used * _MB, {"longshore.resource.name": key}) for key, one in moved]

    def _gpus(self, _: CallbackOptions) -> _Observations:
        return [Observation(one.used / 100.0, {"hw.id": key}) for key, one in self._usage("gpu.")]

    def _gpu_memory(self, _: CallbackOptions) -> _Observations:
        return [Observation(one.used * _MB, {"hw.id": key}) for key, one in self._usage("gpu_memory.")]

    def _gpu_limits(self, _: CallbackOptions) -> _Observations:
        limits = [(key, one.capacity) for key, one in self._usage("gpu_memory.")]
        return [Observation(capacity * _MB, {"hw.id": key}) for key, capacity in limits if capacity]
