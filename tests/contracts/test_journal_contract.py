"""What every journal keeps, whatever it keeps it in: the one in memory and the one in SQLite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from longshore.errors import JournalError
from longshore.hookspecs import Journal
from longshore.processor import ProcessorResult
from longshore.records import (
    Accepted,
    AttemptTrace,
    CommitBatch,
    JournalQuery,
    RunOpening,
    Settled,
    Started,
    TaskEntry,
    TaskKind,
    TaskTrace,
    Tried,
)
from longshore.task import ErrorRecord, Outcome, TaskState
from longshore.testing import MemoryJournal
from longshore_sqlite import SqliteJournal

KIND = TaskKind(name="work", function="module.work", version="1", executor="threads")
Make = Callable[[], Journal]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return what makes a journal that has what the one before it kept."""
    if request.param == "sqlite":
        settings = SqliteJournal.Settings(path=str(tmp_path / "runs"))
        return lambda: SqliteJournal(settings)
    journal = MemoryJournal()
    return lambda: journal


def opening(run_id: str = "run", *, resume: bool = False, at: float = 1000.0) -> RunOpening:
    return RunOpening(
        run_id=run_id, at=at, resume=resume, name="test", host="here", pid=7, command=["longshore", "run"]
    )


def ended(task_id: str, value: Any = None, **facts: Any) -> Outcome:
    fields = {"key": None, "index": 0, "name": "work", "state": TaskState.COMPLETED, "value": value, **facts}
    return Outcome(task_id=task_id, **fields)


def batch(*outcomes: Outcome, **parts: Any) -> CommitBatch:
    settled = [Settled(KIND, outcomes, [f"of {outcome.task_id}" for outcome in outcomes])] if outcomes else []
    return CommitBatch(run_id="run", at=1001.0, settled=settled, **parts)


def accepted(task_id: str, **facts: Any) -> Accepted:
    return Accepted(task_id=task_id, kind=facts.pop("kind", KIND), identity=f"of {task_id}", **facts)


def again(make: Make) -> dict[str, TaskEntry]:
    """Go on with the run, and return what is recorded of its tasks."""
    journal = make()
    recalled = journal.open(opening(resume=True))
    try:
        return {entry.task_id: entry for entry in recalled.tasks}
    finally:
        journal.close()


def test_outcomes_come_back_as_they_were(make: Make) -> None:
    """Every field of an outcome but the exception itself is given back, in the next process too."""
    error = ErrorRecord(
        type="ValueError", message="bad\nünïcode", reason="x", attempt=2, exit_code=3, output_tail="end"
    )
    outcomes = [
        ended("a", {"n": [1, 2.5, None, True, "é"]}, key="k", index=3, attempts=2, queued_s=0.5, ran_s=1.5, cpu_s=0.25),
        ended("b", 7, index=1, ran_s=0.125, worker="w1"),
        ended("c", state=TaskState.FAILED, error=error, peak_memory_mb=12.5),
        ended("d", ProcessorResult(data={"text": "x"}, errors=["e"], metadata={"pages": 2})),
        ended("e", "x" * 200_000),
    ]
    journal = make()
    journal.open(opening())
    journal.commit(batch(*outcomes))
    journal.close()

    journal = make()
    journal.open(opening(resume=True))
    found = {outcome.task_id: outcome for outcome in journal.load(JournalQuery())}
    journal.close()
    fields = [name for name in Outcome.__struct_fields__ if name not in ("exception", "restored")]
    for outcome in outcomes:
        assert [getattr(found[outcome.task_id], name) for name in fields] == [getattr(outcome, name) for name in fields]


def test_at_most_one_outcome_a_task(make: Make) -> None:
    """The first recorded outcome of a task stands: in the same commit, in a later one, and after a restart."""
    journal = make()
    journal.open(opening())
    journal.commit(batch(ended("a", 1), ended("a", 2)))
    journal.commit(batch(ended("a", 3)))
    journal.close()
    journal = make()
    journal.open(opening(resume=True))
    journal.commit(batch(ended("a", 4, attempts=9)))
    assert [outcome.value for outcome in journal.load(JournalQuery(task_ids=["a", "b"]))] == [1]
    journal.close()


def test_what_was_begun_and_has_not_ended_is_known(make: Make) -> None:
    """Of a task without an outcome the journal has how often it was tried, what was lost, and how workers died."""
    journal = make()
    journal.open(opening())
    journal.commit(batch(accepted=[accepted("a", key="k", index=2), accepted("b")], started=[Started("a", 1, 1000.0)]))
    died = Tried(
        task_id="a", number=1, state=TaskState.FAILED, error_type="longshore.errors.WorkerDied", reason="signal 9"
    )
    journal.commit(batch(tried=[died], started=[Started("a", 2, 1001.0)]))
    journal.close()
    entries = again(make)
    one = entries["a"]
    assert (one.state, one.attempts, one.lost, one.deaths) == (None, 2, 1, ("signal 9",))
    assert (one.kind, one.identity, one.key, one.index) == (KIND, "of a", "k", 2)
    assert (entries["b"].attempts, entries["b"].lost) == (0, 0)


