"""The streams without async: `longshore.outcomes` and `longshore.map`, in plain code and inside a running loop."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import longshore as ls
import pytest
from longshore import Outcome, Resources, ResourceUnavailable, RetryPolicy, Settings, TaskState
from support.sync_streams import Held, collect, double, double_async, unmoved
from support.waiting import wait_until

DEADLINE_S = 10.0

pytestmark = pytest.mark.usefixtures("no_thread_is_left")

PLAIN = Settings(probes=())


def odd_fails(number: int) -> int:
    if number % 2:
        raise ZeroDivisionError(f"odd: {number}")
    return number


# ---- plain code


@pytest.mark.parametrize("function", [double, double_async])
def test_map_gives_results_in_input_order(function: Callable[[int], Any]) -> None:
    """`longshore.map` is the built-in's equal: results in input order, for plain and coroutine functions."""
    assert list(ls.map(function, range(1000), settings=PLAIN)) == [number * 2 for number in range(1000)]


@pytest.mark.parametrize("ordered", [False, True])
def test_outcomes_gives_one_outcome_per_item(ordered: bool) -> None:
    """`longshore.outcomes` gives one Outcome per item, failures included; in input order where asked."""
    given = list(ls.outcomes(odd_fails, range(500), ordered=ordered, settings=PLAIN))
    indexes = [outcome.index for outcome in given]
    assert (indexes if ordered else sorted(indexes)) == list(range(500))
    failed = [outcome for outcome in given if not outcome.ok]
    assert sorted(outcome.index for outcome in failed) == list(range(1, 500, 2))
    assert {type(outcome.exception) for outcome in failed} == {ZeroDivisionError}


def test_map_raises_the_first_failure() -> None:
    """What came before the first failure is given, then the task's own exception is raised, and no more is pulled."""
    given: list[int] = []
    pulled = itertools.count()
    with pytest.raises(ZeroDivisionError, match="odd: 1"):
        collect(ls.map(odd_fails, pulled, settings=PLAIN), given)
    assert given == [0]
    assert next(pulled) < 100_000


@pytest.mark.parametrize("items", [(), iter(()), []])
def test_empty_input_gives_nothing(items: Any) -> None:
    """Nothing in, nothing out, at once."""
    assert list(ls.outcomes(double, items, settings=PLAIN)) == []
    assert list(ls.map(double, items, settings=PLAIN)) == []


def test_nothing_happens_before_the_first_result_is_asked_for() -> None:
    """Calling makes no thread and pulls nothing; a generator that is never used costs nothing."""
    before = threading.active_count()
    pulled = itertools.count()
    stream = ls.outcomes(double, pulled, settings=PLAIN)
    assert threading.active_count() == before
    stream.close()
    assert list(stream) == []
    assert next(pulled) == 0


def test_a_consumer_that_stops_leaves_the_rest_unpulled() -> None:
    """Of endless items a bounded number is pulled ahead of a consumer that takes its time."""
    pulled = itertools.count()
    stream = ls.map(double, pulled, settings=PLAIN)
    assert next(stream) == 0
    wait_until(lambda: unmoved(pulled), "the tasks to get as far as they may")
    stream.close()
    assert next(pulled) < 100_000


def test_the_items_exception_reaches_the_caller() -> None:
    """What iterating the items raises is raised to the caller, unchanged, after what came before it."""
    mine = LookupError("the source broke")

    def source() -> Iterator[int]:
        yield from range(100)
        raise mine

    given: list[Outcome] = []
    with pytest.raises(LookupError) as raised:
        collect(ls.outcomes(double, source(), settings=PLAIN), given)
    assert raised.value is mine
    assert sorted(outcome.index for outcome in given) == list(range(100))


def test_what_cannot_be_iterated_is_refused() -> None:
    """Items that are no iterable raise TypeError in the caller."""
    with pytest.raises(TypeError):
        list(ls.outcomes(double, 5, settings=PLAIN))  # type: ignore[arg-type]  # that is the point


# ---- options


def test_workers_is_how_many_run_at_once() -> None:
    """`workers=n` lets n run at once, and no more; one is one after the other."""
    both = threading.Barrier(6)

    def meet(_: int) -> bool:
        both.wait(DEADLINE_S)
        return True

    assert list(ls.map(meet, range(6), workers=6, settings=PLAIN)) == [True] * 6

    inside = 0
    most = 0

    def alone(_: int) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threading.Event().wait(0.001)
        inside -= 1

    list(ls.map(alone, range(20), workers=1, settings=PLAIN))
    assert most == 1


def test_more_workers_than_may_run_at_once_in_all() -> None:
    """`workers` above `max_concurrent_tasks` raises that limit with it."""
    met = threading.Barrier(60)

    def meet(_: int) -> bool:
        met.wait(DEADLINE_S)
        return True

    assert all(ls.map(meet, range(60), workers=60, settings=PLAIN))


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_must_be_one_or_more(workers: int) -> None:
    """A number of workers that can't be meant is refused with ValueError, not run with another."""
    with pytest.raises(ValueError, match=r"async_workers|workers"):
        list(ls.map(double, range(3), workers=workers, settings=PLAIN))


def test_options_are_those_of_a_task() -> None:
    """Options reach the tasks: where they run, how often they are tried, by when they end."""
    threads = set()

    def note(_: int) -> None:
        threads.add(threading.current_thread().name)

    list(ls.map(note, range(20), executor="inline", settings=PLAIN))
    assert threads == {threading.current_thread().name}

    tries: list[int] = []

    def once(number: int) -> int:
        tries.append(number)
        if len(tries) == 1:
            raise ConnectionError
        return number

    assert list(ls.map(once, [7], retry=RetryPolicy(attempts=2, backoff=0.001), settings=PLAIN)) == [7]
    held = Held()
    (late,) = ls.outcomes(held, [1], timeout=0.05, settings=PLAIN)
    assert late.state is TaskState.TIMED_OUT
    held.go.set()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"nonsense": 1}, TypeError),
        ({"timeout": -1}, ValueError),
        ({"executor": "nowhere"}, ls.PluginError),
        ({"resources": Resources(cpu=10_000)}, ResourceUnavailable),
        ({"executor": "inline", "timeout": 1}, ValueError),
    ],
)
def test_a_wrong_option_is_the_callers(options: dict[str, Any], error: type[Exception]) -> None:
    """An option that does not exist, or can't be meant or honoured, raises in the caller; it does not hang."""
    with pytest.raises(error):
        list(ls.outcomes(double, range(3), settings=PLAIN, **options))


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_a_tasks_exception_is_the_tasks_own(executor: str) -> None:
    """What a task raises is raised without anything of ours in its context."""

    def fails(_: int) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError) as raised:
        list(ls.map(fails, [1], executor=executor, settings=PLAIN))
    assert raised.value.__context__ is None


def test_a_wrong_argument_is_named() -> None:
    """What cannot be iterated, and a number of workers that cannot be meant, are refused at once in plain words."""
    number: Any = 5
    for call, what in ((ls.map, "items"), (ls.outcomes, "items"), (ls.starmap, "calls")):
        with pytest.raises(TypeError, match=f"{what} must be iterable, not int"):
            call(abs, number)
        with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
            call(abs, [], workers=0)


def test_work_in_processes() -> None:
    """`executor="processes"` runs the calls in other processes."""
    import os

    pids = set(ls.map(_pid, range(8), executor="processes", workers=1, settings=PLAIN))
    assert pids
    assert os.getpid() not in pids


def _pid(_: int) -> int:
    import os

    return os.getpid()
