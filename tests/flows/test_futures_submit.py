"""`PoolExecutor.submit` and its futures keep the contract of concurrent.futures, in every executor."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ALL_COMPLETED, CancelledError, Future, as_completed, wait
from typing import Any

import longshore
import pytest
from longshore import PoolExecutor, RetryPolicy, Settings, TaskTimeout, current_task

DEADLINE_S = 20.0
PLAIN = Settings(probes=())
PLACES = ("threads", "processes", "inline")
each = pytest.mark.parametrize("place", PLACES)
Make = Callable[..., PoolExecutor]


@pytest.fixture
def make() -> Iterator[Make]:
    """Return a way to make executors, which are shut down with the test."""
    made: list[PoolExecutor] = []

    def one(place: str, workers: int | None = None, **options: Any) -> PoolExecutor:
        executor = PoolExecutor(workers, executor=place, settings=PLAIN, **options)
        made.append(executor)
        return executor

    yield one
    for executor in made:
        executor.shutdown(cancel_futures=True)


class Gate:
    """A function that holds until it is let go."""

    def __init__(self) -> None:
        self.inside, self.go = threading.Event(), threading.Event()

    def __call__(self, value: Any = None) -> Any:
        self.inside.set()
        assert self.go.wait(DEADLINE_S)
        return value


def told(*args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
    return args, kwargs


def fail(message: str) -> None:
    raise LookupError(message)


def leave() -> None:
    raise SystemExit(3)


VETOES = """
    from longshore.hookspecs import hookimpl

    class Vetoes:
        @hookimpl
        def admit(self, task):
            return "no fives today" if task.args[0] % 5 == 0 else None
"""


async def doubled(number: int) -> int:
    return 2 * number


@each
def test_all_arguments_reach_the_function(make: Make, place: str) -> None:
    """Also keyword arguments named self and fn, and any that the executor has a use for itself."""
    future = make(place, 1).submit(told, 1, self=2, fn=3, timeout=4, executor=5)
    assert future.result(DEADLINE_S) == ((1,), {"self": 2, "fn": 3, "timeout": 4, "executor": 5})


@each
def test_a_future_is_one_of_concurrent_futures(make: Make, place: str) -> None:
    """It is an instance of its Future, finished in the end, and gives its result as often as it is asked."""
    future = make(place, 1).submit(pow, 2, 5)
    assert isinstance(future, Future)
    assert future.result(DEADLINE_S) == future.result() == 32
    assert future.exception() is None
    assert (future.done(), future.running(), future.cancelled(), future.cancel()) == (True, False, False, False)
    assert "finished returned int" in repr(future)


def test_a_coroutine_function_gives_its_result(make: Make) -> None:
    """In executor "asyncio" the future has what the coroutine returns; a plain function's future says that it can't."""
    executor = make("asyncio", 2)
    assert [future.result(DEADLINE_S) for future in [executor.submit(doubled, n) for n in range(5)]] == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="cannot run the function"):
        executor.submit(told).result(DEADLINE_S)


@each
def test_an_exception_comes_back_as_it_was(make: Make, place: str) -> None:
    """The future raises the task's own exception, with the line that raised it to be read."""
    future = make(place, 1).submit(fail, "no such lid")
    with pytest.raises(LookupError, match="no such lid") as caught:
        future.result(DEADLINE_S)
    assert future.exception() is caught.value
    assert "raise LookupError(message)" in "".join(traceback.format_exception(caught.value))


@pytest.mark.slow
def test_the_cause_is_the_traceback_in_the_worker(make: Make) -> None:
    """From a process, the exception's cause shows the traceback there."""
    error = make("processes", 1).submit(fail, "no such lid").exception(DEADLINE_S)
    assert error is not None
    assert error.__cause__ is not None
    assert "in fail" in str(error.__cause__)


@each
def test_an_exit_in_a_task_is_its_futures(make: Make, place: str) -> None:
    """SystemExit costs one future, which raises it; the executor goes on."""
    executor = make(place, 1)
    future = executor.submit(leave)
    with pytest.raises(SystemExit):
        future.result(DEADLINE_S)
    assert executor.submit(abs, -1).result(DEADLINE_S) == 1


def test_what_can_not_be_pickled_fails_its_future(make: Make) -> None:
    """Submitting it raises nothing; others are not touched."""
    executor = make("processes", 1)
    lock, well = executor.submit(told, threading.Lock()), executor.submit(told, 1)
    assert "pickle" in str(lock.exception(DEADLINE_S))
    assert well.result(DEADLINE_S) == ((1,), {})


