"""What may be lent, out of what is lent, measured, and used by the tasks themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from longshore import ResourceLimits
from longshore._engine.dispatch import Dispatch
from longshore._engine.ledger import Ledger, objection
from longshore._engine.reserve import LEAST_MB, Reserve
from longshore._loads import loads_of
from longshore.records import Bound, Load, Usage
from longshore.task import Attempt, Resources, TaskSpec
from pydantic import ValidationError


def work() -> None:
    """Stand for a user's function."""


def memory(used_mb: float, own_mb: float | None = 0.0, limit_mb: float = 10_000.0) -> Load:
    return Load(used_mb, limit_mb, limit_mb * 0.9, own_mb, "MB", limit_mb)


def spec_of(resources: Resources) -> TaskSpec:
    return TaskSpec(function=work, name="work", executor="quay", resources=resources)


# ---- memory that is reserved, and memory that is used


@pytest.mark.requirement("req:G16")
def test_a_task_s_own_use_counts_against_its_own_reservation() -> None:
    """Of 10 GB: one task has used all it reserved, another nothing; only the other's is still to come."""
    ledger = Ledger({"memory": 10_000.0})
    ledger.lend("full", {"memory": 3000.0})
    ledger.lend("empty", {"memory": 3000.0})
    ledger.measure({"memory": memory(3500.0, 3000.0)}, {"full": 3000.0, "empty": 0.0})
    assert ledger.taken("memory") == pytest.approx(6500.0)


def test_a_task_that_takes_more_than_it_reserved_hides_nothing_of_another_s() -> None:
    """What one takes too much is in what is measured; what the other may still take is added in full."""
    ledger = Ledger({"memory": 10_000.0})
    ledger.lend("greedy", {"memory": 1000.0})
    ledger.lend("modest", {"memory": 3000.0})
    ledger.measure({"memory": memory(4500.0, 4500.0)}, {"greedy": 4000.0, "modest": 500.0})
    assert ledger.taken("memory") == pytest.approx(4500.0 + 2500.0)


def test_tasks_whose_own_use_is_not_known_share_what_rose() -> None:
    """Threads share a process: what that grew by is theirs, less what others are known to use."""
    ledger = Ledger({"memory": 10_000.0})
    ledger.measure({"memory": memory(1000.0, 1000.0)})
    ledger.lend("thread", {"memory": 2000.0})
    ledger.lend("process", {"memory": 2000.0})
    ledger.measure({"memory": memory(2500.0, 2500.0)}, {"process": 1200.0})
    assert ledger.taken("memory") == pytest.approx(2500.0 + 800.0 + (2000.0 - 300.0))


def test_what_is_lent_after_a_reading_is_all_to_come() -> None:
    """A task that has started since is not in what was measured."""
    ledger = Ledger({"memory": 10_000.0})
    ledger.lend("old", {"memory": 1000.0})
    ledger.measure({"memory": memory(1500.0, 1000.0)}, {"old": 1000.0})
    ledger.lend("new", {"memory": 4000.0})
    assert ledger.taken("memory") == pytest.approx(5500.0)
    ledger.take_back("old")
    assert ledger.taken("memory") == pytest.approx(5500.0), "what it used counts until somebody looks again"
    ledger.take_back("new")
    assert ledger.taken("memory") == pytest.approx(1500.0)


def test_no_more_is_lent_than_there_is_where_tasks_share_their_memory() -> None:
    """Pages that two tasks share count in the use of both: what is lent stays within the limit all the same."""
    ledger = Ledger({"memory": 10_000.0})
    for name in "ab":
        ledger.lend(name, {"memory": 4500.0})
    ledger.measure({"memory": memory(4500.0, 4500.0)}, {"a": 4500.0, "b": 4500.0})
    assert ledger.taken("memory") == 9000.0
    assert ledger.lacks({"memory": 4500.0}) is not None
    assert ledger.lacks({"memory": 1000.0}) is None


