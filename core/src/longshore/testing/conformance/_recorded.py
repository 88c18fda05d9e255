"""What the journals' suite records: openings, tasks, batches, and the ways to read them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from msgspec.structs import replace

from longshore.hookspecs import Archive, Journal
from longshore.records import Accepted, CommitBatch, JournalQuery, RunOpening, Settled, TaskEntry, TaskKind, TaskTrace
from longshore.task import ErrorRecord, Outcome, TaskState

MakeJournal = Callable[[], Journal]
KIND: Final = TaskKind(name="work", function="module.work", version="1", executor="threads")
WRONG: Final = ErrorRecord(type="ValueError", message="bad")
OF_OUTCOMES: Final = [name for name in Outcome.__struct_fields__ if name not in ("exception", "restored")]
"""What of an outcome is kept."""


def opening(run_id: str = "run", *, resume: bool = False, at: float = 1000.0, **facts: Any) -> RunOpening:
    """Return what a journal is opened with. Any: the fields of a RunOpening."""
    known = {"name": "test", "host": "here", "pid": 7, "command": ["longshore", "run"], **facts}
    return RunOpening(run_id=run_id, at=at, resume=resume, **known)


def ended(task_id: str, value: Any = None, **facts: Any) -> Outcome:
    """Return an outcome, completed unless told otherwise. Any: a user's result, the fields of an Outcome."""
    fields = {"key": None, "index": 0, "name": "work", "state": TaskState.COMPLETED, "value": value, **facts}
    return Outcome(task_id=task_id, **fields)


def failed(task_id: str, **facts: Any) -> Outcome:
    """Return the outcome of a task that failed. Any: the fields of an Outcome."""
    return ended(task_id, state=TaskState.FAILED, **{"error": WRONG, **facts})


def batch(*outcomes: Outcome, run_id: str = "run", **parts: Any) -> CommitBatch:
    """Return a batch with these outcomes, and what else is named. Any: the fields of a CommitBatch."""
    groups = [settled(*outcomes)] if outcomes else []
    return CommitBatch(run_id=run_id, **{"at": 1001.0, "settled": groups, **parts})


def settled(*outcomes: Outcome, kind: TaskKind = KIND) -> Settled:
    """Return a group of these outcomes, which have the name of their kind, with the identities of their tasks."""
    named = [replace(outcome, name=kind.name) for outcome in outcomes]
    return Settled(kind, named, [f"of {outcome.task_id}" for outcome in outcomes])


def accepted(task_id: str, **facts: Any) -> Accepted:
    """Return what is recorded of a task that has not ended. Any: the fields of an Accepted."""
    return Accepted(task_id=task_id, identity=f"of {task_id}", **{"kind": KIND, **facts})


@contextmanager
def opened(make: MakeJournal, run: RunOpening | None = None) -> Iterator[Journal]:
    """Begin the run, or another one, and close the journal at the end."""
    journal = make()
    journal.open(run or opening())
    try:
        yield journal
    finally:
        journal.close()


def record(make: MakeJournal, *batches: CommitBatch, run: RunOpening | None = None) -> None:
    """Begin a run, commit these batches, and close it."""
    with opened(make, run) as journal:
        for one in batches:
            journal.commit(one)


def recalled(make: MakeJournal) -> dict[str, TaskEntry]:
    """Go on with the run, and return what is recorded of its tasks."""
    journal = make()
    found = {entry.task_id: entry for entry in journal.open(opening(resume=True)).tasks}
    journal.close()
    return found


def loaded(make: MakeJournal, **query: Any) -> dict[str, Outcome]:
    """Go on with the run, and return its outcomes. Any: the fields of a JournalQuery."""
    with opened(make, opening(resume=True)) as journal:
        found = list(journal.load(JournalQuery(**query)))
    by_id = {outcome.task_id: outcome for outcome in found}
    assert len(by_id) == len(found), f"load: more than one outcome of a task: {[one.task_id for one in found]}"
    return by_id


@contextmanager
def archive_of(make: MakeJournal) -> Iterator[Archive]:
    """Read what is recorded, as somebody else would: by a journal that was never opened."""
    archive = make().archive()
    try:
        yield archive
    finally:
        archive.close()


def traces(make: MakeJournal, **query: Any) -> dict[str, TaskTrace]:
    """Return what the archive tells of the run's tasks, in its order. Any: the fields of a JournalQuery."""
    with archive_of(make) as archive:
        return {one.task_id: one for one in archive.traces(JournalQuery(run_id="run", **query))}


def differing(found: object, wanted: object, names: list[str]) -> Mapping[str, tuple[object, object]]:
    """Return the fields of two records that differ, with both values."""
    pairs = {name: (getattr(found, name), getattr(wanted, name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
