"""What Dask logs of a connection of ours, kept off its own handlers: that it is lost is told by us, once, in one line.

Dask prints to stderr by itself, tracebacks included, and says so of everything that it stops or tries again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def hushed(alive: Callable[[], bool]) -> Iterator[None]:
    """Drop what is logged by Dask on this thread: below an error, and, where the connection is not `alive`, errors."""
    own = threading.get_ident()

    def passes(record: logging.LogRecord) -> bool:
        return record.thread != own or (record.levelno >= logging.ERROR and alive())

    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]
    handlers = {handler for name in names for handler in logging.getLogger(name).handlers}
    for handler in handlers:
        handler.addFilter(passes)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(passes)
