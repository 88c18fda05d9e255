"""What a task may rely on in a worker process, and what comes back of it."""

from __future__ import annotations

import functools
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from longshore.errors import PayloadError, TaskCancelled, TaskFailed
from longshore.task import Attempt, TaskSpec, TaskState
from longshore.worker import RemoteTraceback, current_task

BANNED = ("pydantic", "stevedore", "pluggy", "cyclopts", "rich")


def double(x: Any) -> Any:
    return x * 2


def nothing(*_: object) -> None:
    return None


class Refuses:
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("this stays here")


class BadToLoad:
    """Pickles, and raises wherever it is unpickled."""

    def __reduce__(self) -> Any:
        return explode, ("at load",)


def explode(text: str) -> None:
    raise RuntimeError(text)


class TwoArgumentError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


class PlainError(ValueError):
    pass


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


def test_values_travel_both_ways(lone_yard: Any) -> None:
    """Plain values, containers and instances of the user's classes arrive equal, as argument and as result."""
    values = [1, "é\udc80", None, True, b"\x00" * 10, 2.5, [1, {"a": (2, 3)}], Point(3), {1, 2}]
    for value in values:
        [outcome] = lone_yard.run(lambda x: x, [value])
        assert outcome.unwrap() == value
        assert type(outcome.value) is type(value)


@pytest.mark.slow
def test_mixed_results_keep_their_order(yard: Any) -> None:
    """Plain results, objects and failures in one batch each go to their own task."""

    def mixed(x: int) -> Any:
        if x % 3 == 0:
            raise PlainError(x)
        return Point(x) if x % 3 == 1 else x

    for x, outcome in enumerate(yard.run(mixed, list(range(300)))):
        if x % 3 == 0:
            assert outcome.state is TaskState.FAILED
            assert outcome.exception.args == (x,)
        else:
            assert outcome.value == (Point(x) if x % 3 == 1 else x)


def test_keyword_arguments_and_partials(yard: Any) -> None:
    """Keyword arguments, partials, lambdas and closures run as they would here."""
    offset = 10
    assert yard.run(lambda x, y: x + y + offset, [1, 2], kwargs={"y": 5})[1].value == 17
    assert yard.run(functools.partial(max, 7), [3])[0].value == 7


def test_exception_travels_unchanged(lone_yard: Any) -> None:
    """A task's own exception comes back as the same type, and its cause shows the traceback from the worker."""

    def fail(x: int) -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise PlainError("outer", x) from error

    [outcome] = lone_yard.run(fail, [4])
    error = outcome.exception
    assert type(error) is PlainError
    assert error.args == ("outer", 4)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "in fail" in str(error.__cause__)
    assert "child.py" not in str(error.__cause__)
    assert isinstance(error.__cause__.__cause__, KeyError)
    assert outcome.error.type.endswith("PlainError")
    assert "inner" in outcome.error.traceback


def test_exception_of_other_arguments(lone_yard: Any) -> None:
    """fault:S2 An exception whose class takes other arguments than it keeps arrives as what it is."""

    def fail(_: int) -> None:
        raise TwoArgumentError("left", "right")

    [outcome] = lone_yard.run(fail, [0])
    assert type(outcome.exception) is TwoArgumentError
    assert str(outcome.exception) == outcome.error.message == "left right"


def test_exception_that_cannot_travel(lone_yard: Any) -> None:
    """fault:S2 An exception that can't be rebuilt is still told by type, message and traceback."""

    def fail(_: int) -> None:
        error = TwoArgumentError("left", "right")
        vars(error)["lock"] = threading.Lock()
        raise error

    [outcome] = lone_yard.run(fail, [0])
    assert outcome.state is TaskState.FAILED
    assert outcome.exception is None
    assert outcome.error.type.endswith("TwoArgumentError")
    assert outcome.error.message == "left right"
    assert "in fail" in outcome.error.traceback


