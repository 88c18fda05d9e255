"""The engine: takes what has happened and the time, gives back what to do next.

Pure: it reads no clock and starts nothing.
Called by the driver (`longshore._runtime`), by the tests and by simulation, all in the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

from longshore._columns import ids_of, not_completed, ran_s
from longshore._engine.config import EngineConfig
from longshore._engine.dispatch import Dispatch
from longshore._engine.learning import Learning
from longshore._engine.memory import Memory
from longshore._engine.messages import (
    Abort,
    Cancel,
    CancelAttempts,
    Command,
    Dismiss,
    Drain,
    ExecutorUp,
    Grant,
    Keep,
    Measured,
    Past,
    Pause,
    Refuse,
    Remembered,
    Reported,
    RunsFor,
    Settle,
    Start,
    Stimulus,
    Submit,
    Tell,
    Tick,
    Unpause,
    Waits,
)
from longshore._engine.nested import Nested
from longshore._engine.overdue import Overdue
from longshore._engine.poison import Deaths
from longshore._engine.questions import Questions
from longshore._engine.retry import expired, may_retry, never_had, stopped, unknown
from longshore._engine.running import Running
from longshore._engine.scaling import Scaling
from longshore._engine.schedule import Schedule
from longshore._engine.states import COMPLETED, ENDS, FAILED, check_reported
from longshore.events import TaskRetrying, TasksStarted, TasksSubmitted
from longshore.task import Attempt, Outcome, Priority, TaskSpec


class Engine(Questions):
    """Admission, queue, ledger, retry and deadlines of one pool.

    A task's state is the place that holds it: a lane (queued), `_running` (processing), `_waiting` (pending, until its
    retry falls due), or none (ended). `uniform` gives numbers in [0, 1), for the jitter of retries. Laws, checked by
    tests/properties/test_engine_laws.py: every accepted task ends exactly once; what is lent out sums to zero at the
    end; first in, first out within a priority; aging bounds the wait of LOW under a steady HIGH stream; the queue
    bounds and max_concurrent_tasks hold.
    """

    def __init__(self, config: EngineConfig | None = None, uniform: Callable[[], float] = lambda: 0.5) -> None:
        """Start with nothing accepted."""
        self.config = config or EngineConfig()
        self._uniform = uniform
        self._dispatch = Dispatch(self.config.max_concurrent_tasks, self.config.capacity)
        self._running = Running()
        self._waiting: dict[str, Attempt] = {}
        self._retries = [0, 0]  # how many are in _waiting: ordinary, urgent
        self._due = Schedule()
        self._expiring = Schedule()
        self._overdue = Overdue()
        self._deaths = Deaths()
        self._nested = Nested(self._dispatch.places)
        self._memory = Memory(self._dispatch, Learning.from_dict(self.config.learnt))
        self._scaling = Scaling(self.config.scaling)
        self._cancelling: set[str] = set()
        self._past: dict[str, Past] = {}
        self._closed = False
        self._paused = False
        self._ended = dict.fromkeys(ENDS, 0)
        self._retried = self._late = 0
        self._throttled_s: defaultdict[str, float] = defaultdict(float)

    def locate(self, executor: str) -> None:
        """Take note, before it is given any task, that the workers of an executor are on machines of their own.

        Its tasks are held against what is measured of those, by readings of a site of its name.
        """
        self._dispatch.locate(executor)

    def handle(self, stimuli: Iterable[Stimulus], now: float) -> list[Command]:
        """Take what has happened by `now` (monotonic seconds, never falling); return what to do, in order."""
        out: list[Command] = []
        for stimulus in stimuli:
            match stimulus:
                case Reported():
                    self._report(stimulus, now, out)
                case Submit():
                    self._submit(stimulus, now, out)
                case Dismiss():
                    self._dismiss(stimulus, out)
                case Remembered():
                    self._remember(stimulus)
                case Cancel():
                    self._cancel(stimulus.task_ids, stimulus.message, now, out)
                case ExecutorUp():
                    self._up(stimulus, now)
                case Keep():
                    self._scaling.keep(stimulus.executor, self._dispatch)
                case RunsFor():
                    out += map(Tell, self._overdue.answered(stimulus, now))
                case Waits():
                    self._nested.take(stimulus, self._running.get(stimulus.task_id))
                case Grant():
                    self._dispatch.ledger.grant(stimulus.capacity)
                case Measured():
                    self._measured(stimulus, now, out)
                case Pause() | Unpause():
                    self._pause(stimulus)
                case Drain() | Abort():
                    self._close(stimulus, now, out)
                case Tick():
                    pass
                case _:
                    assert_never(stimulus)
        self._follow(now, out)
        return out

    def _close(self, stimulus: Drain | Abort, now: float, out: list[Command]) -> None:
        self._closed = True
        if isinstance(stimulus, Drain):
            self._dispatch.holding.clear()
        else:
            self._cancel([attempt.task_id for attempt in self.live()], stimulus.message, now, out)

    def _remember(self, stimulus: Remembered) -> None:
        self._past.update(stimulus.tasks)
        self._deaths.recall({name: past.deaths for name, past in stimulus.tasks.items() if past.deaths})

    def _follow(self, now: float, out: list[Command]) -> None:
        """Do what follows from the time and from what was told: what is due ends or begins, and what may start does."""
        if self._due or self._expiring:
            self._clock(now, out)
        if (until := self._dispatch.measured_until) is not None and until <= now:
            out += map(Tell, self._dispatch.forget_measures(now))
        if self._nested.used:
            out += self._nested.lend()
        if not self._paused:
            self._start(now, out)
        if self._scaling.used:
            out += self._scaling.see(self._dispatch, now, paused=self._paused or self._closed)
        if self._overdue.used:
            out += self._overdue.ask(now)
        if self._nested.used:
            more_comes = self._paused or bool(self._waiting)
            out += self._nested.tangled(self._dispatch, now, more_comes=more_comes)

    def _up(self, stimulus: ExecutorUp, now: float) -> None:
        self._dispatch.up(stimulus.executor, stimulus.slots, stimulus.runs_ahead, stimulus.limits)
        self._memory.up(stimulus)
        self._scaling.up(stimulus, self._dispatch, now)

    def _measured(self, stimulus: Measured, now: float, out: list[Command]) -> None:
        site = self._dispatch.site_of(stimulus.site)
        short, known = site.braking, site.ledger.is_known
        if short is not None and site.waits():
            self._throttled_s[short] += now - site.measured_at
        out += map(Tell, site.measure(stimulus, now, sum(self._ended.values()) + self._retried))
        if not known and site.ledger.is_known:
            for attempt, why in site.hopeless():
                self._dispatch.remove((attempt.task_id,))
                self._settle(attempt.spec, [never_had(attempt, now, why)], out)
        if self._memory.used and not stimulus.site:
            busy = self._cancelling | self._nested.waiting if self._nested.used else self._cancelling
            out += self._memory.measured(stimulus, self._running, busy, now)

    def _pause(self, stimulus: Pause | Unpause) -> None:
        paused, holding = isinstance(stimulus, Pause), self._dispatch.holding
        if stimulus.group is None:
            self._paused = paused
        elif paused:
            holding.add(stimulus.group)
        else:
            holding.discard(stimulus.group)

    def _submit(self, stimulus: Submit, now: float, out: list[Command]) -> None:
        spec, attempts = stimulus.spec, stimulus.attempts
        if self._closed:
            out.append(_closed(attempts))
            return
        never = self.never_fits(spec.resources, spec.executor)
        if never is not None:
            out.append(Refuse(attempts, "never", never))
            return
        room = self.room(spec.priority)
        if len(attempts) > room:
            out.append(Refuse(attempts[room:], "full", "the queue is full"))
            attempts = attempts[:room]
        if attempts:
            self._overdue.used = self._overdue.used or spec.soft_timeout_s is not None
            if spec.deadline_s is not None:
                expires_at = now + spec.deadline_s
                attempts = [Attempt.of(attempt, attempt.number, now, expires_at) for attempt in attempts]
                for attempt in attempts:
                    self._expiring.add(expires_at, attempt.task_id)
            self._dispatch.queue(spec, attempts)
            out.append(Tell(TasksSubmitted(spec, attempts)))

    def _dismiss(self, stimulus: Dismiss, out: list[Command]) -> None:
        if self._closed:
            out.append(_closed(stimulus.attempts))
            return
        out.append(Tell(TasksSubmitted(stimulus.spec, stimulus.attempts)))
        self._settle(stimulus.spec, stimulus.outcomes, out)

    def _start(self, now: float, out: list[Command]) -> None:
        started = list(self._dispatch.start(now))
        out += self._dispatch.limit()
        for executor, attempts in started:
            self._running.start(attempts)
            if self._overdue.used:
                self._overdue.begun(attempts, now)
            out.append(Tell(TasksStarted(attempts)))
            out.append(Start(executor, attempts))

    def _report(self, stimulus: Reported, now: float, out: list[Command]) -> None:
        """Let final outcomes stand, in runs of one spec; send the others back to wait for their retry."""
        if self._overdue.used:
            out += map(Tell, self._overdue.ended(stimulus.outcomes))
        if self._nested.used:
            self._nested.ended(stimulus.outcomes, self._running)
        if self._memory.used:
            self._memory.ended(stimulus.outcomes, self._running)
        executor, outcomes = stimulus.executor, stimulus.outcomes
        spec = None if self._dispatch.counts_exactly else self._running.end_plain(outcomes)
        if spec is not None:
            self._settle(spec, outcomes, out)
            self._dispatch.ended(executor, len(outcomes), ran_s(outcomes))
            return
        settled: list[Outcome] = []
        count, spent_s = 0, 0.0
        for outcome in outcomes:
            attempt = self._running.get(outcome.task_id)
            if attempt is None or attempt.number != outcome.attempts:
                self._late += 1
                continue
            if attempt.spec is not spec:
                self._settle(spec, settled, out)
                settled, spec = [], attempt.spec
            spent_s += outcome.ran_s
            count += 1
            self._running.end(outcome.task_id)
            check_reported(outcome.state, outcome.task_id)
            judged = self._judge(attempt, outcome, now)
            if attempt.spec.breaker is not None:
                out += map(Tell, self._dispatch.breakers.ended(attempt, judged, now))
            self._dispatch.release(outcome.task_id)
            if not self._retry(attempt, judged, now, out):
                settled.append(judged)
        self._settle(spec, settled, out)
        self._dispatch.ended(executor, count, spent_s)

    def _judge(self, attempt: Attempt, outcome: Outcome, now: float) -> Outcome:
        """Return the outcome with what follows of the deaths and the memory of its task so far."""
        if outcome.state is COMPLETED:
            return outcome
        judged = outcome if outcome.state is not FAILED else self._deaths.judge(attempt, outcome)
        judged = self._memory.judge(attempt, judged, now)
        return judged if attempt.spec.on_crash == "retry" else unknown(attempt, judged)

    def _settle(self, spec: TaskSpec | None, outcomes: Sequence[Outcome], out: list[Command]) -> None:
        if spec is None or not outcomes:
            return
        if self._cancelling:
            self._cancelling.difference_update(ids_of(outcomes))
        if self._past:
            for task_id in ids_of(outcomes):
                self._past.pop(task_id, None)
        if self._deaths.seen:
            self._deaths.forget(outcomes)
        if self._memory.marks:
            self._memory.forget(ids_of(outcomes))
        others = not_completed(outcomes)
        self._ended[COMPLETED] += len(outcomes) - len(others)
        for outcome in others:  # few: an Enum's hash is dear
            self._ended[outcome.state] += 1
        out.append(Settle(spec, outcomes))

    def _retry(self, attempt: Attempt, outcome: Outcome, now: float, out: list[Command]) -> bool:
        """Put a failed attempt's successor aside until it is due, if there is to be one."""
        spec = attempt.spec
        if outcome.state is COMPLETED or attempt.task_id in self._cancelling:
            return False
        again, forgiven = self._memory.again(attempt.task_id)
        past = self._past.get(attempt.task_id)
        forgiven += past.lost if past is not None else 0
        if again is False or not (again or may_retry(spec.retry, outcome, forgiven)):
            return False
        delay_s = 0.0 if again else spec.retry.wait_s(attempt.number - forgiven, self._uniform())
        due = now + delay_s
        if attempt.expires_at is not None and due >= attempt.expires_at:
            return False
        self._retried += 1
        follows = Attempt.of(attempt, attempt.number + 1, due, attempt.expires_at)
        self._waiting[attempt.task_id] = self._memory.next_attempt(follows)
        self._retries[spec.priority is Priority.CRITICAL] += 1
        self._due.add(due, attempt.task_id)
        out.append(Tell(TaskRetrying(spec, outcome, delay_s)))
        return True

    def _clock(self, now: float, out: list[Command]) -> None:
        """End what waited past its deadline, and queue the retries that have fallen due."""
        late = self._expiring.take(now)
        if late:  # a running one is its executor's to end
            for attempt in self._take_waiting(late):
                self._settle(attempt.spec, [expired(attempt, now)], out)
        for attempt in self._take_retries(self._due.take(now)):
            self._dispatch.queue(attempt.spec, (Attempt.of(attempt, attempt.number, now, attempt.expires_at),))
        self._expiring.tidy(self.live)

    def _cancel(self, task_ids: Sequence[str], message: str, now: float, out: list[Command]) -> None:
        running: dict[str, list[str]] = {}
        for task_id in task_ids:
            attempt = self._running.get(task_id)
            if attempt is not None and task_id not in self._cancelling:
                self._cancelling.add(task_id)
                running.setdefault(attempt.spec.executor, []).append(task_id)
        for attempt in self._take_waiting(task_ids):
            self._settle(attempt.spec, [stopped(attempt, now, message)], out)
        for executor, ids in running.items():
            out.append(CancelAttempts(executor, ids, message))

    def _take_waiting(self, task_ids: Iterable[str]) -> list[Attempt]:
        """Take these tasks out of the queue and from among the retries; running ones stay."""
        return self._dispatch.remove(frozenset(task_ids)) + self._take_retries(task_ids)

    def _take_retries(self, task_ids: Iterable[str]) -> list[Attempt]:
        """Take these tasks from among the retries."""
        retries = [self._waiting.pop(task_id) for task_id in task_ids if task_id in self._waiting]
        for attempt in retries:
            self._retries[attempt.spec.priority is Priority.CRITICAL] -= 1
        return retries


def _closed(attempts: Sequence[Attempt]) -> Refuse:
    return Refuse(attempts, "closed", "the pool takes no more work")
