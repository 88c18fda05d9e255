"""A task that comes alone takes a short way, by the pool's loop: nothing that is promised is lost on it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from longshore.errors import WorkerDied
from longshore.hookspecs import CancelRequest, LimitRequest, WorkerNotice
from longshore.task import Attempt, Outcome, TaskSpec, TaskState
from longshore_processes import ProcessesExecutor
from longshore_processes.executor import ProcessesSettings

pytestmark = pytest.mark.slow

WAIT_S = 20.0


def echo(value: Any) -> Any:
    """Give back what was given."""
    return value


def shout(number: int) -> int:
    """Write something, then fail."""
    sys.stdout.write(f"number {number}\n")
    raise ValueError(number)


def spin(seconds: float) -> None:
    """Use the processor."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def end_worker(number: int) -> None:
    """End the process that runs this."""
    os.kill(os.getpid(), signal.SIGKILL)


def long_or_short(number: int) -> object:
    """Give a number, a text, or something that needs more to be read."""
    return (number, str(number), [number], {"number": number})[number % 4]


class Held:
    """Holds up whoever pickles it, until it is let go."""

    go = threading.Event()

    def __reduce__(self) -> Any:
        type(self).go.wait(30)
        return str, ("late",)


class Quay:
    """A running loop's end of the contract: tasks one at a time, and who told of each."""

    def __init__(self) -> None:
        self.workers = 2
        self.outcomes: dict[str, Outcome] = {}
        self.told_by: list[int] = []
        self.twice = 0
        self.notices: list[WorkerNotice] = []
        self.errors: list[BaseException] = []
        self.changed = asyncio.Event()
        self._ids = count()
        self._loop = asyncio.get_running_loop()
        self._specs: dict[tuple[object, ...], TaskSpec] = {}
        self.executor = ProcessesExecutor(ProcessesSettings())

    def report(self, outcomes: Sequence[Outcome]) -> None:
        self.told_by.append(threading.get_ident())
        self.twice += sum(outcome.task_id in self.outcomes for outcome in outcomes)
        self.outcomes.update({outcome.task_id: outcome for outcome in outcomes})
        self._loop.call_soon_threadsafe(self.changed.set)

    def progress(self, updates: Sequence[object]) -> None: ...

    def resized(self, workers: int) -> None: ...

    def notice(self, notices: Sequence[WorkerNotice]) -> None:
        self.notices += notices
        self._loop.call_soon_threadsafe(self.changed.set)

    def failed(self, error: BaseException) -> None:
        self.errors.append(error)

    def give(self, function: Callable[..., Any], item: Any, timeout_s: float | None = 60.0) -> str:
        """Submit one task; tasks of one function and limit have one spec, as a pool gives them."""
        key = (function, timeout_s)
        if key not in self._specs:
            self._specs[key] = TaskSpec(
                function=function, name=function.__name__, executor="processes", timeout_s=timeout_s
            )
        task_id = f"t{next(self._ids)}"
        self.executor.submit([Attempt(task_id, self._specs[key], (item,), queued_at=time.monotonic())])
        return task_id

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()
        assert not self.twice
        assert not self.errors

    async def ended(self, task_id: str) -> Outcome:
        await self.until(lambda: task_id in self.outcomes)
        return self.outcomes[task_id]

    async def run(self, function: Callable[..., Any], item: Any, timeout_s: float | None = 60.0) -> Outcome:
        return await self.ended(self.give(function, item, timeout_s))

    async def warm(self) -> None:
        """Run lone tasks until the loop itself has taken a result."""
        async with asyncio.timeout(WAIT_S):
            while threading.get_ident() not in self.told_by:
                await self.run(echo, 1)


@pytest.fixture
def on_quay() -> Callable[[Callable[[Quay], Awaitable[None]]], None]:
    """Return what runs a test's coroutine beside a started executor of two workers."""

    async def main(use: Callable[[Quay], Awaitable[None]]) -> None:
        quay = Quay()
        await quay.executor.start(quay)  # type: ignore[arg-type]  # as much of a host as is asked of it here
        try:
            await use(quay)
        finally:
            await quay.executor.stop(time.monotonic() + 5.0)

    return lambda use: asyncio.run(main(use))


@contextmanager
def let_go() -> Iterator[None]:
    try:
        yield
    finally:
        Held.go.set()


def test_what_comes_alone_comes_back_as_it_is(on_quay: Any) -> None:
    """Whatever a lone task is given or gives back, and whichever way that takes, it is what it was."""

    async def use(quay: Quay) -> None:
        await quay.warm()
        values = [0, -1, 1 << 80, 1.5, None, True, "text", b"bytes", "x" * 50_000, (1, 2), [1], {"a": 1}, {3}, range(3)]
        for value in values * 3:
            assert (await quay.run(echo, value)).value == value
        assert [(await quay.run(long_or_short, n)).value for n in range(40)] == [long_or_short(n) for n in range(40)]

    on_quay(use)


def test_what_it_writes_is_there_when_it_fails(on_quay: Any) -> None:
    """A lone task that fails has its exception, and what it wrote last."""

    async def use(quay: Quay) -> None:
        await quay.warm()
        for number in range(10):
            outcome = await quay.run(shout, number)
            assert isinstance(outcome.exception, ValueError)
            assert outcome.error is not None
            assert outcome.error.output_tail == f"number {number}"
            assert (await quay.run(echo, number)).value == number

    on_quay(use)


