"""The calls without async from wherever they are made: with, notebooks, one-liners, scripts from stdin, debuggers."""

from __future__ import annotations

import ast
import asyncio
import inspect
import itertools
import subprocess
import sys
import threading
from textwrap import dedent
from types import FrameType
from typing import Any

import longshore as ls
import pytest
from longshore import Settings, SyncStream

PLAIN = Settings()
DEADLINE_S = 20.0


def double(number: int) -> int:
    return number * 2


def test_leaving_with_cancels_what_is_left() -> None:
    """What the calls return is a context manager: left half-way, no thread of it stays and nothing more is given."""
    before = set(threading.enumerate())
    with ls.map(double, itertools.count(), settings=PLAIN) as stream:
        assert isinstance(stream, SyncStream)
        for given in stream:
            if given == 10:
                break
        assert next(stream) == 12
    assert list(stream) == []
    for thread in set(threading.enumerate()) - before:
        thread.join(DEADLINE_S)  # one that is on its way out
        assert not thread.is_alive()


def test_starmap_gives_all_arguments_of_a_call() -> None:
    """Each item of starmap holds the arguments of one call; results come in input order."""
    assert list(ls.starmap(pow, [(2, 3), (3, 2), [5, 1]], settings=PLAIN)) == [8, 9, 5]


def test_outcomes_take_a_key() -> None:
    """`key` names items in their outcomes, as with the pool."""
    outcomes = ls.outcomes(double, [1, 2], key=lambda item: f"item-{item}", ordered=True, settings=PLAIN)
    assert [outcome.key for outcome in outcomes] == ["item-1", "item-2"]


CELL = """
import longshore
before = list(longshore.map(abs, [-1, -2]))
pool = longshore.WorkerPool(settings=longshore.Settings())
async with pool:
    handle = await pool.submit(abs, -3)
    value = await handle
    within = list(longshore.starmap(pow, [(2, 2)], executor="inline"))
after = [outcome.value for outcome in longshore.outcomes(abs, [-4], executor="processes")]
"""


@pytest.mark.slow
def test_a_cell_of_a_notebook() -> None:
    """In code that runs inside a loop with await at its top level, as notebooks run it, both ways of calling work."""
    code = compile(CELL, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {"__name__": "__main__"}

    async def kernel() -> None:
        running = eval(code, names)  # how a kernel runs a cell
        if inspect.isawaitable(running):
            await running

    asyncio.run(kernel())
    assert (names["before"], names["value"], names["within"], names["after"]) == ([1, 2], 3, [4], [4])


SCRIPT = """
import longshore

def triple(number):
    return number * 3

print(list(longshore.map(triple, range(4), executor="processes", workers=1)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["-c", SCRIPT], ["-"]], ids=["-c", "stdin"])
def test_functions_of_a_script_without_a_file(arguments: list[str]) -> None:
    """A one-liner, or a script that comes by stdin, may use processes with functions of its own, without a guard."""
    given = None if arguments[0] == "-c" else SCRIPT
    ended = subprocess.run(
        [sys.executable, *arguments], input=given, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[0, 3, 6, 9]\n", "")


@pytest.mark.slow
def test_a_script_in_a_file_needs_no_guard(tmp_path: Any) -> None:
    """A script's own functions run in processes though it has no `if __name__ == "__main__"`."""
    (tmp_path / "job.py").write_text(dedent(SCRIPT))
    ended = subprocess.run(
        [sys.executable, "job.py"], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[0, 3, 6, 9]\n", "")


def test_inline_is_for_debuggers() -> None:
    """With executor="inline" the function runs in the caller's own thread, so that a debugger sees its frames there."""
    seen: list[tuple[str, int]] = []

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is double.__code__:
            seen.append((event, threading.get_ident()))

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        given = list(ls.map(double, range(3), executor="inline", settings=PLAIN))
    finally:
        sys.settrace(before)
    assert given == [0, 2, 4]
    assert seen == [("call", threading.get_ident())] * 3


def test_inline_streams_within_each_other() -> None:
    """An inline stream may be used in the loop over another, in its function, and be left early."""

    def inner(number: int) -> int:
        return sum(ls.map(double, range(number), executor="inline", settings=PLAIN))

    with ls.map(inner, itertools.count(1), executor="inline", settings=PLAIN) as stream:
        assert next(stream) == 0
        assert list(ls.map(double, [4], executor="inline", settings=PLAIN)) == [8]
        assert next(stream) == 2
    assert list(stream) == []


def test_inline_leaves_the_threads_loop_alone() -> None:
    """A loop that the caller has made the thread's own, and that does not run now, is still that afterwards."""
    with asyncio.Runner() as runner:
        mine = runner.get_loop()
        asyncio.set_event_loop(mine)
        assert list(ls.map(double, [1], executor="inline", settings=PLAIN)) == [2]
        assert asyncio.get_event_loop_policy().get_event_loop() is mine


def test_inline_raises_the_exception_itself() -> None:
    """The very exception object is raised, with the function's frame in its traceback."""
    error = LookupError("mine")

    def fail(_: int) -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        list(ls.map(fail, [1], executor="inline", settings=PLAIN))
    assert caught.value is error
    assert "fail" in [entry.name for entry in caught.traceback]
