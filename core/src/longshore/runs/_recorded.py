"""A run from its journal: its events, given again, and what a view is opened and closed with."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from longshore._run_end import read_end
from longshore.events import (
    AnyEvent,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskRetried,
    TaskStarted,
    TaskSubmitted,
)
from longshore.hookspecs import Archive
from longshore.records import (
    HISTORY_STATE,
    FailureGroup,
    JournalQuery,
    RunHistory,
    RunInfo,
    RunRecord,
    RunSnapshot,
    RunSummary,
    StageSnapshot,
    TaskCounts,
    TaskTrace,
)
from longshore.task import ErrorRecord, Priority, TaskState

BATCH: Final = 1000
_EDGE_S: Final = 2.0
"""Outcomes that were recorded so long before the newest one are read again: it may have come to be seen before them."""
_EDGE_LEAST: Final = 1000
_FAILURES: Final = 20
_PRIORITY = int(Priority.NORMAL)  # which one a task had is not recorded
_NO_ERROR = ErrorRecord(type="", message="")


class RecordedRun:
    """A run that a journal has: over, or still going on. May be used from any one thread, as its archive."""

    def __init__(self, archive: Archive, run_id: str) -> None:
        """Read what is recorded of the run itself; JournalError if it is not there, or damaged."""
        self._archive = archive
        self.record: RunRecord = archive.run(run_id)
        self._ended = _Tally()
        self._open: _Tally | None = None
        self._newest: float | None = None
        self._edge: dict[str, float] = {}  # tasks whose end was told, and that would be given again
        self._edge_most = _EDGE_LEAST
        self._seq = 0

    @property
    def state(self) -> str:
        """What became of it: as in its record, or "interrupted" where its controller is gone and had not ended it."""
        record = self.record
        return "interrupted" if record.state == "running" and not record.held else record.state

    def events(self) -> Iterator[Sequence[AnyEvent]]:
        """Yield the events of its tasks, those of each task in order and together, in batches of about a thousand.

        The first time those of all tasks; after that, of the tasks that have ended since, or have not ended. Tasks that
        another one does again are left out, as they are from the run's counts. When a task was submitted follows from
        how long it waited; attempts before its last one, where their beginnings were not recorded, stand as early as
        they can have been. Priorities are not recorded, and given as NORMAL.
        """
        since = self._newest - _EDGE_S if self._newest is not None else None
        open_, batch = _Tally(), list[AnyEvent]()
        for trace in self._archive.traces(JournalQuery(run_id=self.record.run_id, since=since)):
            if trace.redone or self._is_told(trace):
                continue
            (open_ if trace.state is None else self._ended).add(trace)
            batch += self._events_of(trace)
            if len(batch) >= BATCH:
                yield batch
                batch = []
        if batch:
            yield batch
        self._open = open_

    def _is_told(self, trace: TaskTrace) -> bool:
        """Tell whether this end was told before; take note of it if it was not."""
        at = trace.ended_at
        if trace.state is None or at is None:
            return False
        if trace.task_id in self._edge:
            return True
        self._newest = at if self._newest is None else max(at, self._newest)
        if at >= self._newest - _EDGE_S:
            self._edge[trace.task_id] = at
        if len(self._edge) > self._edge_most:
            self._edge = {name: end for name, end in self._edge.items() if end >= self._newest - _EDGE_S}
            self._edge_most = max(_EDGE_LEAST, 2 * len(self._edge))
        return False

    def refresh(self) -> None:
        """Read anew what is recorded of the run itself."""
        self.record = self._archive.run(self.record.run_id)

    def info(self) -> RunInfo:
        """Return what a sink is opened with to show this run; nothing can be done to it."""
        return RunInfo(
            run_id=self.record.run_id,
            started=_aware(self.record.started),
            snapshot=self.snapshot,
            name=self.record.name,
            history=self.history,
        )

    def history(self) -> RunHistory:
        """Return what was measured of the run over its time, and what of note happened; empty where nothing is kept."""
        kept = self._archive.states(self.record.run_id, (HISTORY_STATE,))
        return RunHistory.from_state(kept.get(HISTORY_STATE))

    def summary(self) -> RunSummary:
        """Return what a sink is closed with."""
        error = read_end(self._archive, self.record).error
        return RunSummary(snapshot=self.snapshot(), state=self.state, error=error)

    def snapshot(self) -> RunSnapshot:
        """Return the run as it was at its end, or is recorded now; reads all of it unless `events` was gone through."""
        if self._open is None:
            for _ in self.events():
                pass
        assert self._open is not None
        return self._ended.with_open(self._open).snapshot(self.record)

    def _events_of(self, trace: TaskTrace) -> list[AnyEvent]:
        events = list(_submitted_and_tried(trace, self._seq)) + list(_last(trace, self._seq + 1 + 2 * len(trace.tries)))
        self._seq += 3 + 2 * len(trace.tries)
        return events


def _submitted_and_tried(trace: TaskTrace, seq: int) -> Iterator[AnyEvent]:
    """Yield that a task was submitted, and the attempts that were followed by another."""
    kind, task_id = trace.kind, trace.task_id
    tried = [one for one in trace.tries if one.state is not None]
    at = submitted_at(trace)
    parts = (task_id, kind.name, kind.executor, _PRIORITY)
    yield TaskSubmitted(seq, _aware(at), *parts, trace.key, kind.processor, trace.retry_of, kind.parent, kind.group)
    for one in tried:
        ran_s = one.ran_s or 0.0
        started = one.started if one.started is not None else at
        at = started + ran_s
        seq += 2
        yield TaskStarted(seq - 1, _aware(started), *parts, one.number, trace.key, kind.processor, kind.parent)
        yield TaskRetried(
            seq,
            _aware(at),
            *parts,
            attempt=one.number,
            error=one.error_type or None,
            message=one.reason,
            key=trace.key,
            duration_s=ran_s,
            worker_id=one.worker,
        )


def _last(trace: TaskTrace, seq: int) -> Iterator[AnyEvent]:
    """Yield the beginning of the last attempt, and the end of the task, as far as they are recorded."""
    kind = trace.kind
    parts = (trace.task_id, kind.name, kind.executor, _PRIORITY)
    if trace.state is None or trace.ended_at is None:
        [*_, last] = trace.tries or (None,)
        if last is not None and last.state is None and last.started is not None:
            yield TaskStarted(seq, _aware(last.started), *parts, last.number, trace.key, kind.processor, kind.parent)
        return
    ran_s, queued_s, error = trace.ran_s or 0.0, trace.queued_s or 0.0, trace.error or _NO_ERROR
    if ran_s or trace.worker is not None:
        began = _aware(trace.ended_at - ran_s)
        yield TaskStarted(seq, began, *parts, trace.attempts, trace.key, kind.processor, kind.parent)
    common = (
        *(seq + 1, _aware(trace.ended_at), *parts, trace.attempts, queued_s, ran_s, trace.worker, trace.key),
        *(kind.processor, kind.parent, trace.cpu_s, trace.peak_memory_mb),
    )
    match trace.state:
        case TaskState.COMPLETED:
            yield TaskCompleted(*common)
        case TaskState.CANCELLED:
            yield TaskCancelled(*common, message=error.message or None)
        case _:
            yield TaskFailed(
                *common,
                state=trace.state.value,
                error=error.type or None,
                message=error.message,
                reason=error.reason,
                traceback=error.traceback or None,
                exit_code=error.exit_code,
                signal=error.signal,
                output_tail=error.output_tail or None,
            )


def submitted_at(trace: TaskTrace) -> float:
    """Return when a task was submitted at the latest, in seconds since 1970, from what is recorded of it."""
    known = [one.started for one in trace.tries if one.started is not None]
    if trace.ended_at is not None:
        before_s = sum(one.ran_s or 0.0 for one in trace.tries if one.state is not None)
        known.append(trace.ended_at - (trace.ran_s or 0.0) - (trace.queued_s or 0.0) - before_s)
    return min(known, default=0.0)


def _aware(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


class _Tally:
    """Counts of the tasks gone through."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], Counter[str]] = {}
        self._run_s: Counter[tuple[str, str]] = Counter()
        self._wait_s = 0.0
        self._waited = 0
        self._retried = 0
        self._failures: dict[str, tuple[ErrorRecord, list[str]]] = {}
        self._failed: Counter[str] = Counter()

    def add(self, trace: TaskTrace) -> None:
        stage = (trace.kind.name, trace.kind.executor)
        state = trace.state.value if trace.state is not None else "processing" if trace.attempts else "pending"
        self._states.setdefault(stage, Counter())[state] += 1
        self._retried += sum(one.state is not None for one in trace.tries)
        if trace.state is TaskState.COMPLETED:
            self._run_s[stage] += trace.ran_s or 0.0  # type: ignore[assignment]  # seconds
        if trace.state not in (None, TaskState.CANCELLED):
            self._wait_s += trace.queued_s or 0.0
            self._waited += 1
        if trace.error is not None and trace.state is not TaskState.CANCELLED:
            self._fail(trace, trace.error)

    def with_open(self, open_: _Tally) -> _Tally:
        """Return these counts with those of tasks that have not ended."""
        both = _Tally()
        both.__dict__.update(self.__dict__)
        both._states = {stage: Counter(states) for stage, states in self._states.items()}
        for stage, states in open_._states.items():
            both._states.setdefault(stage, Counter()).update(states)
        both._retried = self._retried + open_._retried
        return both

    def _fail(self, trace: TaskTrace, error: ErrorRecord) -> None:
        kind = error.fingerprint
        self._failed[kind] += 1
        labels = self._failures.setdefault(kind, (error, []))[1]
        if len(labels) < 3:
            labels.append(trace.key or trace.task_id)

    def snapshot(self, record: RunRecord) -> RunSnapshot:
        total = Counter[str]()
        for states in self._states.values():
            total += states
        run_s = sum(self._run_s.values())
        until = record.ended if record.ended is not None else time.time()
        return RunSnapshot(
            run_id=record.run_id,
            name=record.name,
            started=_aware(record.started),
            elapsed_s=max(0.0, until - record.started),
            total=total.total() or None,
            retried=self._retried,
            mean_wait_s=self._wait_s / self._waited if self._waited else 0.0,
            mean_run_s=run_s / total["completed"] if total["completed"] else 0.0,
            stages=[self._stage(stage, states) for stage, states in self._states.items()],
            failures=[self._group(kind, count) for kind, count in self._failed.most_common(_FAILURES)],
            **_counts(total),  # type: ignore[arg-type]  # the fields of TaskCounts
        )

    def _stage(self, stage: tuple[str, str], states: Counter[str]) -> StageSnapshot:
        done = states["completed"]
        mean_s = self._run_s[stage] / done if done else None
        return StageSnapshot(
            name=stage[0],
            executor=stage[1],
            mean_s=mean_s,
            **_counts(states),  # type: ignore[arg-type]  # the fields of TaskCounts
        )

    def _group(self, kind: str, count: int) -> FailureGroup:
        error, labels = self._failures[kind]
        return FailureGroup(
            type=error.type, message=error.message, reason=error.reason, count=count, labels=labels, fingerprint=kind
        )


def _counts(states: Counter[str]) -> dict[str, int]:
    """Return the fields of TaskCounts for tasks in these states."""
    counts = TaskCounts(
        submitted=states.total(),
        queued=states["pending"],
        running=states["processing"],
        completed=states["completed"],
        failed=states["failed"] + states["timed_out"],
        timed_out=states["timed_out"],
        cancelled=states["cancelled"],
    )
    return {name: getattr(counts, name) for name in counts.__struct_fields__}
