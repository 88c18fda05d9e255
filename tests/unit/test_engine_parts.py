"""The parts of the engine, each by itself: lanes, ledger, retry, dispatch."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from longshore._engine.dispatch import Dispatch
from longshore._engine.engine import Engine
from longshore._engine.lanes import Gate, Lane, effective, lane_key
from longshore._engine.ledger import Ledger
from longshore._engine.messages import Cancel, ExecutorUp, Reported, Settle, Submit
from longshore._engine.place import AHEAD_MOST, WINDOW_MOST, Place
from longshore._engine.retry import may_retry
from longshore._engine.states import ENDS, MOVES
from longshore.errors import TaskTimeout, WorkerDied
from longshore.task import Attempt, ErrorRecord, Outcome, Priority, Resources, RetryPolicy, TaskSpec, TaskState


def work() -> None:
    """Stand for a user's function."""


def spec_of(**options: Any) -> TaskSpec:  # Any: options of a spec
    return TaskSpec(**{"function": work, "name": "work", "executor": "quay", **options})


def outcome_of(
    state: TaskState, *, attempts: int = 1, exception: BaseException | None = None, kind: str = ""
) -> Outcome:
    error = ErrorRecord(type=kind, message="no") if kind else None
    return Outcome("t", None, 0, "work", state, error=error, attempts=attempts, exception=exception)


def attempts_of(spec: TaskSpec, count: int, queued_at: float = 0.0) -> list[Attempt]:
    return [Attempt(f"t{n}", spec, queued_at=queued_at) for n in range(count)]


# ---- states


def test_an_end_is_left_for_nothing_and_every_state_can_reach_one() -> None:
    """No task leaves an end, and none can be stuck for want of a move."""
    assert {TaskState.COMPLETED, TaskState.FAILED, TaskState.TIMED_OUT, TaskState.CANCELLED} < ENDS
    for state, leaves in MOVES.items():
        assert state in ENDS or leaves & (ENDS - {TaskState.SKIPPED}), state


# ---- lanes


@pytest.mark.parametrize(
    ("priority", "waited_s", "level"),
    [
        (Priority.CRITICAL, 1000.0, 0),
        (Priority.HIGH, 1000.0, 1),
        (Priority.NORMAL, 1.9, 2),
        (Priority.NORMAL, 2.0, 1),
        (Priority.LOW, 2.0, 2),
        (Priority.LOW, 4.0, 1),
        (Priority.BACKGROUND, 5.9, 2),
        (Priority.BACKGROUND, 1000.0, 1),
    ],
)
@pytest.mark.requirement("req:D05")
def test_a_waiting_task_gains_a_level_every_two_seconds_up_to_high(
    priority: Priority, waited_s: float, level: int
) -> None:
    """Aging is one level for 2 s, and never reaches CRITICAL."""
    assert effective(priority, waited_s) == level


def test_tasks_share_a_lane_when_the_same_things_hold_them_back() -> None:
    """The executor, what is reserved, and a name with a limit make the lane; priority and a plain name do not."""
    plain = lane_key(spec_of())
    assert lane_key(spec_of(name="other", priority=Priority.LOW, resources=Resources())) == plain
    different = [
        plain,
        lane_key(spec_of(executor="yard")),
        lane_key(spec_of(resources=Resources(cpu=1))),
        lane_key(spec_of(max_per_second=1.0)),
        lane_key(spec_of(max_per_second=1.0, name="other")),
        lane_key(spec_of(concurrent_limit=1)),
    ]
    assert len(set(different)) == len(different)


def test_a_lane_takes_tasks_out_from_wherever_they_stand_and_keeps_the_order() -> None:
    """What is removed is gone from the queue; the others keep their order."""
    lane = Lane(lane_key(spec_of()), Gate(None, None, None))
    lane.queues[Priority.NORMAL].extend(attempts_of(spec_of(), 5))
    assert [attempt.task_id for attempt in lane.remove({"t1", "t3", "stranger"})] == ["t1", "t3"]
    taken = [attempt.task_id for part in lane.take(Priority.NORMAL, 10) for attempt in part]
    assert taken == ["t0", "t2", "t4"]
    assert not lane.waits()