def test_nothing_is_left_over_of_amounts_that_do_not_add_up() -> None:
    """What was taken back is lent no more, whatever was rounded, also while something else still is."""
    ledger = Ledger({"memory": 1000.0})
    ledger.lend("other", {"cpu": 1.0})
    ledger.lend("a", {"memory": 0.1})
    ledger.lend("b", {"memory": 0.2})
    for name in "ab":
        ledger.take_back(name)
    assert ledger.lent() == {"cpu": 1.0}


# ---- the reserve


@pytest.mark.parametrize(
    ("limit_mb", "kept_mb"), [(100_000.0, 5000.0), (4000.0, LEAST_MB), (400.0, 100.0)], ids=["share", "least", "most"]
)
def test_some_memory_is_kept(limit_mb: float, kept_mb: float) -> None:
    """5 % of the limit, at least 256 MiB, of a small limit at most a quarter."""
    assert Reserve().see(memory(0.0, 0.0, limit_mb), limit_mb, 0.0) == pytest.approx(kept_mb)


def test_more_is_kept_while_others_take_more() -> None:
    """What others take in the time it takes to react is left to them; a calm forgets it."""
    reserve, kept = Reserve(), 0.0
    for second in range(20):
        kept = reserve.see(memory(1000.0 + 500.0 * second), 10_000.0, float(second))
    assert kept == pytest.approx(1000.0, rel=0.01)
    for second in range(20, 60):
        kept = reserve.see(memory(10_500.0), 10_000.0, float(second))
    assert kept == pytest.approx(500.0)


def test_the_reserve_is_not_lent_and_yet_refuses_nothing() -> None:
    """Beside others a task has to leave it; a task that needs it is no task that never fits."""
    ledger = Ledger({"memory": 10_000.0})
    ledger.measure({"memory": memory(5000.0)}, None, 1.0)
    assert ledger.fits({"memory": 4500.0})
    assert ledger.lacks({"memory": 4501.0}) == (
        "memory: needs 4501 MB, 4500 MB free after what running tasks may still take and a reserve of 500 MB"
    )
    assert ledger.fits_alone({"memory": 9900.0})
    assert ledger.never({"memory": 9900.0}) is None


# ---- one or the other


def started(dispatch: Dispatch) -> list[str]:
    return [attempt.task_id for _, attempts in dispatch.start(1.0) for attempt in attempts]


@pytest.mark.requirement("req:D08")
def test_the_first_choice_that_can_be_had_is_reserved() -> None:
    """One GPU and two cores, else eight cores: one task gets the GPU, the next the cores, the third waits."""
    either = Resources(gpu=1, cpu=2) | Resources(cpu=8)
    dispatch = Dispatch(50, {"cpu": 10.0, "gpu": 1.0})
    dispatch.up("quay", 10, runs_ahead=True)
    spec = spec_of(either)
    dispatch.queue(spec, [Attempt(f"t{n}", spec) for n in range(3)])
    assert started(dispatch) == ["t0", "t1"]
    assert dispatch.ledger.lent_to("t0") == {"gpu": 1, "cpu": 2}
    assert dispatch.ledger.lent_to("t1") == {"cpu": 8}
    assert dispatch.held == "waits for cpu: needs 2 cores, 0 cores free of 10 cores"
    dispatch.release("t0")
    dispatch.ended("quay", 1, 1.0)
    assert started(dispatch) == ["t2"]
    assert dispatch.ledger.lent_to("t2") == {"gpu": 1, "cpu": 2}


def test_either_is_never_refused_while_one_could_be_had() -> None:
    """What can never be had is only what none of the choices can, and the reason names each."""
    capacity = Ledger({"cpu": 4.0, "gpu": 0.0})
    either = Resources(gpu=1) | Resources(cpu=3)
    neither = Resources(gpu=1) | Resources(cpu=8)
    assert objection(capacity.never, [one.amounts() for one in either.choices()]) is None
    assert objection(capacity.never, [one.amounts() for one in neither.choices()]) is not None


