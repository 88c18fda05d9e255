"""What the archive of every journal tells: the half of the journals' suite that only reads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.errors import JournalError
from longshore.records import AttemptTrace, JournalQuery, RunRecord, Started, TaskTrace, Tried
from longshore.task import ErrorRecord, TaskState
from longshore.testing.conformance._common import CommonConformance
from longshore.testing.conformance._plugin import MakePlugin, raised
from longshore.testing.conformance._recorded import (
    KIND,
    MakeJournal,
    accepted,
    archive_of,
    batch,
    ended,
    failed,
    opened,
    opening,
    record,
    traces,
)

_ERROR = ErrorRecord(type="ValueError", message="bad", reason="x", attempt=2, worker="w2")
_FIRST_TRY = Tried(
    task_id="a", number=1, state=TaskState.TIMED_OUT, error_type="E", reason="slow", worker="w1", ran_s=0.75
)


class ArchiveConformance(CommonConformance):
    """The archive's part of `JournalConformance`, with the fixtures of it all."""

    kind = "journals"

    @pytest.fixture
    def make_journal(self) -> MakeJournal:
        """Return what makes a journal that finds what the one before it kept."""
        raise NotImplementedError("the class that inherits JournalConformance needs a fixture make_journal")

    @pytest.fixture
    def make_plugin(self, make_journal: MakeJournal) -> MakePlugin:
        """Return what makes a journal, for what all plugins keep."""
        return make_journal

    def test_all_but_the_value_is_read_back(self, make_journal: MakeJournal) -> None:
        """The archive tells of each task, without its value, what it was, and how and when it ended."""
        _record_one_of_each(make_journal)
        found = traces(make_journal)
        assert list(found) == ["a", "c", "b"], f"archive.traces: not in the order they were recorded: {list(found)}"
        first, waiting, second = found.values()
        wanted = TaskTrace(
            task_id="a",
            kind=KIND,
            identity="of a",
            key="k",
            index=4,
            state=TaskState.FAILED,
            error=_ERROR,
            attempts=2,
            queued_s=0.5,
            ran_s=0.25,
            worker="w2",
            ended_at=1001.0,
            tries=first.tries,
        )
        assert first == wanted, f"archive.traces: of a task that failed it tells {first}, not {wanted}"
        unended = (waiting.kind.name, waiting.state, waiting.ran_s, waiting.ended_at, list(waiting.tries))
        assert unended == ("other", None, None, None, []), f"archive.traces: a task that has not begun is {waiting}"
        measured = (second.ran_s, second.cpu_s, second.peak_memory_mb, second.attempts)
        assert measured == (0.125, 0.0625, 2.5, 1), f"archive.traces: what a task took is {measured}"

    def test_traces_can_be_asked_for(self, make_journal: MakeJournal) -> None:
        """A query names tasks and states: only those are told of."""
        _record_one_of_each(make_journal)
        given = [list(traces(make_journal, states=[TaskState.COMPLETED]))]
        given.append(list(traces(make_journal, task_ids=["c", "a", "nosuch"])))
        assert given == [["b"], ["a", "c"]], f"archive.traces: completed ones, and c and a, were asked for: {given}"

    def test_attempts_are_read_back(self, make_journal: MakeJournal) -> None:
        """Of each recorded attempt the archive tells when it began, and how it ended if another one followed."""
        _record_one_of_each(make_journal)
        tries = list(traces(make_journal)["a"].tries)
        followed = AttemptTrace(
            number=1,
            started=1000.5,
            state=TaskState.TIMED_OUT,
            error_type="E",
            reason="slow",
            worker="w1",
            ran_s=0.75,
        )
        wanted = [followed, AttemptTrace(number=2, started=1000.75)]
        assert tries == wanted, f"archive.traces: the attempts of a task are {tries}, not {wanted}"

    def test_what_is_done_again_is_read_back_too(self, make_journal: MakeJournal) -> None:
        """A task that another one does again is told of and marked, and the other one names it."""
        again = batch(accepted=[accepted("b", retry_of="a")])
        record(make_journal, batch(failed("a", ran_s=2.0)), again, batch(ended("b", 1, ran_s=3.0)))
        found = [(one.task_id, one.redone, one.retry_of, one.ran_s) for one in traces(make_journal).values()]
        wanted = [("a", True, None, 2.0), ("b", False, "a", 3.0)]
        assert found == wanted, f"archive.traces: (task, redone, retry_of, ran_s) are {found}, not {wanted}"

    def test_states_are_read_without_opening(self, make_journal: MakeJournal) -> None:
        """The archive gives named states that are there, while the run is open too; an unknown run is an error."""
        with opened(make_journal, opening(states={"a": [1], "b": {"c": None}})), archive_of(make_journal) as archive:
            found = archive.states("run", ("a", "nosuch"))
        assert found == {"a": [1]}, f"archive.states: 'a' and one that is not there were asked for: {found}"
        with archive_of(make_journal) as archive:
            error = raised(lambda: archive.states("nosuch", ("a",)))
        assert isinstance(error, JournalError), f"archive.states: of an unknown run is a JournalError, not {error!r}"

    def test_tasks_and_outcomes_are_read(self, make_journal: MakeJournal) -> None:
        """The archive yields the tasks of a run in the order they were recorded, and its outcomes with their values."""
        _record_one_of_each(make_journal)
        with archive_of(make_journal) as archive:
            tasks = [entry.task_id for entry in archive.tasks(JournalQuery(run_id="run"))]
            values = {one.task_id: one.value for one in archive.outcomes(JournalQuery(run_id="run"))}
            wrong = JournalQuery(run_id="run", states=[TaskState.FAILED])
            some = [one.task_id for one in archive.outcomes(wrong)]
        assert tasks == ["a", "c", "b"], f"archive.tasks: recorded were a, c and b, in this order; it yields {tasks}"
        assert values == {"a": None, "b": {"large": "x" * 200_000}}, (
            "archive.outcomes: not those of a and b, as they were"
        )
        assert some == ["a"], f"archive.outcomes: those that failed were asked for, and it yields {some}"

    def test_runs_are_listed(self, make_journal: MakeJournal) -> None:
        """The newest run comes first, each with its state, how often it was begun, and its tasks by their state."""
        parts = batch(ended("a", 1), failed("b"), accepted=[accepted("c")], run_id="one")
        record(make_journal, parts, run=opening("one", at=1000.0))
        record(make_journal, replace(parts, run_id="two", ended="completed"), run=opening("two", at=1001.0))
        with opened(make_journal, opening("one", resume=True, at=1002.0)):
            pass
        with archive_of(make_journal) as archive:
            found = [(run.run_id, run.state, run.generation) for run in archive.runs()]
            newest = [run.run_id for run in archive.runs(newest=1)]
            counts = dict(archive.run("one").counts)
        wanted = [("two", "completed", 1), ("one", "running", 2)]
        assert found == wanted, f"archive.runs: (run, state, generation) are {found}, not {wanted}"
        assert newest == ["two"], f"archive.runs: the newest one was asked for, and it gives {newest}"
        assert counts == {"completed": 1, "failed": 1, "unfinished": 1}, f"archive.run: tasks by state are {counts}"

    def test_what_a_run_was_begun_with_is_read_back(self, make_journal: MakeJournal) -> None:
        """Who began a run, by what command, and with which versions and settings; of one that went on, who did so."""
        facts: dict[str, Any] = {  # Any: as a RunOpening has them
            "host": "there",
            "pid": 8,
            "command": ["longshore", "run", "a b"],
            "versions": {"longshore": "1.2", "python": "3.14"},
            "settings": {"limits": {"memory_mb": 2.5, "gpus": None}, "workers": [1, 2]},
        }
        again = {**facts, "host": "elsewhere", "pid": 9, "command": ["longshore", "resume"]}
        found: list[RunRecord] = []
        for run in (opening(name="first", **facts), opening(name="first", resume=True, **again)):
            record(make_journal, run=run)
            with archive_of(make_journal) as archive:
                found.append(archive.run("run"))
        for was, wanted in zip(found, (facts, again), strict=True):
            told = {name: _plain(getattr(was, name)) for name in wanted}
            assert told == wanted, f"archive.run: the run was begun with {wanted}, and it tells {told}"
        names = {(one.name, one.started) for one in found}
        assert names == {("first", 1000.0)}, f"archive.run: name and beginning are ('first', 1000.0), and told: {names}"

    def test_a_run_that_ended_says_so(self, make_journal: MakeJournal) -> None:
        """A run's end is recorded with its state and time; one that goes on is running again."""
        record(make_journal, batch(ended="stopped", at=1007.0))
        with archive_of(make_journal) as archive:
            run = archive.run("run")
        assert (run.state, run.ended, run.name) == ("stopped", 1007.0, "test"), f"archive.run: of its end it says {run}"
        with opened(make_journal, opening(resume=True)), archive_of(make_journal) as archive:
            run = archive.run("run")
        assert (run.state, run.ended) == ("running", None), f"archive.run: it goes on, and is said to be {run}"

    def test_a_run_can_be_removed(self, make_journal: MakeJournal) -> None:
        """A run that is removed is gone with all that belonged to it; the others stay, an unknown one is an error."""
        for run_id in ("one", "two"):
            record(make_journal, batch(ended("a", 1), run_id=run_id), run=opening(run_id))
        with archive_of(make_journal) as archive:
            archive.remove("one")
            left = [run.run_id for run in archive.runs()]
            errors = [raised(lambda: archive.run("one")), raised(lambda: archive.remove("one"))]
        assert left == ["two"], f"archive.remove: 'one' was removed, and listed are {left}"
        assert all(isinstance(error, JournalError) for error in errors), f"archive: run 'one' is gone: {errors}"

    def test_a_run_that_is_held_is_not_removed(self, make_journal: MakeJournal) -> None:
        """While a journal has a run open it can't be removed: that is a JournalError; its holder notices nothing."""
        with opened(make_journal) as journal:
            journal.commit(batch(ended("a", 1)))
            with archive_of(make_journal) as archive:
                error = raised(lambda: archive.remove("run"))
            assert isinstance(error, JournalError), f"archive.remove: the run is held by a journal: {error!r}"
            found = [one.value for one in journal.load(JournalQuery())]
        assert found == [1], f"archive.remove: refused, and the run's outcomes are now {found}"

    def test_readers_disturb_no_run(self, make_journal: MakeJournal) -> None:
        """An archive is read on another thread while the run goes on; neither waits for the other."""
        with opened(make_journal) as journal, archive_of(make_journal) as archive:
            journal.commit(batch(ended("a", 1)))
            found: list[object] = []
            amid, committed = threading.Event(), threading.Event()

            def read() -> None:
                reading = iter(archive.outcomes(JournalQuery(run_id="run")))
                found.append(next(reading).value)
                amid.set()
                committed.wait(self.patience_s)
                found.append(len(list(reading)) < 2)

            with ThreadPoolExecutor(1) as others:
                reader = others.submit(read)
                amid.wait(self.patience_s)
                error = raised(lambda: journal.commit(batch(ended("b", 2))))
                committed.set()
                failure = reader.exception(self.patience_s)
            assert error is None, f"commit: with a reader in the middle of the run raised {error!r}"
            assert failure is None, f"archive.outcomes: on another thread, while the run goes on, raised {failure!r}"
            assert found == [1, True], f"archive.outcomes: read on another thread while the run goes on: {found}"

    def test_nothing_recorded_is_no_run(self, make_journal: MakeJournal) -> None:
        """Where nothing was recorded the archive has no runs, and an unknown one is a JournalError that names it."""
        with archive_of(make_journal) as archive:
            runs = list(archive.runs())
            error = raised(lambda: archive.run("nosuch"))
        assert runs == [], f"archive.runs: nothing was recorded, and it lists {runs}"
        assert isinstance(error, JournalError), f"archive.run: of an unknown run is a JournalError, not {error!r}"
        assert "nosuch" in str(error), f"archive.run: the JournalError does not name the run: {error}"


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _record_one_of_each(make: MakeJournal) -> None:
    """Record "a", which failed at its second attempt, "b", which completed, and "c", which has not begun."""
    begun = [accepted("a", key="k", index=4), accepted("c", kind=replace(KIND, name="other"))]
    wrong = failed("a", key="k", index=4, error=_ERROR, attempts=2, queued_s=0.5, ran_s=0.25, worker="w2")
    right = ended("b", {"large": "x" * 200_000}, ran_s=0.125, cpu_s=0.0625, peak_memory_mb=2.5)
    record(
        make,
        batch(accepted=begun, started=[Started("a", 1, 1000.5)]),
        batch(tried=[_FIRST_TRY], started=[Started("a", 2, 1000.75)]),
        batch(wrong, right),
    )
