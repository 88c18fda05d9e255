"""Attempts and outcomes in columns: the same to everybody as lists of records, in every part and every engine."""

from __future__ import annotations

import gc
import weakref
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from longshore._columns import AttemptColumns, LiveColumns, OutcomeColumns, first_attempts, queued_s, ran_s
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import Cancel, Command, ExecutorUp, Reported, Settle, Start, Submit, Tell
from longshore._tracking.fold import RunFold
from longshore._tracking.running import RunningTasks
from longshore.events import TasksSettled
from longshore.records import RunInfo
from longshore.task import Attempt, ErrorRecord, Outcome, PlainOutcome, Priority, RetryPolicy, TaskSpec, TaskState
from longshore.worker import completed
from msgspec.structs import asdict, replace

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def work(number: int) -> int:
    """Stand for a user's function."""
    return number


def spec_of(**options: Any) -> TaskSpec:  # Any: options of a spec
    return TaskSpec(**{"function": work, "name": "work", "executor": "quay", **options})


def columns_of(spec: TaskSpec, count: int, first: int = 0, queued_at: float = 1.0) -> AttemptColumns:
    ids = [f"t{first + n}" for n in range(count)]
    return AttemptColumns(spec, ids, [(n,) for n in range(count)], first, queued_at)


def ended(part: AttemptColumns, start: float = 2.0) -> OutcomeColumns:
    count = len(part)
    return OutcomeColumns(part, list(range(count)), [start] * count, [start + 0.5] * count, "worker-1", cpu=True)


def ids(records: Any) -> list[str]:  # Any: attempts or outcomes
    return [record.task_id for record in records]


def test_columns_are_the_records_that_a_list_would_hold() -> None:
    """Iterated, asked by number, from behind, in parts and in steps, they give what a list of attempts gives."""
    spec = spec_of()
    columns = columns_of(spec, 10, first=5)
    listed = first_attempts(spec, columns.ids, columns.calls, 5, 1.0)
    assert [asdict(a) for a in columns] == [asdict(a) for a in listed]
    assert len(columns) == 10
    for part in (slice(2, 7), slice(None, None, 3), slice(-4, None), slice(7, 3), slice(0, 99)):
        assert ids(columns[part]) == ids(listed[part]), part
    assert columns[-1].task_id == "t14"
    assert ids(columns[2:8][1:3]) == ["t8", "t9"]
    with pytest.raises(IndexError):
        columns[2:4][2]


def test_records_that_are_iterated_over_are_made_once_for_every_part() -> None:
    """One that is asked for alone is made alone; once all are made, each is the same whichever part it comes from."""
    columns = columns_of(spec_of(), 8)
    assert asdict(columns[3]) == asdict(columns[2:5][1])
    assert not columns._rows._made
    assert next(iter(columns[3:])) is columns[3] is columns[2:5][1]


def test_outcomes_in_columns_are_those_an_executor_would_make_one_by_one() -> None:
    """Every field is as `worker.completed` sets it, but for processor time, which short tasks do not measure."""
    part = columns_of(spec_of(), 6, first=2)
    assert isinstance(part[1:4], AttemptColumns)
    outcomes = OutcomeColumns(
        part, ["a", 1, None, 2.5, True, b"x"], [2.0] * 6, [2.0, 2.1, 2.2, 2.3, 2.4, 2.5], "w", cpu=True
    )
    one_by_one = [
        completed(attempt, value, start, end, "w", end - start)
        for attempt, value, start, end in zip(
            part, ["a", 1, None, 2.5, True, b"x"], [2.0] * 6, [2.0, 2.1, 2.2, 2.3, 2.4, 2.5], strict=True
        )
    ]
    assert [asdict(o) for o in outcomes] == [asdict(o) for o in one_by_one]
    assert asdict(outcomes[-1]) == asdict(one_by_one[-1])
    assert [asdict(o) for o in outcomes[::2]] == [asdict(o) for o in one_by_one[::2]]
    assert all(type(outcome) is PlainOutcome for outcome in outcomes)
    assert ran_s(outcomes) == pytest.approx(ran_s(one_by_one))
    assert queued_s(outcomes) == pytest.approx(queued_s(one_by_one))


