"""Where this process is: the stacks of its threads and of the tasks on a loop; from any thread, without the loop.

Frames are read while they run, which is safe with the interpreter's lock: a stack is of one moment, or nearly.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from types import FrameType
from typing import Any

from msgspec.structs import replace

from longshore.records import StackTrace

FRAMES_MOST = 60
"""Frames that are kept of a stack; of a deeper one the innermost."""
THREADS_MOST = 100
TASKS_MOST = 50
_TRIES = 5  # the loop may change the set of tasks while it is read


def thread_stacks() -> list[StackTrace]:
    """Return the stack of each thread but this one, the main thread's first; the first 100."""
    frames, me = sys._current_frames(), threading.get_ident()
    names = {thread.ident: thread for thread in threading.enumerate()}
    order = sorted(frames, key=lambda ident: ident != threading.main_thread().ident)
    found = []
    for ident in islice((one for one in order if one != me), THREADS_MOST):
        thread = names.get(ident)
        name = thread.name if thread is not None else f"{ident:#x}"
        found.append(_trace(f"thread {name}", _called(frames[ident]), _in_kernel(thread)))
    beyond = len(frames) - 1 - len(found)
    if beyond > 0:
        found.append(StackTrace(of="threads", note=f"{beyond} more threads are left out"))
    return found


def loop_stacks(loop: asyncio.AbstractEventLoop) -> list[StackTrace]:
    """Return where each asyncio task of a loop is that has not ended: what it awaits, innermost last; the first 50.

    Those that are at one place are one, with the name of the first.
    """
    tasks = _tasks(loop)
    alike: dict[tuple[object, ...], list[StackTrace]] = {}
    for task in tasks[:TASKS_MOST]:
        name, places = f"asyncio task {task.get_name()}", reversed(list(islice(_awaited(task), 1000)))
        trace = _trace(name, places, _running(task))
        alike.setdefault((tuple(trace.frames), trace.left_out, trace.note), []).append(trace)
    found = [
        traces[0] if len(traces) == 1 else replace(traces[0], of=f"{traces[0].of} and {len(traces) - 1} more")
        for traces in alike.values()
    ]
    if len(tasks) > TASKS_MOST:
        found.append(StackTrace(of="asyncio tasks", note=f"{len(tasks) - TASKS_MOST} more tasks are left out"))
    return found


def _tasks(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:  # Any: whatever they return
    for _ in range(_TRIES):
        with suppress(RuntimeError):
            return sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    return []


def _trace(of: str, places: Iterator[str], note: str = "") -> StackTrace:
    """Return a stack from its places, innermost first."""
    kept = list(islice(places, FRAMES_MOST))
    return StackTrace(of=of, frames=kept[::-1], left_out=sum(1 for _ in places), note=note)


def _called(frame: FrameType | None) -> Iterator[str]:
    """Yield the places of a frame and its callers."""
    while frame is not None:
        yield _place(frame, frame.f_lineno)
        frame = frame.f_back


def _awaited(task: asyncio.Task[Any]) -> Iterator[str]:  # Any: as above
    """Yield where a task's coroutine is, and what it awaits, outermost first."""
    awaits: Any = task.get_coro()  # Any: coroutines, generators, and whatever can be awaited
    while awaits is not None:
        for prefix in ("cr", "gi", "ag"):
            frame = getattr(awaits, f"{prefix}_frame", None)
            if frame is not None:
                yield _place(frame, frame.f_lineno)
                awaits = getattr(awaits, f"{prefix}_await", None) or getattr(awaits, f"{prefix}_yieldfrom", None)
                break
        else:
            return


def _running(task: asyncio.Task[Any]) -> str:  # Any: as above
    return (
        "it has the loop now: its frames are in the loop's thread" if getattr(task.get_coro(), "cr_running", 0) else ""
    )


def _place(frame: FrameType, line: int | None) -> str:
    code = frame.f_code
    return f"{code.co_filename}:{line or 0} in {code.co_qualname}"


def _in_kernel(thread: threading.Thread | None) -> str:
    """Return where a thread waits in the kernel, as far as the system tells; empty for one that runs."""
    native = thread.native_id if thread is not None else None
    if native is None or sys.platform != "linux":
        return ""
    with suppress(OSError), open(f"/proc/self/task/{native}/wchan") as file:
        where = file.read(100).strip()
        return f"in the kernel: {where}" if where not in ("", "0") else ""
    return ""
