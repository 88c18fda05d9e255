"""A journal replayed through the engine: a run goes on where the one before it stood, wherever that was cut off."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import (
    Cancel,
    Command,
    ExecutorUp,
    Past,
    Remembered,
    Reported,
    Settle,
    Start,
    Stimulus,
    Submit,
    Tell,
    Tick,
)
from longshore._engine.recall import Recall, worth
from longshore.errors import WorkerDied
from longshore.events import TaskRetrying, TasksSubmitted
from longshore.records import (
    Accepted,
    CommitBatch,
    Recalled,
    RunOpening,
    Settled,
    Started,
    TaskEntry,
    TaskKind,
    Tried,
)
from longshore.task import Attempt, ErrorRecord, Outcome, RetryPolicy, TaskSpec, TaskState
from longshore.testing import MemoryJournal

KIND = TaskKind(name="work", function="m.work", version="1")
COMPLETED, FAILED, CANCELLED = TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED


def work() -> None:
    """Stand for a user's function."""


SPECS = st.builds(
    TaskSpec,
    function=st.just(work),
    name=st.just("work"),
    executor=st.just("quay"),
    retry=st.builds(RetryPolicy, attempts=st.integers(1, 4), backoff=st.just(0.0), poison_after=st.integers(1, 3)),
)
ACTS = st.lists(
    st.tuples(st.sampled_from(["complete", "fail", "die", "cancel", "pass"]), st.integers(0, 50)), max_size=25
)


class Run:
    """An engine, and a journal that has all that it says."""

    def __init__(self, journal: MemoryJournal, *, slots: int = 2, resume: bool = False) -> None:
        self.engine = Engine(EngineConfig())
        self.journal, self.now = journal, 0.0
        self.recalled = journal.open(RunOpening(run_id="run", at=0.0, resume=resume))
        self.running: dict[str, Attempt] = {}
        self.ended: dict[str, Outcome] = {}
        self.tell(ExecutorUp("quay", slots, runs_ahead=False))

    def tell(self, *stimuli: Stimulus) -> None:
        for command in self.engine.handle(stimuli, self.now):
            self.record(command)
        if any(isinstance(one, Reported) for one in stimuli):
            self.tell(Tick())  # a retry without a wait begins with the next step

    def record(self, command: Command) -> None:
        parts: dict[str, Any] = {}
        match command:
            case Tell(TasksSubmitted() as batch):
                tasks = batch.tasks
                parts["accepted"] = [Accepted(task_id=t.task_id, kind=KIND, identity=t.key) for t in tasks]
            case Start():
                self.running.update({attempt.task_id: attempt for attempt in command.attempts})
                parts["started"] = [Started(attempt.task_id, attempt.number, 0.0) for attempt in command.attempts]
            case Tell(TaskRetrying() as retrying):
                outcome, error = retrying.outcome, retrying.outcome.error
                reason = (error.type, error.reason) if error is not None else ("", None)
                tried = Tried(
                    task_id=outcome.task_id,
                    number=outcome.attempts,
                    state=outcome.state,
                    error_type=reason[0],
                    reason=reason[1],
                )
                parts["tried"] = [tried]
            case Settle():
                self.ended.update({outcome.task_id: outcome for outcome in command.outcomes})
                keys = [outcome.key for outcome in command.outcomes]
                parts["settled"] = [Settled(KIND, command.outcomes, keys)]
        if parts:
            self.journal.commit(CommitBatch(run_id="run", **parts))

    def end(self, attempt: Attempt, how: str) -> None:
        """Report how an attempt ended."""
        del self.running[attempt.task_id]
        state = COMPLETED if how == "complete" else CANCELLED if how == "cancelled" else FAILED
        died = WorkerDied("gone", reason="signal 9") if how == "die" else None
        kind = "longshore.errors.WorkerDied" if died else "ValueError"
        error = None if state is COMPLETED else ErrorRecord(type=kind, message="", reason="signal 9" if died else None)
        who = attempt.task_id, attempt.key, attempt.index, attempt.spec.name
        outcome = Outcome(*who, state, error=error, attempts=attempt.number, exception=died)
        self.tell(Reported("quay", [outcome]))

    def act(self, what: str, which: int) -> None:
        """Have something happen to one of the tasks."""
        running = list(self.running.values())
        if what == "cancel":
            live = [attempt.task_id for attempt in self.engine.live()]
            if live:
                self.tell(Cancel((task_id := live[which % len(live)],)))
                if task_id in self.running:
                    self.end(self.running[task_id], "cancelled")
        elif what == "pass":
            self.now += 1.0
            self.tell(Tick())
        elif running:
            self.end(running[which % len(running)], what)

    def fail_all(self, how: str) -> dict[str, str]:
        """Have all that is left fail for good; return by task how it ended."""
        while self.running:
            self.end(next(iter(self.running.values())), how)
        return {task_id: outcome.error.type for task_id, outcome in self.ended.items() if outcome.error is not None}


