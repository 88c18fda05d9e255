"""What may be asked of an engine; nothing here changes anything.

Asked by the driver on its thread, unless a question says that it may come from any.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from longshore._engine.config import EngineConfig, EngineSnapshot
from longshore._engine.dispatch import Dispatch
from longshore._engine.lanes import LaneKey
from longshore._engine.ledger import Shortage, objection
from longshore._engine.memory import Memory
from longshore._engine.messages import Past
from longshore._engine.nested import Nested
from longshore._engine.overdue import Overdue
from longshore._engine.running import Running
from longshore._engine.scaling import Scaling
from longshore._engine.schedule import Schedule
from longshore._engine.states import CANCELLED, COMPLETED, FAILED, PENDING, PROCESSING, QUEUED, TIMED_OUT
from longshore._engine.why import queued, retrying, running
from longshore.records import WorkerScale
from longshore.task import Attempt, Priority, Resources, Task, TaskState

_NAME = 100
"""Characters of a key that are told."""


class Questions:
    """The questions to an engine, which sets what is declared here."""

    config: EngineConfig
    _dispatch: Dispatch
    _running: Running
    _waiting: dict[str, Attempt]
    _retries: list[int]
    _due: Schedule
    _expiring: Schedule
    _overdue: Overdue
    _past: dict[str, Past]
    _nested: Nested
    _memory: Memory
    _scaling: Scaling
    _ended: dict[TaskState, int]
    _paused: bool
    _retried: int
    _late: int
    _throttled_s: defaultdict[str, float]

    def room(self, priority: Priority) -> int:
        """Return how many more tasks of this priority the queue takes; a retry keeps its place while it waits."""
        urgent = priority is Priority.CRITICAL
        bound = self.config.priority_queue_size if urgent else self.config.max_queue_size
        return max(0, bound - self._dispatch.queued[urgent] - self._retries[urgent])

    def site_of(self, executor: str) -> str:
        """Return where the workers of an executor are, as readings name it: empty for this machine."""
        return self._dispatch.site_of(executor).name

    def never_fits(self, resources: Resources | None, executor: str = "") -> str | None:
        """Return why an executor can never have these resources, each of the choices; None when it can have one."""
        return self._dispatch.site_of(executor).ledger.hopeless(_choices(resources))

    def shortage(self, resources: Resources | None, executor: str = "") -> Shortage | None:
        """Return, in numbers, what of their first choice there can never be enough of; None when one can be had."""
        return objection(self._dispatch.site_of(executor).ledger.shortage, _choices(resources))

    def lacks(self, resources: Resources | None, executor: str = "") -> str | None:
        """Return why these resources can't be lent now, None when they can; what is measured counts, and once."""
        return objection(self._dispatch.site_of(executor).ledger.lacks, _choices(resources))

    def refuses(self, resources: Resources, executor: str) -> str | None:
        """Return why a task that reserves these can't start now: too little is left, or nothing starts at all."""
        return self.lacks(resources, executor) or self._dispatch.site_of(executor).stopped_by

    def short_now(self, resources: Resources, executor: str) -> Shortage | None:
        """Return the same in numbers; None where there are none."""
        site = self._dispatch.site_of(executor)
        return objection(site.ledger.short_now, _choices(resources)) or site.short

    @property
    def concurrency(self) -> int:
        """How many tasks may run at once just now, with the machines as they were measured."""
        return self._dispatch.cap

    @property
    def parks(self) -> bool:
        """Whether the least urgent wait for all others, because the machine is short of something."""
        return any(site.parks for site in self._dispatch.sites.values())

    def state(self, task_id: str) -> TaskState | None:
        """Return where an accepted task is, None when it has ended or is unknown; for a queued one it looks at all."""
        if task_id in self._running:
            return PROCESSING
        if task_id in self._waiting:
            return PENDING
        return QUEUED if self.find(task_id) is not None else None

    def find(self, task_id: str) -> Attempt | None:
        """Return the attempt that runs, or comes next, of an accepted task; None as `state` does, at the same price."""
        attempt = self._running.get(task_id) or self._waiting.get(task_id)
        return attempt or next((queued for queued in self._dispatch.waiting() if queued.task_id == task_id), None)

    def why(self, task_id: str, now: float) -> str | None:
        """Return in plain words where an accepted task is and what it waits for; None as `state` does."""
        attempt = self.find(task_id)
        if attempt is None:
            return None
        if task_id in self._running:
            waits = " and waits for other tasks of the pool" if self._nested.has(task_id) else ""
            return running(attempt) + waits
        if task_id in self._waiting:
            return retrying(attempt, now)
        return queued(attempt, self._dispatch, now, paused=self._paused)

    def oldest(self) -> Attempt | None:
        """Return the queued attempt that has waited longest; None where none is queued."""
        lanes = [lane for place in self._dispatch.places.values() for lane in place.lanes]
        heads = [next(lane.waiting(priority)) for lane in lanes for priority in Priority if lane.queues[priority]]
        return min(heads, key=lambda attempt: attempt.queued_at, default=None)

    def taken(self) -> dict[str, tuple[float, float, float | None]]:
        """Return of each resource what is lent, what counts as taken, and how much of it may be (None: no bound).

        Those of a cluster are named "EXECUTOR.RESOURCE", here and in `lent`.
        """
        found: dict[str, tuple[float, float, float | None]] = {}
        for site in self._dispatch.sites.values():
            ledger, lent = site.ledger, site.ledger.lent()
            for name in sorted({*lent, *ledger.capacity}):
                most = ledger.lendable(name) if name in ledger.capacity else None
                found[site.told_as(name)] = lent.get(name, 0.0), ledger.taken(name), most
        return found

    def what_waits(self, now: float) -> str | None:
        """Return in plain words what one of the tasks in the queue waits for; None where none is there."""
        attempt = next(iter(self._dispatch.waiting()), None)
        if attempt is None:
            return None
        return f"{(attempt.key or attempt.task_id)[:_NAME]} {queued(attempt, self._dispatch, now, paused=self._paused)}"

    def in_use(self) -> dict[str, tuple[int, int]]:
        """Return how many workers each executor has, and how many of them may be running something; from any thread."""
        return {name: (place.slots, place.busy()) for name, place in list(self._dispatch.places.items())}

    def slots(self) -> dict[str, int]:
        """Return how many workers each executor has, as far as it has said."""
        return {name: place.slots for name, place in self._dispatch.places.items()}

    def is_running(self, task_id: str) -> bool:
        """Tell whether an attempt of the task is with its executor."""
        return task_id in self._running

    def runs_only(self, count: int) -> bool:
        """Tell whether so many run, and nothing waits."""
        return len(self._running) == count and not self._waiting and not any(self._dispatch.queued)

    def live(self) -> Iterator[Attempt]:
        """Yield all tasks that have not ended."""
        yield from self._running.values()
        yield from self._waiting.values()
        yield from self._dispatch.waiting()

    def lent(self) -> dict[str, float]:
        """Return what is lent out now, by resource."""
        sites = self._dispatch.sites.values()
        return {site.told_as(name): amount for site in sites for name, amount in site.ledger.lent().items()}

    def learnt(self) -> dict[str, Any]:  # Any: JSON-safe values
        """Return what was learnt of the tasks so far, in JSON-safe values, to begin the next run with."""
        return self._memory.learning.to_dict()

    @property
    def learnt_changes(self) -> int:
        """Rises with all that is learnt."""
        return self._memory.learning.changes

    def lane_of(self, task: Task) -> LaneKey:
        """Return what decides which lane a task waits in."""
        return self._dispatch.aside.key(task)

    def lent_to(self, task_id: str) -> Mapping[str, float]:
        """Return what is lent to a running task."""
        attempt = self._running.get(task_id)
        return self._dispatch.site_of("" if attempt is None else attempt.spec.executor).ledger.lent_to(task_id)

    @property
    def paused(self) -> bool:
        """Whether nothing new starts until `Unpause`."""
        return self._paused

    @property
    def idle(self) -> bool:
        """Whether no accepted task is left."""
        return not self._running and not self._waiting and not any(self._dispatch.queued)

    def queue(self) -> dict[str, dict[str, int]]:
        """Return how many tasks wait, by executor and priority, where any does; from any thread."""
        found = {
            name: {level.name: count for level, count in zip(Priority, place.queued, strict=True) if count > 0}
            for name, place in list(self._dispatch.places.items())
        }
        return {name: levels for name, levels in found.items() if levels}

    def throttled_s(self) -> dict[str, float]:
        """Return for how long tasks waited while the machine was short of something, by resource; from any thread."""
        return dict(self._throttled_s)

    def scaled(self) -> Mapping[str, WorkerScale]:
        """Return how many workers each executor has that is scaled by its load; from any thread."""
        return self._scaling.told()

    def scaled_late(self, now: float) -> list[str]:
        """Return in words which of them lack workers that were asked for long ago; from any thread."""
        return self._scaling.late(self._dispatch, now)

    def held_because(self) -> str | None:
        """Return in plain words why waiting tasks are not started; None when none waits or workers are busy."""
        if not any(self._dispatch.queued):
            return None
        if self._paused:
            return "paused"
        return self._dispatch.held_because()

    def next_due(self) -> float | None:
        """Return when the engine wants to be called even if nothing happens; None for never."""
        opens = None if self._paused else self._dispatch.opens_at
        dues = [self._due.first, self._expiring.first, opens, self._dispatch.measured_until]
        if self._overdue.used or self._nested.used:
            dues += [self._overdue.first, self._nested.due]
        if self._scaling.used and self._scaling.due < inf:
            dues.append(self._scaling.due)
        times = [time for time in dues if time is not None]
        return min(times) if times else None

    def snapshot(self) -> EngineSnapshot:
        """Return where all accepted tasks are."""
        ended, queued = self._ended, sum(self._dispatch.queued)
        running, retrying = len(self._running), len(self._waiting)
        again = sum(map(self._tries_again, self._dispatch.waiting())) if self._retried else 0
        return EngineSnapshot(
            submitted=sum(ended.values()) + queued + running + retrying,
            queued=queued - again,
            running=running,
            retrying=retrying + again,
            completed=ended[COMPLETED],
            failed=ended[FAILED] + ended[TIMED_OUT],
            timed_out=ended[TIMED_OUT],
            cancelled=ended[CANCELLED],
            retried=self._retried,
            late=self._late,
        )

    def _tries_again(self, attempt: Attempt) -> bool:
        """Tell whether a queued attempt follows another one of this pool."""
        past = self._past.get(attempt.task_id)
        return attempt.number > (1 if past is None else past.number)


def _choices(resources: Resources | None) -> list[Mapping[str, float]]:
    return [choice.amounts() for choice in resources.choices()] if resources is not None else []