def test_a_limit_is_kept_though_the_loop_is_blocked(on_quay: Any) -> None:
    """Whoever blocks the loop delays no time limit: it ends what spins, and others find a worker."""

    async def use(quay: Quay) -> None:
        await quay.warm()
        spinning = quay.give(spin, 60.0, 0.3)
        began = time.monotonic()
        while spinning not in quay.outcomes and time.monotonic() < began + WAIT_S:
            time.sleep(0.01)  # to block it is the point
        assert quay.outcomes[spinning].state is TaskState.TIMED_OUT
        assert (await quay.run(echo, 2)).value == 2

    on_quay(use)


def test_results_come_though_the_loop_is_blocked(on_quay: Any) -> None:
    """What ends meanwhile is reported by the supervisor's thread, which does not wait for the loop."""

    async def use(quay: Quay) -> None:
        await quay.warm()
        lone = quay.give(echo, 3)
        began = time.monotonic()
        while lone not in quay.outcomes and time.monotonic() < began + WAIT_S:
            time.sleep(0.01)  # as above
        assert quay.outcomes[lone].value == 3

    on_quay(use)


def test_a_death_under_a_lone_task_is_reported_once(on_quay: Any) -> None:
    """A worker that dies takes its own task with it, and nothing else, however often."""

    async def use(quay: Quay) -> None:
        for number in range(5):
            await quay.warm()
            assert (await quay.run(echo, number)).value == number
            assert isinstance((await quay.run(end_worker, number)).exception, WorkerDied)
            assert (await quay.run(echo, number)).value == number

    on_quay(use)


def test_a_death_between_tasks_is_seen(on_quay: Any) -> None:
    """An idle worker that is killed is told of and replaced, with nothing else going on."""

    async def use(quay: Quay) -> None:
        await quay.warm()
        [pid, *_] = quay.executor.pids()
        os.kill(pid, signal.SIGKILL)
        await quay.until(lambda: quay.notices)
        assert pid not in quay.executor.pids()
        assert (await quay.run(echo, 4)).value == 4

    on_quay(use)


def test_cancelled_and_resized_meanwhile(on_quay: Any) -> None:
    """A lone task that runs can be cancelled at once."""

    async def use(quay: Quay) -> None:
        await quay.warm()
        running = quay.give(spin, 60.0)
        quay.executor.cancel(CancelRequest([running], "not wanted"))
        assert (await quay.ended(running)).state is TaskState.CANCELLED
        assert (await quay.run(echo, 5)).value == 5

    on_quay(use)


def test_no_code_of_the_users_runs_on_the_loop(on_quay: Any) -> None:
    """An argument whose pickling hangs holds up neither the loop nor the pool; its task is timed out."""

    async def use(quay: Quay) -> None:
        await quay.warm()
        Held.go = threading.Event()
        began = time.monotonic()
        hung = quay.give(echo, Held(), 0.3)
        assert time.monotonic() - began < 5.0
        assert (await quay.ended(hung)).state is TaskState.TIMED_OUT
        for number in range(20):
            assert (await quay.run(echo, number)).value == number

    with let_go():
        on_quay(use)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_nothing_is_left_with_the_loop(on_quay: Any) -> None:
    """A stopped executor has its descriptors back from the loop, which goes on."""

    async def use(quay: Quay) -> None:
        await quay.warm()
        await quay.executor.stop(time.monotonic() + 5.0)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            other = Quay()
            await other.executor.start(other)  # type: ignore[arg-type]  # as above
            await other.warm()
            other.give(spin, 60.0)
            await other.executor.stop(time.monotonic() + 5.0)
        assert len(os.listdir("/proc/self/fd")) <= before

    on_quay(use)


def test_many_at_a_time_take_turns(on_quay: Any) -> None:
    """Several callers that each wait for their own task get each what is theirs, whoever hears of it."""

    async def use(quay: Quay) -> None:
        async def caller(number: int) -> None:
            for turn in range(60):
                assert (await quay.run(long_or_short, 60 * number + turn)).value == long_or_short(60 * number + turn)

        await quay.warm()
        await asyncio.gather(*map(caller, range(3)))

    on_quay(use)


def test_a_lone_task_waits_while_no_more_workers_may_be_used(on_quay: Any) -> None:
    """A limit on how many workers have something to do holds on the short way, too."""

    async def use(quay: Quay) -> None:
        await quay.warm()
        quay.executor.limit(LimitRequest(0))
        kept = [quay.give(echo, 1)]
        await asyncio.sleep(0.05)  # so that the limit has come before the second
        kept.append(quay.give(echo, 2))
        await asyncio.sleep(0.05)
        assert not [task_id for task_id in kept if task_id in quay.outcomes]
        quay.executor.limit(LimitRequest(None))
        assert [(await quay.ended(task_id)).value for task_id in kept] == [1, 2]
        quay.executor.limit(LimitRequest(1))
        slow = quay.give(spin, 0.2)
        await asyncio.sleep(0.05)
        assert (await quay.run(echo, 3)).value == 3
        assert slow in quay.outcomes

    on_quay(use)