def test_attempts_of_which_nothing_is_recorded_are_lost(make: Make) -> None:
    """A number below a recorded one was given out: without a recorded end its attempt counts as lost."""
    journal = make()
    journal.open(opening())
    journal.commit(batch(accepted=[accepted("a")], started=[Started("a", 3, 1000.0)]))
    journal.commit(batch(tried=[Tried(task_id="a", number=2, state=TaskState.FAILED, error_type="ValueError")]))
    journal.close()
    assert (again(make)["a"].attempts, again(make)["a"].lost) == (3, 2)


def test_an_outcome_ends_what_was_begun(make: Make) -> None:
    """A task that was recorded as begun has its outcome then, and nothing of it is lost."""
    journal = make()
    journal.open(opening())
    journal.commit(batch(accepted=[accepted("a", key="k")], started=[Started("a", 1, 1000.0)]))
    journal.commit(batch(ended("a", 5, key="k")))
    journal.close()
    entry = again(make)["a"]
    assert (entry.state, entry.kept, entry.attempts, entry.lost, entry.key) == (TaskState.COMPLETED, True, 1, 0, "k")


def test_states_are_kept_by_name(make: Make) -> None:
    """A named state is in the place of the one before it."""
    journal = make()
    journal.open(opening())
    journal.commit(batch(states={"learnt": {"version": 1, "kinds": []}, "other": [1]}))
    journal.commit(batch(states={"learnt": {"version": 1, "kinds": [["work", 0, {"n": 1.5}]]}}))
    journal.close()
    journal = make()
    recalled = journal.open(opening(resume=True))
    journal.close()
    assert recalled.states == {"learnt": {"version": 1, "kinds": [["work", 0, {"n": 1.5}]]}, "other": [1]}


def test_states_begin_with_the_run(make: Make) -> None:
    """What a run is opened with is there at once, is replaced as it goes on, and is read without opening the run."""
    journal = make()
    journal.open(msgspec.structs.replace(opening(), states={"a": [1], "b": {"c": None}}))
    assert make().archive().states("run", ("a", "none such")) == {"a": [1]}
    journal.close()
    journal = make()
    recalled = journal.open(msgspec.structs.replace(opening(resume=True), states={"a": [2]}))
    journal.close()
    assert recalled.states == {"a": [2], "b": {"c": None}}
    assert make().archive().states("run", ("b", "a")) == recalled.states
    with pytest.raises(JournalError):
        make().archive().states("none-such", ("a",))


def traces(make: Make, **query: Any) -> list[TaskTrace]:
    """Read what is recorded of the run's tasks, as somebody else's process would."""
    archive = make().archive()
    try:
        return list(archive.traces(JournalQuery(run_id="run", **query)))
    finally:
        archive.close()


def record_one_of_each(make: Make, error: ErrorRecord) -> None:
    """Record "a", which failed at its second attempt, "b", which completed, and "c", which has not begun."""
    journal = make()
    journal.open(opening())
    tried = Tried(
        task_id="a", number=1, state=TaskState.TIMED_OUT, error_type="E", reason="slow", worker="w1", ran_s=0.75
    )
    begun = [accepted("a", key="k", index=4), accepted("c", kind=msgspec.structs.replace(KIND, name="other"))]
    journal.commit(batch(accepted=begun, started=[Started("a", 1, 1000.5)]))
    journal.commit(batch(tried=[tried], started=[Started("a", 2, 1000.75)]))
    failed = ended(
        "a", key="k", index=4, state=TaskState.FAILED, error=error, attempts=2, queued_s=0.5, ran_s=0.25, worker="w2"
    )
    journal.commit(batch(failed, ended("b", {"large": "x" * 200_000}, ran_s=0.125, cpu_s=0.0625, peak_memory_mb=2.5)))
    journal.close()


def test_all_but_the_value_is_read_back(make: Make) -> None:
    """The archive tells of each task, without its value, what it was, and how and when it ended."""
    error = ErrorRecord(type="ValueError", message="bad", reason="x", attempt=2, worker="w2")
    record_one_of_each(make, error)
    first, other, second = traces(make)
    known = {"identity": "of a", "key": "k", "index": 4, "state": TaskState.FAILED, "error": error, "attempts": 2}
    measured = {"queued_s": 0.5, "ran_s": 0.25, "worker": "w2", "ended_at": 1001.0}
    assert first == TaskTrace(task_id="a", kind=KIND, **known, **measured, tries=first.tries)  # type: ignore[arg-type]
    assert (other.kind.name, other.state, other.ran_s, other.ended_at, list(other.tries)) == ("other", *[None] * 3, [])
    assert (second.ran_s, second.cpu_s, second.peak_memory_mb, second.attempts) == (0.125, 0.0625, 2.5, 1)
    assert [one.task_id for one in traces(make, states=[TaskState.COMPLETED])] == ["b"]
    assert [one.task_id for one in traces(make, task_ids=["c", "a", "none such"])] == ["a", "c"]


