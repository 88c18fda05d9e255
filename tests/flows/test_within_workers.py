"""longshore within its own process workers: a task is a program as any other."""

from __future__ import annotations

import subprocess
import sys

import longshore
import pytest

DEADLINE_S = 60.0


def counted_down(count: int) -> list[int]:
    """Use a pool of this worker's own."""
    return list(longshore.map(abs, range(-count, 0), executor="threads"))


def command(_: int) -> str:
    """Start the command, which inherits the worker's environment."""
    ran = subprocess.run(
        [sys.executable, "-m", "longshore", "config", "show"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return f"{ran.returncode} {ran.stderr}"


@pytest.mark.slow
def test_a_task_in_a_process_can_use_longshore_and_start_it() -> None:
    """Pools with settings read as usual work in a worker, and so does the command in a program that a task starts."""
    [outcome] = longshore.outcomes(counted_down, [3], executor="processes")
    assert outcome.value == [3, 2, 1], outcome.error
    [outcome] = longshore.outcomes(command, [0], executor="processes")
    assert outcome.value == "0 ", outcome.error
