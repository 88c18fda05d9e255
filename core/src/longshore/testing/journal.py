"""A journal in memory: the first implementation of the contract, and the one to test the commit barrier with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from longshore.errors import JournalError
from longshore.hookspecs import hookimpl
from longshore.records import (
    AttemptTrace,
    CommitBatch,
    JournalQuery,
    Recalled,
    RunOpening,
    RunRecord,
    TaskEntry,
    TaskKind,
    TaskTrace,
)
from longshore.task import Outcome, TaskState

_OF_ENTRIES = ("task_id", "kind", "identity", "key", "index", "retry_of", "state", "attempts")
_OF_OPENINGS = ("host", "pid", "command", "versions", "settings")
_OF_ENDS = ("state", "error_type", "reason", "worker", "ran_s")


class _Run:
    """What is recorded of one run."""

    def __init__(self, opening: RunOpening) -> None:
        self.record = RunRecord(run_id=opening.run_id, started=opening.at, name=opening.name, generation=0)
        self.tasks: dict[str, TaskEntry] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.states: dict[str, Any] = {}
        self.tries: dict[str, dict[int, AttemptTrace]] = {}
        self.held = False
        self.ended_at: dict[str, float] = {}

    def entry(self, task_id: str, kind: TaskKind, **facts: Any) -> None:  # Any: the fields of TaskEntry
        known = self.tasks.get(task_id) or TaskEntry(task_id=task_id, kind=kind)
        self.tasks[task_id] = replace(known, **facts)

    def standing(self) -> list[TaskEntry]:
        redone = {entry.retry_of for entry in self.tasks.values()}
        return [entry for entry in self.tasks.values() if entry.task_id not in redone]

    def recalled(self, entry: TaskEntry) -> TaskEntry:
        ended = [one for one in self.tries.get(entry.task_id, {}).values() if one.state is not None]
        return replace(entry, lost=entry.attempts - len(ended) if entry.state is None else 0)

    def trace(self, entry: TaskEntry, *, redone: bool) -> TaskTrace:
        tries = self.tries.get(entry.task_id, {})
        outcome = self.outcomes.get(entry.task_id)
        names = ("error", "queued_s", "ran_s", "cpu_s", "peak_memory_mb", "worker")
        return TaskTrace(
            **{name: getattr(entry, name) for name in _OF_ENTRIES},
            **{name: getattr(outcome, name) for name in names if outcome is not None},
            redone=redone,
            ended_at=self.ended_at.get(entry.task_id),
            tries=[tries[number] for number in sorted(tries)],
        )


class MemoryJournal:
    """Keeps what it is given for as long as it lives: at most one outcome a task, a later one is counted and dropped.

    One made `on` another one has what that one has, as the journal of a next process would.

    With `fail_after=n` the first `n` commits succeed, and every later one raises `JournalError` and records nothing of
    its batch. What is read may be read from any thread.
    """

    api = 1

    def __init__(self, *, fail_after: int | None = None, on: MemoryJournal | None = None) -> None:
        """Start empty, or with what there is `on` another one."""
        self._fail_after = fail_after
        self._runs: dict[str, _Run] = {} if on is None else on._runs
        self._open: _Run | None = None
        self.batches: list[CommitBatch] = []
        """What was committed, in order."""
        self.refused = 0
        """How many outcomes came for tasks that had one."""
        self.opened: list[RunOpening] = []
        self.closed = 0

    @hookimpl
    def open(self, run: RunOpening) -> Recalled:
        """Begin a run, or go on with one that was recorded before."""
        self.opened.append(run)
        known = self._runs.get(run.run_id)
        if run.resume and known is None:
            raise JournalError(f"there is no run {run.run_id}", run_id=run.run_id)
        if known is not None and known.held:
            raise JournalError(f"run {run.run_id} is held: the journal that has it open is to be closed first")
        if known is not None and not run.resume:
            raise JournalError(f"the run {run.run_id} is recorded already", run_id=run.run_id)
        found = self._open = self._runs.setdefault(run.run_id, _Run(run))
        found.held = True
        found.states.update(run.states)
        begun = {name: getattr(run, name) for name in _OF_OPENINGS}
        generation = found.record.generation + 1
        found.record = replace(found.record, generation=generation, state="running", ended=None, **begun)
        tasks = [found.recalled(entry) for entry in found.standing()]
        return Recalled(tasks=tasks, states=dict(found.states))

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        """Record the batch, all or none."""
        if self._fail_after is not None and len(self.batches) >= self._fail_after:
            raise JournalError(
                f"the journal was told to fail after {self._fail_after} commits; "
                f"{len(batch.outcomes)} outcomes of run {batch.run_id} are not recorded",
                run_id=batch.run_id,
            )
        msgspec.json.encode(batch.states)  # raises for what is not JSON-safe, before anything is recorded
        self.batches.append(batch)
        run = self._runs.setdefault(batch.run_id, _Run(RunOpening(run_id=batch.run_id, at=batch.at)))
        for task in batch.accepted:
            facts = {name: getattr(task, name) for name in ("identity", "key", "index", "retry_of")}
            run.entry(task.task_id, task.kind, **facts)
        self._attempts(run, batch)
        for group in batch.settled:
            for outcome, identity in zip(group.outcomes, group.identities, strict=True):
                self._settle(run, group.kind, outcome, identity, batch.at)
        run.states.update(batch.states)
        if batch.ended is not None:
            run.record = replace(run.record, state=batch.ended, ended=batch.at)

    def _attempts(self, run: _Run, batch: CommitBatch) -> None:
        for start in batch.started:
            known = run.tasks[start.task_id]
            if known.state is not None:
                continue
            run.entry(start.task_id, known.kind, attempts=max(known.attempts, start.number))
            begun = AttemptTrace(number=start.number, started=start.at)
            run.tries.setdefault(start.task_id, {}).setdefault(start.number, begun)
        for tried in batch.tried:
            known = run.tasks[tried.task_id]
            if known.state is not None:
                continue
            tries = run.tries.setdefault(tried.task_id, {})
            begun = tries.get(tried.number, AttemptTrace(number=tried.number, started=tried.started))
            if begun.state is None:
                tries[tried.number] = replace(begun, **{name: getattr(tried, name) for name in _OF_ENDS})
            died = tried.error_type.endswith(".WorkerDied")
            deaths = (*known.deaths, tried.reason or "unknown") if died else known.deaths
            run.entry(tried.task_id, known.kind, attempts=max(known.attempts, tried.number), deaths=deaths)

    def _settle(self, run: _Run, kind: TaskKind, outcome: Outcome, identity: str | None, at: float) -> None:
        if outcome.task_id in run.outcomes:
            self.refused += 1
            return
        run.outcomes[outcome.task_id] = outcome
        run.ended_at[outcome.task_id] = at
        facts: Mapping[str, Any] = {  # Any: the fields of TaskEntry
            "identity": identity,
            "key": outcome.key,
            "index": outcome.index,
            "state": outcome.state,
            "kept": True,
            "attempts": outcome.attempts,
        }
        run.entry(outcome.task_id, kind, **facts)

    @hookimpl
    def load(self, query: JournalQuery) -> Sequence[Outcome]:
        """Return recorded outcomes in the order they were committed, at most one a task and run."""
        return list(self.archive().outcomes(query))

    @hookimpl
    def close(self) -> None:
        """End; what is recorded stays readable."""
        self.closed += 1
        if self._open is not None:
            self._open.held, self._open = False, None

    @hookimpl
    def archive(self) -> MemoryArchive:
        """Return a reader of what is recorded."""
        return MemoryArchive(self._runs)

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """All that is recorded."""
        return self.load(JournalQuery())


class MemoryArchive:
    """Reads what a MemoryJournal has recorded."""

    def __init__(self, runs: dict[str, _Run]) -> None:
        """Read from `runs`."""
        self._runs = runs

    def runs(self, newest: int | None = None) -> Sequence[RunRecord]:
        """Return all runs, or so many of them, the newest first."""
        return sorted(map(self.run, list(self._runs)), key=lambda run: -run.started)[:newest]

    def run(self, run_id: str) -> RunRecord:
        """Return one run; JournalError if it is not there."""
        found = self._find(run_id)
        counts = Counter(entry.state or "unfinished" for entry in found.standing())
        return replace(found.record, counts=dict(counts), held=found.held)

    def states(self, run_id: str, names: Sequence[str]) -> Mapping[str, Any]:  # Any: JSON-safe values
        """Return named states of one run; JournalError if the run is not there."""
        states = self._find(run_id).states
        return {name: states[name] for name in names if name in states}

    def tasks(self, query: JournalQuery) -> Iterator[TaskEntry]:
        """Yield recorded tasks."""
        for run in self._wanted(query):
            for entry in list(run.tasks.values()):
                if _asked_for(run, entry.task_id, entry.state, query):
                    yield entry

    def traces(self, query: JournalQuery) -> Iterator[TaskTrace]:
        """Yield all that is recorded of tasks but their values."""
        for run in self._wanted(query):
            entries = list(run.tasks.values())
            redone = {entry.retry_of for entry in entries}
            for entry in entries:
                if _asked_for(run, entry.task_id, entry.state, query):
                    yield run.trace(entry, redone=entry.task_id in redone)

    def outcomes(self, query: JournalQuery) -> Iterator[Outcome]:
        """Yield recorded outcomes."""
        for run in self._wanted(query):
            for outcome in list(run.outcomes.values()):
                if _asked_for(run, outcome.task_id, outcome.state, query):
                    yield outcome

    def remove(self, run_id: str) -> None:
        """Forget a run."""
        if self._find(run_id).held:
            raise JournalError(f"run {run_id} is held: the journal that has it open is to be closed first")
        del self._runs[run_id]

    def close(self) -> None:
        """Do nothing: there is nothing open."""

    def _find(self, run_id: str) -> _Run:
        if run_id not in self._runs:
            raise JournalError(f"there is no run {run_id}", run_id=run_id)
        return self._runs[run_id]

    def _wanted(self, query: JournalQuery) -> list[_Run]:
        if query.run_id is None:
            return list(self._runs.values())
        return [self._runs[query.run_id]] if query.run_id in self._runs else []


def _asked_for(run: _Run, task_id: str, state: TaskState | None, query: JournalQuery) -> bool:
    ended_at = run.ended_at.get(task_id)
    return (
        (query.task_ids is None or task_id in query.task_ids)
        and (query.states is None or state in query.states)
        and (query.since is None or ended_at is None or ended_at >= query.since)
    )


__all__ = ["MemoryArchive", "MemoryJournal"]
