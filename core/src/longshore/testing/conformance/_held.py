"""What the process holds, looked at before and after, so that what a plugin leaves behind is seen."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

_FILES = "/proc/self/fd"
_LOOK_S = 0.005


class Held(NamedTuple):
    """The threads that run and the files that are open; `files` is None where the system does not list them."""

    threads: frozenset[threading.Thread]
    files: Mapping[str, str] | None

    @classmethod
    def now(cls) -> Self:
        """Look."""
        return cls(frozenset(threading.enumerate()), _files())

    def new_threads(self, patience_s: float) -> Sequence[str]:
        """Return the names of threads that have come since, and have not ended within `patience_s`."""
        until = time.monotonic() + patience_s
        new = [thread for thread in threading.enumerate() if thread not in self.threads]
        for thread in new:
            thread.join(max(0.0, until - time.monotonic()))
        return sorted(thread.name for thread in new if thread.is_alive())

    def new_files(self, patience_s: float) -> Sequence[str]:
        """Return the files and sockets that were opened since, and were not closed within `patience_s`."""
        until = time.monotonic() + patience_s
        while (new := self._opened()) and time.monotonic() < until:
            gc.collect()  # what nobody refers to any more is shut by that
            time.sleep(_LOOK_S)  # between two looks at a condition: nobody tells of a file that is shut
        return new

    def _opened(self) -> Sequence[str]:
        here = _files() or {}
        return sorted(f"{number} ({what})" for number, what in here.items() if (self.files or {}).get(number) != what)


def _files() -> dict[str, str] | None:
    found: dict[str, str] = {}
    try:
        numbers = os.listdir(_FILES)
    except OSError:
        return None
    for number in numbers:
        try:
            found[number] = os.readlink(f"{_FILES}/{number}")
        except OSError:  # the one that the list was read from
            continue
    return found