def test_attempts_are_read_back(make: Make) -> None:
    """Of each recorded attempt the archive tells when it began, and how it ended if another one followed."""
    record_one_of_each(make, ErrorRecord(type="ValueError", message="bad"))
    [first] = traces(make, task_ids=["a"])
    ending = {"state": TaskState.TIMED_OUT, "error_type": "E", "reason": "slow", "worker": "w1", "ran_s": 0.75}
    followed = AttemptTrace(number=1, started=1000.5, **ending)  # type: ignore[arg-type]
    assert list(first.tries) == [followed, AttemptTrace(number=2, started=1000.75)]


def test_what_is_done_again_is_read_back_too(make: Make) -> None:
    """A task that another one does again is told of and marked, and the other one names it."""
    journal = make()
    journal.open(opening())
    journal.commit(batch(ended("a", state=TaskState.FAILED, error=ErrorRecord(type="E", message="m"), ran_s=2.0)))
    journal.commit(batch(accepted=[accepted("b", retry_of="a")]))
    journal.commit(batch(ended("b", 1, ran_s=3.0)))
    journal.close()
    found = [(one.task_id, one.redone, one.retry_of, one.ran_s) for one in traces(make)]
    assert found == [("a", True, None, 2.0), ("b", False, "a", 3.0)]


def test_names_that_are_no_unicode_come_back(make: Make) -> None:
    """A file's name may be any bytes: as a key, as what tells work apart, and in errors."""
    name = "in/x\udcff"
    kind = msgspec.structs.replace(KIND, name=name)
    journal = make()
    journal.open(opening())
    wrong = ended("b", key=name, state=TaskState.FAILED, error=ErrorRecord(type="T", message=f"no {name}"), attempts=2)
    tried = Tried(task_id="b", number=1, state=TaskState.FAILED, error_type="T", reason=name)
    told = [Accepted(task_id="b", kind=KIND, identity=name, key=name)]
    journal.commit(batch(ended("a", key=name), wrong, accepted=told, tried=[tried]))
    journal.commit(CommitBatch(run_id="run", settled=[Settled(kind, [ended("c")], [name])]))
    journal.close()
    entries = {entry.task_id: entry for entry in make().archive().tasks(JournalQuery(run_id="run"))}
    assert (entries["a"].key, entries["b"].key, entries["c"].identity) == (name, name, name)
    assert [one.key for one in traces(make) if one.task_id != "c"] == [name, name]
    outcomes = {one.task_id: one for one in make().archive().outcomes(JournalQuery(run_id="run"))}
    assert outcomes["b"].key == name
    assert outcomes["b"].error is not None
    assert outcomes["b"].error.message.startswith("no in/x")


def test_a_run_that_is_not_there_can_not_go_on(make: Make) -> None:
    """To go on with an unknown run is a JournalError that names it, and begins none."""
    journal = make()
    with pytest.raises(JournalError, match="nosuch"):
        journal.open(opening("nosuch", resume=True))
    assert journal.archive().runs() == []


@pytest.mark.requirement("req:H19")
def test_runs_are_listed(make: Make) -> None:
    """The archive has the newest first, each with its state, how often it was begun, and its tasks by their state."""
    for number, run_id in enumerate(("one", "two")):
        journal = make()
        journal.open(opening(run_id, at=1000.0 + number))
        failure = ended("b", state=TaskState.FAILED, error=ErrorRecord(type="E", message="m"))
        parts = batch(ended("a", 1), failure, accepted=[accepted("c")], ended="completed" if number else None)
        journal.commit(msgspec.structs.replace(parts, run_id=run_id))
        journal.close()
    archive = make().archive()
    try:
        assert [(run.run_id, run.state, run.generation) for run in archive.runs()] == [
            ("two", "completed", 1),
            ("one", "running", 1),
        ]
        assert [run.run_id for run in archive.runs(newest=1)] == ["two"]
        assert archive.run("one").counts == {"completed": 1, "failed": 1, "unfinished": 1}
        failed = JournalQuery(run_id="one", states=[TaskState.FAILED])
        assert [outcome.task_id for outcome in archive.outcomes(failed)] == ["b"]
        assert [entry.task_id for entry in archive.tasks(JournalQuery(run_id="two"))] == ["c", "a", "b"]
        archive.remove("one")
        assert [run.run_id for run in archive.runs()] == ["two"]
        with pytest.raises(JournalError, match="one"):
            archive.run("one")
    finally:
        archive.close()
