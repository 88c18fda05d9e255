"""What the tests of streams without async share: functions that hold, the threads of streams, ways to read one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any


def ours() -> list[threading.Thread]:
    """Return the threads of streams, and those of the pools below them that can end."""
    kinds = ("longshore-sync", "longshore-sink", "longshore-journal", "asyncio_")
    return [thread for thread in threading.enumerate() if thread.name.startswith(kinds)]


class Held:
    """A plain function that holds until it is let go; nobody waits for it: 300 s is the same as for ever."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.inside = threading.Event()

    def __call__(self, number: int) -> int:
        if number:
            self.inside.set()
            self.go.wait(300)
        return number


def collect(stream: Iterator[Any], kept: list[Any]) -> None:
    """Read a stream to its end; what was given before an exception is kept."""
    for given in stream:
        kept.append(given)


def unmoved(pulled: Any, looks: int = 20) -> bool:
    """Tell whether the counter stands still; it is read without moving it."""
    seen = repr(pulled)
    for _ in range(looks):
        threading.Event().wait(0.002)
        if repr(pulled) != seen:
            return False
    return True


def double(number: int) -> int:
    return number * 2


async def double_async(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2
