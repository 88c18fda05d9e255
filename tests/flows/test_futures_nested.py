"""Calls of an executor that submit to it and wait (fault:T6): the standard library's own lock up there."""

from __future__ import annotations

import concurrent.futures
import gc
import weakref

import pytest
from longshore.errors import WrongPlace
from longshore.futures import PoolExecutor

DEADLINE_S = 30.0


@pytest.mark.parametrize("way", ["result", "exception", "wait", "as_completed"])
def test_calls_that_wait_for_calls_of_their_executor_never_lock_it(way: str) -> None:
    """With one thread, a chain of ten goes through, however each waits for the future of the next."""
    with PoolExecutor(max_workers=1, executor="threads") as executor:

        def depth(left: int) -> int:
            if not left:
                return 0
            future = executor.submit(depth, left - 1)
            if way == "exception":
                assert future.exception() is None
            elif way == "wait":
                concurrent.futures.wait([future])
            elif way == "as_completed":
                assert list(concurrent.futures.as_completed([future])) == [future]
            return 1 + int(future.result())

        assert executor.submit(depth, 10).result(DEADLINE_S) == 10


@pytest.mark.slow
def test_what_can_never_go_on_is_told_to_the_call_that_waits() -> None:
    """One that waits for another of its kind, of which one may run at once, gets an error, and the executor goes on."""
    with PoolExecutor(max_workers=2, executor="threads") as executor:
        only_one = executor.with_options(concurrent_limit=1)

        def again(left: int) -> int:
            return int(only_one.submit(again, left - 1).result()) if left else 1

        with pytest.raises(WrongPlace, match="at most 1 of"):
            only_one.submit(again, 1).result(DEADLINE_S)
        assert only_one.submit(again, 0).result(DEADLINE_S) == 1


def test_a_future_that_was_waited_for_is_kept_by_nobody() -> None:
    """What makes waiting seen keeps neither the future nor its result alive."""

    class Thing:
        pass

    with PoolExecutor(max_workers=1, executor="threads") as executor:
        future = executor.submit(Thing)
        concurrent.futures.wait([future], DEADLINE_S)
        kept = weakref.ref(future)
        gc.disable()
        try:
            del future
            assert kept() is None
        finally:
            gc.enable()
