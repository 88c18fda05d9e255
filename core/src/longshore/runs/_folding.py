"""From events to rows: what a batch of them changes, ready to be written; one thread, in the order of the events.

Of tasks that have not ended the newest row is held here, so that nothing need be read to write the next one; there are
as many as the pool has accepted and not ended. An event that a slow reader has missed is made good by the next one of
its task: how a task ended says when it began, and what it waited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from longshore._failure_identity import failure_identity
from longshore.events import (
    AnyEvent,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskProgress,
    TaskRetried,
    TaskStarted,
    TaskSubmitted,
)
from longshore.runs._schema import COLUMNS
from longshore.runs._stages import StageSum, StageSums

Row = list[Any]  # Any: what SQLite stores, in the order of COLUMNS

_AT: Final = {name: place for place, name in enumerate(COLUMNS)}
_NAME, _EXECUTOR, _STATE = _AT["name"], _AT["executor"], _AT["state"]
_ATTEMPT, _SUBMITTED, _STARTED, _ENDED = _AT["attempt"], _AT["submitted"], _AT["started"], _AT["ended"]
_WAIT, _RUN, _CPU, _PEAK, _WORKER = _AT["wait_s"], _AT["run_s"], _AT["cpu_s"], _AT["peak_memory_mb"], _AT["worker"]
_PROGRESS, _NOTE, _ERROR, _REASON = _AT["progress"], _AT["note"], _AT["error"], _AT["reason"]
_FINGERPRINT, _PROCESSOR, _PARENT = _AT["fingerprint"], _AT["processor"], _AT["parent_id"]
_RETRY_OF, _GROUP = _AT["retry_of"], _AT["grp"]

NOTE_MOST: Final = 500
"""Characters of a note, and of the message of an attempt."""
TEXT_MOST: Final = 16_384
"""Characters of a traceback or of what a task wrote."""
TEXTS_MOST: Final = 100
"""Of so many failures of one kind the texts are kept; the others differ from them by their input only."""
_KINDS_MOST: Final = 10_000
_TIMED_OUT = "TaskTimeout"
_BAD = ("failed", "timed_out")

Ended = TaskCompleted | TaskFailed | TaskCancelled
_ENDS: Final = (TaskCompleted, TaskFailed, TaskCancelled)


class Changes:
    """What is to be written of a batch."""

    __slots__ = ("attempts", "ended", "rows", "texts")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.rows: dict[str, Row] = {}
        self.attempts: list[tuple[object, ...]] = []
        self.texts: list[tuple[object, ...]] = []
        self.ended: list[str] = []


class Folding:
    """Holds the rows of tasks that have not ended, and makes changes of batches."""

    def __init__(self, has_ended: Callable[[str], bool]) -> None:
        """Begin with no task; `has_ended` tells of one that is not held here whether its end was told before."""
        self._has_ended = has_ended
        self._live: dict[str, Row] = {}
        self._kinds: Counter[str] = Counter()
        self.stages = StageSums()
        self.first: float | None = None
        self.last: float | None = None
        self._take: dict[type, Callable[[Changes, Any, float], None]] = {
            TaskSubmitted: self._submitted,
            TaskStarted: self._started,
            TaskProgress: self._progressed,
            TaskRetried: self._retried,
            TaskCompleted: self._completed,
            TaskFailed: self._failed,
            TaskCancelled: self._cancelled,
        }

    def fold(self, batch: Sequence[AnyEvent]) -> Changes:
        """Return what a batch changes; events that are of no task change nothing."""
        changes, take = Changes(), self._take
        for event in batch:
            act = take.get(type(event))
            if act is not None and not self._told_again(event):
                at = event.at.timestamp()
                self.last = at if self.last is None else max(at, self.last)
                act(changes, event, at)
        for task_id in changes.ended:
            self._live.pop(task_id, None)
        return changes

    def _told_again(self, event: AnyEvent) -> bool:
        """Tell whether this is the end of a task that has ended, which a journal that is read anew gives again."""
        return isinstance(event, _ENDS) and event.task_id not in self._live and self._has_ended(event.task_id)

    def _row(self, changes: Changes, event: TaskSubmitted | TaskStarted | TaskRetried | Ended) -> Row:
        task_id = event.task_id
        row = self._live.get(task_id)
        if row is None:
            row = [None] * len(COLUMNS)
            row[:6] = (task_id, event.name, event.executor, "pending", event.key, event.priority)
            row[_ATTEMPT], row[_NOTE] = 0, ""
            self._live[task_id] = row
            self.stages.of(event.name, event.executor).counts["pending"] += 1
        changes.rows[task_id] = row
        return row

    def _move(self, row: Row, state: str) -> StageSum:
        """Count a task for another state; returns the sum of its stage."""
        stage = self.stages.of(row[_NAME], row[_EXECUTOR])
        stage.counts[row[_STATE]] -= 1
        stage.counts[state] += 1
        row[_STATE] = state
        return stage

    def _began(self, at: float) -> None:
        if self.first is None or at < self.first:
            self.first = at

    def _submitted(self, changes: Changes, event: TaskSubmitted, at: float) -> None:
        row = self._row(changes, event)
        row[_SUBMITTED] = at
        row[_PROCESSOR], row[_PARENT] = event.processor, event.parent_id
        row[_RETRY_OF], row[_GROUP] = event.retry_of, event.group
        self._began(at)

    def _started(self, changes: Changes, event: TaskStarted, at: float) -> None:
        row = self._row(changes, event)
        self._move(row, "processing").began(at)
        row[_ATTEMPT], row[_STARTED] = event.attempt, at
        row[_PROGRESS], row[_NOTE], row[_ERROR], row[_REASON] = None, "", None, None
        row[_PROCESSOR], row[_PARENT] = event.processor, event.parent_id
        self._began(at)

    def _progressed(self, changes: Changes, event: TaskProgress, _at: float) -> None:
        row = self._live.get(event.task_id)
        if row is None or row[_ATTEMPT] > event.attempt:
            return
        row[_PROGRESS], row[_NOTE] = event.progress, event.message[:NOTE_MOST]
        changes.rows[event.task_id] = row

    def _retried(self, changes: Changes, event: TaskRetried, at: float) -> None:
        row = self._row(changes, event)
        started = at - event.duration_s if event.duration_s is not None else row[_STARTED]
        state = "timed_out" if (event.error or "").endswith(_TIMED_OUT) else "failed"
        message = event.message[:NOTE_MOST] if event.message else None
        attempt = (event.task_id, event.attempt, state, started, at, event.worker_id, event.error, message)
        changes.attempts.append(attempt)
        self._move(row, "retrying").retried += 1
        row[_ATTEMPT], row[_ERROR] = event.attempt, event.error
        row[_NOTE], row[_STARTED], row[_PROGRESS] = message or "", started, None

    def _ended(self, changes: Changes, event: Ended, at: float) -> Row:
        row = self._row(changes, event)
        ran = event.duration_s > 0 or event.worker_id is not None or row[_STARTED] is not None
        stage = self._move(row, event.state)
        stage.ended(at, event.wait_s, event.duration_s, event.cpu_s)
        row[_ATTEMPT], row[_ENDED], row[_WAIT] = event.attempt, at, event.wait_s
        if ran:
            row[_RUN], row[_STARTED] = event.duration_s, at - event.duration_s
            stage.began(row[_STARTED])
        if event.worker_id is not None:
            bad = event.state in _BAD
            worker = self.stages.worker(event.worker_id, event.executor)
            worker.ended(at, event.duration_s, event.cpu_s, event.peak_memory_mb, bad)
        if row[_SUBMITTED] is None:
            row[_SUBMITTED] = at - event.duration_s - event.wait_s
        row[_CPU], row[_PEAK], row[_WORKER] = event.cpu_s, event.peak_memory_mb, event.worker_id
        row[_PROCESSOR], row[_PARENT] = event.processor, event.parent_id
        self._began(row[_SUBMITTED])
        changes.ended.append(event.task_id)
        return row

    def _completed(self, changes: Changes, event: TaskCompleted, at: float) -> None:
        row = self._ended(changes, event, at)
        self.stages.of(event.name, event.executor).completed_s += event.duration_s
        row[_PROGRESS], row[_ERROR], row[_REASON] = 1.0, None, None

    def _failed(self, changes: Changes, event: TaskFailed, at: float) -> None:
        row = self._ended(changes, event, at)
        message, traceback = event.message or "", event.traceback or ""
        row[_ERROR], row[_REASON], row[_NOTE] = event.error, event.reason, message[:NOTE_MOST]
        kind = failure_identity(event.error or "", message, event.reason, traceback)
        row[_FINGERPRINT] = kind
        if len(self._kinds) >= _KINDS_MOST and kind not in self._kinds:
            self._kinds.clear()
        self._kinds[kind] += 1
        if self._kinds[kind] <= TEXTS_MOST:
            texts = (
                message[:TEXT_MOST],
                traceback[-TEXT_MOST:] or None,
                (event.output_tail or "")[-TEXT_MOST:] or None,
            )
            changes.texts.append((event.task_id, *texts, event.exit_code, event.signal))

    def _cancelled(self, changes: Changes, event: TaskCancelled, at: float) -> None:
        row = self._ended(changes, event, at)
        row[_NOTE] = (event.message or "")[:NOTE_MOST]
