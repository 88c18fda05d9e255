"""A journal in memory: the first implementation of the contract, and the one to test the commit barrier with."""

from __future__ import annotations

from collections.abc import Sequence

from longshore.errors import JournalError
from longshore.hookspecs import hookimpl
from longshore.records import CommitBatch, JournalQuery, RunInfo
from longshore.task import Outcome


class MemoryJournal:
    """Keeps outcomes for as long as it lives, at most one a task: a later one is not recorded, and counted.

    With `fail_after=n` the first `n` commits succeed, and every later one raises `JournalError` and records nothing of
    its batch. What is read may be read from any thread.
    """

    api = 1

    def __init__(self, *, fail_after: int | None = None) -> None:
        """Start empty."""
        self._fail_after = fail_after
        self._runs: dict[str, dict[str, Outcome]] = {}
        self.batches: list[CommitBatch] = []
        """What was committed, in order."""
        self.refused = 0
        """How many outcomes came for tasks that had one."""
        self.opened: list[RunInfo] = []
        self.closed = 0

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Begin a run, or go on with one that was recorded before."""
        self.opened.append(run)
        self._runs.setdefault(run.run_id, {})

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        """Record the outcomes, all or none."""
        if self._fail_after is not None and len(self.batches) >= self._fail_after:
            raise JournalError(
                f"the journal was told to fail after {self._fail_after} commits; "
                f"{len(batch.outcomes)} outcomes of run {batch.run_id} are not recorded",
                run_id=batch.run_id,
            )
        self.batches.append(batch)
        recorded = self._runs.setdefault(batch.run_id, {})
        for outcome in batch.outcomes:
            if outcome.task_id in recorded:
                self.refused += 1
            else:
                recorded[outcome.task_id] = outcome

    @hookimpl
    def load(self, query: JournalQuery) -> Sequence[Outcome]:
        """Return recorded outcomes in the order they were committed, at most one a task and run."""
        runs = self._runs if query.run_id is None else {query.run_id: self._runs.get(query.run_id, {})}
        wanted = None if query.task_ids is None else frozenset(query.task_ids)
        return [
            outcome
            for recorded in list(runs.values())
            for outcome in list(recorded.values())
            if wanted is None or outcome.task_id in wanted
        ]

    @hookimpl
    def close(self) -> None:
        """End; what is recorded stays readable."""
        self.closed += 1

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """All that is recorded."""
        return self.load(JournalQuery())