def gone_on(first: Run, specs: list[TaskSpec], begun: dict[str, int]) -> tuple[Run, set[str]]:
    """Go on with all that is recorded of a run, and return that with the tasks that had not ended."""
    first.journal.close()
    second = Run(MemoryJournal(on=first.journal), resume=True)
    recall = Recall(second.recalled)
    live = set()
    for number, spec in enumerate(specs):
        entry = recall.take(KIND, f"key {number}")
        assert entry is not None
        task_id = entry.task_id
        word = recall.judge(KIND, entry)
        if task_id in first.ended:
            assert entry.state is first.ended[task_id].state
            assert word == ("cancelled" if entry.state is CANCELLED else "restored")
            continue
        assert word == "unfinished"
        assert entry.lost == (task_id in begun)
        next_number = first.engine.find(task_id)
        assert next_number is not None
        assert entry.attempts + 1 == begun.get(task_id, next_number.number - 1) + 1
        past = Past(entry.attempts + 1, entry.lost, entry.deaths)
        attempt = Attempt(task_id, spec, (), None, number, f"key {number}", past.number)
        second.tell(Remembered({task_id: past}), Submit(spec, [attempt]))
        live.add(task_id)
    return second, live


@given(specs=st.lists(SPECS, min_size=1, max_size=6), acts=ACTS, how=st.sampled_from(["fail", "die"]))
@settings(deadline=None)
def test_a_run_goes_on_where_it_stood(specs: list[TaskSpec], acts: list[tuple[str, int]], how: str) -> None:
    """Cut off anywhere: ends are known, attempts go on rising, and as many tries and deaths are left as there were."""
    first = Run(MemoryJournal())
    for number, spec in enumerate(specs):
        first.tell(Submit(spec, [Attempt(f"t{number}", spec, (), None, number, f"key {number}")]))
    for what, which in acts:
        first.act(what, which)

    begun = {attempt.task_id: attempt.number for attempt in first.running.values()}
    second, live = gone_on(first, specs, begun)
    assert second.engine._deaths.seen == {
        name: seen for name, seen in first.engine._deaths.seen.items() if name in live and seen
    }

    ended_first, ended_second = first.fail_all(how), second.fail_all(how)
    assert {name: ended_second[name] for name in live} == {name: ended_first[name] for name in live}
    for name in live:
        lost = name in begun
        assert second.ended[name].attempts == first.ended[name].attempts + lost


ENTRIES = st.lists(
    st.builds(
        TaskEntry,
        task_id=st.uuids().map(str),
        kind=st.just(KIND),
        identity=st.sampled_from(["a", "b", None]),
        state=st.sampled_from([COMPLETED, FAILED, None]),
        kept=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda entry: entry.task_id,
)


@given(entries=ENTRIES, asked=st.lists(st.sampled_from(["a", "b", "c", None]), max_size=12))
def test_each_recorded_task_is_found_once_and_by_what_it_is(entries: list[TaskEntry], asked: list[str | None]) -> None:
    """Asking in any order gives each recorded task of that identity once, what is done first, and nothing else."""
    recall = Recall(Recalled(tasks=entries))
    found: dict[str | None, list[TaskEntry]] = {}
    for identity in asked:
        entry = recall.take(KIND, identity)
        if entry is not None:
            assert entry.identity == identity is not None
            found.setdefault(identity, []).append(entry)
    for identity in ("a", "b"):
        there = [entry for entry in entries if entry.identity == identity]
        taken = found.get(identity, [])
        assert len(taken) == min(asked.count(identity), len(there))
        assert len({entry.task_id for entry in taken}) == len(taken)
        assert [worth(entry) for entry in taken] == sorted(map(worth, there))[: len(taken)]
    assert recall.left == sum(entry.identity is not None for entry in entries) - sum(map(len, found.values()))
