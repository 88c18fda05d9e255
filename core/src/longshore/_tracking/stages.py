"""Counts by stage (tasks of one name on one executor), and failures that are alike.

Written by the fold as batches come, read by the snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence

from longshore._tracking.rate import RateRing
from longshore.records import FailureGroup, StageSnapshot
from longshore.task import ErrorRecord, Outcome, TaskSpec, TaskState

STAGES_MOST = 1000
GROUPS_MOST = 100
RETRY_TYPES_MOST = 100
LABELS_MOST = 5
"""Inputs that are named of each kind of failure."""
OTHER = "(other)"
"""Where the counts go once there are too many names, or too many kinds of failure, to tell apart."""


class Stage:
    """What the fold counts of one stage; what runs or waits to be retried is counted elsewhere, by task."""

    __slots__ = (
        "cancelled",
        "completed",
        "executor",
        "failed",
        "name",
        "rate",
        "retries",
        "run_s",
        "submitted",
        "timed_out",
        "wait_s",
    )

    def __init__(self, name: str, executor: str) -> None:
        """Begin at nothing."""
        self.name = name
        self.executor = executor
        self.submitted = self.completed = self.failed = self.timed_out = self.cancelled = 0
        self.wait_s = self.run_s = 0.0
        self.rate: RateRing | None = None  # of those that ended, since the first of them started
        self.retries: dict[str, int] = {}

    def ended(self, count: int, since: float, now: float) -> None:
        """Count `count` ends at `now`, of which the first started at `since`."""
        if self.rate is None:
            self.rate = RateRing(since)
        self.rate.add(count, now)

    def tried(self, outcome: Outcome) -> None:
        """Count an attempt that is followed by another."""
        kind = outcome.error.type if outcome.error is not None else outcome.state.value
        if kind not in self.retries and len(self.retries) >= RETRY_TYPES_MOST:
            kind = OTHER
        self.retries[kind] = self.retries.get(kind, 0) + 1

    def snapshot(self, running: int, retrying: int, now: float | None = None) -> StageSnapshot:
        """Return the counts; what is in no other state is queued, so they always add up to `submitted`.

        Without `now` there is no rate.
        """
        # A reader on another thread may see a batch half folded. Each count is read once, and `submitted`, which comes
        # first in a task's life, last; what is left over is running before it is queued, so that no count is negative.
        completed, failed, timed_out, cancelled = self.completed, self.failed, self.timed_out, self.cancelled
        submitted = self.submitted
        left = submitted - completed - failed - cancelled
        running = max(0, min(running, left))
        retrying = max(0, min(retrying, left - running))
        return StageSnapshot(
            name=self.name,
            executor=self.executor,
            submitted=submitted,
            queued=left - running - retrying,
            running=running,
            retrying=retrying,
            completed=completed,
            failed=failed,
            timed_out=timed_out,
            cancelled=cancelled,
            mean_s=self.run_s / completed if completed else None,
            rate_per_s=self.rate.per_second(now) if self.rate is not None and now is not None else 0.0,
            retries=self.retries.copy(),
        )


class StageBook:
    """The stages of a run, in the order they were first seen; names past the limit share one stage."""

    __slots__ = ("_last", "_last_spec", "_stages")

    def __init__(self) -> None:
        """Begin with none."""
        self._stages: dict[tuple[str, str], Stage] = {}
        self._last_spec: TaskSpec | None = None
        self._last: Stage | None = None

    def __len__(self) -> int:
        """Return how many stages there are."""
        return len(self._stages)

    def of(self, spec: TaskSpec) -> Stage:
        """Return the stage that tasks of `spec` belong to, made on first sight; for the fold's thread."""
        if spec is self._last_spec and self._last is not None:
            return self._last
        stage = self._stages.get((spec.name, spec.executor)) or self._add(spec)
        self._last_spec, self._last = spec, stage
        return stage

    def find(self, spec: TaskSpec) -> Stage:
        """Return the stage of a spec that `of` has seen; may be called from any thread."""
        return self._stages.get((spec.name, spec.executor)) or self._stages[OTHER, OTHER]

    def all(self) -> Sequence[Stage]:
        """Return the stages, first seen first."""
        return list(self._stages.values())

    def _add(self, spec: TaskSpec) -> Stage:
        key = (spec.name, spec.executor) if len(self._stages) < STAGES_MOST else (OTHER, OTHER)
        return self._stages.setdefault(key, Stage(*key))


class _Group:
    __slots__ = ("count", "kind", "labels", "message", "reason")

    def __init__(self, kind: str, message: str, reason: str | None) -> None:
        self.kind = kind
        self.message = message
        self.reason = reason
        self.count = 0
        self.labels: list[str] = []


class FailureBook:
    """Failures grouped by their fingerprint; kinds past the limit share one group, so none goes uncounted."""

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        """Begin with none."""
        self._groups: dict[str, _Group] = {}

    def add(self, outcome: Outcome) -> None:
        """Count one failed task."""
        error = outcome.error or ErrorRecord(type=outcome.state.value, message="")
        fingerprint = error.fingerprint
        group = self._groups.get(fingerprint)
        if group is None:
            made = _Group(error.type, error.message, error.reason)
            if len(self._groups) >= GROUPS_MOST:
                fingerprint, made = "", _Group(OTHER, error.message, None)
            group = self._groups.setdefault(fingerprint, made)
        group.count += 1
        if len(group.labels) < LABELS_MOST:
            group.labels.append(outcome.key or outcome.task_id)

    def snapshot(self) -> list[FailureGroup]:
        """Return the groups, the most frequent first."""
        groups = [
            FailureGroup(
                type=group.kind,
                message=group.message,
                reason=group.reason,
                count=group.count,
                labels=tuple(group.labels),
                fingerprint=fingerprint,
            )
            for fingerprint, group in list(self._groups.items())
        ]
        return sorted(groups, key=lambda group: -group.count)


def settle(stage: Stage, failures: FailureBook, outcomes: Sequence[Outcome]) -> None:
    """Count outcomes that did not complete."""
    for outcome in outcomes:
        if outcome.state is TaskState.CANCELLED:
            stage.cancelled += 1
            continue
        stage.failed += 1
        stage.timed_out += outcome.state is TaskState.TIMED_OUT
        stage.wait_s += outcome.queued_s
        failures.add(outcome)
