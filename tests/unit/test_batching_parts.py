"""What an outcome is made of, what can be carried, and how much makes a batch: no threads, no clock."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest
from longshore.batching import kinds as kinds_of
from longshore.batching.burial import plain_evidence
from longshore.batching.codec import (
    cut_trace,
    dump,
    dump_arguments,
    dump_code,
    dump_exception,
    load,
    load_exception,
)
from longshore.batching.crew import NOTHING, Crew, Held, Wants
from longshore.batching.kinds import BATCH_ITEMS, Kind, Kinds
from longshore.batching.outcomes import outcome_of, split_at_death, worker_died
from longshore.batching.survey import ClusterProbe
from longshore.batching.words import CANCELLED, DONE, FAILED, TIMED_OUT, UNREADY, End, Record
from longshore.errors import PayloadError, WorkerDied
from longshore.records import Bound, ReadRequest, Usage, WorkerStatus
from longshore.task import Attempt, ErrorRecord, TaskSpec, TaskState
from longshore.worker import described
from support.clusters import HERE, HereCrew, done, square


def spec(**options: Any) -> TaskSpec:
    return TaskSpec(function=square, name="square", executor="here", **options)


def attempt(task_id: str = "t") -> Attempt:
    return Attempt(task_id, spec(timeout_s=2.0), (3,))


def outcome(record: Record) -> Any:
    return outcome_of(attempt(), record, 10.0, "here-a", HERE)


# ---- outcomes


def test_a_record_becomes_an_outcome() -> None:
    """A value is one; its times are those of its worker, from when the batch began."""
    one = outcome(Record(DONE, 1.0, 0.5, 0.25, dump(9)))
    assert (one.state, one.value, one.worker, one.cpu_s) == (TaskState.COMPLETED, 9, "here-a", 0.25)
    assert (one.queued_s, one.ran_s) == (11.0, 0.5)


def test_what_was_ended_says_by_whom() -> None:
    """A message of who cancelled it stands in the outcome, with what became of its thread where it had begun."""
    assert outcome(Record(CANCELLED, 0.0, 0.0, None, b"enough")).error.message == "enough"
    assert outcome(Record(CANCELLED, 0.0, 1.0, None, b"")).error.message == f"cancelled; {HERE.given_up}"
    late = outcome(Record(TIMED_OUT, 0.0, 2.0, None, b""))
    assert (late.state, HERE.given_up in late.error.message) == (TaskState.TIMED_OUT, True)
    unready = outcome(Record(UNREADY, 0.0, 2.0, None, b""))
    assert "executors.here.initializer_timeout_s" in unready.error.message


def test_failures_come_back_with_their_exception() -> None:
    """The exception is the user's own with its traceback there as the cause; one that can't travel is told."""
    packed = ErrorRecord(type="ValueError", message="no", traceback="there, line 3")
    one = outcome(Record(FAILED, 0.0, 0.1, None, dump((False, packed, dump(ValueError("no"))))))
    assert isinstance(one.exception, ValueError)
    assert "there, line 3" in str(one.exception.__cause__)
    bare = outcome(Record(FAILED, 0.0, 0.1, None, dump((True, packed, None))))
    assert (bare.state, bare.exception, bare.error.message) == (TaskState.CANCELLED, None, "no")


def test_a_result_that_cannot_be_read_fails_its_task() -> None:
    """What the controller can't read costs its task, and says whose it was."""
    one = outcome(Record(DONE, 0.0, 0.1, None, b"nonsense"))
    assert isinstance(one.exception, PayloadError)
    assert "the result of task t (square) from the Here worker here-a could not be read" in str(one.exception)
    assert one.exception.__cause__ is not None


