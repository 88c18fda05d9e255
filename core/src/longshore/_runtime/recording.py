"""What of a run goes to the journal, and when: tasks and attempts come in from the engine's commands, batches go out.

Most tasks end within moments, and how they ended says all there is to say of them. So that a task is there, and that
an attempt began, is recorded only of those that have not ended `AGE_S` later; how attempts and tasks ended at once.
Used by the driver on its loop; without a journal there is none.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from longshore._columns import OutcomeColumns, ids_of, in_columns
from longshore._runtime.commit import Committer, Ends, Notes
from longshore.events import EventBatch, TaskRetrying, TasksStarted, TasksSubmitted
from longshore.records import Accepted, Settled, Started, TaskKind, Tried
from longshore.task import Attempt, Outcome, TaskSpec

AGE_S = 0.25
"""A task that has not ended by then is recorded as accepted, and an attempt as begun."""


class Recorder:
    """Notes of the tasks that have not ended, and what the committer is given of them."""

    def __init__(
        self, committer: Committer, kind_of: Callable[[TaskSpec], TaskKind], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Pass things on to `committer`; `kind_of` says what is recorded of a spec."""
        self.committer = committer
        self._kind_of = kind_of
        self._kinds: dict[TaskSpec, TaskKind] = {}
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._identities: dict[str, str | None] = {}  # of the tasks that have not ended
        self._accepted: set[str] = set()  # those of them that the journal has been told of
        self._redone: dict[str, str] = {}  # the recorded task that one does again
        self._sources: dict[str, str] = {}  # the recorded task whose outcome is to be read for one
        self._young: deque[tuple[float, bool, Sequence[Attempt]]] = deque()  # since when; whether it began
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> Sequence[int]:
        """How many outcomes are not told yet: of ordinary and of urgent tasks."""
        return self.committer.waiting

    def identify(self, task_ids: Iterable[str], identities: Iterable[str | None]) -> None:
        """Take note of which work tasks are, before they are submitted."""
        self._identities.update(zip(task_ids, identities, strict=True))

    def known(self, task_id: str) -> None:
        """Take note that the journal has this task already."""
        self._accepted.add(task_id)

    def forget(self, task_ids: Iterable[str]) -> None:
        """Take note that tasks are not submitted after all."""
        for task_id in task_ids:
            self._identities.pop(task_id, None)
            self._redone.pop(task_id, None)
            self._accepted.discard(task_id)

    def read_from(self, task_id: str, recorded: str) -> None:
        """Take note that the outcome of a task is that of the recorded one."""
        self._sources[task_id] = recorded

    def again(self, task_id: str, recorded: str) -> None:
        """Take note that a task does again what the recorded one is."""
        self._redone[task_id] = recorded

    def kind(self, spec: TaskSpec) -> TaskKind:
        """Return what is recorded of a spec."""
        kind = self._kinds.get(spec)
        if kind is None:
            if len(self._kinds) >= _KINDS_MOST:
                self._kinds.clear()
            kind = self._kinds[spec] = self._kind_of(spec)
        return kind

    def note(self, batch: EventBatch) -> None:
        """Take note of what the engine tells of tasks and attempts."""
        match batch:
            case TasksSubmitted():
                self._submitted(batch.tasks)  # type: ignore[arg-type]  # the engine's are attempts
            case TasksStarted():
                self._age(True, batch.attempts)
            case TaskRetrying():
                outcome, error = batch.outcome, batch.outcome.error
                tried = Tried(
                    task_id=outcome.task_id,
                    number=outcome.attempts,
                    state=outcome.state,
                    error_type=error.type if error is not None else "",
                    reason=error.reason if error is not None else None,
                    worker=outcome.worker,
                    ran_s=outcome.ran_s,
                    started=time.time() - outcome.ran_s,
                )
                accepted = self._not_told(batch.spec, (outcome.task_id,), {outcome.task_id: outcome})
                self.committer.note(Notes(accepted=accepted, tried=(tried,)))

    def settled(self, spec: TaskSpec, outcomes: Sequence[Outcome]) -> None:
        """Have outcomes committed, and told then."""
        if type(outcomes) is not OutcomeColumns and outcomes[0].restored:
            self._restored(spec, outcomes)
            return
        pop = self._identities.pop
        ids = ids_of(outcomes)
        identities = [pop(task_id, None) for task_id in ids]
        if self._redone:
            self._tell_redone(spec, ids, identities)
        if self._accepted:
            self._accepted.difference_update(ids)
        self.committer.commit(Ends(spec, outcomes, Settled(self.kind(spec), outcomes, identities)))

    def _restored(self, spec: TaskSpec, outcomes: Sequence[Outcome]) -> None:
        """Have outcomes read, and told then."""
        for outcome in outcomes:
            self._identities.pop(outcome.task_id, None)
            self._accepted.discard(outcome.task_id)
        sources = [self._sources.pop(outcome.task_id, outcome.task_id) for outcome in outcomes]
        self.committer.commit(Ends(spec, outcomes, None, sources))

    def begin(self, attempts: Sequence[Attempt], then: Callable[[], None]) -> None:
        """Record that these attempts begin, and call `then` on the loop once that lasts."""
        accepted = [one for attempt in attempts for one in self._not_told_of(attempt)]
        self.committer.note(Notes(accepted=accepted, started=_started(attempts), then=then))

    def state(self, states: Mapping[str, Any]) -> None:  # Any: JSON-safe values
        """Have named states kept."""
        self.committer.note(Notes(states=states))

    def close(self) -> None:
        """Note nothing more by the clock."""
        if self._timer is not None:
            self._timer.cancel()

    # ---- what has not ended for a while

    def _submitted(self, attempts: Sequence[Attempt]) -> None:
        ids = attempts.ids if in_columns(attempts) else [attempt.task_id for attempt in attempts]
        if ids[0] not in self._identities:  # one of those that have none
            self._identities.update(dict.fromkeys(ids))
        self._age(False, attempts)

    def _age(self, began: bool, attempts: Sequence[Attempt]) -> None:
        self._young.append((self._clock() + AGE_S, began, attempts))
        if self._timer is None:
            self._timer = self._loop.call_later(AGE_S, self._aged)

    def _aged(self) -> None:
        """Record those that have not ended by now."""
        now = self._clock()
        accepted: list[Accepted] = []
        started: list[Started] = []
        while self._young and self._young[0][0] <= now:
            due, began, attempts = self._young.popleft()
            for attempt in self._alive(attempts):
                accepted += self._not_told_of(attempt)
                if began:
                    started += _started((attempt,), ago_s=now - due + AGE_S)
        if accepted or started:
            self.committer.note(Notes(accepted=accepted, started=started))
        due_s = self._young[0][0] - now if self._young else None
        self._timer = None if due_s is None else self._loop.call_later(due_s, self._aged)

    def _alive(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        there = self._identities
        if in_columns(attempts):
            return [attempts[at] for at, task_id in enumerate(attempts.ids) if task_id in there]
        return [attempt for attempt in attempts if attempt.task_id in there]

    def _not_told_of(self, attempt: Attempt) -> list[Accepted]:
        if attempt.task_id in self._accepted:
            return []
        self._accepted.add(attempt.task_id)
        return [self._acceptance(attempt.spec, attempt.task_id, attempt.key, attempt.index)]

    def _not_told(self, spec: TaskSpec, ids: Sequence[str], outcomes: Mapping[str, Outcome]) -> list[Accepted]:
        new = [task_id for task_id in ids if task_id not in self._accepted]
        self._accepted.update(new)
        return [self._acceptance(spec, name, outcomes[name].key, outcomes[name].index) for name in new]

    def _acceptance(self, spec: TaskSpec, task_id: str, key: str | None, index: int) -> Accepted:
        return Accepted(
            task_id=task_id,
            kind=self.kind(spec),
            identity=self._identities.get(task_id),
            key=key,
            index=index,
            retry_of=self._redone.pop(task_id, None) or spec.retry_of,
        )

    def _tell_redone(self, spec: TaskSpec, ids: Sequence[str], identities: Sequence[str | None]) -> None:
        """Tell first of those that do again what is recorded, where that was not told yet."""
        kind = self.kind(spec)
        accepted = [
            Accepted(task_id=task_id, kind=kind, identity=identity, retry_of=self._redone.pop(task_id))
            for task_id, identity in zip(ids, identities, strict=True)
            if task_id in self._redone
        ]
        if accepted:
            self.committer.note(Notes(accepted=accepted))


def _started(attempts: Sequence[Attempt], ago_s: float = 0.0) -> list[Started]:
    at = time.time() - ago_s
    return [Started(attempt.task_id, attempt.number, at) for attempt in attempts]


_KINDS_MOST = 256
"""Specs whose kinds are remembered."""
