"""A worker's log: which records it makes is what the controller would let through, and each goes there with its task.

`levels` is the controller's, all else is the worker's; `relay.py` takes the records over there.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from typing import Any, Final

from longshore.pickling import PROTOCOL

from longshore_processes import frames
from longshore_processes.codec import SCALARS
from longshore_processes.seat import Link, ProcessSeat

_TEXT_CAP: Final = 16_384  # characters kept of a log message or its traceback
_AS_IT_IS: Final = [
    "name",
    "levelno",
    "levelname",
    "pathname",
    "filename",
    "module",
    "lineno",
    "funcName",
    "created",
    "msecs",
    "process",
    "threadName",
    "stack_info",
]
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def levels() -> dict[str, int]:
    """Return the levels that are set here, by logger; the root's is under ""."""
    loggers = logging.root.manager.loggerDict.copy().items()
    set_here = {name: logger.level for name, logger in loggers if isinstance(logger, logging.Logger) and logger.level}
    return {"": logging.root.level, **set_here}


def set_levels(disabled: int, by_logger: Mapping[str, int]) -> None:
    """Make only the records that the controller wants."""
    logging.disable(disabled)
    for name, level in by_logger.items():
        logging.getLogger(name).setLevel(level)


class RecordHandler(logging.Handler):
    """Sends log records to the controller, with the task that made them."""

    def __init__(self, seat: ProcessSeat, link: Link) -> None:
        """Send over `link`."""
        super().__init__()
        self._seat = seat
        self._link = link
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; what can't be formatted or sent is the logging module's to report."""
        try:
            self._link.send(frames.LOG, 0, pickle.dumps(self._fields(record), PROTOCOL))
        except Exception:  # noqa: BLE001 - a record's arguments are user code; logging says what to do
            self.handleError(record)

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:  # Any: a record's fields
        given = vars(record)
        task = self._seat.task()
        text = record.exc_text or (self._formatter.formatException(record.exc_info) if record.exc_info else None)
        return {
            **{name: value for name, value in given.items() if name not in _OWN and type(value) in SCALARS},
            **{name: given[name] for name in _AS_IT_IS},
            "msg": record.getMessage()[:_TEXT_CAP],
            "exc_text": text and text[-_TEXT_CAP:],
            "processName": self._seat.worker_id,
            "task_id": task and task.task_id,
            "task_name": task and task.name,
            "worker_id": self._seat.worker_id,
        }