def test_a_death_is_told_for_sure_or_not() -> None:
    """An attempt that was seen to run is told apart from one that may have begun."""
    sure = worker_died(attempt(), "here-a", 1.0, 2.0, End("killed"), HERE, sure=True)
    maybe = worker_died(attempt(), "here-a", 1.0, 2.0, End(), HERE, sure=False)
    assert isinstance(sure.exception, WorkerDied)
    assert str(sure.exception).endswith("its Here worker here-a was lost while it ran: killed")
    assert str(maybe.exception).endswith("it may have begun: nothing of that worker is left to look at")


def test_a_death_is_one_attempts() -> None:
    """Those with a record had ended, the next is to blame, the others had not begun."""
    three = [attempt(name) for name in "abc"]
    assert split_at_death(three, [done(1)]) == ([(three[0], done(1))], three[1], three[2:])
    assert split_at_death(three[:1], [done(1)]) == ([(three[0], done(1))], None, [])


def test_what_a_reader_answers_is_evidence_or_nothing() -> None:
    """Records come back as such, batches that had not begun as None; an error instead of an answer is no evidence."""
    assert plain_evidence({3: [tuple(done(1))], 4: None}) == {3: [done(1)], 4: None}
    assert plain_evidence(OSError("unreachable")) is None


# ---- what is carried


class Odd(Exception):
    """Whose message cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no message")


class Unnamed(type):
    """A class that says nothing of itself."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class Nameless(Exception, metaclass=Unnamed):
    """Whose class has no name."""


class Closed(Exception):
    """Who forbids to be pickled, and to have its traceback set."""

    def __reduce__(self) -> Any:
        raise TypeError("closed")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Loud(Exception):
    """Who cannot be made again."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first)


def test_an_exception_is_told_whatever_its_own_methods_do() -> None:
    """A message that cannot be made is no failure of ours."""
    assert described(ValueError("no")) == "ValueError: no"
    assert described(Odd()).endswith("Odd: <the message could not be made: RuntimeError>")
    assert described(Nameless("no")).endswith("Nameless: no")


def test_exceptions_that_cannot_travel_stay() -> None:
    """One that can't be pickled, or not made again, comes back as nothing, and what is no exception is none."""
    assert dump_exception(Closed()) is None
    assert load_exception(None, "") is None
    assert load_exception(b"nonsense", "") is None
    assert load_exception(dump("a text"), "") is None

    class Own(Exception):
        pass

    back = load_exception(dump_exception(Own("mine")), "over there")
    assert type(back).__name__ == "Own"
    assert back is not None
    assert str(back.__cause__) == "\n\nover there\n"


def test_our_own_frames_are_left_off() -> None:
    """The frames of the file that called the user's function are cut off the traceback; who forbids it keeps them."""
    try:
        square("a")  # type: ignore[arg-type]
    except TypeError as error:
        kept = error
    cut_trace(kept, __file__)
    assert kept.__traceback__ is not None
    assert kept.__traceback__.tb_frame.f_code.co_filename != __file__
    cut_trace(kept, kept.__traceback__.tb_frame.f_code.co_filename)
    assert kept.__traceback__ is None
    cut_trace(Closed(), __file__)


def test_functions_go_by_value_where_nobody_else_has_them() -> None:
    """Local functions and partials of them travel whole, with the name of their file."""

    def local(first: int, second: int) -> int:
        return first + second

    function, initializer = load(dump_code(partial(local, 1), None, HERE))
    assert (function(2), initializer) == (3, None)
    assert function.func.__code__.co_filename == __file__


def test_what_cannot_be_carried_is_named() -> None:
    """A function or arguments that hold a lock are refused with the system's name and what to do."""
    lock = threading.Lock()
    with pytest.raises(PayloadError, match=r"partial cannot be carried to a Here worker: .*define it in a module"):
        dump_code(partial(square, lock), None, HERE)
    with pytest.raises(PayloadError, match=r"the arguments of task t cannot be carried to a Here worker"):
        dump_arguments((lock,), None, "task t", HERE)
    assert load(dump_arguments((1,), {"x": 2}, "task t", HERE)) == ((1,), {"x": 2})