def test_a_gate_opens_by_rate_and_closes_at_its_limit() -> None:
    """The next start is 1/rate after the last, less 0.01 s for a late wake-up; at the limit only an end can open it."""
    gate = Gate(2.0, "work", 2)
    assert gate.opens_at(100.0) == pytest.approx(0.0)
    gate.started(100.0)
    assert gate.opens_at(100.0) == pytest.approx(100.49)
    gate.started(100.49)
    assert gate.opens_at(200.0) is None
    gate.running -= 1
    assert gate.opens_at(200.0) == pytest.approx(100.99)


# ---- ledger


@pytest.mark.requirement("req:G14")
def test_the_ledger_lends_up_to_the_capacity_and_gets_all_back() -> None:
    """What is lent never passes the capacity, what has no capacity has no bound, and nothing is left over."""
    ledger = Ledger({"cpu": 0.3})
    for n in range(3):
        assert ledger.fits({"cpu": 0.1, "crane": 5})
        ledger.lend(f"t{n}", {"cpu": 0.1, "crane": 5})
    assert not ledger.fits({"cpu": 0.1})
    assert ledger.lent() == {"cpu": pytest.approx(0.3), "crane": 15}
    ledger.take_back("stranger")
    for n in range(3):
        ledger.take_back(f"t{n}")
        ledger.take_back(f"t{n}")
    assert ledger.lent() == {}


@pytest.mark.parametrize(
    ("amounts", "why"),
    [
        ({"cpu": 4.0}, None),
        ({"cpu": 4.5}, "cpu: needs 4.5 cores, 4 cores are all there is"),
        ({"cpu": -1.0}, "cpu -1 is negative"),
        ({"crane": 1000.0}, None),
    ],
)
@pytest.mark.requirement("req:D08")
def test_what_never_fits_is_told_with_its_numbers(amounts: dict[str, float], why: str | None) -> None:
    """The reason names the resource, what was asked, and all there is."""
    assert Ledger({"cpu": 4.0}).never(amounts) == why


# ---- retry


