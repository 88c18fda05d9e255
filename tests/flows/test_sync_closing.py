"""The streams without async, left early and side by side: what is left is cancelled at once, and no thread stays."""

from __future__ import annotations

import asyncio
import gc
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import longshore as ls
import pytest
from longshore import Settings
from support.sync_streams import Held, double, double_async, ours, unmoved
from support.waiting import wait_until

DEADLINE_S = 10.0
AT_ONCE_S = 3.0
"""What is cancelled has ended within this, however long it would have run."""

pytestmark = pytest.mark.usefixtures("no_thread_is_left")

PLAIN = Settings(probes=())


def raise_within(stream: Iterator[object]) -> None:
    """Raise from the body of a loop over the stream."""
    for _ in stream:
        raise KeyError


# ---- closing early


def test_closing_cancels_at_once_what_would_take_long() -> None:
    """Closing the generator does not wait for a thread that is inside a call of five minutes."""
    held = Held()
    stream = ls.outcomes(held, itertools.count(), settings=PLAIN)
    assert next(stream).value == 0
    assert held.inside.wait(DEADLINE_S)
    started = time.monotonic()
    stream.close()
    assert time.monotonic() - started < AT_ONCE_S
    assert list(stream) == []
    held.go.set()


def test_closing_cancels_coroutines() -> None:
    """Coroutines that run when the generator is closed are cancelled, and have ended when `close` returns."""
    inside: set[int] = set()
    cancelled: set[int] = set()
    started = threading.Event()

    async def hold(number: int) -> int:
        if number == 0:
            return 0
        inside.add(number)
        started.set()
        try:
            await asyncio.sleep(300)
        except asyncio.CancelledError:
            cancelled.add(number)
            raise
        return number

    stream = ls.outcomes(hold, itertools.count(), settings=PLAIN)
    assert next(stream).value == 0
    assert started.wait(DEADLINE_S)
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < AT_ONCE_S
    assert inside == cancelled != set()


@pytest.mark.slow
def test_breaking_out_of_the_loop_cancels() -> None:
    """`break`, or an exception in the loop's body, drops the generator: the rest is cancelled, and no thread stays."""
    held = Held()
    started = time.monotonic()
    for outcome in ls.outcomes(held, itertools.count(), settings=PLAIN):
        assert outcome.value == 0
        break
    with pytest.raises(KeyError):
        raise_within(ls.map(held, itertools.count(), settings=PLAIN))
    gc.collect()
    assert time.monotonic() - started < 2 * AT_ONCE_S
    assert not ours()
    held.go.set()


@pytest.mark.slow
def test_a_generator_that_is_collected_leaves_no_thread() -> None:
    """A half-read generator that nobody holds any more ends its thread."""
    stream: Any = ls.map(double, itertools.count(), settings=PLAIN)
    assert next(stream) == 0
    assert [thread.name for thread in ours() if thread.name == "longshore-sync"]
    del stream
    gc.collect()
    assert not ours()


def test_a_failure_does_not_wait_for_the_others() -> None:
    """The exception of a map is raised at once, though another call takes five minutes."""
    held = Held()

    def fail_first(number: int) -> int:
        if number == 0:
            assert held.inside.wait(DEADLINE_S)
            raise ZeroDivisionError
        return held(number)

    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        list(ls.map(fail_first, itertools.count(), workers=2, settings=PLAIN))
    assert time.monotonic() - started < AT_ONCE_S
    held.go.set()


def test_closing_behind_a_slow_consumer() -> None:
    """A generator whose thread waits for its consumer, with all its places taken, closes at once too."""
    pulled = itertools.count()
    stream = ls.outcomes(double, pulled, executor="inline", settings=PLAIN)
    next(stream)
    wait_until(lambda: unmoved(pulled), "the thread to wait for its consumer")
    started = time.monotonic()
    stream.close()
    assert time.monotonic() - started < AT_ONCE_S


def test_items_that_take_their_time_lose_nothing() -> None:
    """Items that block half-way, until somebody else acts, are given whole."""
    reached, go = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield from range(3)
        reached.set()
        assert go.wait(DEADLINE_S)
        yield 3

    def act() -> None:
        assert reached.wait(DEADLINE_S)
        go.set()

    other = threading.Thread(target=act)
    other.start()
    assert list(ls.map(double, source(), settings=PLAIN)) == [0, 2, 4, 6]
    other.join(DEADLINE_S)


# ---- beside other streams and loops


def test_inside_a_running_loop() -> None:
    """In a notebook, where a loop runs already, it works all the same: the stream's loop is another thread's."""

    async def cell() -> list[int]:
        return list(ls.map(double_async, range(100), settings=PLAIN))

    assert asyncio.run(cell()) == [number * 2 for number in range(100)]


def test_streams_inside_streams() -> None:
    """A stream may be used within the loop over another, and by several threads at once."""
    sums = []
    for outer in ls.map(double, range(3), settings=PLAIN):
        sums.append(sum(ls.map(double, range(outer), settings=PLAIN)))
    assert sums == [0, 2, 12]
    results: dict[int, list[int]] = {}

    def use(number: int) -> None:
        results[number] = list(ls.map(double, range(number), settings=PLAIN))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert results == {number: [2 * n for n in range(number)] for number in range(4)}


def test_two_generators_taken_in_turns() -> None:
    """Two half-read generators go on side by side."""
    first = ls.map(double, range(1000), settings=PLAIN)
    second = ls.map(double, range(1000), settings=PLAIN)
    assert list(zip(first, second, strict=True)) == [(2 * number, 2 * number) for number in range(1000)]


@pytest.mark.slow
def test_a_program_that_leaves_a_generator_behind_ends() -> None:
    """A script that ends with a half-read generator in a global exits by itself, quickly and quietly."""
    script = """
        import itertools, longshore
        stream = longshore.map(abs, itertools.count())
        print(next(stream))
    """
    ended = subprocess.run(
        [sys.executable, "-c", dedent(script)], capture_output=True, text=True, timeout=20, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0\n", "")
