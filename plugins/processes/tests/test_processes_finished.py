"""What a worker has finished is never lost and never run again, however the worker ends."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from longshore.errors import WorkerDied
from longshore.task import Outcome, TaskState
from longshore_processes import bays

LEAD = 500  # items after which a pool knows that they are short, and sends many at once
BAD = 40


class Point:
    """A result that is no plain value."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


def result(x: int) -> Any:
    """Return a result of each kind in turn, and raise now and then."""
    if x % 8 == 7:
        raise LookupError(x)
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: x,
        lambda: f"text {x}",
        lambda: None,
        lambda: Point(x),
        lambda: 2**70 + x,
        lambda: [x, float(x), b"x" * x],
        lambda: b"large" * 20_000,
    )
    return kinds[x % 8]()


def is_right(x: int, outcome: Outcome) -> bool:
    if x % 8 == 7:
        return type(outcome.exception) is LookupError and outcome.exception.args == (x,)
    return outcome.ok and bool(outcome.value == result(x))


def hold_interpreter() -> None:
    """Sleep in C without letting any other thread run Python."""
    ctypes.PyDLL(None).sleep(60)


def kill_by_another() -> None:
    """Be killed by a process that is neither worker nor controller."""
    pid = os.getpid()
    if os.fork() == 0:
        os.kill(pid, signal.SIGKILL)
        os._exit(0)
    time.sleep(60)


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


ENDS: dict[str, Callable[[], Any]] = {
    "kill -9": kill_self,
    "kill -9 by another": kill_by_another,
    "_exit": lambda: os._exit(0),
    "segfault": lambda: ctypes.string_at(0),
    "time limit": lambda: time.sleep(60),
    "time limit, interpreter held": hold_interpreter,
}


