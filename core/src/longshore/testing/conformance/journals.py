"""What every journal keeps, whatever it keeps it in."""

from __future__ import annotations

from msgspec.structs import replace

from longshore.errors import JournalError
from longshore.processor import ProcessorResult
from longshore.records import JournalQuery, Settled, Started, Tried
from longshore.task import ErrorRecord, TaskState
from longshore.testing.conformance._batches import BatchConformance
from longshore.testing.conformance._common import Common
from longshore.testing.conformance._plugin import raised
from longshore.testing.conformance._recorded import (
    KIND,
    OF_OUTCOMES,
    MakeJournal,
    accepted,
    archive_of,
    batch,
    differing,
    ended,
    failed,
    loaded,
    opened,
    opening,
    recalled,
    record,
)


class JournalConformance(BatchConformance):
    """Inherit this, and return by the fixture `make_journal` what makes a journal, on the same storage each time.

    A journal that is made anew finds what was kept: by that the suite stands for the next process.
    """

    # ---- outcomes

    def test_outcomes_come_back_as_they_were(self, make_journal: MakeJournal) -> None:
        """Every field of an outcome but the exception itself is given back, in the next process too."""
        error = ErrorRecord(
            type="ValueError", message="bad\nünïcode", reason="x", attempt=2, exit_code=3, output_tail="end"
        )
        outcomes = [
            ended("a", {"n": [1, 2.5, None, True, "é"]}, key="k", index=3, attempts=2, queued_s=0.5, ran_s=1.5),
            ended("b", 7, index=1, ran_s=0.125, cpu_s=0.25, worker="w1"),
            failed("c", error=error, peak_memory_mb=12.5),
            ended("d", "x" * 200_000),
            ended("e", ProcessorResult(data={"text": "x"}, errors=["e"], metadata={"pages": 2})),
        ]
        record(make_journal, batch(*outcomes))
        found = loaded(make_journal)
        assert sorted(found) == list("abcde"), f"load: of the outcomes a to e came {sorted(found)}"
        wrong = {one.task_id: differing(found[one.task_id], one, OF_OUTCOMES) for one in outcomes}
        wrong = {task_id: fields for task_id, fields in wrong.items() if fields}
        assert not wrong, f"load: outcomes are not what was committed; (got, committed) by field: {wrong}"

    def test_at_most_one_outcome_a_task(self, make_journal: MakeJournal) -> None:
        """The first recorded outcome of a task stands: in the same commit, in a later one, and after a restart."""
        record(make_journal, batch(ended("a", 1), ended("a", 2)), batch(ended("a", 3)))
        with opened(make_journal, opening(resume=True)) as journal:
            journal.commit(batch(ended("a", 4, attempts=9)))
            values = [outcome.value for outcome in journal.load(JournalQuery(task_ids=["a", "b"]))]
        assert values == [1], f"commit: the first outcome of a task stands, which had the value 1; load gave {values}"

    def test_what_comes_late_changes_nothing(self, make_journal: MakeJournal) -> None:
        """Of a task that has its outcome, a beginning or an end of another attempt is no news any more."""
        record(make_journal, batch(ended("a", 1, attempts=2)))
        late = Tried(task_id="a", number=5, state=TaskState.FAILED, error_type="longshore.errors.WorkerDied")
        with opened(make_journal, opening(resume=True)) as journal:
            journal.commit(batch(started=[Started("a", 5, 1002.0)], tried=[late]))
        entry = recalled(make_journal)["a"]
        assert (entry.state, entry.attempts, entry.lost) == (TaskState.COMPLETED, 2, 0), (
            f"commit: attempt 5 of a task that ended with its attempt 2 has changed what is recalled: {entry}"
        )

    def test_outcomes_can_be_asked_for(self, make_journal: MakeJournal) -> None:
        """A query names tasks, states, and since when: only what all of them allow is given, or nothing."""
        record(
            make_journal,
            batch(ended("a", 1), failed("b"), at=1001.0),
            batch(ended("c", 3), failed("d"), at=1005.0),
        )
        asked = {
            "all": JournalQuery(),
            "a, d and one that is not there": JournalQuery(task_ids=["a", "d", "nosuch"]),
            "none": JournalQuery(task_ids=[]),
            "failed": JournalQuery(states=[TaskState.FAILED]),
            "since 1003": JournalQuery(since=1003.0),
            "failed of a, b and c": JournalQuery(states=[TaskState.FAILED], task_ids=["a", "b", "c"]),
        }
        with opened(make_journal, opening(resume=True)) as journal:
            given = {text: "".join(sorted(one.task_id for one in journal.load(query))) for text, query in asked.items()}
        wanted = dict(zip(asked, ["abcd", "ad", "", "bd", "cd", "b"], strict=True))
        assert given == wanted, f"load: not what was asked for: {given}"

    def test_many_are_kept_together(self, make_journal: MakeJournal) -> None:
        """Thousands of outcomes go in by one commit, and each comes back with its own value."""
        record(make_journal, batch(*(ended(f"t{n}", n, index=n) for n in range(3000))))
        found = {task_id: outcome.value for task_id, outcome in loaded(make_journal).items()}
        assert found == {f"t{n}": n for n in range(3000)}, f"load: {len(found)} of 3000 came back, or with other values"

    # ---- what a run that goes on has

    def test_what_was_begun_and_has_not_ended_is_known(self, make_journal: MakeJournal) -> None:
        """Of a task without an outcome the journal has how often it was tried, what was lost, and how workers died."""
        died = Tried(
            task_id="a", number=1, state=TaskState.FAILED, error_type="longshore.errors.WorkerDied", reason="signal 9"
        )
        begun = [accepted("a", key="k", index=2), accepted("b")]
        record(
            make_journal,
            batch(accepted=begun, started=[Started("a", 1, 1000.0)]),
            batch(tried=[died], started=[Started("a", 2, 1001.0)]),
        )
        entries = recalled(make_journal)
        one, other = entries["a"], entries["b"]
        assert (one.state, one.attempts, one.lost, tuple(one.deaths)) == (None, 2, 1, ("signal 9",)), (
            f"open: of a task with a died and a begun attempt is recalled {one}"
        )
        assert (one.kind, one.identity, one.key, one.index) == (KIND, "of a", "k", 2), f"open: which work it was: {one}"
        assert (other.state, other.attempts, other.lost) == (None, 0, 0), f"open: it has not begun: {other}"

    def test_attempts_of_which_nothing_is_recorded_are_lost(self, make_journal: MakeJournal) -> None:
        """A number below a recorded one was given out: without a recorded end its attempt counts as lost."""
        second = Tried(task_id="a", number=2, state=TaskState.FAILED, error_type="ValueError")
        record(
            make_journal,
            batch(accepted=[accepted("a")], started=[Started("a", 3, 1000.0)]),
            batch(tried=[second]),
        )
        entry = recalled(make_journal)["a"]
        assert (entry.attempts, entry.lost) == (3, 2), f"open: attempts 1 and 3 of three have no recorded end: {entry}"

    def test_an_outcome_ends_what_was_begun(self, make_journal: MakeJournal) -> None:
        """A task that was recorded as begun has its outcome then, and nothing of it is lost."""
        record(
            make_journal,
            batch(accepted=[accepted("a", key="k")], started=[Started("a", 1, 1000.0)]),
            batch(ended("a", 5, key="k")),
        )
        entry = recalled(make_journal)["a"]
        found = (entry.state, entry.kept, entry.attempts, entry.lost, entry.key)
        assert found == (TaskState.COMPLETED, True, 1, 0, "k"), f"open: the task has ended, and is recalled as {entry}"

    def test_what_is_done_again_is_not_recalled(self, make_journal: MakeJournal) -> None:
        """A task that another one does again is neither recalled nor counted; the other one is."""
        record(make_journal, batch(failed("a")), batch(accepted=[accepted("b", retry_of="a")]), batch(ended("b", 1)))
        entries = recalled(make_journal)
        assert list(entries) == ["b"], f"open: task b does again what a did; recalled are {sorted(entries)}"
        assert entries["b"].retry_of == "a", f"open: of which task b is the retry is not recalled: {entries['b']}"
        with archive_of(make_journal) as archive:
            counts = dict(archive.run("run").counts)
        assert counts == {"completed": 1}, f"archive.run: a task that another one does again is counted: {counts}"

    def test_states_are_kept_by_name(self, make_journal: MakeJournal) -> None:
        """A named state is in the place of the one before it, whether a run was opened with it or it was committed."""
        first, second = {"version": 1, "kinds": []}, {"version": 1, "kinds": [["work", 0, {"n": 1.5}]]}
        run = opening(states={"opened": [1], "replaced": None})
        record(
            make_journal, batch(states={"learnt": first, "replaced": [2]}), batch(states={"learnt": second}), run=run
        )
        journal = make_journal()
        found = journal.open(replace(opening(resume=True), states={"opened": [3]})).states
        journal.close()
        assert found == {"learnt": second, "replaced": [2], "opened": [3]}, f"open: the states recalled are {found}"

    # ---- beginning, going on, ending

    def test_an_unknown_run_can_not_go_on(self, make_journal: MakeJournal) -> None:
        """To go on with an unknown run is a JournalError that names it, and begins none."""
        error = raised(lambda: make_journal().open(opening("nosuch", resume=True)))
        assert isinstance(error, JournalError), f"open: to go on with an unknown run is a JournalError, not {error!r}"
        assert "nosuch" in str(error), f"open: the JournalError does not name the run that is not there: {error}"
        with archive_of(make_journal) as archive:
            begun = [run.run_id for run in archive.runs()]
        assert begun == [], f"open: resume=True with an unknown run has begun one: {begun}"

    def test_a_run_begins_once(self, make_journal: MakeJournal) -> None:
        """To begin a run that is there already is a JournalError, and harms nothing of it."""
        record(make_journal, batch(ended("a", 1)))
        error = raised(lambda: make_journal().open(opening()))
        assert isinstance(error, JournalError), f"open: the run is there already, and resume was False: {error!r}"
        assert [one.value for one in loaded(make_journal).values()] == [1], "open: what was refused has changed the run"

    def test_nobody_else_may_hold_a_run(self, make_journal: MakeJournal) -> None:
        """While a journal has a run open, no other one can go on with it: that is a JournalError, and harms nobody."""
        with opened(make_journal) as journal:
            error = raised(lambda: make_journal().open(opening(resume=True)))
            assert isinstance(error, JournalError), f"open: somebody holds the run, and another one may too: {error!r}"
            journal.commit(batch(ended("a", 1)))
        assert list(loaded(make_journal)) == ["a"], "open: what was refused has kept the run's holder from recording"

    def test_what_is_committed_is_there_at_once(self, make_journal: MakeJournal) -> None:
        """An outcome is recorded when `commit` returns, not at the end: somebody else can read it then."""
        with opened(make_journal) as journal:
            journal.commit(batch(ended("a", 1)))
            with archive_of(make_journal) as archive:
                found = [one.value for one in archive.outcomes(JournalQuery(run_id="run"))]
        assert found == [1], f"commit: returned, and what it was given is not recorded: others read {found}"

    def test_a_commit_is_all_or_none(self, make_journal: MakeJournal) -> None:
        """Where `commit` raises, as it may for a state that is not JSON-safe, nothing of its batch is recorded."""
        with opened(make_journal) as journal:
            error = raised(lambda: journal.commit(batch(ended("a", 1), states={"odd": object()})))
            with archive_of(make_journal) as archive:
                found = [one.value for one in archive.outcomes(JournalQuery(run_id="run"))]
        wanted = [1] if error is None else []
        assert found == wanted, f"commit: raised {error!r}, and of the one outcome in its batch is recorded {found}"

    def test_a_journal_that_is_not_open_can_be_closed(self, make_journal: MakeJournal) -> None:
        """`close` harms nothing: not before `open`, not after one that failed, and not a second time."""
        journal = make_journal()
        first = raised(journal.close)
        raised(lambda: journal.open(opening("nosuch", resume=True)))
        second = raised(journal.close)
        with opened(make_journal) as journal:
            pass
        wrong = [error for error in (first, second, raised(journal.close)) if error is not None]
        assert not wrong, f"close: of a journal that is not open raised {wrong}"

    def test_a_journal_changes_nothing_for_others(self, make_journal: MakeJournal) -> None:
        """Working folder, environment, streams, hooks and log handlers are the program's, and stay as they are."""
        before = Common.now()
        record(make_journal, batch(ended("a", 1), accepted=[accepted("b")]))
        loaded(make_journal)
        with archive_of(make_journal) as archive:
            list(archive.traces(JournalQuery(run_id="run")))
        changed = self._changed_since(before)
        assert not changed, f"the journal changed {changed}, which all in this process have in common"

    def test_names_that_are_no_unicode_come_back(self, make_journal: MakeJournal) -> None:
        """A file's name may be any bytes: as a key, as what tells work apart, and in errors."""
        name = "in/x\udcff"
        wrong = failed("b", key=name, error=ErrorRecord(type="T", message=f"no {name}"), attempts=2)
        tried = Tried(task_id="b", number=1, state=TaskState.FAILED, error_type="T", reason=name)
        told = [accepted("b", key=name)]
        other = Settled(replace(KIND, name=name), [ended("c")], [name])
        record(make_journal, batch(ended("a", key=name), wrong, tried=[tried], accepted=told), batch(settled=[other]))
        entries = recalled(make_journal)
        found = (entries["a"].key, entries["b"].key, entries["c"].identity)
        assert found == (name,) * 3, f"open: keys and identities that are no Unicode are recalled as {found}"
        outcome = loaded(make_journal)["b"]
        assert outcome.key == name, f"load: the key {name!r} came back as {outcome.key!r}"
        assert outcome.error is not None, "load: the error did not come back"
        assert outcome.error.message.startswith("no in/x"), f"load: its message came back as {outcome.error.message!r}"


__all__ = ["JournalConformance"]
