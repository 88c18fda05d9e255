"""What every journal keeps of batches: all of their records, however many there are, and of how many kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from longshore.records import CommitBatch, JournalQuery, Settled, Started, TaskEntry, TaskTrace, Tried
from longshore.task import TaskSpec, TaskState
from longshore.testing.conformance._archives import ArchiveConformance
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
    settled,
    traces,
)
from longshore.worker import AttemptColumns, OutcomeColumns

_DIED: Final = "longshore.errors.WorkerDied"
_STAGE: Final = replace(KIND, name="stage", version=None, code="c0de", group="flow", executor="processes")
_PAGES: Final = replace(KIND, name="pages", function="module.pages", processor="pages", parent="a", at_most_once=True)
_OF_ENTRIES: Final = [name for name in TaskEntry.__struct_fields__ if name not in ("deaths", "stale")]
_Attempt = tuple[int, float | None, TaskState | None, str | None]
_MANY: Final = 600
_LARGE: Final = 3_000_000


class BatchConformance(ArchiveConformance):
    """The batches' part of `JournalConformance`, with the fixtures of it all."""

    def test_all_of_a_mixed_batch_is_recalled(self, make_journal: MakeJournal) -> None:
        """Records of all kinds, several of each, come in one batch; a run that goes on has every one of them."""
        record(make_journal, _BEFORE, _MIXED)
        found = recalled(make_journal)
        assert sorted(found) == list(_ENTRIES), f"open: recorded were {list(_ENTRIES)}, and recalled are {list(found)}"
        wrong = {name: differing(found[name], one, _OF_ENTRIES) for name, one in _ENTRIES.items()}
        wrong = {name: fields for name, fields in wrong.items() if fields}
        assert not wrong, f"open: tasks are not what was committed; (recalled, committed) by field: {wrong}"
        deaths = {name: tuple(found[name].deaths) for name in "adef"}
        assert deaths == {"a": (), "d": ("signal 11", "signal 9"), "e": (), "f": ()}, (
            f"open: workers died under task d by signal 11, then by signal 9, and under none else: {deaths}"
        )

    def test_all_of_a_mixed_batch_is_given_again(self, make_journal: MakeJournal) -> None:
        """Of a batch with several groups of outcomes, two of them of one kind, each outcome is given as it was."""
        record(make_journal, _BEFORE, _MIXED)
        found, wanted = loaded(make_journal), {one.task_id: one for one in _MIXED.outcomes}
        assert found.keys() == wanted.keys(), f"load: committed were {list(wanted)}, and given are {list(found)}"
        wrong = {name: differing(found[name], one, OF_OUTCOMES) for name, one in wanted.items()}
        wrong = {name: fields for name, fields in wrong.items() if fields}
        assert not wrong, f"load: outcomes are not what was committed; (got, committed) by field: {wrong}"

    def test_all_of_a_mixed_batch_is_read_by_others(self, make_journal: MakeJournal) -> None:
        """The archive has all of such a batch: tasks, their kinds and attempts, outcomes, states, the run's end."""
        record(make_journal, _BEFORE, replace(_MIXED, ended="stopped"))
        with archive_of(make_journal) as archive:
            query = JournalQuery(run_id="run")
            tasks = {one.task_id: one.kind for one in archive.tasks(query)}
            values = {one.task_id: one.value for one in archive.outcomes(query)}
            states, run = dict(archive.states("run", list(_MIXED.states))), archive.run("run")
        assert tasks == {name: one.kind for name, one in _ENTRIES.items()}, f"archive.tasks: tasks and kinds: {tasks}"
        assert values == {one.task_id: one.value for one in _MIXED.outcomes}, f"archive.outcomes: values are {values}"
        assert states == _MIXED.states, f"archive.states: committed were {_MIXED.states}, and it gives {states}"
        counts = {"completed": 7, "failed": 2, "unfinished": 4}
        assert (run.state, run.counts) == ("stopped", counts), f"archive.run: of 9 ended and 4 other tasks: {run}"
        told = traces(make_journal)
        kinds = {name: one.kind for name, one in told.items()}
        assert kinds == {name: one.kind for name, one in _ENTRIES.items()}, f"archive.traces: tasks and kinds: {kinds}"
        tries = {name: _attempts(one) for name, one in told.items() if one.tries}
        assert tries == _ATTEMPTS, f"archive.traces: (number, started, state, reason) of attempts are {tries}"

    def test_states_are_recorded_beside_all_else(self, make_journal: MakeJournal) -> None:
        """Each named state of a batch is recorded, whatever else is in it."""
        record(make_journal, _BEFORE, _MIXED)
        journal = make_journal()
        found = journal.open(opening(resume=True)).states
        journal.close()
        assert found == _MIXED.states, f"open: committed in one batch were {_MIXED.states}, and recalled are {found}"

    def test_many_of_each_kind_are_kept_together(self, make_journal: MakeJournal) -> None:
        """One batch may have hundreds of each kind of record, and of kinds of tasks; all of them are recorded."""
        ids = [f"t{n}" for n in range(_MANY)]
        kinds = {name: replace(KIND, name=f"kind {name}") for name in ids}
        whole = batch(
            accepted=[accepted(name, kind=kinds[name]) for name in ids],
            started=[Started(name, number, 1000.0 + number) for name in ids for number in (1, 2)],
            tried=[_tried(name, 1, worker=f"of {name}") for name in ids],
            settled=[settled(ended(name, n, attempts=2), kind=kinds[name]) for n, name in enumerate(ids[::2])],
            states={name: n for n, name in enumerate(ids)},
        )
        record(make_journal, whole)
        entries = recalled(make_journal)
        found = {name: (one.kind.name, one.state, one.attempts, one.lost) for name, one in entries.items()}
        wanted: dict[str, tuple[object, ...]] = {name: (f"kind {name}", None, 2, 1) for name in ids}
        wanted |= {name: (f"kind {name}", TaskState.COMPLETED, 2, 0) for name in ids[::2]}
        pairs = {name: (found.get(name), one) for name, one in wanted.items() if found.get(name) != one}
        few = dict(list(pairs.items())[:3])
        assert not pairs, f"open: {len(pairs)} of {_MANY} tasks are not as they were committed: {few}"
        workers = {name: [one.worker for one in told.tries] for name, told in traces(make_journal).items()}
        short = [name for name in ids if workers.get(name) != [f"of {name}", None]]
        assert not short, f"archive.traces: attempts are missing, or not as they were, of {len(short)} of {_MANY} tasks"
        with archive_of(make_journal) as archive:
            states = archive.states("run", ids)
        assert states == whole.states, f"archive.states: {len(states)} of {_MANY} came back, or with other values"

    def test_a_task_is_recorded_by_many_batches(self, make_journal: MakeJournal) -> None:
        """Each batch adds to what those before it have of a task, and its outcome comes in one of its own."""
        begun = [accepted(name, kind=_STAGE, key=name) for name in "ab"]
        with opened(make_journal) as journal:
            journal.commit(batch(accepted=begun))
            for number in range(1, 6):
                journal.commit(batch(started=[Started(name, number, 1000.0 + number) for name in "ab"]))
                journal.commit(batch(tried=[_tried(name, number, reason=f"{name}{number}") for name in "ab"]))
            journal.commit(batch(started=[Started("a", 6, 1006.0)]))
            journal.commit(batch(settled=[settled(ended("a", 1, attempts=6, key="a"), kind=_STAGE)]))
        entries = recalled(make_journal)
        found = {name: (one.kind, one.key, one.state, one.attempts, one.lost) for name, one in entries.items()}
        wanted = {"a": (_STAGE, "a", TaskState.COMPLETED, 6, 0), "b": (_STAGE, "b", None, 5, 0)}
        assert found == wanted, f"open: of tasks that were told of by many batches is recalled {found}"
        deaths = tuple(entries["b"].deaths)
        assert deaths == ("b1", "b2", "b3", "b4", "b5"), f"open: how workers died came by five batches: {deaths}"
        tries = {name: _attempts(one) for name, one in traces(make_journal).items()}
        all_of: dict[str, list[_Attempt]]
        all_of = {name: [(n, 1000.0 + n, TaskState.FAILED, f"{name}{n}") for n in range(1, 6)] for name in "ab"}
        all_of["a"].append((6, 1006.0, None, None))
        assert tries == all_of, f"archive.traces: (number, started, state, reason) of attempts by many batches: {tries}"

    def test_each_of_many_batches_is_recorded(self, make_journal: MakeJournal) -> None:
        """The first of a run, those between, and the last, which ends it and may have outcomes as well."""
        batches = [batch(ended(f"t{n}", n), accepted=[accepted(f"o{n}")], at=1001.0 + n) for n in range(40)]
        record(make_journal, *batches[:-1], replace(batches[-1], ended="completed"))
        values = sorted(one.value for one in loaded(make_journal).values())
        assert values == list(range(40)), f"load: by 40 batches came the values 0 to 39, and given are {values}"
        waiting = [name for name, one in recalled(make_journal).items() if one.state is None]
        assert waiting == [f"o{n}" for n in range(40)], f"open: tasks accepted by 40 batches are recalled as {waiting}"

    def test_a_run_that_goes_on_records_what_comes(self, make_journal: MakeJournal) -> None:
        """Each time that a run goes on, what is committed stands beside what was there before, and ends what began."""
        record(make_journal, batch(ended("a", 1), accepted=[accepted("b"), accepted("c")], started=[_began("b", 1)]))
        again = batch(ended("b", 2, attempts=2), accepted=[accepted("d")], started=[_began("c", 1)])
        record(make_journal, again, run=opening(resume=True))
        record(make_journal, batch(ended("d", 4), started=[_began("c", 2)]), run=opening(resume=True))
        found = {name: (one.state, one.attempts, one.lost) for name, one in recalled(make_journal).items()}
        done = TaskState.COMPLETED
        wanted = {"a": (done, 1, 0), "b": (done, 2, 0), "c": (None, 2, 2), "d": (done, 1, 0)}
        assert found == wanted, f"open: recorded by a run that went on twice: {wanted}, and recalled: {found}"
        values = {name: one.value for name, one in loaded(make_journal).items()}
        assert values == {"a": 1, "b": 2, "d": 4}, f"load: of a run that went on twice it gives the values {values}"

    def test_outcomes_in_columns_are_recorded(self, make_journal: MakeJournal) -> None:
        """The outcomes of a group are any Sequence: of many short tasks one that makes them when they are looked at."""
        ids = [f"t{n}" for n in range(100)]
        spec = TaskSpec(function=len, name=KIND.name, executor=KIND.executor)
        attempts = AttemptColumns(spec, ids, [(n,) for n in range(100)], 0, 1.0)
        values = [{"n": n} if n % 2 else n for n in range(100)]
        columns = OutcomeColumns(attempts, values, [2.0] * 100, [4.0] * 100, "w1", cpu=True)
        parts = [Settled(KIND, columns, [f"of {name}" for name in ids]), settled(failed("x"), kind=_PAGES)]
        record(make_journal, batch(settled=parts))
        found = {name: (one.value, one.index, one.worker, one.ran_s) for name, one in loaded(make_journal).items()}
        wanted = {name: (values[n], n, "w1", 2.0) for n, name in enumerate(ids)}
        lost = [name for name, one in wanted.items() if found.get(name) != one]
        assert not lost, f"load: of 100 outcomes in a Sequence of its own these are missing, or wrong: {lost}"
        identities = {name: one.identity for name, one in recalled(make_journal).items()}
        assert identities == {name: f"of {name}" for name in [*ids, "x"]}, f"open: their identities are {identities}"

    def test_large_values_come_back(self, make_journal: MakeJournal) -> None:
        """Results of megabytes are given again whole, as are small ones beside them in the batch."""
        values = {"text": "é" * _LARGE, "small": 1, "numbers": list(range(_LARGE // 10)), "last": "end"}
        record(make_journal, batch(*(ended(name, value) for name, value in values.items())))
        found = {name: one.value for name, one in loaded(make_journal).items()}
        wrong = [name for name, value in values.items() if found.get(name) != value]
        assert not wrong, f"load: large values and small ones beside them are missing, or not as they were: {wrong}"


def _began(name: str, number: int) -> Started:
    return Started(name, number, 1000.0 + number)


def _tried(name: str, number: int, **facts: Any) -> Tried:  # Any: the fields of a Tried
    return Tried(
        task_id=name, number=number, **{"state": TaskState.FAILED, "error_type": _DIED, "reason": "signal 9", **facts}
    )


def _attempts(told: TaskTrace) -> list[_Attempt]:
    return [(one.number, one.started, one.state, one.reason) for one in told.tries]


_BEFORE: Final = batch(
    accepted=[accepted("a"), accepted("b", kind=_STAGE, index=1)], started=[_began("a", 1), _began("b", 1)]
)
_MIXED: Final[CommitBatch] = batch(
    accepted=[
        accepted("c", key="c"),
        accepted("d", kind=_STAGE, key="d", index=3),
        accepted("e", kind=_PAGES, index=4),
        accepted("f", key="f", index=5),
    ],
    started=[_began("a", 2), _began("c", 1), *(_began("d", number) for number in (1, 2, 3)), _began("e", 1)],
    tried=[
        _tried("a", 1, state=TaskState.TIMED_OUT, error_type="E", reason="slow"),
        _tried("b", 1),
        _tried("d", 1, reason="signal 11"),
        _tried("d", 2),
    ],
    settled=[
        settled(ended("b", {"n": 1}, index=1, attempts=2), kind=_STAGE),
        settled(ended("g", 6, key="g", index=6), ended("h", [7]), failed("i", index=8)),
        settled(ended("j", None), ended("k", "x"), kind=_PAGES),
        settled(ended("l", 11), failed("c", key="c")),
        settled(ended("m", 12, key="m", worker="w1"), kind=replace(_PAGES, name="last")),
    ],
    states={"learnt": {"version": 1}, "history": [1, 2.5, None], "setup": {"of": "this run"}},
)
"""As those of a pool: of tasks that began earlier, that begin and end in it, and that were never told of."""


def _entry(name: str, facts: Mapping[str, Any]) -> TaskEntry:  # Any: the fields of a TaskEntry
    return TaskEntry(task_id=name, identity=f"of {name}", **{"kind": KIND, **facts})


_DONE: Final[Mapping[str, Any]] = {"state": TaskState.COMPLETED, "kept": True, "attempts": 1}
_FAILED: Final[Mapping[str, Any]] = {**_DONE, "state": TaskState.FAILED}
_ENTRIES: Final = {
    name: _entry(name, facts)
    for name, facts in {
        "a": {"attempts": 2, "lost": 1},
        "b": {**_DONE, "kind": _STAGE, "index": 1, "attempts": 2},
        "c": {**_FAILED, "key": "c"},
        "d": {"kind": _STAGE, "key": "d", "index": 3, "attempts": 3, "lost": 1},
        "e": {"kind": _PAGES, "index": 4, "attempts": 1, "lost": 1},
        "f": {"key": "f", "index": 5},
        "g": {**_DONE, "key": "g", "index": 6},
        "h": _DONE,
        "i": {**_FAILED, "index": 8},
        "j": {**_DONE, "kind": _PAGES},
        "k": {**_DONE, "kind": _PAGES},
        "l": _DONE,
        "m": {**_DONE, "kind": replace(_PAGES, name="last"), "key": "m"},
    }.items()
}
"""What a run that goes on has of both batches."""
_ATTEMPTS: Final = {
    "a": [(1, 1001.0, TaskState.TIMED_OUT, "slow"), (2, 1002.0, None, None)],
    "b": [(1, 1001.0, TaskState.FAILED, "signal 9")],
    "c": [(1, 1001.0, None, None)],
    "d": [
        (1, 1001.0, TaskState.FAILED, "signal 11"),
        (2, 1002.0, TaskState.FAILED, "signal 9"),
        (3, 1003.0, None, None),
    ],
    "e": [(1, 1001.0, None, None)],
}
