"""Journals that break one promise each. They keep what they are given in memory, by the folder of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from longshore.errors import JournalError
from longshore.hookspecs import hookimpl
from longshore.records import CommitBatch, JournalQuery, Recalled, RunOpening, RunRecord, TaskEntry, TaskTrace
from longshore.task import Outcome
from longshore.testing import JournalConformance
from longshore.testing.journal import MemoryArchive
from msgspec.structs import replace
from mutants._journals_batches import OF_BATCHES
from mutants._keeping import GoodJournal, misread
from mutants._spreading import spreading

SUITE: Final = JournalConformance
GOOD: Final = GoodJournal


# ---- what all plugins keep


class Unmarked(GoodJournal):
    """its `archive` is not marked with @hookimpl"""

    def archive(self) -> MemoryArchive:
        return super().archive()


class OfTheFuture(GoodJournal):
    """its `api` is one that does not exist yet"""

    api = 99


class Eager(GoodJournal):
    """starts its writer thread when it is made"""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        threading.Thread(target=threading.Event().wait, args=(1.0,), daemon=True).start()


# ---- outcomes


class Forgetful(GoodJournal):
    """forgets by which worker a task was run"""

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        settled = [
            replace(group, outcomes=[replace(one, worker=None) for one in group.outcomes]) for group in batch.settled
        ]
        super().commit(replace(batch, settled=settled))


class Fickle(GoodJournal):
    """has a later outcome of a task take the place of the first"""

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        for outcome in batch.outcomes:
            self._runs[batch.run_id].outcomes.pop(outcome.task_id, None)
        super().commit(batch)


class Belated(GoodJournal):
    """counts an attempt of which it hears when its task has ended"""

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        super().commit(batch)
        tasks = self._runs[batch.run_id].tasks
        for start in batch.started:
            tasks[start.task_id] = replace(tasks[start.task_id], attempts=start.number)


class Generous(GoodJournal):
    """gives outcomes whatever states were asked for"""

    @hookimpl
    def load(self, query: JournalQuery) -> Sequence[Outcome]:
        return super().load(replace(query, states=None))


class Small(GoodJournal):
    """keeps a thousand outcomes of a commit, and no more"""

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        settled = [replace(g, outcomes=g.outcomes[:1000], identities=g.identities[:1000]) for g in batch.settled]
        super().commit(replace(batch, settled=settled))


# ---- what a run that goes on has


def recalling(change: Callable[[TaskEntry], TaskEntry], wrong: str) -> type[GoodJournal]:
    """Return a journal that recalls tasks otherwise than they are recorded."""

    class Misremembering(GoodJournal):
        @hookimpl
        def open(self, run: RunOpening) -> Recalled:
            found = super().open(run)
            return replace(found, tasks=[change(entry) for entry in found.tasks])

    Misremembering.__doc__ = wrong
    return Misremembering


class Repeating(GoodJournal):
    """recalls a task that another one does again"""

    @hookimpl
    def open(self, run: RunOpening) -> Recalled:
        found = super().open(run)
        kept = self._runs[run.run_id]
        return replace(found, tasks=[kept.recalled(entry) for entry in kept.tasks.values()])


class Stateless(GoodJournal):
    """keeps the first state of a name, not the last"""

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        known = self._runs[batch.run_id].states
        super().commit(replace(batch, states={name: known.get(name, state) for name, state in batch.states.items()}))


# ---- beginning, going on, ending


class Complaisant(GoodJournal):
    """begins a run that it is to go on with and does not have"""

    @hookimpl
    def open(self, run: RunOpening) -> Recalled:
        return super().open(run if run.run_id in self._runs else replace(run, resume=False))


class Overwriting(GoodJournal):
    """begins a run anew that is there already"""

    @hookimpl
    def open(self, run: RunOpening) -> Recalled:
        if not run.resume:
            self._runs.pop(run.run_id, None)
        return super().open(run)


class Sharing(GoodJournal):
    """lets two have one run open"""

    @hookimpl
    def open(self, run: RunOpening) -> Recalled:
        if run.run_id in self._runs:
            self._runs[run.run_id].held = False
        return super().open(run)


class Lazy(GoodJournal):
    """keeps what it is to commit until it is closed"""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._later: list[CommitBatch] = []

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        self._later.append(batch)

    @hookimpl
    def load(self, query: JournalQuery) -> Sequence[Outcome]:
        self._write()
        return super().load(query)

    @hookimpl
    def close(self) -> None:
        self._write()
        super().close()

    def _write(self) -> None:
        while self._later:
            super().commit(self._later.pop(0))


class HalfHearted(GoodJournal):
    """records the outcomes of a batch, and then raises for a state in it"""

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        super().commit(replace(batch, states={}))
        super().commit(replace(batch, settled=()))


class Insisting(GoodJournal):
    """raises when it is closed and is not open"""

    @hookimpl
    def close(self) -> None:
        if self._open is None:
            raise JournalError("the journal is not open")
        super().close()


class AsciiOnly(GoodJournal):
    """replaces what is no Unicode in keys"""

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        super().commit(
            replace(batch, settled=[replace(g, outcomes=list(map(_plain, g.outcomes))) for g in batch.settled])
        )


def _plain(outcome: Outcome) -> Outcome:
    return replace(outcome, key=outcome.key and outcome.key.encode("utf-8", "replace").decode())


# ---- archives


class Brief(MemoryArchive):
    """tells nothing of the error of a task that failed"""

    def traces(self, query: JournalQuery) -> Iterator[TaskTrace]:
        return (replace(one, error=None) for one in super().traces(query))


class Talkative(MemoryArchive):
    """tells of all tasks, whichever were asked for"""

    def traces(self, query: JournalQuery) -> Iterator[TaskTrace]:
        return super().traces(replace(query, task_ids=None))


class Impatient(MemoryArchive):
    """tells of no attempt when it began"""

    def traces(self, query: JournalQuery) -> Iterator[TaskTrace]:
        for one in super().traces(query):
            yield replace(one, tries=[replace(tried, started=None) for tried in one.tries])


class Unlinked(MemoryArchive):
    """does not mark a task that another one does again"""

    def traces(self, query: JournalQuery) -> Iterator[TaskTrace]:
        return (replace(one, redone=False) for one in super().traces(query))


class Open(MemoryArchive):
    """gives all named states, whichever were asked for"""

    def states(self, run_id: str, names: Sequence[str]) -> Mapping[str, Any]:
        return super().states(run_id, [*names, *self._find(run_id).states])


class Backward(MemoryArchive):
    """yields tasks in the order of their ids"""

    def tasks(self, query: JournalQuery) -> Iterator[TaskEntry]:
        return iter(sorted(super().tasks(query), key=lambda entry: entry.task_id))


class OldestFirst(MemoryArchive):
    """lists the oldest run first"""

    def runs(self, newest: int | None = None) -> Sequence[RunRecord]:
        return sorted(super().runs(newest), key=lambda run: run.started)


class Private(MemoryArchive):
    """tells of no settings that a run was begun with"""

    def run(self, run_id: str) -> RunRecord:
        return replace(super().run(run_id), settings={})


class Unending(MemoryArchive):
    """says of every run that it goes on"""

    def run(self, run_id: str) -> RunRecord:
        return replace(super().run(run_id), state="running", ended=None)


class Hoarding(MemoryArchive):
    """removes no run"""

    def remove(self, run_id: str) -> None:
        self._find(run_id)


class Ruthless(MemoryArchive):
    """removes a run that somebody has open"""

    def remove(self, run_id: str) -> None:
        self._find(run_id)
        del self._runs[run_id]


class Exclusive(MemoryArchive):
    """can be read by the thread only that made it"""

    def __init__(self, runs: Any) -> None:
        super().__init__(runs)
        self._reader = threading.current_thread()

    def outcomes(self, query: JournalQuery) -> Iterator[Outcome]:
        if threading.current_thread() is not self._reader:
            raise RuntimeError("this archive is another thread's")
        return super().outcomes(query)


class Inventive(MemoryArchive):
    """has a record of a run that is not there"""

    def run(self, run_id: str) -> RunRecord:
        return super().run(run_id) if run_id in self._runs else RunRecord(run_id=run_id, started=0.0)


MUTANTS: Mapping[str, Callable[..., Any]] = {
    "test_has_the_methods_of_its_kind": Unmarked,
    "test_speaks_a_version_of_the_contracts": OfTheFuture,
    "test_takes_nothing_when_it_is_made": Eager,
    "test_outcomes_come_back_as_they_were": Forgetful,
    "test_at_most_one_outcome_a_task": Fickle,
    "test_what_comes_late_changes_nothing": Belated,
    "test_outcomes_can_be_asked_for": Generous,
    "test_many_are_kept_together": Small,
    **OF_BATCHES,
    "test_what_was_begun_and_has_not_ended_is_known": recalling(
        lambda entry: replace(entry, deaths=()), "does not recall how workers died under a task"
    ),
    "test_attempts_of_which_nothing_is_recorded_are_lost": recalling(
        lambda entry: replace(entry, lost=min(entry.lost, 1)), "recalls one lost attempt where there were more"
    ),
    "test_an_outcome_ends_what_was_begun": recalling(
        lambda entry: replace(entry, lost=max(entry.lost, entry.attempts - len(entry.deaths))),
        "recalls the attempt that ended a task as lost",
    ),
    "test_what_is_done_again_is_not_recalled": Repeating,
    "test_states_are_kept_by_name": Stateless,
    "test_an_unknown_run_can_not_go_on": Complaisant,
    "test_a_run_begins_once": Overwriting,
    "test_nobody_else_may_hold_a_run": Sharing,
    "test_what_is_committed_is_there_at_once": Lazy,
    "test_a_commit_is_all_or_none": HalfHearted,
    "test_a_journal_that_is_not_open_can_be_closed": Insisting,
    "test_a_journal_changes_nothing_for_others": spreading(GoodJournal, "commit"),
    "test_names_that_are_no_unicode_come_back": AsciiOnly,
    "test_all_but_the_value_is_read_back": misread(Brief),
    "test_traces_can_be_asked_for": misread(Talkative),
    "test_attempts_are_read_back": misread(Impatient),
    "test_what_is_done_again_is_read_back_too": misread(Unlinked),
    "test_states_are_read_without_opening": misread(Open),
    "test_tasks_and_outcomes_are_read": misread(Backward),
    "test_runs_are_listed": misread(OldestFirst),
    "test_what_a_run_was_begun_with_is_read_back": misread(Private),
    "test_a_run_that_ended_says_so": misread(Unending),
    "test_a_run_can_be_removed": misread(Hoarding),
    "test_a_run_that_is_held_is_not_removed": misread(Ruthless),
    "test_readers_disturb_no_run": misread(Exclusive),
    "test_nothing_recorded_is_no_run": misread(Inventive),
}