# ---- kinds


def test_a_batch_is_as_many_as_are_worth_one() -> None:
    """One at first, then by what they took: 12 to 50 ms of work, a fair share between, fewer where they are large."""
    kind = Kind(1, spec(), 0, HERE)
    assert (kind.batch_size(1000), kind.runs_ahead(), kind.may_run_ahead()) == (1, False, True)
    for _ in range(6):
        kind.learn(0.001)
    assert (kind.batch_size(1), kind.batch_size(30), kind.batch_size(1000)) == (12, 30, 50)
    assert kind.runs_ahead()
    kind.item_bytes = 200_000.0
    assert kind.batch_size(1000) == 5
    kind.learn(2.0)
    assert (kind.batch_size(1000), kind.runs_ahead(), kind.may_run_ahead()) == (1, False, False)
    tiny = Kind(2, spec(), 0, HERE)
    for _ in range(6):
        tiny.learn(0.0)
    assert tiny.batch_size(1000) == BATCH_ITEMS


def test_only_so_many_kinds_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds and initializers that were used longest ago are forgotten, and get new numbers."""
    monkeypatch.setattr(kinds_of, "_KINDS", 1)
    kinds = Kinds(HERE)
    first = spec(initializer=threading.active_count)
    kind = kinds.of(first)
    assert kinds.of(first) is kind
    assert kinds.of(spec(initializer=threading.active_count)) is kind
    other = kinds.of(spec(initializer=threading.get_ident))
    assert other.initializer != kind.initializer
    assert kinds.of(first) is not kind


# ---- the crew


def test_a_worker_has_what_it_has() -> None:
    """Cores and memory are beside what its batches have; who is paused, leaving or full is given nothing."""
    crew, kind = HereCrew(HERE), Kind(1, spec(), 0, HERE)
    one = crew.add("a", threads=2, licence=1.0)
    assert (one.memory_mb, one.load(), one.stats().status) == (float("inf"), 0.0, WorkerStatus.IDLE)
    assert crew.freest(kind, Wants({"licence": 1.0}, 2.0, 10.0)) is one
    assert crew.freest(kind, Wants({"licence": 2.0})) is None
    one.batches[1] = Held(1, one, kind, [attempt()], 0.0, Wants({}, 1.0))
    assert crew.freest(kind, Wants({}, 2.0)) is None, "one of its two threads is taken"
    stats = one.stats()
    assert (stats.status, stats.current_task) == (WorkerStatus.BUSY, "t")
    one.batches[2] = Held(2, one, kind, [attempt()], 0.0)
    assert crew.freest(kind, NOTHING) is None, "what may be long has nothing behind it"
    one.batches.clear()
    for state in ("paused", "leaving"):
        setattr(one, state, True)
        assert crew.freest(kind, NOTHING) is None
        setattr(one, state, False)
    assert str(Wants({"x": 2.0}, 1.0, 5.0)) == "x=2 and 1 threads and 5 MB of memory"


def test_what_tasks_want_is_each_systems_own() -> None:
    """A crew by itself knows nothing of what a task needs."""
    with pytest.raises(NotImplementedError):
        Crew(HERE).wants(spec())
    with pytest.raises(NotImplementedError):
        Crew(HERE).lacks(NOTHING)


def test_a_large_cluster_is_read_less_often() -> None:
    """The answer grows with the cluster, so one of more than 50 machines is asked less than once a second."""
    told_of: dict[str, float] = {"a": 1.0}
    probe = ClusterProbe(lambda: told_of, lambda told: {"cpu": Usage.across([Bound(name, 1.0, 2.0) for name in told])})
    assert probe.period_s == 1.0
    assert probe.read(ReadRequest()).usage["cpu"].capacity == 2.0
    told_of.update(dict.fromkeys(map(str, range(99)), 1.0))
    probe.read(ReadRequest())
    assert probe.period_s == pytest.approx(2.0)