class Audit:
    """A file that tells how often each item was run, whatever the pool says."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, x: int) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, b"%7d\n" % x)  # within a page: at the end of one, a process that is killed leaves half a line
        os.close(fd)

    def counts(self) -> Counter[int]:
        return Counter(map(int, self.path.read_text().split()))


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit(tmp_path / "audit")


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("room", ["bay", "socket"])
def test_finished_items_outlive_their_worker(
    lone_yard: Any, audit: Audit, monkeypatch: pytest.MonkeyPatch, name: str, room: str
) -> None:
    """fault:K1 fault:K2 Of a batch whose worker ends in its middle, each item is run once, and one is to blame.

    What it had finished is told with value or failure and with its times, from memory, or where that has no room for
    large results, from what it had sent before.
    """
    if room == "socket":
        monkeypatch.setattr(bays, "_ARENA_STEPS", (0,))
    action = ENDS[name]

    def work(x: int) -> Any:
        if x >= 0:
            audit(x)
        if x == BAD:
            action()
        return result(x) if x >= 0 else None

    lone_yard.run(work, [-1] * LEAD, timeout_s=0.5)
    before = time.monotonic()
    outcomes = lone_yard.run(work, list(range(2 * BAD)), timeout_s=0.5)
    assert [x for x, outcome in enumerate(outcomes) if not is_right(x, outcome)] == [BAD]
    assert outcomes[BAD].state is (TaskState.TIMED_OUT if "limit" in name else TaskState.FAILED)
    assert audit.counts() == Counter(range(2 * BAD))
    assert all(0 <= outcome.ran_s < 0.5 for outcome in outcomes if outcome is not outcomes[BAD])
    assert all(0 <= outcome.queued_s < time.monotonic() - before for outcome in outcomes)


def test_a_result_whose_destructor_kills(lone_yard: Any, audit: Audit) -> None:
    """A result that ends its worker as it is let go costs its own task, not the next one."""

    class Deadly:
        def __reduce__(self) -> Any:
            return int, (5,)

        def __del__(self) -> None:
            kill_self()

    def work(x: int) -> Any:
        if x >= 0:
            audit(x)
        return Deadly() if x == BAD else x

    lone_yard.run(work, [-1] * LEAD)
    outcomes = lone_yard.run(work, list(range(2 * BAD)))
    assert [x for x, outcome in enumerate(outcomes) if not outcome.ok] == [BAD]
    assert audit.counts() == Counter(range(2 * BAD))


def test_interpreter_held_by_a_slow_item(lone_yard: Any) -> None:
    """What ended before an item that holds the interpreter is told while it still runs."""

    def work(x: int) -> int:
        if x == BAD:
            hold_interpreter()
        return x

    lone_yard.run(work, [0] * LEAD)
    ids = lone_yard.submit(work, list(range(BAD + 1)))
    assert [outcome.value for outcome in lone_yard.wait(ids[:BAD], 5.0)] == list(range(BAD))
    assert ids[BAD] not in lone_yard.host.outcomes
    lone_yard.cancel(ids)
    assert lone_yard.wait(ids)[BAD].state is TaskState.CANCELLED


def test_stopped_with_results_unread(lone_yard: Any, eventually: Any, tmp_path: Path) -> None:
    """What was finished when the pool is stopped is told as what it is, the rest as cancelled."""
    begun = tmp_path / "begun"

    def work(x: int) -> int:
        if x == BAD:
            begun.touch()
            time.sleep(60)
        return x

    lone_yard.run(work, [0] * LEAD)
    ids = lone_yard.submit(work, list(range(2 * BAD)))
    assert eventually(begun.exists)
    lone_yard.stop()
    outcomes = lone_yard.wait(ids)
    assert [outcome.value for outcome in outcomes[:BAD]] == list(range(BAD))
    assert all(outcome.state is TaskState.CANCELLED for outcome in outcomes[BAD:])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [int, str, Point])
def test_nothing_is_run_twice_under_random_kills(yard: Any, audit: Audit, kind: Callable[[int], Any]) -> None:
    """fault:K6 Workers are killed at random: each task is run at most once, and each that was not under way just once.

    A task ends with its own result, whole, or because its worker died while it ran.
    """
    chance = random.Random(7)

    def work(x: int) -> Any:
        audit(x)
        return kind(x)

    ids = yard.submit(work, list(range(6000)))
    ticker = threading.Event()
    kills = 0
    while len(yard.host.outcomes) < len(ids) and kills < 60:
        ticker.wait(chance.uniform(0.0, 0.01))
        for pid in yard.executor.pids()[:1]:
            with suppress(ProcessLookupError):  # it has just been seen to end, and is not forgotten yet
                os.kill(pid, signal.SIGKILL)
                kills += 1
        known = len(yard.host.outcomes)
        yard.until(lambda known=known: len(yard.host.outcomes) >= min(len(ids), known + 1))
    outcomes = yard.wait(ids)
    died = [x for x, outcome in enumerate(outcomes) if not outcome.ok]
    assert all(isinstance(outcomes[x].exception, WorkerDied) for x in died)
    assert all(outcome.value == kind(x) for x, outcome in enumerate(outcomes) if outcome.ok)
    assert len(died) <= kills
    counts = audit.counts()
    assert max(counts.values()) == 1
    assert set(range(6000)) - set(counts) <= set(died)


def test_an_exception_from_a_signal_handler(lone_yard: Any) -> None:
    """An alarm that raises at any moment costs the item it comes upon, and mixes up no results of others."""

    def ring(*_: Any) -> NoReturn:
        raise TimeoutError("alarm")

    def work(x: int) -> Any:
        if x == 1:
            signal.signal(signal.SIGALRM, ring)
            signal.setitimer(signal.ITIMER_REAL, 0.0003)
        return f"text {x}"

    lone_yard.run(work, [0] * LEAD)
    for _ in range(10):
        outcomes = lone_yard.run(work, list(range(300)))
        assert all(outcome.value == f"text {x}" for x, outcome in enumerate(outcomes) if outcome.ok)
        assert sum(not outcome.ok for outcome in outcomes) <= 1
