"""The stacks that workers write are read as they were written, and a worker that is asked loses nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from longshore_processes.stacks import frames_of

Yard = Any  # the fixture's: test modules cannot import a conftest

WRITTEN = """Stack (most recent call first):
  File "/a b/"quoted".py", line 12 in inner
  File "/a b/c.py", line ??? in outer
  ...
"""


def test_what_a_thread_has_written_is_read_whatever_files_are_called() -> None:
    """One place a frame, innermost first, and nothing of what is none."""
    assert frames_of(WRITTEN) == ['/a b/"quoted".py:12 in inner', "/a b/c.py:??? in outer"]
    assert frames_of("Stack (most recent call first):\n  <no Python frame>\n") == []


def counts(folder: str) -> int:
    """Count until the file `go` is there."""
    Path(folder, "started").touch()
    number = 0
    while not Path(folder, "go").exists():
        number += 1
        time.sleep(0.001)
    return number


def in_threads(folder: str) -> str:
    """Have three threads compute, and start more, while the main one waits for them."""

    def deep(depth: int) -> int:
        return depth and deep(depth - 1)

    def computes() -> None:
        while not Path(folder, "go").exists():
            deep(50)
            other = threading.Thread(target=deep, args=(3,))
            other.start()
            other.join()

    threads = [threading.Thread(target=computes) for _ in range(3)]
    for thread in threads:
        thread.start()
    Path(folder, "started").touch()
    for thread in threads:
        thread.join()
    return "whole"


@pytest.mark.slow
def test_threads_that_run_are_asked_without_harm(lone_yard: Yard, eventually: Any, tmp_path: Path) -> None:
    """Each writes where it is itself, so that none is read while it runs: the task ends with its result."""
    [task_id] = lone_yard.submit(in_threads, [str(tmp_path)])
    assert eventually((tmp_path / "started").exists)
    names = set[str]()

    def named() -> bool:
        for _ in range(10):
            for stack in lone_yard.executor.stacks(5.0):
                names.update(frame.rpartition(" in ")[2] for frame in stack.frames)
        return {"in_threads", "computes"} <= names

    assert eventually(named), names
    (tmp_path / "go").touch()
    [outcome] = lone_yard.wait([task_id])
    assert outcome.value == "whole"


@pytest.mark.slow
def test_a_task_is_not_disturbed_by_being_asked_for(lone_yard: Yard, eventually: Any, tmp_path: Path) -> None:
    """Asked thirty times by two threads while it sleeps and wakes it ends with its result; each answer names it."""
    [task_id] = lone_yard.submit(counts, [str(tmp_path)])
    assert eventually((tmp_path / "started").exists)
    answers: list[Any] = []

    def ask() -> None:
        for _ in range(15):
            answers.append(lone_yard.executor.stacks(5.0))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    (tmp_path / "go").touch()
    [outcome] = lone_yard.wait([task_id])
    assert outcome.ok, outcome
    assert len(answers) == 30
    for answer in answers:
        assert any(frame.endswith(" in counts") for stack in answer for frame in stack.frames), answer
