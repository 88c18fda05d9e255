"""A `PoolExecutor` whose initializer ends its process, or does not end, is broken: as those of the standard library."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import pytest
from longshore import BrokenPool, PoolExecutor, Settings, TaskTimeout, WorkerDied, WorkerNotReady

DEADLINE_S = 30.0


def leave(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")
    os._exit(3)


def crash(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGSEGV)


def die_once(path: str) -> None:
    if not Path(path).exists():
        leave(path)


GATE = threading.Event()


def hang() -> None:
    GATE.wait()


def hang_for_good() -> None:
    time.sleep(1000)


@pytest.fixture
def _let_go() -> Iterator[None]:
    """Let threads that hang end after the test."""
    yield
    GATE.set()
    deadline = time.monotonic() + DEADLINE_S
    while any(thread.name.startswith("longshore-thread") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    GATE.clear()


def settings(place: str, limit_s: float) -> Settings:
    return Settings(probes=(), executors={place: {"initializer_timeout_s": limit_s}})


@pytest.mark.slow
@pytest.mark.parametrize("initializer", [leave, crash])
def test_one_that_ends_its_process_breaks_the_executor(initializer: Any, tmp_path: Path) -> None:
    """fault:K9 After few processes all that is pending raises BrokenPool, and so does what is submitted afterwards."""
    path = tmp_path / "tries"
    with PoolExecutor(
        2, executor="processes", initializer=initializer, initargs=(str(path),), settings=Settings(probes=())
    ) as executor:
        futures = [executor.submit(function, number) for number in range(30) for function in (abs, str, lambda x: x)]
        errors = [future.exception(DEADLINE_S) for future in futures]
        assert {type(error) for error in errors} <= {WorkerDied, BrokenPool}
        assert sum(isinstance(error, WorkerDied) for error in errors) <= 2
        assert isinstance(errors[-1], BrokenExecutor)
        assert isinstance(errors[-1].__cause__, WorkerNotReady)
        with pytest.raises(BrokenPool, match="in its initializer"):
            executor.submit(abs, 1)
        assert len(path.read_text()) <= 8


def test_one_that_ends_a_process_once_costs_one_call(tmp_path: Path) -> None:
    """Another process gets ready, and the executor goes on."""
    path = str(tmp_path / "tries")
    with PoolExecutor(
        1, executor="processes", initializer=die_once, initargs=(path,), settings=Settings(probes=())
    ) as executor:
        assert isinstance(executor.submit(abs, -1).exception(DEADLINE_S), WorkerDied)
        assert list(executor.map(abs, range(-5, 0), timeout=DEADLINE_S)) == [5, 4, 3, 2, 1]


@pytest.mark.slow
@pytest.mark.usefixtures("_let_go")
@pytest.mark.parametrize(("place", "initializer"), [("processes", hang_for_good), ("threads", hang)])
def test_one_that_hangs_breaks_the_executor(place: str, initializer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """fault:K9 Past `initializer_timeout_s` all that is pending raises BrokenPool; no call waits for its turn to."""
    with PoolExecutor(1, executor=place, initializer=initializer, settings=settings(place, 0.2)) as executor:
        errors = [future.exception(DEADLINE_S) for future in [executor.submit(abs, number) for number in range(60)]]
        assert {type(error) for error in errors} == {BrokenPool}
        assert isinstance(errors[-1].__cause__, TaskTimeout)
        with pytest.raises(BrokenPool, match="initializer_timeout_s"):
            executor.submit(abs, 1)
    assert caplog.text.count("Exception in initializer") == 1
