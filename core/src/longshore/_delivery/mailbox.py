"""A bounded box of event batches between the loop and one who is told: `put` on the loop, `take` on the reader's side.

Called by couriers and by the lanes of the bus. `put` never blocks and costs by the batch; what a slow reader makes it
drop is dropped in the order in which it is missed least, and counted to the event.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Protocol

from msgspec import Struct

from longshore.events import (
    AnyEvent,
    ProgressUpdate,
    TaskRetrying,
    TasksProgressed,
    TasksSettled,
    TasksStarted,
    TasksSubmitted,
)
from longshore.task import Attempt, Outcome, Task

HARD_FACTOR = 10
"""Ends of tasks, and what happens to the pool itself, are kept to this many times the limit."""
WHOLE_TIME = timedelta(seconds=1)
"""A batch that has waited longer, as of the next one, no longer holds on to arguments, results and exceptions."""
_SMALL = frozenset({type(None), bool, int, float})  # values that are not worth a copy of their record


class Batch(Protocol):
    """What a mailbox carries: the batches of `longshore.events`, and the bus's own."""

    def __len__(self) -> int:
        """Return the number of events."""

    def expand(self, seq: int, at: datetime) -> Sequence[AnyEvent]:
        """Return the events, numbered from `seq`."""


class Parcel(Struct, frozen=True):
    """A batch as it waits: `place` is its order of arrival."""

    place: int
    batch: Batch
    seq: int
    at: datetime

    def expand(self) -> Sequence[AnyEvent]:
        """Return the single events."""
        return self.batch.expand(self.seq, self.at)


