"""The computed fleet: it does all its work, keeps to its workers and its memory, and can be checked by arithmetic."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore.testing.simulation import Loss, Simulated, Simulation, Work


def run(works: list[Work], **fleet: object) -> Simulated:
    return Simulation(works, **fleet).run()  # type: ignore[arg-type]  # as Simulation has them


def read(ran_s: float, **fields: object) -> Work:
    return Work(stage="read", executor="threads", ran_s=ran_s, **fields)  # type: ignore[arg-type]  # as Work has them


def test_even_tasks_take_their_number_by_the_workers() -> None:
    """Twelve seconds of work in even parts take three on four workers, all of them busy."""
    told = run([read(1.0)] * 12, workers={"threads": 4})
    assert told.makespan_s == pytest.approx(3.0)
    assert told.utilization({"threads": 4}) == {"threads": pytest.approx(1.0)}
    assert (told.completed, told.starts, told.lost_s) == (12, 12, 0.0)


def test_stages_of_a_document_follow_one_another() -> None:
    """A document is not shorter than its stages together, however many workers there are."""
    write = Work(stage="write", executor="processes", ran_s=2.0)
    told = run([read(1.0, then=write)] * 3, workers={"threads": 9, "processes": 9})
    assert (told.makespan_s, told.completed) == (pytest.approx(3.0), 6)
    assert told.busy_s == {"threads": pytest.approx(3.0), "processes": pytest.approx(6.0)}


def test_a_lost_machine_costs_what_ran_on_it() -> None:
    """What ran there runs again from its beginning, on the workers that are left."""
    told = run([read(10.0)] * 2, workers={"threads": 2}, losses=[Loss(4.0, 0.5)])
    assert (told.completed, told.starts, told.lost_s) == (2, 3, pytest.approx(4.0))
    assert told.makespan_s == pytest.approx(20.0)


def test_a_machine_that_comes_back_works_again() -> None:
    """With the machine back after a second, the rest is done by both."""
    told = run([read(10.0)] * 2, workers={"threads": 2}, losses=[Loss(4.0, 0.5, 1.0)])
    assert (told.makespan_s, told.completed) == (pytest.approx(15.0), 2)


def test_memory_holds_back_what_does_not_fit() -> None:
    """With memory for two at once it takes twice as long; what nobody knows yet may cost one task its first try."""
    works = [read(10.0, peak_memory_mb=1000.0) for _ in range(40)]
    free = run(works, workers={"threads": 4})
    tight = run(works, workers={"threads": 4}, memory_mb=4000.0)
    assert tight.completed == 40
    assert tight.shed <= 1
    assert tight.makespan_s >= 1.5 * free.makespan_s


def test_the_same_again_is_the_same() -> None:
    """With the same dice all comes out as before."""
    one, again = (
        run([read(dice.uniform(0.1, 2.0)) for dice in [random.Random(4)] for _ in range(300)], workers={"threads": 7})
        for _ in range(2)
    )
    assert (one.makespan_s, one.queued, one.busy_s) == (again.makespan_s, again.queued, again.busy_s)


def test_a_fleet_without_workers_is_refused() -> None:
    """Nothing could ever run on it."""
    with pytest.raises(ValueError, match="at least one worker"):
        Simulation([], workers={"threads": 0})


def test_no_work_takes_no_time() -> None:
    """An empty run ends where it begins."""
    assert run([], workers={"threads": 1}).makespan_s == 0.0


def test_works_are_taken_as_there_is_room() -> None:
    """A long list is never held: a generator is read as the queue empties."""
    read_ahead = 0

    def works() -> Iterator[Work]:
        nonlocal read_ahead
        for number in range(20_000):
            read_ahead = number
            yield read(1.0)

    simulation = Simulation(works(), workers={"threads": 2})
    seen: list[int] = []
    simulation.run(lambda done, _: seen.append(read_ahead - done))
    assert max(seen) <= 400


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.01, 20.0), min_size=1, max_size=60), st.integers(1, 9))
def test_no_run_beats_its_bounds(durations: list[float], workers: int) -> None:
    """Never shorter than the work by the workers, nor than the longest; never longer than Graham's bound for lists."""
    told = run([read(one) for one in durations], workers={"threads": workers})
    least = max(sum(durations) / workers, max(durations))
    most = sum(durations) / workers + max(durations) * (1.0 - 1.0 / workers)  # R. L. Graham, 1969
    assert least - 1e-6 <= told.makespan_s <= most + 1e-6
    assert told.completed == len(durations)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.1, 10.0), min_size=1, max_size=40),
    st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.1, 0.9), st.floats(0.1, 20.0)), max_size=4),
)
def test_whatever_is_lost_all_is_done(durations: list[float], lost: list[tuple[float, float, float]]) -> None:
    """Machines come and go: each task is completed once, or three were lost under it; what was in vain began anew."""
    losses = [Loss(at, share, back) for at, share, back in lost]
    told = run([read(one) for one in durations], workers={"threads": 5}, losses=losses)
    assert told.completed + told.given_up == len(durations)
    assert told.given_up == 0 or len(losses) >= 3
    assert told.busy_s["threads"] == pytest.approx(sum(durations)) or told.given_up
    assert told.starts >= len(durations) + (told.lost_s > 0.0)
