"""What the tasks of the suites run: at the top of a module, so that any worker finds it by its name.

Tasks and tests tell each other things by files, since a worker may be another process. Imports no more than a worker
has anyway.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

from longshore.errors import TaskCancelled
from longshore.worker import current_task

Function = Callable[..., Any]  # Any: as a user's functions take and return
ALL: Final = "all"
"""Whoever holds on is let go by this name as well."""
HOLD_MOST_S: Final = 60.0
"""Nothing holds on for longer, whatever becomes of the test."""
_LOOK_S: Final = 0.002
_BASES: Final = {kind.__name__: kind for kind in (SystemExit, KeyboardInterrupt, GeneratorExit)}
colour: ContextVar[str] = ContextVar("longshore_conformance_colour", default="none")


# ---- results and exceptions


def double(x: int, plus: int = 0) -> int:
    """Return twice as much."""
    return 2 * x + plus


class Doubler:
    """Doubles by a method, and when it is called."""

    def method(self, x: int) -> int:
        """Return twice as much."""
        return double(x)

    def __call__(self, x: int) -> int:
        """Return twice as much."""
        return double(x)


async def double_later(x: int) -> int:
    """Return twice as much, and let others have a turn meanwhile."""
    await asyncio.sleep(0.001)
    return double(x)


def fail(text: str, number: int = 0) -> None:
    """Raise a ValueError of two arguments."""
    raise ValueError(text, number)


def fail_thirds(x: int) -> int:
    """Raise for each third number, give twice as much for the others."""
    if x % 3 == 0:
        raise ValueError(f"no {x}")
    return double(x)


def end_all(name: str) -> None:
    """Raise what would end a program."""
    raise _BASES[name]("stop")


def give_up() -> None:
    """Say of itself that it is cancelled."""
    raise TaskCancelled("given up by the task itself")


class Refuses:
    """Can't be pickled; called, it would give 1."""

    def __reduce__(self) -> Any:  # Any: as in `object`
        """Refuse."""
        raise TypeError("this stays where it is")

    def __call__(self, *_: object) -> int:
        """Return 1."""
        return 1


class BadToLoad:
    """Can be pickled, and not be unpickled."""

    def __reduce__(self) -> Any:  # Any: as in `object`
        """Name a call that raises."""
        return fail, ("not to be loaded",)


def unfit(kind: str) -> Any:  # Any: a result that can't travel
    """Return what can't be pickled, or can't be unpickled."""
    return BadToLoad() if kind == "load" else Refuses()


# ---- what a task knows, and has


def facts() -> dict[str, Any]:  # Any: of several types
    """Return what the task knows of itself."""
    task = current_task()
    return {
        "task_id": task.task_id,
        "name": task.name,
        "attempt": task.attempt,
        "worker": task.worker_id,
        "left_s": task.time_remaining(),
        "cancelled": task.cancelled(),
    }


def tell(steps: int) -> int:
    """Tell progress, step by step."""
    for step in range(1, steps + 1):
        current_task().progress(step / steps, f"step {step}")
    return steps


def count(_: int) -> tuple[str, int]:
    """Return the worker, and the how-manieth call this is in it."""
    state = current_task().worker_state
    state["count"] = state.get("count", 0) + 1
    return current_task().worker_id, state["count"]


def get_ready() -> None:
    """Note in the worker's own dict that it was got ready."""
    state = current_task().worker_state
    state["ready"] = state.get("ready", 0) + 1


def how_often_ready(_: int) -> int:
    """Return how often the worker was got ready."""
    return int(current_task().worker_state.get("ready", 0))


def balk() -> None:
    """Fail the first time that a worker is got ready by this, and not again."""
    state = current_task().worker_state
    state["balked"] = state.get("balked", 0) + 1
    if state["balked"] == 1:
        raise OSError("no crane")


def look() -> str:
    """Return what the context variable is, and change it."""
    before = colour.get()
    colour.set("of a task")
    return before


def pid() -> int:
    """Return the process this runs in."""
    return os.getpid()


def allocate(mb: float, seconds: float) -> int:
    """Have so much memory for so long."""
    block = _used(mb)
    time.sleep(seconds)
    return len(block)


def _used(mb: float) -> bytearray:
    block = bytearray(int(mb * 1e6))
    for at in range(0, len(block), 4096):
        block[at] = 1
    return block


# ---- time, and files


def nap(seconds: float) -> tuple[float, float]:
    """Return when this began and when it ended, by the clock that all processes of the machine share."""
    began = time.monotonic()
    time.sleep(seconds)
    return began, time.monotonic()


async def nap_awaiting(seconds: float) -> tuple[float, float]:
    """As above, for a coroutine."""
    began = time.monotonic()
    await asyncio.sleep(seconds)
    return began, time.monotonic()


def note(path: Path, text: str) -> None:
    """Add a line to a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def hold(folder: Path, name: str) -> str:
    """Say that it has begun, with the process it is in, hold on until it is let go, and say that it has ended."""
    for _ in _held(folder, name):
        time.sleep(_LOOK_S)
    return "late"


def hoard(folder: Path, name: str, mb: float) -> str:
    """Hold on, with so much memory."""
    block = _used(mb)
    hold(folder, name)
    return f"{len(block)} bytes"


async def hold_awaiting(folder: Path, name: str) -> str:
    """As above, for a coroutine: says as well when it is cancelled."""
    try:
        for _ in _held(folder, name):
            await asyncio.sleep(_LOOK_S)
    except asyncio.CancelledError:
        (folder / f"{name}.cancelled").touch()
        raise
    return "late"


def _held(folder: Path, name: str) -> Iterator[None]:
    part = folder / f"{name}.part"
    part.write_text(str(os.getpid()), encoding="utf-8")
    part.rename(folder / f"{name}.began")
    until = time.monotonic() + HOLD_MOST_S
    while time.monotonic() < until and not any((folder / f"{one}.go").exists() for one in (name, ALL)):
        yield
    if folder.exists():
        (folder / f"{name}.ended").touch()


# ---- the same for executors that take coroutine functions only


class AsCoroutine:
    """A plain function, as a coroutine function."""

    def __init__(self, function: Function) -> None:
        """Call `function` when this is awaited."""
        self.function = function
        self.__name__ = getattr(function, "__name__", "task")

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:  # Any: the user's arguments and result
        """Call it."""
        return self.function(*args, **kwargs)


_AWAITING: Final[dict[Function, Function]] = {nap: nap_awaiting, hold: hold_awaiting}


def as_coroutine(function: Function) -> Function:
    """Return what does the same, and lets the loop go on while it waits."""
    if asyncio.iscoroutinefunction(function):
        return function
    return _AWAITING[function] if function in _AWAITING else AsCoroutine(function)
