"""The metrics: figures of a run come in, families of samples go out, for `prometheus_client` to write."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Final, TypeVar

from longshore.records import Load, RunSnapshot, StageSnapshot, WorkerStats, WorkerStatus
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from longshore_prometheus._figures import Figures, RunFigures
from longshore_prometheus._labels import Labels, cleaned
from longshore_prometheus._tally import RESULTS, Histogram, StageTally

_STATES: Final = tuple(status for status in WorkerStatus if status is not WorkerStatus.STOPPED)
_MB: Final = 1e6
_NAMES_MOST: Final = 64
"""Executors, error types, resources and sinks that are told apart, of each."""
_WORKERS_MOST: Final = 1024
_PRESSURE: Final = "pressure."  # what a task waited for, in percent of time: no resource
K = TypeVar("K", bound=Sequence[str])
_PRIORITIES: Final = ("CRITICAL", "HIGH", "NORMAL", "LOW", "BACKGROUND")


class RunCollector:
    """Gives the metrics of one run, in the order of the README; `collect` may be called from any thread."""

    def __init__(self, figures: RunFigures, stages: Labels, *, worker_memory: bool = False) -> None:
        """Take the figures, the values that `stage` may have, and whether each worker's memory is told."""
        self._figures = figures
        self._stages = stages
        self._errors, self._executors = Labels(_NAMES_MOST), Labels(_NAMES_MOST)
        self._resources, self._sinks = Labels(_NAMES_MOST), Labels(_NAMES_MOST)
        self._worker_memory = worker_memory
        self._build = {"version": version("longshore-core"), "python": platform.python_version()}

    def collect(self) -> Iterator[Metric]:
        """Yield each metric, with all its samples."""
        figures = self._figures.read()
        yield from self._tasks(figures)
        yield from self._workers(figures)
        yield from self._machine(figures)
        yield from self._run(figures)

    # ---- tasks

    def _tasks(self, figures: Figures) -> Iterator[Metric]:
        tallies, stages = figures.totals.stages, self._by_stage(figures.snapshot)
        results = {
            (name, result): count
            for name in dict.fromkeys([*stages, *tallies])
            for result, count in _results(tallies.get(name), stages.get(name, ()), over=figures.over).items()
        }
        yield _counter("tasks", "Tasks that ended, by result.", ("stage", "result"), results)
        ran = {name: tally.ran for name, tally in tallies.items()}
        yield _histogram("task_duration_seconds", "Run time of the last attempt of tasks that ended uncancelled.", ran)
        waited = {name: tally.waited for name, tally in tallies.items()}
        yield _histogram("task_queue_seconds", "Time those waited to be started, for their last attempt.", waited)
        for name, what, field in (
            ("tasks_in_progress", "Tasks that run now.", "running"),
            ("tasks_queued", "Tasks that wait to be started.", "queued"),
            ("tasks_retrying", "Tasks with a failed attempt that wait for their next one.", "retrying"),
        ):
            counts = {(stage,): sum(getattr(one, field) for one in parts) for stage, parts in stages.items()}
            yield _gauge(name, what, ("stage",), counts)
        yield self._queue_depth(figures)
        retries = _added(
            ((stage, self._errors.of(kind)), count)
            for stage, parts in stages.items()
            for part in parts
            for kind, count in part.retries.items()
        )
        yield _counter("task_retries", "Attempts that were followed by another.", ("stage", "error_type"), retries)

    def _by_stage(self, snapshot: RunSnapshot | None) -> Mapping[str, Sequence[StageSnapshot]]:
        """Return the stages by the value of their label: one name may be on several executors."""
        stages: defaultdict[str, list[StageSnapshot]] = defaultdict(list)
        for stage in snapshot.stages if snapshot is not None else ():
            stages[self._stages.of(stage.name)].append(stage)
        return stages

    def _queue_depth(self, figures: Figures) -> Metric:
        queue = figures.stats.queue
        known = {worker.executor for worker in figures.workers} | queue.keys()
        depths = _added(
            ((self._executors.of(executor), priority.lower()), queue.get(executor, {}).get(priority, 0))
            for executor in sorted(known)
            for priority in _PRIORITIES
        )
        return _gauge("queue_depth", "Tasks that wait, by executor and priority.", ("executor", "priority"), depths)

    # ---- workers

    def _workers(self, figures: Figures) -> Iterator[Metric]:
        backend_of = self._executors.of
        rows = [(backend_of(worker.executor or worker.worker_type), worker.status) for worker in figures.workers]
        counts = {(backend, str(state)): 0.0 for backend, _ in rows for state in _STATES}
        for backend, status in rows:
            if status in _STATES:
                counts[backend, str(status)] += 1
        yield _gauge("workers", "Workers, by executor and state.", ("backend", "state"), counts)
        restarts = {(reason,): count for reason, count in figures.totals.restarts.items()}
        yield _counter("worker_restarts", "Workers that ended and were replaced, by why.", ("reason",), restarts)
        if self._worker_memory:
            yield _memory(figures.workers)

    # ---- the machine

    def _machine(self, figures: Figures) -> Iterator[Metric]:
        snapshot = figures.snapshot
        usage, loads = (snapshot.usage, snapshot.loads) if snapshot is not None else ({}, {})
        ratios = {
            (self._resources.of(name),): one.used / one.capacity
            for name, one in sorted(usage.items())
            if one.capacity and not name.startswith(_PRESSURE)
        }
        yield _gauge("resource_usage_ratio", "Part of a resource that anybody uses.", ("resource",), ratios)
        loads = {name: load for name, load in loads.items() if not name.startswith(_PRESSURE)}
        limits = {(name,): load.limit / 100.0 for name, load in loads.items() if load.unit == "%" and load.limit <= 100}
        yield _gauge("resource_limit_ratio", "Part above which nothing new starts.", ("resource",), limits)
        sizes = {(name,): size for name in ("memory", "gpu_memory") if (size := _limit_bytes(loads.get(name)))}
        yield _gauge("resource_limit_bytes", "The same in bytes, of memory.", ("resource",), sizes)
        throttled = dict.fromkeys(loads, 0.0) | dict(figures.stats.throttled_s)
        reasons = _added(((self._resources.of(name),), seconds) for name, seconds in throttled.items())
        yield _counter(
            "throttled_seconds",
            "Time in which tasks waited as the machine was short.",
            ("reason",),
            reasons,
        )

    # ---- the run

    def _run(self, figures: Figures) -> Iterator[Metric]:
        snapshot, moved_at = figures.snapshot, figures.totals.moved_at
        left = {"low": snapshot.eta_low_s, "high": snapshot.eta_high_s} if snapshot is not None else {}
        bounds = {(bound,): seconds for bound, seconds in left.items() if seconds is not None}
        yield _gauge("eta_seconds", "Time left, between two bounds, where that can be told.", ("bound",), bounds)
        at = {(): self._figures.began_at if moved_at is None else moved_at}
        what = "When a task last ended or said how far it is; before that, when the run began."
        yield _gauge("last_progress_timestamp_seconds", what, (), at)
        sinks = snapshot.sinks if snapshot is not None else ()
        dropped = _added(((self._sinks.of(sink.name),), sink.dropped) for sink in sinks)
        yield _counter("sink_events_dropped", "Events that a sink was not told of.", ("sink",), dropped)
        yield InfoMetricFamily("longshore_build", "The versions of longshore-core and of Python.", self._build)