def test_exception_whose_text_raises(lone_yard: Any) -> None:
    """fault:S2 An exception whose __str__ raises costs its task only."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def fail(_: int) -> None:
        raise Mute

    [outcome] = lone_yard.run(fail, [0])
    assert outcome.state is TaskState.FAILED
    assert "could not be made" in outcome.error.message


def test_exception_with_odd_facts(lone_yard: Any) -> None:
    """fault:S2 What a task puts into an error of ours, or into its progress, harms nobody else."""

    def fail(x: int) -> int:
        if x == 2:
            current_task().progress(0.1, step=BadToLoad())  # type: ignore[arg-type]
            raise TaskFailed("odd", exit_code=BadToLoad(), signal=threading.Lock())
        return x

    outcomes = lone_yard.run(fail, list(range(10)))
    assert [x for x, outcome in enumerate(outcomes) if not outcome.ok] == [2]
    assert outcomes[2].error.message == "odd"
    assert outcomes[2].error.exit_code is None


def test_base_exceptions_end_the_task_only(lone_yard: Any) -> None:
    """What would end a program ends one task; the worker goes on."""

    def fail(kind: type[BaseException]) -> None:
        raise kind("stop")

    for kind in (SystemExit, KeyboardInterrupt, GeneratorExit, TaskCancelled):
        [before] = lone_yard.run(fail, [kind])
        assert before.state is (TaskState.CANCELLED if kind is TaskCancelled else TaskState.FAILED)
        assert type(before.exception) is kind
        assert lone_yard.run(double, [1])[0].worker == before.worker


@pytest.mark.parametrize("good", [0, 19])
def test_bad_arguments_cost_their_task_only(yard: Any, good: int) -> None:
    """fault:S1 An argument that can't be pickled, or not unpickled, fails its own task with PayloadError."""
    items: list[Any] = list(range(good))
    items[good // 2 : good // 2] = [Refuses(), BadToLoad(), threading.Lock()]
    outcomes = yard.run(nothing, items)
    bad = [outcome for outcome in outcomes if not outcome.ok]
    assert len(bad) == 3
    assert all(isinstance(outcome.exception, PayloadError) for outcome in bad)


def test_bad_results_cost_their_task_only(yard: Any) -> None:
    """fault:S1 A result that can't be pickled, or not unpickled, fails its own task with PayloadError."""

    def give(x: int) -> Any:
        return {5: Refuses(), 6: BadToLoad(), 7: threading.Lock(), 8: (i for i in range(0))}.get(x, x)

    outcomes = yard.run(give, list(range(20)))
    assert [x for x, outcome in enumerate(outcomes) if not outcome.ok] == [5, 6, 7, 8]
    assert all(isinstance(outcomes[x].exception, PayloadError) for x in (5, 6, 7, 8))


@pytest.mark.requirement("req:E11")
def test_function_that_cannot_travel(yard: Any) -> None:
    """A function that can't be pickled is a PayloadError, and costs its own tasks only."""
    lock = threading.Lock()

    def locked(_: int) -> bool:
        return lock.locked()

    outcomes = yard.run(locked, [1, 2])
    assert all(isinstance(outcome.exception, PayloadError) for outcome in outcomes)
    assert yard.run(double, [1])[0].value == 2


def test_large_payloads(lone_yard: Any) -> None:
    """8 MiB go both ways, as plain bytes and inside an object."""
    blob = os.urandom(1 << 20) * 8
    assert lone_yard.run(lambda x: x + b"!", [blob])[0].value == blob + b"!"
    assert lone_yard.run(lambda x: (x, Point(1)), [[blob]])[0].value == ([blob], Point(1))


def test_no_current_task_between_tasks(lone_yard: Any) -> None:
    """What one task keeps of itself is not the next one's."""
    ids = lone_yard.submit(lambda _: current_task().task_id, [0] * 50)
    assert [outcome.value for outcome in lone_yard.wait(ids)] == ids


def test_log_records_name_the_task(lone_yard: Any, caplog: Any, eventually: Any) -> None:
    """A task's log records reach the controller's logging with the task's id; printed lines come as INFO."""

    def work(_: int) -> None:
        logging.getLogger("user.code").warning("hello %s", "there")
        print("printed")

    with caplog.at_level(logging.INFO):
        ids = lone_yard.submit(work, [0])
        lone_yard.wait(ids)
        assert eventually(lambda: {"hello there", "printed"} <= {r.getMessage() for r in caplog.records})
    record = next(r for r in caplog.records if r.name == "user.code")
    assert record.task_id == ids[0]
    assert next(r for r in caplog.records if r.getMessage() == "printed").name == "longshore.worker.process-0"


def test_start_imports_little(lone_yard: Any) -> None:
    """A worker starts without the libraries that only the controller needs."""
    [outcome] = lone_yard.run(lambda names: [name for name in names if name in sys.modules], [BANNED])
    assert outcome.value == []


def test_worker_environment(lone_yard: Any) -> None:
    """Workers read nothing from our input, and find our environment."""
    [outcome] = lone_yard.run(lambda _: (sys.stdin.read(), os.environ["PATH"]), [0])
    assert outcome.value == ("", os.environ["PATH"])


def test_processor_time_is_measured(lone_yard: Any) -> None:
    """Time slept is no processor time."""
    [outcome] = lone_yard.run(time.sleep, [0.05])
    assert outcome.ran_s >= 0.05
    assert outcome.cpu_s < 0.04


@pytest.mark.slow
def test_many_kinds(lone_yard: Any) -> None:
    """Functions beyond the number that is remembered still run, and the first ones run again."""
    made = [lambda x, n=n: x + n for n in range(600)]
    specs = [TaskSpec(function=function, name=str(n), executor="processes") for n, function in enumerate(made)]
    attempts = [Attempt(f"k{n}", spec, (1,), queued_at=time.monotonic()) for n, spec in enumerate(specs)]
    lone_yard.submit_attempts(attempts)
    outcomes = lone_yard.wait([attempt.task_id for attempt in attempts])
    assert [outcome.value for outcome in outcomes] == [n + 1 for n in range(600)]
    lone_yard.submit_attempts([Attempt("again", specs[0], (5,), queued_at=time.monotonic())])
    assert lone_yard.wait(["again"])[0].value == 5


CACHED = """
    import functools
    import longshore

    @functools.lru_cache(maxsize=7)
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    @functools.cache
    def info(_):
        fib(60)
        return fib.cache_info().hits > 0, fib.cache_parameters()["maxsize"]

    if __name__ == "__main__":
        print(*longshore.map(fib, [80], executor="processes"), *longshore.map(info, [1], executor="processes"))
"""


@pytest.mark.slow
def test_cached_functions_of_a_script(tmp_path: Path) -> None:
    """A script's own function under `lru_cache` or `cache` runs in workers, with a cache of the worker's own."""
    script = tmp_path / "cached.py"
    script.write_text(textwrap.dedent(CACHED))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout == "23416728348467685 (True, 7)\n", done.stderr


def test_short_tasks_are_given_together(lone_yard: Any) -> None:
    """Statistics of a worker say how often it was given work: for many short tasks a few times only."""
    lone_yard.run(abs, list(range(1000)))
    (worker,) = lone_yard.executor.workers()
    assert worker.tasks_completed == 1000
    assert 0 < worker.batches < 500


def take_out(*args: Any) -> int:
    """Empty the first argument, and return how much there was in it."""
    found = args[0] if isinstance(args[0], (list, dict, bytearray)) else args[0][0]
    count = len(found)
    found.clear()
    return count


@pytest.mark.parametrize(
    "shared", [["a"], {"a": 1}, bytearray(b"a"), (["a"], 1)], ids=["list", "dict", "bytes", "nested"]
)
def test_what_a_task_does_to_its_arguments_is_seen_by_no_other(yard: Any, shared: Any) -> None:
    """Tasks that are handed over together and were given the same object each have one of their own."""
    yard.run(take_out, [["warm"]] * 50)
    assert [outcome.value for outcome in yard.run(take_out, [shared] * 300)] == [1] * 300
