"""The oracle's pen: each task writes down that it runs, by one append to a file that longshore knows nothing of.

A line is "task attempt pid monotonic", synced before the task goes on; one that has ended adds the same with "end".
The monotonic clock is the same for all processes of a machine, so lines of different processes can be compared.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from longshore.worker import current_task


class Line(NamedTuple):
    """What a task wrote: that it began, or that it ended."""

    task_id: str
    attempt: int
    pid: int
    at: float
    ended: bool


def write(path: str, line: str, *, sync: bool) -> None:
    """Append one line in one write."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, f"{line}\n".encode())
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def audited(function: Callable[..., Any], path: str, item: Any) -> Any:
    """Call `function` with the item, and have it in the books."""
    task = current_task()
    entry = f"{task.task_id} {task.attempt} {os.getpid()}"
    write(path, f"{entry} {monotonic():.6f}", sync=True)
    try:
        return function(item)
    finally:
        write(path, f"{entry} {monotonic():.6f} end", sync=False)


async def audited_async(function: Callable[..., Awaitable[Any]], path: str, item: Any) -> Any:
    """Await `function` with the item, and have it in the books."""
    task = current_task()
    entry = f"{task.task_id} {task.attempt} {os.getpid()}"
    write(path, f"{entry} {monotonic():.6f}", sync=True)
    try:
        return await function(item)
    finally:
        write(path, f"{entry} {monotonic():.6f} end", sync=False)


def read(path: Path) -> list[Line]:
    """Return what was written, in order."""
    if not path.exists():
        return []
    found = []
    for text in path.read_text(encoding="ascii").splitlines():
        task_id, attempt, pid, at, *rest = text.split(" ")
        found.append(Line(task_id, int(attempt), int(pid), float(at), bool(rest)))
    return found


def starts(lines: Sequence[Line]) -> list[Line]:
    """Return the beginnings."""
    return [line for line in lines if not line.ended]


def run_again(lines: Sequence[Line]) -> int:
    """Return how many attempts were run more than once, each counted as often as it was too much."""
    return sum(count - 1 for count in Counter((line.task_id, line.attempt) for line in starts(lines)).values())


def running_at(lines: Sequence[Line], pid: int, at: float, margin_s: float) -> bool | None:
    """Tell whether a process was at a task at that moment; None within the margin of a beginning or an end."""
    own = [line for line in lines if line.pid == pid]
    if any(abs(line.at - at) <= margin_s for line in own):
        return None
    before = [line for line in own if line.at < at]
    return bool(before) and not before[-1].ended
