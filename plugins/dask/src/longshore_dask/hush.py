"""What Dask logs of a connection of ours, dropped: that it is lost is told by us, once, in one line.

Dask logs tracebacks of everything that it stops or tries again, and prints them to stderr by itself, or Python
does where nobody has set up logging.
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

    loggers = [
        logging.getLogger(name) for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"
    ]
    for logger in loggers:
        logger.addFilter(passes)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(passes)
