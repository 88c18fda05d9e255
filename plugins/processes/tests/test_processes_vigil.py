"""Arguments are pickled where they are: one that never comes back costs its task, and not the pool."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from longshore.task import TaskState


class Held:
    """Holds up whoever pickles it, until it is let go."""

    go = threading.Event()

    def __reduce__(self) -> Any:
        type(self).go.wait(30)
        return str, ("late",)


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    Held.go = threading.Event()
    yield
    Held.go.set()


class Box:
    """Nothing plain, so that it is pickled by itself."""

    def __init__(self, number: int) -> None:
        self.number = number


def work(item: Any) -> Any:
    return item.number


def supervisors() -> int:
    return sum(thread.name == "longshore-processes" for thread in threading.enumerate())


@pytest.mark.slow
def test_one_that_hangs_is_timed_out(yard: Any, eventually: Any) -> None:
    """fault:S1 The task whose argument hangs is timed out, all others give their results, and the pool goes on."""
    yard.run(work, [Box(1), Box(2)])
    items = [*map(Box, range(10)), Held(), *map(Box, range(10))]
    outcomes = yard.run(work, items, timeout_s=0.3)
    assert [i for i, outcome in enumerate(outcomes) if not outcome.ok] == [10]
    assert outcomes[10].state is TaskState.TIMED_OUT
    assert "pickled" in outcomes[10].error.message
    assert not yard.host.errors
    assert all(outcome.ok for outcome in yard.run(work, [Box(3)]))
    Held.go.set()
    assert eventually(lambda: supervisors() == 1)


@pytest.mark.slow
def test_what_runs_meanwhile_is_run_again(yard: Any, tmp_path: Path) -> None:
    """A task that is under way is begun anew by the supervisor that takes over, and reported once."""
    path = tmp_path / "runs"

    def slow(item: Any) -> Any:
        with path.open("a") as file:
            file.write("x")
        time.sleep(0.5)
        return item.number

    running = yard.submit(slow, [Box(1)])
    yard.until(lambda: True)
    while not path.exists():
        time.sleep(0.005)
    hung = yard.submit(work, [Held()], timeout_s=0.1)
    assert yard.wait(hung)[0].state is TaskState.TIMED_OUT
    assert yard.wait(running)[0].value == 1
    assert len(path.read_text()) in (1, 2)


@pytest.mark.slow
def test_cancelled_and_stopped_meanwhile(open_yard: Any) -> None:
    """Tasks that wait behind it can be cancelled, and a stop reports all that is left within its time."""
    with open_yard(1) as yard:
        hung = yard.submit(work, [Held()], timeout_s=60.0)
        behind = yard.submit(work, [Box(1), Box(2)])
        began = time.monotonic()
        yard.stop(1.0)
        assert time.monotonic() - began < 10.0
        states = [outcome.state for outcome in yard.wait([*hung, *behind])]
        assert states == [TaskState.CANCELLED] * 3


def test_nobody_watches_when_nothing_is_pickled(yard: Any) -> None:
    """Plain arguments are no business of the vigil's: it is not even started."""
    yard.run(abs, [-1, -2])
    assert not any(thread.name == "longshore-processes-vigil" for thread in threading.enumerate())