class Mailbox:
    """A bounded queue of batches, safe between threads; one reader.

    Up to `limit_events` everything waits. Past that, progress is reduced to the newest of each task, then the other
    events of tasks under way are dropped as they come, and ends of tasks only past HARD_FACTOR times the limit.
    """

    def __init__(self, limit_events: int) -> None:
        """Make an empty box."""
        self.limit_events = limit_events
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._fresh: deque[Parcel] = deque()
        self._aged: list[Parcel] = []
        self._progress: list[Parcel] = []
        self._newest: dict[str, tuple[int, ProgressUpdate, int, datetime]] = {}
        self.in_hand = 0
        """How many events of what was taken last the reader has still to count off, if it does."""
        self._place = 0
        self._pending = 0
        self._dropped = 0
        self._wake_at: int | None = None  # how many pending events the waiting reader is to be woken for
        self._marked = False  # whether a mark waits, which is no event
        self._closed = False
        self._released = False

    @property
    def dropped(self) -> int:
        """How many events were dropped so far."""
        return self._dropped

    @property
    def place(self) -> int:
        """The place of the batch that came last."""
        return self._place

    @property
    def pending(self) -> int:
        """How many events wait."""
        return self._pending

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, a mark included."""
        return not (self._pending or self._marked)

    def put(self, batch: Batch, seq: int, at: datetime) -> None:
        """Take in a batch whose events count from `seq`, or drop and count it; never waits for the reader."""
        count = len(batch)
        with self._lock:
            self._place += 1
            if self._closed or not self._keep(Parcel(self._place, batch, seq, at), count):
                self._dropped += count
            elif self._wake_at is not None and self._pending >= self._wake_at:
                self._changed.notify()

    def mark(self, batch: Batch, at: datetime) -> bool:
        """Take in a batch that has no events, for the reader to come to in its turn; False once closed.

        It is never dropped, and the reader that waits, for a first event or for more of them, is woken for it.
        """
        with self._lock:
            self._place += 1
            if not self._closed:
                self._fresh.append(Parcel(self._place, batch, 0, at))
                self._marked = True
                self._changed.notify_all()
            return not self._closed

    def take(self, timeout: float | None = None, *, linger: float = 0.0) -> list[Parcel]:
        """Return all that waits in order of arrival, waiting up to `timeout` seconds for a first batch.

        Once something is there, up to `linger` seconds more are spent on gathering half a box; a reader that is woken
        for every batch would cost the loop more than the events do. Empty at the timeout, once closed and empty, and
        once after `release`.
        """
        with self._lock:
            self._await(1, timeout)
            if not (self._pending or self._marked):
                self._released = False
            if linger and self._pending:
                self._await(max(1, self.limit_events // 2), linger)
            self.in_hand = self._pending  # at once: what is neither here nor there would be missed by who counts
            return self._empty()

    def release(self) -> None:
        """Let the reader go, this once, when nothing is left for it."""
        with self._lock:
            self._released = True
            self._changed.notify_all()

    def close(self) -> None:
        """Let nothing more in, and wake the reader; what waits can still be taken."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def discard(self) -> None:
        """Drop and count all that waits."""
        with self._lock:
            self._dropped += sum(len(parcel.batch) for parcel in self._empty())

    def _await(self, events: int, timeout: float | None) -> None:
        self._wake_at = events
        try:
            self._changed.wait_for(
                lambda: self._closed or self._released or self._marked or self._pending >= events, timeout
            )
        finally:
            self._wake_at = None

    def _empty(self) -> list[Parcel]:
        parcels = [*self._aged, *self._fresh, *self._progress]
        for place, update, seq, at in self._newest.values():
            parcels.append(Parcel(place, TasksProgressed((update,)), seq, at))
        if self._progress or self._newest:
            parcels.sort(key=attrgetter("place"))
        self._aged.clear()
        self._fresh.clear()
        self._progress.clear()
        self._newest.clear()
        self._pending = 0
        self._marked = False
        return parcels

    def _keep(self, parcel: Parcel, count: int) -> bool:
        batch = parcel.batch
        if not self._fits(count):
            self._coalesce()
        if isinstance(batch, TasksProgressed):
            self._keep_progress(parcel, batch)
            return True
        if not self._fits(count) and not self._outlasts(batch, count):
            return False
        self._fresh.append(parcel)
        self._pending += count
        while parcel.at - self._fresh[0].at > WHOLE_TIME:
            old = self._fresh.popleft()
            self._aged.append(Parcel(old.place, slim(old.batch), old.seq, old.at))
        return True

    def _fits(self, count: int) -> bool:
        """Tell whether `count` more events are within the limit; an empty box takes a batch of any size."""
        return not self._pending or self._pending + count <= self.limit_events

    def _outlasts(self, batch: Batch, count: int) -> bool:
        """Tell whether a batch is kept past the limit: all but the middle of a task's life is, to the hard limit."""
        if isinstance(batch, (TasksSubmitted, TasksStarted, TaskRetrying)):
            return False
        return self._pending + count <= self.limit_events * HARD_FACTOR

    def _keep_progress(self, parcel: Parcel, batch: TasksProgressed) -> None:
        if self._fits(len(batch)):
            self._progress.append(parcel)
            self._pending += len(batch)
        else:
            self._keep_newest(parcel, batch)

    def _coalesce(self) -> None:
        """Reduce the progress that waits to the newest of each task; each update is moved at most once."""
        waiting, self._progress = self._progress, []
        for parcel in waiting:
            self._pending -= len(parcel.batch)
            if isinstance(parcel.batch, TasksProgressed):
                self._keep_newest(parcel, parcel.batch)

    def _keep_newest(self, parcel: Parcel, batch: TasksProgressed) -> None:
        for i, update in enumerate(batch.updates):
            if update.task_id in self._newest:
                self._dropped += 1
            elif len(self._newest) < self.limit_events:
                self._pending += 1
            else:
                self._dropped += 1
                continue
            self._newest[update.task_id] = (parcel.place, update, parcel.seq + i, parcel.at)


def slim(batch: Batch) -> Batch:
    """Return the batch without the arguments, results and exceptions, which no event shows."""
    if isinstance(batch, TasksSubmitted):
        return TasksSubmitted(batch.spec, [_slim_task(task) for task in batch.tasks])
    if isinstance(batch, TasksStarted):
        return TasksStarted([Attempt.of(_slim_task(a), a.number, a.queued_at) for a in batch.attempts])
    if isinstance(batch, TasksSettled):
        return TasksSettled(batch.spec, [_slim_outcome(outcome) for outcome in batch.outcomes])
    if isinstance(batch, TaskRetrying):
        return TaskRetrying(batch.spec, _slim_outcome(batch.outcome), batch.delay_s)
    return batch


def _slim_task(task: Task) -> Task:
    if not (task.args or task.kwargs):
        return task
    traceparent = task.traceparent if isinstance(task, Attempt) else None
    if traceparent is None:
        return Task(task.task_id, task.spec, (), None, task.index, task.key)
    return Attempt(task.task_id, task.spec, (), None, task.index, task.key, traceparent=traceparent)


def _slim_outcome(o: Outcome) -> Outcome:
    if type(o.value) in _SMALL and o.exception is None:
        return o
    return Outcome(
        o.task_id,
        o.key,
        o.index,
        o.name,
        o.state,
        None,
        o.error,
        o.attempts,
        o.queued_s,
        o.ran_s,
        o.cpu_s,
        o.peak_memory_mb,
        o.worker,
    )
