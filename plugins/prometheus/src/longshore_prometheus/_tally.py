"""The tally of a run: ends of tasks come in on the sink's thread, counts and histograms are read from any other.

Totals come from ends alone, which the pool never drops for a sink that is late; what is under way is read elsewhere.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from longshore.events import AnyEvent, TaskCancelled, TaskCompleted, TaskFailed, TaskProgress

from longshore_prometheus._labels import Labels

RESULTS: Final = ("success", "failure", "error", "timeout", "cancellation")
"""How a task ended, in the words that OpenTelemetry has for runs of CI pipelines."""
_OURS: Final = frozenset(
    f"longshore.errors.{name}"
    for name in (
        *("WorkerDied", "WorkerNotReady", "MemoryLimitExceeded", "PoisonTask", "OutcomeUnknown"),
        *("ResourceUnavailable", "PayloadError", "PluginError", "PoolNotRunning", "JournalError", "SettingsError"),
    )
)
"""Errors that say what became of a task's worker, place or payload, where others are what its own code raised."""
_REASONS_MOST = 32

Ended = TaskCompleted | TaskFailed | TaskCancelled
_ENDS: Final = (TaskCompleted, TaskFailed, TaskCancelled)  # in a third of the time that the union takes to ask


class Histogram:
    """Observations counted by upper bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Count in these buckets, and one more for what is above."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation; what is below 0 counts as 0."""
        if value < 0.0:
            value = 0.0
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copy(self) -> Histogram:
        """Return one of its own with the same counts."""
        other = Histogram(self.bounds)
        other.counts, other.total = self.counts.copy(), self.total
        return other


class StageTally(NamedTuple):
    """What is counted of the tasks of one name; cancelled ones are in `results` only."""

    results: Counter[str]
    ran: Histogram
    waited: Histogram

    def copy(self) -> StageTally:
        """Return one of its own with the same counts."""
        return StageTally(self.results.copy(), self.ran.copy(), self.waited.copy())


class Totals(NamedTuple):
    """The tally at one moment."""

    stages: Mapping[str, StageTally]
    restarts: Mapping[str, int]
    """By reason."""
    moved_at: float | None
    """When a task last ended or said how far it is, in seconds since 1970; None where none did."""


class Tally:
    """Counts one run; `fold` on one thread, `read` on any."""

    def __init__(self, bounds_s: Sequence[float], stages: Labels) -> None:
        """Begin at nothing; names of tasks become values of `stages`."""
        self._bounds_s = bounds_s
        self._names = stages
        self._reasons = Labels(_REASONS_MOST)
        self._lock = threading.Lock()
        self._stages: dict[str, StageTally] = {}
        self._restarts: Counter[str] = Counter()
        self._moved_at: float | None = None
        self._last_name = ""
        self._last: StageTally | None = None

    def fold(self, batch: Sequence[AnyEvent]) -> None:
        """Count what is in a batch; what is neither an end, progress nor the end of a worker is passed over."""
        moving: AnyEvent | None = None
        with self._lock:
            for event in batch:
                if isinstance(event, _ENDS):
                    self._end(event)
                    moving = event
                elif isinstance(event, TaskProgress):
                    moving = event
                elif event.type == "worker_error":
                    self._restart(event)
            if moving is not None:
                self._moved_at = moving.at.timestamp()

    def read(self) -> Totals:
        """Return what was counted so far: whole batches, so that all of it fits together."""
        with self._lock:
            stages = {name: stage.copy() for name, stage in self._stages.items()}
            return Totals(stages, dict(self._restarts), self._moved_at)

    def _end(self, event: Ended) -> None:
        if event.name != self._last_name or self._last is None:
            self._last_name, self._last = event.name, self._stage(self._names.of(event.name))
        stage = self._last
        result = "success" if type(event) is TaskCompleted else result_of(event)
        stage.results[result] += 1
        if result != "cancellation":
            stage.ran.observe(event.duration_s)
            stage.waited.observe(event.wait_s)

    def _stage(self, name: str) -> StageTally:
        stage = self._stages.get(name)
        if stage is None:
            stage = StageTally(Counter(), Histogram(self._bounds_s), Histogram(self._bounds_s))
            self._stages[name] = stage
        return stage

    def _restart(self, event: AnyEvent) -> None:
        reason = restarted_for(event.data)
        if reason is not None:
            self._restarts[self._reasons.of(reason)] += 1


def result_of(event: Ended) -> str:
    """Return the result of a task that has ended, one of RESULTS."""
    if isinstance(event, TaskCompleted):
        return "success"
    if isinstance(event, TaskCancelled):
        return "cancellation"
    if event.state == "timed_out":
        return "timeout"
    return "error" if event.error in _OURS else "failure"


def restarted_for(data: Mapping[str, object]) -> str | None:
    """Return in a word why a worker was replaced; None where it never began, or none takes its place."""
    reason = data.get("reason")
    if reason == "start_failed" or data.get("killed_for") == "stop":
        return None
    for known in (data.get("killed_for"), reason):
        if known:
            return str(known)
    if data.get("left_behind") or data.get("abandoned_threads"):
        return "left_behind"
    if data.get("signal") is not None:
        return "signal"
    return "exit" if data.get("exit_code") is not None else "unknown"