def test_a_pending_future_can_be_cancelled_and_a_running_one_not(make: Make) -> None:
    """What was cancelled never runs, counts as done for whoever waits, and raises CancelledError."""
    executor, gate, ran = make("threads", 1), Gate(), list[int]()
    running = executor.submit(gate, "late")
    assert gate.inside.wait(DEADLINE_S)
    pending = [executor.submit(ran.append, number) for number in range(5)]
    called: list[Future[None]] = []
    pending[2].add_done_callback(called.append)
    assert running.running()
    assert not pending[2].running()
    assert not running.cancel()
    assert pending[2].cancel()
    assert pending[2].cancel()
    assert called == [pending[2]]
    assert wait([pending[2]], DEADLINE_S).done == {pending[2]}
    gate.go.set()
    assert running.result(DEADLINE_S) == "late"
    assert not wait(pending, DEADLINE_S).not_done
    assert ran == [0, 1, 3, 4]
    with pytest.raises(CancelledError):
        pending[2].result()
    with pytest.raises(CancelledError):
        pending[2].exception()


def test_cancelling_many_is_heard_by_all_that_wait(make: Make) -> None:
    """A thousand futures cancelled in one go are all done, and none of them ran."""
    executor, gate, ran = make("threads", 1), Gate(), list[int]()
    running = executor.submit(gate)
    assert gate.inside.wait(DEADLINE_S)
    futures = [executor.submit(ran.append, number) for number in range(1000)]
    assert all(future.cancel() for future in futures)
    assert wait(futures, DEADLINE_S) == (set(futures), set())
    gate.go.set()
    running.result(DEADLINE_S)
    assert ran == []


def test_a_result_can_be_waited_for_with_a_limit(make: Make) -> None:
    """`result` and `exception` raise TimeoutError when the caller's time is over; the task goes on."""
    gate = Gate()
    future = make("threads", 1).submit(gate, 7)
    for wait_for in (future.result, future.exception):
        with pytest.raises(TimeoutError):
            wait_for(0.01)
    gate.go.set()
    assert future.result(DEADLINE_S) == 7


@pytest.mark.slow
@each
def test_wait_and_as_completed_work(make: Make, place: str) -> None:
    """Whether the futures end before, while or after somebody begins to wait for them."""
    executor = make(place, 2)
    for _ in range(5):
        futures = {executor.submit(pow, number, 2): number for number in range(200)}
        done = {futures[future]: future.result() for future in as_completed(futures, DEADLINE_S)}
        assert done == {number: number * number for number in range(200)}
        futures = {executor.submit(pow, number, 2): number for number in range(200)}
        assert wait(futures, DEADLINE_S, ALL_COMPLETED) == (set(futures), set())


def test_callbacks_are_called_and_one_that_raises_is_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """In the order they were added, at the end or at once; what one raises is told where the standard library does."""
    gate, called = Gate(), list[str]()
    future = make("threads", 1).submit(gate)

    def broken(_: Future[Any]) -> None:
        raise SystemExit(called.append("broken"))

    future.add_done_callback(lambda _: called.append("first"))
    future.add_done_callback(broken)
    future.add_done_callback(lambda _: called.append("last"))
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        gate.go.set()
        future.result(DEADLINE_S)
        executor_goes_on = concurrent.futures.wait([future], DEADLINE_S)
    future.add_done_callback(lambda _: called.append("afterwards"))
    assert executor_goes_on.done == {future}
    deadline = time.monotonic() + DEADLINE_S
    while len(called) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert sorted(called) == ["afterwards", "broken", "first", "last"]
    assert [name for name in called if name != "afterwards"] == ["first", "broken", "last"]
    assert "exception calling callback" in caplog.text


def test_a_callback_may_submit(make: Make) -> None:
    """What a callback submits runs like anything else."""
    executor, second = make("threads", 1), list[Future[int]]()
    have = threading.Event()

    def more(_: Future[Any]) -> None:
        second.append(executor.submit(abs, -2))
        have.set()

    executor.submit(abs, -1).add_done_callback(more)
    assert have.wait(DEADLINE_S)
    assert second[0].result(DEADLINE_S) == 2


