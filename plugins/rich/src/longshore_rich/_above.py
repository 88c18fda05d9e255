"""What others write while rows stand: standard streams and log handlers are led to the painter, line by line."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

_PARTIAL_MOST = 65_536
"""Characters of one unfinished line that are kept; a longer one is ended."""
_PATIENCE_S = 1.0
_STREAMS = ("stdout", "stderr")


class Above:
    """Stands in for a stream: whole lines go above the rows unchanged, an unfinished one waits for its end.

    After `end`, and in a forked child, it is the stream itself.
    """

    def __init__(self, stream: TextIO, put: Callable[[str], None]) -> None:
        """Hand whole lines to `put` instead of writing them to `stream`."""
        self._stream = stream
        self._put: Callable[[str], None] | None = put
        self._partial = ""
        self._lock = threading.RLock()
        self._pid = os.getpid()

    def write(self, text: str) -> int:
        """Take text."""
        put = self._put  # `end` may come meanwhile, from another thread
        if put is None or os.getpid() != self._pid:
            return self._stream.write(text)
        with self._lock:
            whole, newline, rest = (self._partial + text).rpartition("\n")
            self._partial = _overwritten(rest)
            if len(self._partial) > _PARTIAL_MOST:
                whole, newline, self._partial = whole + newline + self._partial, "\n", ""
            if newline:
                put(whole + newline)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Take several texts."""
        for line in lines:
            self.write(line)

    def end(self) -> None:
        """Be the stream itself from now on; what waited for the end of its line is written."""
        self._put = None
        if self._lock.acquire(timeout=_PATIENCE_S):
            try:
                rest, self._partial = self._partial, ""
                if rest:
                    self._stream.write(rest)
                    self._stream.flush()
            finally:
                self._lock.release()

    def __getattr__(self, name: str) -> Any:  # Any: whatever the stream has
        """Be the stream in all else."""
        return getattr(self._stream, name)


class Others:
    """Leads standard streams and log handlers that write to one terminal above the rows, and back."""

    def __init__(self, terminal: TextIO, put: Callable[[str], None]) -> None:
        """Prepare; nothing is led anywhere yet."""
        self._terminal = terminal
        self._put = put
        self._streams: dict[str, Above] = {}
        self._led: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []

    def take(self) -> None:
        """Lead the standard streams that write to our terminal, and the log handlers that hold them."""
        leads: dict[int, Above] = {}
        for name in _STREAMS:
            stream = getattr(sys, name)
            if stream is not None and same_terminal(stream, self._terminal):
                lead = leads.setdefault(id(stream), Above(stream, self._put))
                self._streams[name] = lead
                setattr(sys, name, lead)
        for handler in _handlers():
            if id(handler.stream) in leads:
                self._led.append((handler, handler.stream))
                handler.setStream(cast(TextIO, leads[id(handler.stream)]))

    def give_back(self) -> None:
        """Give every stream and handler back; one that somebody else has replaced meanwhile stays as it is."""
        for name, lead in self._streams.items():
            if getattr(sys, name) is lead:
                setattr(sys, name, lead._stream)
        for handler, stream in self._led:
            if isinstance(handler.stream, Above):
                handler.setStream(stream)
        for lead in self._streams.values():
            lead.end()
        self._streams.clear()
        self._led.clear()


def same_terminal(one: TextIO, other: TextIO) -> bool:
    """Tell whether two streams write to the same terminal."""
    if isinstance(one, Above):  # another view's, which shows what comes in above its own rows
        return False
    if one is other:
        return True
    try:
        places = [os.fstat(stream.fileno()).st_rdev for stream in (one, other) if stream.isatty()]
    except (OSError, ValueError, AttributeError):
        return False
    return len(places) == 2 and places[0] == places[1]


def _handlers() -> Iterator[logging.StreamHandler[TextIO]]:
    """Yield the stream handlers of all loggers, each once: a handler keeps the stream it was made with."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.copy().values()]
    found = {id(h): h for logger in loggers if isinstance(logger, logging.Logger) for h in logger.handlers}
    yield from (handler for handler in found.values() if isinstance(handler, logging.StreamHandler))


def _overwritten(line: str) -> str:
    """Return what a terminal shows of an unfinished line: a return takes it back to its beginning."""
    body = line.rstrip("\r")
    return body.rpartition("\r")[2] + line[len(body) :]
