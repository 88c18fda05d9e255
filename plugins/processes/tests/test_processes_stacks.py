"""The stacks that workers write are read as they were written, and a worker that is asked loses nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from longshore_processes.stacks import parsed

Yard = Any  # the fixture's: test modules cannot import a conftest

WRITTEN = """Thread 0x00007f1 (most recent call first):
  File "/x/stacks.py", line 9 in wait_for_close
  File "/x/threading.py", line 1 in run

Thread 0x00007f2 [named] (most recent call first):
  File "/a b/"quoted".py", line 12 in inner
  File "/a b/c.py", line ??? in outer

Current thread 0x00007f3 (most recent call first):
  <no Python frame>
"""


def test_threads_are_told_apart_and_our_own_watch_is_left_out() -> None:
    """The thread that was interrupted comes first, frames outermost first, whatever files are called."""
    current, other = parsed("worker w", WRITTEN, "state S")
    assert (current.of, list(current.frames), current.note) == ("worker w, thread 0x00007f3", [], "state S")
    assert other.of == "worker w, thread 0x00007f2"
    assert list(other.frames) == ["/a b/c.py:??? in outer", '/a b/"quoted".py:12 in inner']


def test_a_deep_stack_is_cut_at_its_outer_end() -> None:
    """Of a stack of 100 the innermost 60 frames are kept, and how many are not is told."""
    text = "Current thread 0x1 (most recent call first):\n"
    text += "".join(f'  File "f.py", line {number} in f\n' for number in range(100))
    [found] = parsed("w", text)
    assert (len(found.frames), found.frames[-1], found.left_out) == (60, "f.py:0 in f", 40)


def counts(folder: str) -> int:
    """Count until the file `go` is there."""
    Path(folder, "started").touch()
    number = 0
    while not Path(folder, "go").exists():
        number += 1
        time.sleep(0.001)
    return number


@pytest.mark.slow
def test_a_task_is_not_disturbed_by_being_asked_for(lone_yard: Yard, eventually: Any, tmp_path: Path) -> None:
    """Asked fifty times by two threads while it sleeps and wakes, it ends with its result, and each answer names it."""
    [task_id] = lone_yard.submit(counts, [str(tmp_path)])
    assert eventually((tmp_path / "started").exists)
    answers: list[Any] = []

    def ask() -> None:
        for _ in range(25):
            answers.append(lone_yard.executor.stacks(5.0))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    (tmp_path / "go").touch()
    [outcome] = lone_yard.wait([task_id])
    assert outcome.ok, outcome
    assert len(answers) == 50
    for answer in answers:
        assert any(frame.endswith(" in counts") for stack in answer for frame in stack.frames), answer
