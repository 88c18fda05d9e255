"""The last lines that were logged: by longshore itself, and by tasks whoever logs them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Self

from longshore import TaskLogFilter
from msgspec import Struct

from longshore_dashboard._plain import cut

LINES = 2_000
"""So many are kept, the newest."""
_CHARS = 2_000
_TRACE_CHARS = 8_000
_PAGE = 500
_OURS = "longshore"


class LogLine(Struct, frozen=True, kw_only=True):
    """One line."""

    number: int
    at: float
    """Seconds since 1970."""
    level: str
    logger: str
    message: str
    task_id: str | None = None


class LogRing:
    """The newest lines; may be read from any thread.

    As a context manager it listens at the logger `longshore`, and at the root logger for what tasks log. Where nobody
    else would show a warning, it is still printed, as Python does without a handler.
    """

    def __init__(self) -> None:
        """Have no lines yet."""
        self._lines: deque[LogLine] = deque(maxlen=LINES)
        self._lock = threading.Lock()
        self._ears = ((logging.getLogger(_OURS), _Ear(self, ours=True)), (logging.getLogger(), _Ear(self, ours=False)))
        self.count = 0
        """How many lines there were in all."""

    def __enter__(self) -> Self:
        """Listen."""
        for logger, ear in self._ears:
            logger.addHandler(ear)
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more; a second time does nothing."""
        for logger, ear in self._ears:
            logger.removeHandler(ear)

    def keep(self, record: logging.LogRecord, task_id: str | None) -> None:
        """Keep a record."""
        said = _said(record)
        with self._lock:
            self.count += 1
            self._lines.append(
                LogLine(
                    number=self.count,
                    at=record.created,
                    level=record.levelname,
                    logger=cut(record.name, 256),
                    message=said,
                    task_id=task_id,
                )
            )

    def lines(self, after: int = 0, level: int = logging.NOTSET, part: str = "") -> Sequence[LogLine]:
        """Return the lines that came after this number, of this level or above, and with this text.

        They are 500 at most: the newest, or with `after` the ones that follow it.
        """
        with self._lock:
            kept = list(self._lines)
        wanted = part.lower()
        found = [line for line in kept if line.number > after and _level(line.level) >= level]
        found = [line for line in found if wanted in f"{line.message} {line.logger} {line.task_id}".lower()]
        return found[:_PAGE] if after else found[-_PAGE:]


class _Ear(logging.Handler):
    """Hears our records, or those of others."""

    def __init__(self, ring: LogRing, *, ours: bool) -> None:
        super().__init__()
        self._ring = ring
        self._ours = ours
        self.addFilter(TaskLogFilter())

    def emit(self, record: logging.LogRecord) -> None:
        if _is_ours(record.name) is not self._ours:
            return
        heard = any(not isinstance(handler, _Ear) for handler in _handlers(logging.getLogger(record.name)))
        if not heard and logging.lastResort is not None and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)
        task_id = getattr(record, "task_id", None)
        whose = cut(task_id, 256) if isinstance(task_id, str) else None
        if self._ours or whose is not None:
            self._ring.keep(record, whose)


def _handlers(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def _is_ours(name: str) -> bool:
    return name == _OURS or name.startswith(f"{_OURS}.")


def _level(name: str) -> int:
    return logging.getLevelNamesMapping().get(name, logging.INFO)


def _said(record: logging.LogRecord) -> str:
    try:
        said = cut(record.getMessage(), _CHARS)
        if record.exc_info and record.exc_info[0] is not None:
            return f"{said}\n{cut(logging.Formatter().formatException(record.exc_info), _TRACE_CHARS)}"
        return f"{said}\n{cut(record.exc_text, _TRACE_CHARS)}" if record.exc_text else said
    except Exception as error:  # noqa: BLE001 - what is logged is anybody's, and formatting it may do anything
        return f"a line that cannot be shown: {type(error).__name__}"
