"""The fold of a run: event batches in, counts and a snapshot of the run out; called by the pool on its loop.

Counting costs about 0.13 us a task for being submitted, started and settled together: what can be had from a
batch's length or from the snapshot, which is taken four times a second, is not counted per task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, assert_never

from longshore._columns import ids_of, not_completed, queued_s, ran_s
from longshore._sketch import Sketch
from longshore._tracking.eta import AGES_MOST, remaining_s
from longshore._tracking.foreseen import Foreseen, Left
from longshore._tracking.rate import RateRing
from longshore._tracking.running import RunningTasks
from longshore._tracking.stages import FailureBook, Stage, StageBook, settle
from longshore.events import (
    EventBatch,
    Happened,
    ProgressUpdate,
    TaskRetrying,
    TasksProgressed,
    TasksSettled,
    TasksStarted,
    TasksSubmitted,
)
from longshore.records import (
    Alert,
    Load,
    RunInfo,
    RunningTask,
    RunSnapshot,
    SinkHealth,
    StageSnapshot,
    TaskCounts,
    Usage,
)
from longshore.task import Attempt, Outcome, TaskSpec, TaskState

SLOWEST = 10
"""How many of the longest-running tasks a snapshot names."""
_READ_TRIES = 20
# Sketching a duration costs 0.5 us: after the first thousand tasks only about one in eight is looked at, and after ten
# thousand one in sixty-four.
_SAMPLED_ALL = 1000
_SAMPLED_MUCH = 10_000
_SAMPLE_EVERY, _SAMPLE_LATER = 8, 64
_COMPLETED = TaskState.COMPLETED  # looked up on the class it would cost 70 ns a task


class RunFold:
    """What is known of a run from its events alone; the same batches give the same snapshot.

    `fold` is called on one thread, in the order the batches happened. Everything else may be read from any thread
    at any time: it takes copies, tries again when a fold came between, and its counts always add up.
    """

    __slots__ = (
        "_began",
        "_ended",
        "_failures",
        "_folds",
        "_foreseen",
        "_moves",
        "_overdue",
        "_progress",
        "_rate",
        "_retried",
        "_retrying",
        "_running",
        "_sketch",
        "_stages",
        "_started_at",
        "_unsampled",
    )

    def __init__(self, began: float) -> None:
        """Begin a run at monotonic `began`."""
        self._began = began
        self._folds = 0
        self._moves = 0
        self._ended = 0
        self._unsampled = 0
        self._retried = 0
        self._started_at: float | None = None
        self._stages = StageBook()
        self._running = RunningTasks()
        self._retrying: dict[str, TaskSpec] = {}
        self._progress: dict[str, ProgressUpdate] = {}
        self._overdue: set[str] = set()
        self._failures = FailureBook()
        self._rate = RateRing(began)
        self._sketch = Sketch()
        self._foreseen: Foreseen | None = None

    def expect(self, seconds: Mapping[str, Mapping[str, float]], stages: int) -> None:
        """Have the estimate go by what tasks are expected to take: seconds by key and name, of so many names a key."""
        if self._foreseen is None:
            self._foreseen = Foreseen()
        self._foreseen.expect(seconds, stages)

    def forget(self, keys: Iterable[str]) -> None:
        """Expect nothing more of tasks with these keys."""
        if self._foreseen is not None:
            self._foreseen.forget(keys)

    def fold(self, batch: EventBatch, now: float) -> None:
        """Take in what happened at monotonic `now`; costs by the batch rather than by the task."""
        self._folds += 1
        match batch:
            case TasksSettled():
                self._settle(batch, now)
            case TasksStarted():
                self._start(batch.attempts, now)
            case TasksSubmitted():
                self._stages.of(batch.spec).submitted += len(batch.tasks)
            case TasksProgressed():
                self._advance(batch.updates)
            case TaskRetrying():
                self._retry(batch)
            case Happened():
                self._mark(batch)
            case _:
                assert_never(batch)
        self._folds += 1

    def _start(self, attempts: Sequence[Attempt], now: float) -> None:
        if self._started_at is None:
            self._started_at = now
            self._rate = RateRing(now)
        if self._retrying:
            for attempt in attempts:
                self._retrying.pop(attempt.task_id, None)
        self._running.start(attempts, now)
        self._moves += len(attempts)

    def _advance(self, updates: Sequence[ProgressUpdate]) -> None:
        self._moves += len(updates)
        for update in updates:
            attempt = self._running.get(update.task_id)
            if attempt is None or attempt.number != update.attempt:
                continue
            held = self._progress.get(update.task_id)
            if held is None or held.attempt != update.attempt or held.progress <= update.progress:
                self._progress[update.task_id] = update

    def _mark(self, batch: Happened) -> None:
        """Take note of a task that is overdue, if it runs; it may be told of as it ends."""
        attempt = self._running.get(str(batch.data.get("task_id"))) if batch.type == "task_overdue" else None
        if attempt is not None and attempt.number == batch.data.get("attempt"):
            self._overdue.add(attempt.task_id)

    def _retry(self, batch: TaskRetrying) -> None:
        task_id = batch.outcome.task_id
        self._running.end((batch.outcome,))
        self._progress.pop(task_id, None)
        self._overdue.discard(task_id)
        self._retrying[task_id] = batch.spec
        if self._foreseen is not None:
            self._foreseen.run(batch.outcome.ran_s)
        self._retried += 1
        self._stages.of(batch.spec).tried(batch.outcome)

    def _settle(self, batch: TasksSettled, now: float) -> None:
        outcomes, stage = batch.outcomes, self._stages.of(batch.spec)
        self._running.end(outcomes)
        others = not_completed(outcomes)
        done = [outcome for outcome in outcomes if outcome.state is _COMPLETED] if others else outcomes
        stage.completed += len(done)
        stage.run_s += ran_s(done)
        stage.wait_s += queued_s(done)
        if others:
            settle(stage, self._failures, others)
        if self._progress or self._retrying or self._overdue:
            self._forget(ids_of(outcomes))
        if self._foreseen is not None:
            self._foreseen.settle(batch.spec.name, outcomes)
        self._rate.add(len(outcomes), now)
        stage.ended(len(outcomes), now - outcomes[0].ran_s if outcomes else now, now)
        self._sample(outcomes)
        self._ended += len(outcomes)

    def _forget(self, ids: Sequence[str]) -> None:
        for task_id in ids:
            self._progress.pop(task_id, None)
            self._retrying.pop(task_id, None)
            self._overdue.discard(task_id)

    def _sample(self, outcomes: Sequence[Outcome]) -> None:
        count, every = len(outcomes), 1
        if self._ended >= _SAMPLED_ALL:
            every = _SAMPLE_EVERY if self._ended < _SAMPLED_MUCH else _SAMPLE_LATER
        self._unsampled += count
        if self._unsampled < every:
            return
        self._unsampled = 0
        for outcome in outcomes[::every]:
            if outcome.state is not TaskState.CANCELLED:
                self._sketch.add(outcome.ran_s)

    @property
    def mean_wait_s(self) -> float:
        """The mean seconds from queued to started, over tasks that ended uncancelled; 0.0 with none."""
        stages = self._stages.all()
        waited = sum(stage.completed + stage.failed for stage in stages)
        return sum(stage.wait_s for stage in stages) / waited if waited else 0.0

    @property
    def mean_run_s(self) -> float:
        """The mean seconds that completed tasks ran; 0.0 with none."""
        stages = self._stages.all()
        completed = sum(stage.completed for stage in stages)
        return sum(stage.run_s for stage in stages) / completed if completed else 0.0

    @property
    def retried(self) -> int:
        """How many attempts were followed by another."""
        return self._retried

    @property
    def moves(self) -> int:
        """Rises with every task that starts, ends, is to be retried or reports progress."""
        return self._moves + self._ended + self._retried

    def rate_per_s(self, now: float) -> float:
        """Return the ended tasks per second over the last seconds."""
        return self._rate.per_second(now)

    def counts(self) -> TaskCounts:
        """Return where the tasks are now."""
        return _total(self._read_stages())

    def snapshot(
        self,
        run: RunInfo,
        now: float,
        *,
        total: int | None = None,
        throttled: str | None = None,
        paused: bool = False,
        usage: Mapping[str, Usage] | None = None,
        loads: Mapping[str, Load] | None = None,
        sinks: Sequence[SinkHealth] = (),
        alerts: Sequence[Alert] = (),
    ) -> RunSnapshot:
        """Return the run as of monotonic `now`; what the events cannot tell is given by the caller."""
        stages = self._read_stages(now)
        counts = _total(stages)
        total = None if total is None else max(total, counts.submitted)
        rate_per_s = self._rate.per_second(now)
        eta = self._eta(counts, total, rate_per_s, now)
        return RunSnapshot(
            run_id=run.run_id,
            name=run.name,
            started=run.started,
            elapsed_s=max(0.0, now - self._began),
            total=total,
            **{name: getattr(counts, name) for name in TaskCounts.__struct_fields__},
            **self._figures(),
            rate_per_s=rate_per_s,
            eta_low_s=eta[0] if eta else None,
            eta_high_s=eta[1] if eta else None,
            stages=stages,
            slowest=self.slowest(now),
            failures=self._failures.snapshot(),
            throttled=throttled,
            paused=paused,
            usage=usage or {},
            loads=loads or {},
            sinks=sinks,
            alerts=alerts,
        )

    def _figures(self) -> dict[str, Any]:  # Any: numbers, whole or not
        means = {"mean_wait_s": self.mean_wait_s, "mean_run_s": self.mean_run_s}
        return {"retried": self._retried, "overdue": len(self._overdue), **means}

    def _read_stages(self, now: float | None = None) -> list[StageSnapshot]:
        """Return every stage; where folds keep coming between, the last reading stands: it adds up too."""
        stages: list[StageSnapshot] = []
        for _ in range(_READ_TRIES):
            before = self._folds
            try:
                stages = self._count_stages(now)
            except RuntimeError:  # a dict changed its size under the reader
                continue
            if before == self._folds and not before % 2:
                break
        return stages

    def _count_stages(self, now: float | None) -> list[StageSnapshot]:
        stages = self._stages.all()
        if len(stages) == 1:
            return [stages[0].snapshot(len(self._running), len(self._retrying), now)]
        running: Counter[Stage] = Counter()
        for spec, count in self._running.by_spec().items():
            running[self._stages.find(spec)] += count
        retrying = Counter(map(self._stages.find, list(self._retrying.values())))
        return [stage.snapshot(running[stage], retrying[stage], now) for stage in stages]

    def _eta(self, counts: TaskCounts, total: int | None, rate_per_s: float, now: float) -> tuple[float, float] | None:
        if total is None or self._started_at is None:
            return None
        left, elapsed_s = total - counts.ended, now - self._started_at
        oldest = [(attempt, max(0.0, now - started)) for attempt, started in self._oldest(AGES_MOST)]
        if left > 0 and self._foreseen is not None and self._foreseen.covers(left):
            mean_s, variation = self._sketch.mean, self._sketch.variation
            known = Left(left, counts.running, oldest, elapsed_s, rate_per_s, mean_s, variation)
            return self._foreseen.remaining_s(known)
        return remaining_s(
            left=left,
            ended=counts.ended,
            elapsed_s=elapsed_s,
            recent_per_s=rate_per_s,
            running=counts.running,
            ages_s=[age_s for _, age_s in oldest],
            durations=self._sketch,
        )

    def slowest(self, now: float, most: int = SLOWEST) -> list[RunningTask]:
        """Return the longest-running tasks, longest first."""
        return [self._running_task(attempt, now - started) for attempt, started in self._oldest(most)]

    def _oldest(self, limit: int) -> list[tuple[Attempt, float]]:
        for _ in range(_READ_TRIES):
            with suppress(RuntimeError):  # a dict changed its size under the reader
                return self._running.oldest(limit)
        return []

    def _running_task(self, attempt: Attempt, running_s: float) -> RunningTask:
        update = self._progress.get(attempt.task_id)
        return RunningTask(
            task_id=attempt.task_id,
            name=attempt.spec.name,
            executor=attempt.spec.executor,
            running_s=max(0.0, running_s),
            attempt=attempt.number,
            label=attempt.key or attempt.task_id,
            progress=update.progress if update else None,
            message=update.message if update else "",
            overdue=attempt.task_id in self._overdue,
        )


def _total(stages: Sequence[StageSnapshot]) -> TaskCounts:
    names = TaskCounts.__struct_fields__
    return TaskCounts(**{name: sum(getattr(stage, name) for stage in stages) for name in names})