def test_what_is_live_is_counted_found_and_let_go_of() -> None:
    """Parts begin and end together or one by one; the last to end takes all that the columns hold along."""
    live, columns = LiveColumns(), columns_of(spec_of(), 10)
    first, second = columns[:6], columns[6:]
    assert isinstance(first, AttemptColumns)
    assert isinstance(second, AttemptColumns)
    live.start(first)
    assert (live.count, live.among(columns)) == (6, [0, 1, 2, 3, 4, 5])
    assert live.find("t7") is None
    assert not live.end(second), "what has not begun cannot end"
    live.start(second)
    assert live.end_one("t3")
    assert not live.end_one("t3")
    assert not live.end(first), "one of them has ended"
    assert live.end(second)
    assert not live.end(second)
    found = live.find("t4")
    assert found is not None
    assert (found.task_id, found.index) == ("t4", 4)
    assert ids(live.values()) == ["t0", "t1", "t2", "t4", "t5"]
    for task_id in ids(live.values()):
        assert live.end_one(task_id)
    assert live.count == 0
    assert not live._live


HOW = st.sampled_from(["columns", "columns", "list", "part", "failed", "again", "cancel"])


def flat(commands: list[Command]) -> list[tuple[str, Any]]:  # Any: what the two engines must have in common
    out: list[tuple[str, Any]] = []
    for command in commands:
        match command:
            case Start():
                out += [("start", attempt.task_id, attempt.number) for attempt in command.attempts]  # type: ignore[misc]
            case Settle():
                out += [("settle", outcome.task_id, outcome.state) for outcome in command.outcomes]  # type: ignore[misc]
            case _:
                pass  # what is told of is compared as the fold has it
    starts = [entry for entry in out if entry[0] == "start"]
    return starts + [entry for entry in out if entry[0] == "settle"]


def reports(how: str, part: AttemptColumns, number: int) -> list[tuple[list[Outcome] | OutcomeColumns, list[Outcome]]]:
    """Return what is reported of a part to an engine with columns, and to one without."""
    plain = list(ended(part))
    failure = Outcome(part[0].task_id, None, 0, "work", TaskState.FAILED, error=ErrorRecord(type="E", message="no"))
    if how == "columns":
        return [(ended(part), plain)]
    if how == "part":
        half = part[: number % len(part) + 1]
        assert isinstance(half, AttemptColumns)
        return [(ended(half), list(ended(half)))]
    if how == "failed":
        mixed = [failure, *plain[1:]]
        return [(mixed, mixed)]
    if how == "again":
        return [(ended(part), plain), (ended(part), plain)]
    return [(plain, plain)]


@given(st.lists(st.tuples(st.integers(1, 90), HOW, st.integers(0, 50), st.sampled_from([1, 2])), max_size=25))
def test_an_engine_decides_the_same_for_columns_as_for_lists(
    steps: list[tuple[int, str, int, int]],
) -> None:
    """Submitted, reported whole, in parts, twice or with failures, or cancelled: the same starts and ends."""
    engines = Engine(), Engine()
    specs = spec_of(retry=RetryPolicy(attempts=2, backoff=0.0, jitter=0.0)), spec_of(priority=Priority.HIGH)
    for engine in engines:
        engine.handle([ExecutorUp("quay", 3, True)], 0.0)
    first, started = 0, list[AttemptColumns]()
    for at, (count, how, number, which) in enumerate(steps, 1):
        now = float(at)
        columns = columns_of(specs[which - 1], count, first, now)
        first += count
        given = (
            engines[0].handle([Submit(columns.spec, columns)], now),
            engines[1].handle([Submit(columns.spec, list(columns))], now),
        )
        assert flat(given[0]) == flat(given[1])
        started += [c.attempts for c in given[0] if isinstance(c, Start) and type(c.attempts) is AttemptColumns]
        if how == "cancel":
            some = ids(islice(engines[0].live(), number, number + 5))
            assert sorted(flat(engines[0].handle([Cancel(some, "no")], now))) == sorted(
                flat(engines[1].handle([Cancel(some, "no")], now))
            )
        elif started:
            for ours, theirs in reports(how, started.pop(number % len(started)), number):
                told = [e.handle([Reported("quay", o)], now) for e, o in zip(engines, (ours, theirs), strict=True)]
                assert flat(told[0]) == flat(told[1])
                started += [c.attempts for c in told[0] if isinstance(c, Start) and type(c.attempts) is AttemptColumns]
        assert engines[0].snapshot() == engines[1].snapshot()
        assert sorted(ids(engines[0].live())) == sorted(ids(engines[1].live()))