@pytest.mark.slow
def test_options_are_given_by_a_view_on_the_same_pool(make: Make) -> None:
    """`with_options` sets a time limit for one kind of call; others have none, whatever settings say."""
    quick = Settings(probes=(), workers={"default_timeout": 0.05})  # type: ignore[arg-type]  # pydantic makes it one
    with PoolExecutor(1, executor="processes", settings=quick) as executor:
        hasty = executor.with_options(timeout=0.05, retry=RetryPolicy(attempts=1))
        late = hasty.submit(time.sleep, 60)
        assert isinstance(late.exception(DEADLINE_S), TaskTimeout)
        first, second = executor.submit(os.getpid), hasty.submit(os.getpid)
        assert first.result(DEADLINE_S) == second.result(DEADLINE_S)
        assert executor.submit(time.sleep, 0.2).result(DEADLINE_S) is None
        for wrong in ({"executor": "threads"}, {"initializer": print}, {"timout": 3}):
            with pytest.raises(TypeError):
                executor.with_options(**wrong)
        with pytest.raises(ValueError, match="greater than 0"):
            executor.with_options(timeout=0)


def test_a_hook_may_refuse_a_call(fake_distributions: Any) -> None:
    """Its future raises PluginError with the reason, and it never runs; the others do."""
    fake_distributions.add("vetoes", VETOES, hooks={"vetoes": "Vetoes"})
    ran: list[int] = []

    def work(number: int) -> None:
        ran.append(number)

    with PoolExecutor(1, executor="threads", settings=Settings(probes=(), hooks=("vetoes",))) as executor:
        futures = [executor.submit(work, number) for number in range(10)]
        errors = [future.exception(DEADLINE_S) for future in futures]
    assert [number for number, error in enumerate(errors) if error is not None] == [0, 5]
    assert isinstance(errors[5], longshore.PluginError)
    assert "no fives today" in str(errors[5])
    assert sorted(ran) == [1, 2, 3, 4, 6, 7, 8, 9]


@pytest.mark.slow
def test_processes_end_after_so_many_calls(make: Make) -> None:
    """With `max_tasks_per_child`, others take their places, and no call is lost."""
    executor = make("processes", 2, max_tasks_per_child=5)
    pids = [future.result(DEADLINE_S) for future in [executor.submit(os.getpid) for _ in range(40)]]
    assert max(pids.count(pid) for pid in pids) <= 5


def test_a_task_is_one_of_the_pools(make: Make) -> None:
    """Inside, `current_task` is there, with the name of the function."""
    assert make("processes", 1).submit(named).result(DEADLINE_S) == "named"


def named() -> str:
    return current_task().name


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"max_workers": 0}, ValueError, "greater than 0"),
        ({"max_workers": 2.5}, TypeError, "an integer, not 2.5"),
        ({"max_workers": True}, TypeError, "an integer, not True"),
        ({"max_workers": "2"}, TypeError, "an integer, not '2'"),
        ({"initializer": 7}, TypeError, "callable"),
        ({"executor": "nowhere"}, longshore.PluginError, "nowhere"),
        ({"executor": "processes", "max_tasks_per_child": 0}, ValueError, ">= 1"),
        ({"executor": "processes", "max_tasks_per_child": "2"}, TypeError, "integer"),
        ({"executor": "threads", "max_tasks_per_child": 2}, ValueError, "'threads' cannot replace"),
        ({"executor": "inline", "max_tasks_per_child": 2}, ValueError, "'inline' cannot replace"),
    ],
)
def test_what_can_not_be_meant_is_refused_where_it_is_asked_for(
    asked: dict[str, Any], error: type[Exception], says: str
) -> None:
    """The executor is not even made."""
    with pytest.raises(error, match=says):
        PoolExecutor(settings=PLAIN, **asked)


def test_the_number_of_workers_is_what_settings_say() -> None:
    """Where none is given; for processes without a number, all usable processors."""
    settings = Settings(probes=(), workers={"thread_workers": 3, "async_workers": 5})  # type: ignore[arg-type]  # as above
    counts = {place: PoolExecutor(executor=place, settings=settings)._max_workers for place in ("threads", "asyncio")}
    assert counts == {"threads": 3, "asyncio": 5}
    assert PoolExecutor(executor="processes", settings=settings)._max_workers >= 1


def square(number: int) -> int:
    return number * number


@pytest.fixture
def quick_switching() -> Iterator[None]:
    """Have threads take turns as often as can be, so that what they do at once goes wrong soon."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.slow
def test_calls_may_come_while_others_begin(make: Make, quick_switching: None) -> None:
    """Ids are given in the thread that submits and in the executor's own: each call has one, and none is lost."""
    for _ in range(4):
        executor = make("threads", 1)
        futures = [executor.submit(square, number) for number in range(20_000)]
        assert [future.result(DEADLINE_S) for future in futures] == [n * n for n in range(20_000)]
        executor.shutdown()