def _results(tally: StageTally | None, parts: Sequence[StageSnapshot], *, over: bool) -> dict[str, int]:
    """Return how many tasks of one name ended how.

    Where ends were dropped, past all that a mailbox holds, the run's own counts know of them. They do not tell an error
    from a failure, so that difference is made good once nothing more comes, or it might be taken back.
    """
    counts = {result: tally.results[result] if tally is not None else 0 for result in RESULTS}
    known = {
        "success": sum(part.completed for part in parts),
        "timeout": sum(part.timed_out for part in parts),
        "cancellation": sum(part.cancelled for part in parts),
    }
    counts |= {result: max(counts[result], count) for result, count in known.items()}
    if over:
        failed = sum(part.failed - part.timed_out for part in parts)
        counts["failure"] = max(counts["failure"], failed - counts["error"])
    return counts


def _counter(name: str, what: str, labels: Sequence[str], values: Mapping[K, float]) -> Metric:
    return _filled(CounterMetricFamily(f"longshore_{name}", what, labels=labels), values)


def _gauge(name: str, what: str, labels: Sequence[str], values: Mapping[K, float]) -> Metric:
    return _filled(GaugeMetricFamily(f"longshore_{name}", what, labels=labels), values)


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[K, float]
) -> CounterMetricFamily | GaugeMetricFamily:
    add: Callable[[Sequence[str], float], None] = family.add_metric
    for labels, value in values.items():
        add(labels, value)
    return family


def _histogram(name: str, what: str, histograms: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(f"longshore_{name}", what, labels=("stage",))
    for stage, histogram in histograms.items():
        reached = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
            reached += count
            buckets.append((bound, reached))
        family.add_metric((stage,), buckets, histogram.total)
    return family


def _memory(workers: Iterable[WorkerStats]) -> Metric:
    sizes = [(worker, worker.memory_mb) for worker in workers if worker.memory_mb is not None][:_WORKERS_MOST]
    values = _added(((cleaned(worker.worker_id),), memory_mb * _MB) for worker, memory_mb in sizes)
    return _gauge("worker_rss_bytes", "Memory of a worker process with all that descend from it.", ("worker",), values)


def _limit_bytes(load: Load | None) -> float | None:
    """Return above how many bytes nothing new starts; None where there is no such bound."""
    return load.lendable * _MB if load is not None and load.lendable else None


def _added(values: Iterable[tuple[tuple[str, ...], float]]) -> dict[tuple[str, ...], float]:
    """Return values by labels, those of the same labels added up."""
    added: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for labels, value in values:
        added[labels] += value
    return added