@pytest.mark.parametrize(("attempt", "wait_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (500, 60.0)])
@pytest.mark.requirement("req:F03")
def test_the_wait_doubles_up_to_its_bound(attempt: int, wait_s: float) -> None:
    """The wait after attempt n is backoff * 2**(n-1), at most max_backoff."""
    assert RetryPolicy(jitter=0.0).wait_s(attempt, 0.9) == wait_s


@pytest.mark.parametrize(("uniform", "factor"), [(0.0, 0.75), (0.5, 1.0), (0.999, 1.2495)])
@pytest.mark.requirement("req:F03")
def test_jitter_shortens_or_lengthens_by_at_most_its_fraction(uniform: float, factor: float) -> None:
    """With jitter 0.25 a wait is between 75 and 125 percent."""
    assert RetryPolicy(backoff=8.0, jitter=0.25).wait_s(1, uniform) == pytest.approx(8.0 * factor)


@pytest.mark.parametrize(
    ("outcome", "retry_on", "again"),
    [
        (outcome_of(TaskState.FAILED, exception=KeyError("k")), (LookupError,), True),
        (outcome_of(TaskState.FAILED, exception=ValueError("v")), (LookupError,), False),
        (outcome_of(TaskState.FAILED, exception=SystemExit(1)), (Exception,), False),
        (outcome_of(TaskState.TIMED_OUT), (TaskTimeout,), True),
        (outcome_of(TaskState.TIMED_OUT), (TimeoutError,), True),
        (outcome_of(TaskState.TIMED_OUT), (ConnectionError,), False),
        (outcome_of(TaskState.FAILED, kind="longshore.errors.WorkerDied"), (WorkerDied,), True),
        (outcome_of(TaskState.FAILED, kind="longshore.errors.WorkerDied"), (ConnectionError,), False),
        (outcome_of(TaskState.FAILED, kind="somewhere.Unknown"), (Exception,), True),
        (outcome_of(TaskState.FAILED), (Exception,), True),
        (outcome_of(TaskState.CANCELLED, exception=ValueError("v")), (Exception,), False),
        (outcome_of(TaskState.FAILED, attempts=3, exception=KeyError("k")), (LookupError,), False),
    ],
)
@pytest.mark.requirement("req:F03")
def test_what_is_tried_again(outcome: Outcome, retry_on: tuple[type[BaseException], ...], again: bool) -> None:
    """An exception by its class, what did not travel by the name of its type; never a cancelled task or last try."""
    assert may_retry(RetryPolicy(attempts=3, retry_on=retry_on), outcome) is again


@pytest.mark.parametrize("name", ["TimeoutError", "builtins.ConnectionError", "KeyError"])
@pytest.mark.requirement("req:F03")
def test_a_built_in_exception_that_did_not_travel_is_known_by_its_name(name: str) -> None:
    """`retry_on=(ConnectionError,)` holds for a ConnectionError of which only the record came back."""
    outcome = outcome_of(TaskState.FAILED, kind=name)
    assert may_retry(RetryPolicy(attempts=2, retry_on=(OSError, LookupError)), outcome)
    assert not may_retry(RetryPolicy(attempts=2, retry_on=(ArithmeticError,)), outcome)


def started_engine(spec: TaskSpec, now: float = 0.0) -> Engine:
    engine = Engine()
    engine.handle([ExecutorUp("quay", 1), Submit(spec, attempts_of(spec, 1, now))], now)
    return engine


@pytest.mark.requirement("req:F04")
def test_no_retry_is_planned_past_the_deadline_over_all_attempts() -> None:
    """An attempt that fails so late that the next could not begin in time is the last."""
    spec = spec_of(deadline_s=1.0, retry=RetryPolicy(attempts=9, backoff=0.5, jitter=0.0))
    for failed_at, again in ((0.4, True), (0.5, False), (0.9, False)):
        engine = started_engine(spec)
        failed = Outcome("t0", None, 0, "work", TaskState.FAILED)
        commands = engine.handle([Reported("quay", [failed])], failed_at)
        assert any(isinstance(command, Settle) for command in commands) is not again


@pytest.mark.requirement("req:D14")
def test_a_task_that_fails_while_it_is_being_cancelled_is_not_tried_again() -> None:
    """Once somebody wants it to end, the end of its attempt is its end."""
    engine = started_engine(spec_of(retry=RetryPolicy(attempts=9)))
    engine.handle([Cancel(["t0"])], 0.5)
    commands = engine.handle([Reported("quay", [Outcome("t0", None, 0, "work", TaskState.FAILED)])], 1.0)
    assert [type(command) for command in commands] == [Settle]
    assert engine.idle


@pytest.mark.requirement("req:F04")
def test_a_report_of_an_attempt_that_no_longer_counts_changes_nothing() -> None:
    """What attempt 1 reports once attempt 2 runs is discarded and counted."""
    spec = spec_of(retry=RetryPolicy(attempts=2, backoff=0.0))
    engine = started_engine(spec)
    failed = Outcome("t0", None, 0, "work", TaskState.FAILED)
    engine.handle([Reported("quay", [failed])], 1.0)
    assert engine.handle([Reported("quay", [failed])], 2.0) == []
    snapshot = engine.snapshot()
    assert (snapshot.late, snapshot.retried, snapshot.running) == (1, 1, 1)


def test_an_executor_that_reports_what_is_no_end_is_named() -> None:
    """A report of "queued" is a bug of the executor's, and is said to be one rather than believed."""
    engine = started_engine(spec_of())
    with pytest.raises(AssertionError, match=r"t0.*queued"):
        engine.handle([Reported("quay", [Outcome("t0", None, 0, "work", TaskState.QUEUED)])], 1.0)


# ---- dispatch


def test_the_window_grows_while_tasks_are_short_and_shrinks_when_they_are_long() -> None:
    """An executor holds about 4 ms of work ahead for each worker, at most 512 attempts, and none of long tasks."""
    place = Place("quay")
    place.up(2, runs_ahead=True)
    windows = []
    for _ in range(12):
        place.held = 1
        place.ended(1, 0.000001)
        windows.append(place.window(2))
    assert windows[:3] == [4, 8, 16]
    assert windows[-1] == 2 * AHEAD_MOST
    place.held = 1
    place.ended(1, 1.0)
    assert place.window(2) == 2


def test_the_window_has_a_bound_but_never_leaves_a_worker_out() -> None:
    """No more than 2048 attempts are held, unless there are more workers than that."""
    place = Place("quay")
    place.ahead = AHEAD_MOST
    place.up(100, runs_ahead=True)
    assert place.window(100) == WINDOW_MOST
    place.up(5000, runs_ahead=True)
    assert place.window(5000) == 5000


def test_an_executor_that_does_not_run_ahead_gets_one_attempt_for_each_worker() -> None:
    """`runs_ahead=False` is kept however short the tasks are, also when it is said later."""
    place = Place("quay")
    place.up(2, runs_ahead=True)
    place.held = 1
    place.ended(1, 0.000001)
    place.up(2, runs_ahead=False)
    place.held = 1
    place.ended(1, 0.000001)
    assert place.window(2) == 2


@pytest.mark.requirement("req:A08")
def test_nothing_is_handed_out_ahead_where_the_cap_binds() -> None:
    """With fewer runs allowed than there are workers, exactly so many are handed out."""
    place = Place("quay")
    place.up(8, runs_ahead=True)
    place.ahead = AHEAD_MOST
    assert place.window(3) == 3


@pytest.mark.parametrize(
    "options",
    [{"resources": Resources(cpu=1)}, {"max_per_second": 1e6}, {"concurrent_limit": 100}],
    ids=["reserves", "rate", "limit"],
)
def test_what_is_counted_is_never_handed_out_ahead(options: dict[str, Any]) -> None:
    """Tasks that reserve, or are limited in rate or number, get one worker each and no more."""
    dispatch = Dispatch(50, {})
    dispatch.up("quay", 2, runs_ahead=True)
    dispatch.queue(spec_of(**options), attempts_of(spec_of(**options), 10))
    dispatch._places["quay"].ahead = 100
    started = [attempt for _, attempts in dispatch.start(1.0) for attempt in attempts]
    assert [attempt.task_id for attempt in started] == ["t0", "t1"]


def test_a_limit_and_a_rate_are_remembered_however_many_others_come_and_go() -> None:
    """A limit holds while tasks of it wait, and a rate from its last start on, also after thousands of other names."""
    dispatch = Dispatch(10_000, {})
    dispatch.up("quay", 10_000, runs_ahead=False)
    few, slow = spec_of(name="few", concurrent_limit=1), spec_of(name="slow", max_per_second=0.1)
    dispatch.queue(few, [Attempt("first", few), Attempt("second", few)])
    dispatch.queue(slow, [Attempt("slow", slow)])
    others = [spec_of(name=f"other{n}", concurrent_limit=1) for n in range(1500)]
    for other in others:
        dispatch.queue(other, [Attempt(other.name, other)])
    assert sum(len(attempts) for _, attempts in dispatch.start(1.0)) == 1502
    for task_id in ("first", "slow", *(other.name for other in others)):
        dispatch.release(task_id)
    more = spec_of(name="few", concurrent_limit=1, resources=Resources(cpu=1))
    dispatch.queue(more, [Attempt("third", more)])
    dispatch.queue(slow, [Attempt("slow again", slow)])
    assert [a.task_id for _, attempts in dispatch.start(2.0) for a in attempts] == ["second"]


@pytest.mark.requirement("req:D13")
def test_limits_of_names_that_come_and_go_are_forgotten() -> None:
    """A pool that sees a new limited name with every task does not grow by them."""
    dispatch = Dispatch(10, {})
    dispatch.up("quay", 10, runs_ahead=False)
    for n in range(3000):
        spec = spec_of(name=f"n{n}", concurrent_limit=1)
        dispatch.queue(spec, [Attempt(spec.name, spec)])
        list(dispatch.start(0.0))
        dispatch.release(spec.name)
        dispatch.ended("quay", 1, 0.1)
    assert len(dispatch._gates) <= 1025
    assert not dispatch._lanes


def test_why_nothing_starts_is_told_in_plain_words() -> None:
    """What is held back is explained by its limit, its rate, or what it waits for; running work needs no reason."""
    spec = spec_of(concurrent_limit=1)
    engine = Engine()
    engine.handle([ExecutorUp("quay", 4), Submit(spec, attempts_of(spec, 2))], 0.0)
    assert engine.held_because() == "at most 1 of work at once"
    engine.handle([Reported("quay", [Outcome("t0", None, 0, "work", TaskState.COMPLETED)])], 1.0)
    assert engine.held_because() is None


# ---- records


class Cargo:
    """A local variable that can be seen to go."""


def outcome_held_by_its_own_traceback() -> weakref.ref[Cargo]:
    cargo = Cargo()
    try:
        raise ValueError("no")
    except ValueError as error:
        outcome = outcome_of(TaskState.FAILED, exception=error)
    assert outcome.exception is not None
    return weakref.ref(cargo)


@pytest.mark.requirement("req:C16")
def test_an_outcome_whose_traceback_leads_back_to_it_is_collected() -> None:
    """Outcomes stay visible to the collector, since exceptions make cycles; what waits in masses does not."""
    gone = outcome_held_by_its_own_traceback()
    gc.collect()
    assert gone() is None
    assert Outcome.__struct_config__.gc
    assert not Attempt.__struct_config__.gc
