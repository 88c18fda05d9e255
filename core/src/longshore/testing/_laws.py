"""The engine's laws: a plain model that stands beside an engine and raises `LawBroken` when a command breaks one.

Stimuli go in through `EngineLaws.handle`, in place of `Engine.handle`; the same commands come out, checked. Slow, and
meant for tests and simulation only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import assert_never

from longshore._engine.config import EngineSnapshot
from longshore._engine.engine import Engine
from longshore._engine.messages import (
    Abort,
    AskRunning,
    Cancel,
    CancelAttempts,
    Command,
    Dismiss,
    Drain,
    ExecutorUp,
    Grant,
    Keep,
    Lend,
    Limit,
    Measured,
    Past,
    Pause,
    Refuse,
    Remembered,
    Reported,
    RunsFor,
    Scale,
    Settle,
    Shed,
    Start,
    Stimulus,
    Submit,
    Tangled,
    Tell,
    Tick,
    Unpause,
    Waits,
)
from longshore._engine.shedding import ANSWER_S
from longshore._engine.states import MOVES
from longshore._tracking.fold import RunFold
from longshore.events import EventBatch, TaskRetrying, TasksSettled, TasksStarted, TasksSubmitted
from longshore.task import Attempt, Outcome, Priority, TaskSpec, TaskState
from longshore.testing._model import ROUNDING, EngineModel, Known
from longshore.testing._order import OrderLaws, without_memory


class EngineLaws(OrderLaws):
    """An engine under watch, and the model that it is held against."""

    def __init__(self, engine: Engine) -> None:
        """Watch an engine that has accepted nothing yet."""
        self.engine = engine
        self.now = 0.0
        self.model = EngineModel(engine.config)
        self.outcomes: dict[str, Outcome] = {}
        self.refused: set[str] = set()
        self._capacities = [self.model.capacity]
        """What there was of everything in the course of this batch."""
        self._reported: dict[str, Outcome] = {}
        self._started: list[Known] = []
        self._cancelling: set[str] = set()
        self.shedding: str | None = None
        """The task that was asked to end last so that its memory comes free, while it has not."""
        self._shed_names: set[str] = set()
        self._shed_at = 0.0
        self._seen_running, self._moved = list[set[str]](), set[str]()
        self._dismissed: dict[str, Outcome] = {}
        self._past: dict[str, Past] = {}
        self._holding: set[str | None] = set()
        self._late = self._order = 0
        self._paused = self._closed = self._excused = False
        self._starts = defaultdict(list)
        self._fold = RunFold(0.0)

    # ---- driving

    def handle(self, stimuli: Sequence[Stimulus], now: float) -> list[Command]:
        """Let the engine handle the stimuli, check what it does, and return it."""
        self._law(now >= self.now, "time never falls", f"{self.now} > {now}")
        self.now = now
        self._capacities = [self.model.capacity]
        room = self._room()
        self._seen_running, self._moved = [], set()
        for stimulus in stimuli:
            self._told(stimulus)
        commands = self.engine.handle(stimuli, now)
        self.model.cap = self.engine.concurrency
        self._started = []
        for command in commands:
            self._done(command)
        self._fall_due()
        self._check_now()
        if len(stimuli) == 1:
            self._check_answered(stimuli[0], room)
        return commands

    def check_end(self) -> None:
        """Check what holds when nothing is left to do."""
        left = [known.task.task_id for known in self.model.live()]
        self._law(not left and self.engine.idle, "every accepted task ends", f"left: {left}")
        self._law(not self.engine.lent(), "what is lent out sums to zero at the end", str(self.engine.lent()))

    # ---- what goes in

    def _told(self, stimulus: Stimulus) -> None:
        match stimulus:
            case Reported():
                for outcome in stimulus.outcomes:
                    self._report(outcome)
            case ExecutorUp():
                self.model.slots[stimulus.executor] = stimulus.slots
                self._excused = self._excused or self.model.in_use() > self.engine.config.max_concurrent_tasks
            case Grant():
                self._grant(stimulus.capacity)
            case Measured():
                self._seen_running.append({attempt.task_id for attempt in self.model.running()})
                lendable = {name: load.lendable for name, load in stimulus.loads.items() if load.lendable is not None}
                self._grant({**self.model.capacity, **lendable})
            case Pause() | Unpause():
                self._pause(stimulus)
            case Drain() | Abort():
                self._closed = True
                if isinstance(stimulus, Drain):
                    self._holding.clear()
            case Dismiss():
                self._dismissed.update({outcome.task_id: outcome for outcome in stimulus.outcomes})
            case Remembered():
                self._past.update(stimulus.tasks)
            case Submit() | Cancel() | RunsFor() | Waits() | Keep() | Tick():
                pass
            case _:
                assert_never(stimulus)

    def _grant(self, capacity: Mapping[str, float]) -> None:
        self.model.capacity = dict(capacity)
        self._capacities.append(self.model.capacity)

    def _report(self, outcome: Outcome) -> None:
        known = self.model.known.get(outcome.task_id)
        current = known is not None and known.state is TaskState.PROCESSING and known.number == outcome.attempts
        if known is None or not current or outcome.task_id in self._reported:
            self._late += 1
            return
        self._reported[outcome.task_id] = outcome
        del self.model.held[known.spec.executor][outcome.task_id]

    # ---- what comes out

    def _done(self, command: Command) -> None:
        match command:
            case Tell():
                self._tell(command.batch)
            case Start():
                for attempt in command.attempts:
                    self._start(command.executor, attempt)
            case Settle():
                self._fold.fold(TasksSettled(command.spec, command.outcomes), self.now)
                for outcome in command.outcomes:
                    self._settle(command.spec, outcome)
            case Refuse():
                self._refuse(command)
            case Shed():
                self._shed(command)
            case CancelAttempts():
                self._cancel(command)
            case Limit():
                self.model.limits[command.executor] = command.workers
            case AskRunning() | Lend() | Scale() | Tangled():
                pass
            case _:
                assert_never(command)

    def _tell(self, batch: EventBatch) -> None:
        if isinstance(batch, TasksStarted):
            self._fall_due()  # the engine queues what is due before it starts anything
        self._fold.fold(batch, self.now)
        if isinstance(batch, TasksSubmitted):
            for task in batch.tasks:
                fresh = task.task_id not in self.model.known and task.task_id not in self.refused
                self._law(fresh, "a task is accepted or refused, once", task.task_id)
                self._order += 1
                self._moved.add(task.task_id)
                self.model.accept(task, self.now, self._order, self._past.get(task.task_id))
        elif isinstance(batch, TaskRetrying):
            self._retry(batch)

    def _retry(self, batch: TaskRetrying) -> None:
        known = self.model.known[batch.outcome.task_id]
        name = known.task.task_id
        self._law(self._reported.pop(name, None) is batch.outcome, "only a reported attempt is tried again", name)
        if name in self._shed_names and batch.outcome.state is TaskState.CANCELLED:
            self._law(batch.delay_s == 0, "who was ended for others' sake waits for nothing but room", name)
            known.forgiven += 1
        elif batch.delay_s == 0 and known.for_others(batch.outcome):
            known.forgiven += 1
        else:
            counted = known.number - known.forgiven
            self._law(counted < known.spec.retry.attempts, "no attempt more than the policy allows", name)
        self._unshed(name)
        self._law(name not in self._cancelling, "a cancelled task is not tried again", name)
        self._move(known, TaskState.PENDING)
        known.due = self.now + batch.delay_s
        self._order += 1
        known.order = self._order
        in_time = known.expires_at is None or known.due < known.expires_at
        self._law(in_time, "no retry past the deadline over all attempts", name)

    def _pause(self, stimulus: Pause | Unpause) -> None:
        if stimulus.group is None:
            self._paused = isinstance(stimulus, Pause)
        elif isinstance(stimulus, Pause):
            self._holding.add(stimulus.group)
        else:
            self._holding.discard(stimulus.group)

    def _fall_due(self) -> None:
        """Queue the retries whose time has come, in the order they fell due."""
        due = [known for known in self.model.live() if known.due is not None and known.due <= self.now]
        for known in sorted(due, key=lambda known: (known.due, known.order)):
            self._move(known, TaskState.QUEUED)
            known.queued_at, known.due = self.now, None
            self._order += 1
            known.order = self._order

    def _start(self, executor: str, attempt: Attempt) -> None:
        name = attempt.task_id
        known = self.model.known[name]
        self._law(not self._paused, "nothing starts while paused", name)
        self._law(known.spec.group not in self._holding, "nothing of a group starts that is held", name)
        self._law(known.state is TaskState.QUEUED, "never two attempts of one task at once", name)
        self._law(attempt.number == known.number + 1, "attempts of a task rise by one", name)
        self._law(executor == known.spec.executor, "a task runs where its spec says", name)
        alive = known.expires_at is None or known.expires_at > self.now
        self._law(alive and attempt.expires_at == known.expires_at, "a deadline ends a waiting task", name)
        self._law(name not in self._dismissed, "what is dismissed never starts", name)
        self._check_order(known)
        self.model.reserved[name] = reserved = self.engine.lent_to(name)
        wanted = known.choices or [{}]
        if self.engine.lane_of(known.task)[5] is not None:
            wanted, reserved = [without_memory(amounts) for amounts in wanted], without_memory(reserved)
        self._law(reserved in wanted, "a task reserves one of its choices", f"{name}: {reserved}")
        if not known.plain:
            self._check_bounds(known)
        self._move(known, TaskState.PROCESSING)
        known.number, known.held_to_mb = attempt.number, attempt.memory_limit_mb
        self.model.held[executor][name] = attempt
        self._started.append(known)

    def _settle(self, spec: TaskSpec, outcome: Outcome) -> None:
        name = outcome.task_id
        known = self.model.known[name]
        self._law(name not in self.outcomes, "a task ends exactly once", name)
        self._law(spec is known.spec, "a task settles under its own spec", name)
        if known.state is TaskState.PROCESSING:
            self._ends_as_reported(known, self._reported.pop(name, None), outcome)
        elif outcome.state is TaskState.TIMED_OUT:
            expired = known.expires_at is not None and known.expires_at <= self.now
            self._law(expired, "only a passed deadline times out what waits", name)
        elif outcome.state is not TaskState.CANCELLED:
            self._law(self._dismissed.get(name) is outcome, "what has not run fails by being dismissed only", name)
        self._move(known, outcome.state)
        known.due = None
        self.outcomes[name] = outcome

    def _ends_as_reported(self, known: Known, reported: Outcome | None, outcome: Outcome) -> None:
        name = known.task.task_id
        if name in self._shed_names and reported is not None and reported.state is TaskState.CANCELLED:
            late = (
                known.expires_at is not None and known.expires_at <= self.now and outcome.state is TaskState.TIMED_OUT
            )
            self._law(late or name in self._cancelling, "who is ended for others' sake is tried again", name)
        else:
            judged = reported is not None and outcome.error is not None and outcome.error.reason == "memory"
            self._law(reported is outcome or judged, "a running task ends as it was reported", name)
        self._unshed(name)

    def _unshed(self, name: str) -> None:
        self._shed_names.discard(name)
        self.shedding = None if name == self.shedding else self.shedding

    def _shed(self, command: Shed) -> None:
        (name,) = command.task_ids
        known = self.model.known.get(name)
        here = known is not None and known.spec.executor == command.executor
        running = here and any(name in seen for seen in self._seen_running)
        once = name not in self._cancelling and name not in self._shed_names
        one = self.shedding is None or self.now >= self._shed_at + ANSWER_S
        self._law(running and once and one, "one that runs is ended for its memory, and one at a time", name)
        with_others = any(name in seen and len(seen) > 1 for seen in self._seen_running)
        self._law(with_others, "what runs alone is left alone", name)
        self.shedding, self._shed_at = name, self.now
        self._shed_names.add(name)

    def _refuse(self, command: Refuse) -> None:
        ids = {task.task_id for task in command.tasks}
        never = self._never(command.tasks[0].spec)
        self._law(not ids & (self.refused | self.model.known.keys()), "a task is accepted or refused, once", str(ids))
        self._law((command.cause == "closed") <= self._closed, "only a closed pool refuses as closed", str(ids))
        self._law((command.cause == "never") <= never, "only what can never fit is refused as such", str(ids))
        self.refused |= ids

    def _cancel(self, command: CancelAttempts) -> None:
        for name in command.task_ids:
            held = name in self.model.held[command.executor] or name in self._reported
            self._law(held and name not in self._cancelling, "only what runs is asked to end, once", name)
            self._cancelling.add(name)

    # ---- the laws

    def _check_now(self) -> None:
        """What holds between two calls."""
        self._law(not self._reported, "what is reported is tried again or settled", str(list(self._reported)))
        self._check_lowered()
        lent = self.engine.lent()
        mine = {name: amount for name, amount in self.model.lent().items() if amount}
        same = lent.keys() == mine.keys() and all(abs(lent[name] - mine[name]) < ROUNDING for name in lent)
        self._law(same, "what runs is what is lent", f"{lent} / {mine}")
        over = self.model.in_use() > self.engine.config.max_concurrent_tasks
        self._law(not over or self._excused, "max_concurrent_tasks holds over all executors")
        self._excused = over
        live = self.model.live()
        self._law(
            sorted(attempt.task_id for attempt in self.engine.live()) == sorted(known.task.task_id for known in live),
            "what has not ended is known to the engine, and nothing else",
        )
        for known in live:
            name, running = known.task.task_id, known.state is TaskState.PROCESSING
            same = self.engine.is_running(name) is running
            if name in self._moved and not running:  # it looks at all that wait; those that stay are counted
                same = same and self.engine.state(name) is known.state
            self._law(same, "the states agree", name)
            passed = known.expires_at is not None and known.expires_at <= self.now
            self._law(running or not passed, "a deadline ends a waiting task", name)
        due = self.engine.next_due()
        self._law(due is None or due > self.now, "the engine wants to be called later, not now")
        self._check_counts()
        self._check_pressed()
        if not self._paused:
            self._check_no_idling()

    def _check_counts(self) -> None:
        counts, snapshot = self._fold.counts(), self.engine.snapshot()
        folded = EngineSnapshot(
            **{name: getattr(counts, name) for name in counts.__struct_fields__},
            retried=self._fold.retried,
            late=self._late,
        )
        self._law(folded == snapshot, "folding the events gives the same numbers", f"{folded} / {snapshot}")

    def _check_answered(self, stimulus: Stimulus, room: Mapping[Priority, int]) -> None:
        """The answer to a lone Submit is exact: as many as there was room for, in order, or none at all."""
        if isinstance(stimulus, Dismiss):
            ids = [outcome.task_id for outcome in stimulus.outcomes]
            ended = all((name in self.outcomes) != (name in self.refused) for name in ids)
            self._law(ended, "what is dismissed ends at once, or is refused", str(ids))
        if not isinstance(stimulus, Submit):
            return
        spec, ids = stimulus.spec, [task.task_id for task in stimulus.attempts]
        taken = [name for name in ids if name in self.model.known]
        answered = all((name in self.model.known) != (name in self.refused) for name in ids)
        self._law(answered, "a task is accepted or refused, once", str(ids))
        most = 0 if self._closed or self._never(spec) else min(len(ids), room[spec.priority])
        self._law(taken == ids[:most], "the queue takes what it has room for, in order", f"{taken} of {ids}")

    def _room(self) -> Mapping[Priority, int]:
        """Return how many more tasks the queues take, by our own count; the engine says the same."""
        config, room = self.model.config, dict[Priority, int]()
        ordinary, urgent = self.model.waiting()
        for priority in Priority:
            is_urgent = priority is Priority.CRITICAL
            bound = config.priority_queue_size - urgent if is_urgent else config.max_queue_size - ordinary
            room[priority] = max(0, bound)
            self._law(room[priority] == self.engine.room(priority), "the queue's bound holds", priority.name)
        return room

    def _never(self, spec: TaskSpec) -> bool:
        """Tell whether a task of this spec wants more than there is, or was at any time in this batch."""
        choices = spec.resources.choices() if spec.resources is not None else ()
        return bool(choices) and all(
            any(
                amount > capacity.get(name, amount)
                for name, amount in choice.amounts().items()
                for capacity in self._capacities
            )
            for choice in choices
        )

    def _move(self, known: Known, to: TaskState) -> None:
        self._law(to in MOVES[known.state], "only legal moves", f"{known.task.task_id}: {known.state} to {to}")
        self._moved.add(known.task.task_id)
        self.model.move(known, to)