def test_a_fold_counts_columns_as_it_counts_records() -> None:
    """Counts, sums, the slowest and what runs are the same whether batches come as columns or as lists."""
    spec = spec_of()
    columns = columns_of(spec, 200)
    engine = Engine(EngineConfig(max_concurrent_tasks=150))
    folds = RunFold(0.0), RunFold(0.0)
    commands = engine.handle([ExecutorUp("quay", 150, False), Submit(spec, columns)], 1.0)
    batches = [command.batch for command in commands if isinstance(command, Tell)]
    part = columns[10:60]
    assert isinstance(part, AttemptColumns)
    batches.append(TasksSettled(spec, ended(part)))
    for batch in batches:
        folds[0].fold(batch, 1.0)
    for batch in batches:
        field = next(name for name in ("attempts", "tasks", "outcomes") if hasattr(batch, name))
        rest = {"spec": spec} if hasattr(batch, "spec") else {}
        folds[1].fold(type(batch)(**rest, **{field: list(getattr(batch, field))}), 1.0)
    info = RunInfo(run_id="r", started=STARTED, snapshot=lambda: None)  # type: ignore[arg-type,return-value]
    ours, theirs = (fold.snapshot(info, 3.0) for fold in folds)
    assert (ours.submitted, ours.running, ours.completed) == (200, 100, 50)
    assert asdict(ours) == asdict(theirs)
    assert [task.task_id for task in ours.slowest] == [f"t{n}" for n in range(10)]


def test_attempts_in_columns_can_be_tried_again() -> None:
    """A failed one goes on as a record of its own, with its arguments, under the next number."""
    spec = spec_of(retry=RetryPolicy(attempts=2, backoff=0.0, jitter=0.0))
    engine, columns = Engine(), columns_of(spec, 3)
    engine.handle([ExecutorUp("quay", 3, True), Submit(spec, columns)], 1.0)
    failure = Outcome("t1", None, 1, "work", TaskState.FAILED, error=ErrorRecord(type="E", message="no"))
    failure = replace(failure, exception=ValueError("no"))
    again = engine.handle([Reported("quay", [failure])], 2.0) + engine.handle([], 2.0)
    (attempt,) = [attempt for command in again if isinstance(command, Start) for attempt in command.attempts]
    assert (attempt.task_id, attempt.number, attempt.args) == ("t1", 2, (1,))
    assert isinstance(attempt, Attempt)


def test_a_fold_lets_go_of_a_stream_that_is_over() -> None:
    """When the last in columns has ended, nothing of their arguments is kept, while others run on."""
    spec, book = spec_of(), RunningTasks()
    other = Attempt("other", spec)
    book.start([other], 1.0)
    columns = columns_of(spec, 70)
    gone = weakref.ref(columns._rows)
    book.start(columns, 1.0)
    book.end(ended(columns))
    del columns
    gc.collect()
    assert gone() is None
    assert (len(book), book.oldest(5)) == (1, [(other, 1.0)])