def test_resources_are_put_together_by_either() -> None:
    """`a | b | c` are three choices in that order, equal to others of the same, and can be kept in a table."""
    one, two, three = Resources(cpu=1), Resources(cpu=2), Resources(custom={"licence": 0.5})
    assert (one | two | three).choices() == (one, two, three)
    assert (one | (two | three)) == (one | two | three)
    assert hash(one | two) == hash(Resources(cpu=1) | Resources(cpu=2)) != hash(one)
    assert (one | two).amounts() == {"cpu": 1}


@pytest.mark.parametrize("given", [[Resources()], (1,), (Resources(cpu=1) | Resources(cpu=2),)])
def test_what_are_no_alternatives_is_refused(given: Any) -> None:  # Any: what is wrong
    """A list, a number, or choices within choices."""
    with pytest.raises(ValueError, match=r"one \| other"):
        Resources(alternatives=given)
    with pytest.raises(TypeError):
        Resources() | given


# ---- pools of the user's own


def test_a_pool_of_one_s_own_is_lent_in_parts() -> None:
    """Two licences are held by at most four halves at once."""
    dispatch = Dispatch(50, {"licence": 2.0})
    dispatch.up("quay", 10, runs_ahead=True)
    spec = spec_of(Resources(custom={"licence": 0.5}))
    dispatch.queue(spec, [Attempt(f"t{n}", spec) for n in range(9)])
    assert started(dispatch) == ["t0", "t1", "t2", "t3"]
    dispatch.release("t1")
    dispatch.ended("quay", 1, 1.0)
    assert started(dispatch) == ["t4"]


@pytest.mark.parametrize("pools", [{"licence": -1}, {"licence": float("inf")}, {"cpu": 4}, {"licence": True}])
def test_pools_that_cannot_be_meant_are_refused(pools: Any) -> None:  # Any: what is wrong
    """An amount is finite and at least 0; what has a limit of its own is set there."""
    assert ResourceLimits(custom={"licence": 0.5}).custom == {"licence": 0.5}
    with pytest.raises(ValidationError):
        ResourceLimits(custom=pools)


# ---- the price


