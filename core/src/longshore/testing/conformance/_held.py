"""What the process holds, and how it is set up, looked at before and after, so that what a plugin leaves is seen."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

_FILES = "/proc/self/fd"
_LOOK_S = 0.005
_WORDS = {
    "folder": "the working folder",
    "environ": "os.environ",
    "stdout": "sys.stdout",
    "stderr": "sys.stderr",
    "excepthook": "sys.excepthook",
    "thread_excepthook": "threading.excepthook",
    "log_level": "the level of the root logger",
    "log_handlers": "the handlers of the root logger",
}


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


class Common(NamedTuple):
    """What all that runs in one process has in common, and no plugin may change for the others."""

    folder: str
    environ: Mapping[str, str]
    stdout: object
    stderr: object
    excepthook: object
    thread_excepthook: object
    log_level: int
    log_handlers: Sequence[object]

    @classmethod
    def now(cls) -> Self:
        """Look."""
        log = logging.getLogger()
        streams = (sys.stdout, sys.stderr, sys.excepthook, threading.excepthook)
        return cls(os.getcwd(), dict(os.environ), *streams, log.level, tuple(log.handlers))

    def changed(self) -> Sequence[str]:
        """Return in words what is another now."""
        return [_WORDS[name] for name, was, is_ in zip(self._fields, self, Common.now(), strict=True) if was != is_]


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
