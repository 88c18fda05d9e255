"""`PoolExecutor.map` keeps the contract of concurrent.futures, with a bound on what is ahead on every Python."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from longshore import PoolExecutor, Settings

DEADLINE_S = 20.0
PLAIN = Settings(probes=())


@pytest.fixture
def executor() -> Iterator[PoolExecutor]:
    """Two threads."""
    with PoolExecutor(2, executor="threads", settings=PLAIN) as made:
        yield made


class Thing:
    """Something that can be referred to weakly."""

    def __init__(self, number: int) -> None:
        self.number = number


def inverse(number: int) -> float:
    return 1 / number


@pytest.mark.parametrize("place", ["threads", "processes", "inline"])
def test_results_come_in_order_from_several_iterables(place: str) -> None:
    """As from the built-in: as long as the shortest."""
    with PoolExecutor(2, executor=place, settings=PLAIN) as executor:
        assert list(executor.map(pow, range(100), itertools.repeat(2))) == [n * n for n in range(100)]
        assert list(executor.map(pow, range(100), range(50), chunksize=7)) == [n**n for n in range(50)]
        assert list(executor.map(abs, [])) == []


def test_the_first_failure_is_raised_in_its_place(executor: PoolExecutor) -> None:
    """What was before it is given."""
    results = executor.map(inverse, [1, 2, 0, 4])
    assert (next(results), next(results)) == (1.0, 0.5)
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_without_a_bound_all_is_submitted_at_once(executor: PoolExecutor) -> None:
    """The iterables are used up when `map` returns, and all runs though nobody asks for a result."""
    numbers, ran = iter(range(100)), list[int]()
    executor.map(ran.append, numbers)
    assert next(numbers, None) is None
    executor.shutdown()
    assert sorted(ran) == list(range(100))


def test_with_a_bound_no_more_is_taken_than_that_ahead(executor: PoolExecutor) -> None:
    """`buffersize` calls are submitted at first, and one more for each result that is asked for; also endless ones."""
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    results = executor.map(abs, numbers(), buffersize=4)
    assert taken == [0, 1, 2, 3]
    for number in range(50):
        assert next(results) == number
        assert len(taken) == number + 5
    assert list(executor.map(abs, range(10), buffersize=3)) == list(range(10))
    assert list(executor.map(abs, range(2), buffersize=3)) == [0, 1]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"buffersize": 0}, ValueError), ({"buffersize": "4"}, TypeError), ({"chunksize": 0}, ValueError)],
)
def test_what_can_not_be_meant_is_refused(
    executor: PoolExecutor, wrong: dict[str, Any], error: type[Exception]
) -> None:
    """Before anything is taken from the iterables."""
    numbers = iter([1])
    with pytest.raises(error):
        executor.map(abs, numbers, **wrong)
    assert next(numbers) == 1


def test_the_time_limit_counts_from_the_call(executor: PoolExecutor) -> None:
    """A result that does not come by then raises TimeoutError, and what is pending is cancelled."""
    go, ran = threading.Event(), list[int]()

    def held(number: int) -> int:
        if number:
            assert go.wait(DEADLINE_S)
            ran.append(number)
        return number

    results = executor.map(held, range(20), timeout=0.3)
    assert next(results) == 0
    with pytest.raises(TimeoutError):
        next(results)
    go.set()
    executor.shutdown()
    assert len(ran) < 15  # those that were given to a worker by then


@pytest.mark.slow
def test_closing_the_iterator_cancels_what_is_pending(executor: PoolExecutor) -> None:
    """So does letting go of it."""
    go, ran = threading.Event(), list[int]()

    def held(number: int) -> int:
        if number:
            assert go.wait(DEADLINE_S)
            ran.append(number)
        return number

    results = executor.map(held, range(30))
    assert next(results) == 0
    del results
    gc.collect()
    go.set()
    executor.shutdown()
    assert len(ran) < 15


def test_nothing_keeps_a_result_that_was_given(executor: PoolExecutor) -> None:
    """What a consumer lets go of is gone, while the next one is awaited."""
    go = threading.Event()

    def made(number: int) -> Thing:
        if number == 3:
            assert go.wait(DEADLINE_S)
        return Thing(number)

    results = executor.map(made, range(4))
    for _ in range(3):
        thing = weakref.ref(next(results))
        deadline = time.monotonic() + DEADLINE_S
        while thing() is not None and time.monotonic() < deadline:
            gc.collect()
            time.sleep(0.002)
        assert thing() is None
    go.set()
    assert next(results).number == 3