def calls_of(act: Callable[[], object]) -> int:
    """Return how many calls, of Python and of C, an act comes to."""
    count = 0

    def saw(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(saw)
    try:
        act()
    finally:
        sys.setprofile(before)
    return count


def test_lending_costs_the_same_with_ten_thousand_reservations() -> None:
    """Lending, asking and taking back look at the one task only."""
    prices = []
    for live in (10, 10_000):
        ledger = Ledger({"memory": 1e9, "cpu": 1e9})
        for number in range(live):
            ledger.lend(f"t{number}", {"cpu": 1.0, "memory": 10.0})
        use = {f"t{number}": 5.0 for number in range(live)}
        ledger.measure({"memory": memory(10.0 * live, 5.0 * live, 1e9)}, use, 1.0)

        def once(ledger: Ledger = ledger) -> None:
            ledger.lacks({"cpu": 1.0, "memory": 10.0})
            ledger.lend("one", {"cpu": 1.0, "memory": 10.0})
            ledger.take_back("one")
            ledger.take_back("t3")

        prices.append(calls_of(once))
    assert prices[0] == prices[1]


def test_a_task_that_takes_its_other_choice_has_no_device() -> None:
    """Of two tasks that want a GPU or else CPUs one has the GPU there is, by number, the other none; and so it stays.

    One that is tried again elsewhere names no device that it had before.
    """
    wanted = Resources(gpu=1) | Resources(cpu=4)
    assert wanted.asks_for_gpu
    assert (Resources(cpu=4) | Resources(gpu_memory_mb=10)).asks_for_gpu
    assert not (Resources(cpu=4) | Resources(cpu=2)).asks_for_gpu
    spec = spec_of(wanted)
    dispatch = Dispatch(8, {"gpu": 1.0, "cpu": 8.0})
    dispatch.up("quay", 4, runs_ahead=True)
    dispatch.queue(spec, [Attempt(name, spec) for name in "ab"])
    [(_, started)] = dispatch.start(0.0)
    assert [(attempt.task_id, attempt.gpus) for attempt in started] == [("a", (0,)), ("b", ())]
    assert dispatch.ledger.lent() == {"gpu": 1.0, "cpu": 4.0}
    assert Attempt.of(started[0], 2).gpus == ()


# ---- pools of the user's own that are measured


def seats(used: float, there: float = 10.0) -> dict[str, Load]:
    return {"licence.cad": Load(used, unit="", lendable=there)}


def test_what_others_have_of_a_users_pool_is_not_lent() -> None:
    """Of ten seats others have eight: two may be lent, and are not counted again once the server tells of them."""
    ledger, seat = Ledger(), {"licence.cad": 1.0}
    ledger.measure(seats(8.0))
    for name in ("one", "two"):
        assert ledger.fits(seat)
        ledger.lend(name, seat)
    assert ledger.lacks(seat) == ("licence.cad: needs 1, 0 free after what others use and running tasks have reserved")
    ledger.measure(seats(10.0))
    ledger.take_back("one")
    ledger.measure(seats(9.0))
    assert ledger.fits(seat)
    assert ledger.never({"licence.cad": 11.0}) == "licence.cad: needs 11, 10 are all there is"


def test_a_users_pool_that_others_have_used_up_is_waited_for_also_where_nothing_runs() -> None:
    """Of cores and memory a task gets what there is, so that work goes on; a seat that somebody has is none."""
    ledger = Ledger({"cpu": 2.0})
    ledger.measure({"cpu": Load(95.0, own=0.0, lendable=2.0, per_unit=0.02), **seats(10.0)})
    assert ledger.fits_alone({"cpu": 1.0})
    assert not ledger.fits_alone({"licence.cad": 1.0})
    ledger.measure(seats(9.0))
    assert ledger.fits_alone({"licence.cad": 1.0})


# ---- a control group on a machine that others use


def grouped(host_used_mb: float = 7000.0) -> Load:
    """Measured memory of a group of 2000 MB, of which little is used, on a machine of 8000 MB; the limit is 80 %."""
    bounds = [Bound("host", host_used_mb, 8000.0), Bound("cgroup /a", 100.0, 2000.0)]
    limits = ResourceLimits(max_memory_percent=80.0, warning_memory_percent=70.0)
    return loads_of({"memory": Usage.within(bounds, 50.0)}, limits)["memory"]


def test_what_the_smallest_level_never_has_is_refused() -> None:
    """What counts now is the machine, which others fill; a task of more than the group's limit is refused at once."""
    ledger = Ledger({"memory": 1600.0})
    ledger.measure({"memory": grouped()})
    assert ledger.capacity["memory"] == 6400.0
    assert ledger.never({"memory": 4000.0}) == "memory: needs 4000 MB, 1600 MB are all there is"
    assert ledger.never({"memory": 1600.0}) is None
    assert not ledger.fits_alone({"memory": 4000.0}), "where nothing runs, it would be killed at once"
    assert ledger.fits_alone({"memory": 1600.0})
    assert ledger.within({"memory": 4000.0}) == {"memory": 1600.0}, "what is guessed is cut to what there is"


def test_what_was_measured_of_levels_is_forgotten_with_them() -> None:
    """When something else is measured, or granted, the smallest level of before refuses nobody."""
    ledger = Ledger({"memory": 1600.0})
    ledger.measure({"memory": grouped()})
    ledger.measure({})
    assert ledger.never({"memory": 4000.0}) is not None, "as long as nothing else is known"
    ledger.measure({"memory": memory(7000.0)})
    assert ledger.never({"memory": 4000.0}) is None
    ledger.measure({"memory": grouped()})
    ledger.grant({"memory": 6400.0})
    assert ledger.never({"memory": 4000.0}) is None
