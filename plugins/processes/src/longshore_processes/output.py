"""What a worker writes to its standard output and error: marked there with its items, taken apart here.

Both share one pipe. In the worker, Python's own streams put a mark into it before the first text of each item; that
costs items that write nothing nothing. The controller takes the marks out again, passes the text on in lines, and keeps
the last of each item until the item is settled. What C code and other programs write carries no mark: it counts as of
the item that last wrote with one, if that is not settled, else of the one that runs as it is read.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TextIO

from longshore.errors import TaskFailed
from longshore.task import Outcome
from longshore.worker import OutcomeColumns
from msgspec.structs import replace

from longshore_processes.frames import IDLE, Words

TAIL_BYTES: Final = 4096
"""So much of what a task wrote last is kept."""
_ITEMS: Final = 64  # of which texts are kept at once: more of them are of a batch of short tasks that all write
_MARK: Final = re.compile(rb"\x00\x1e(-?\d{1,19})\x1e\x00")
_PART: Final = re.compile(rb"\x00(?:\x1e(?:-?\d{0,19}\x1e?)?)?\Z")  # of a mark, at the end of what was read


class _Marks:
    """Which item has its mark in the pipe already, for both streams."""

    __slots__ = ("_fd", "_last", "_words")

    def __init__(self, words: Words) -> None:
        self._words = words
        self._last = IDLE

    def put(self, fd: int) -> None:
        """Write the mark of the item that runs, if another's was the last."""
        serial = self._words.running()[0]
        if serial != self._last:
            self._last = serial
            os.write(fd, b"\x00\x1e%d\x1e\x00" % serial)


class _Marked(io.FileIO):
    def __init__(self, fd: int, marks: _Marks) -> None:
        super().__init__(fd, "wb", closefd=False)
        self._marks = marks

    def write(self, data: Any) -> int:  # Any: what has a buffer, which has no name before Python 3.12
        self._marks.put(self.fileno())
        return super().write(data)


def mark_streams(words: Words) -> None:
    """In a worker: have what Python's standard streams write carry the mark of the item that runs."""
    marks = _Marks(words)
    sys.stdout = _marked(sys.stdout, 1, marks)
    sys.stderr = _marked(sys.stderr, 2, marks)


def flush_streams() -> None:
    """In a worker: write out what a failing item has written so far."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):  # closed, or replaced by something of the user's
            stream.flush()


def _marked(stream: TextIO, fd: int, marks: _Marks) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(_Marked(fd, marks)), encoding=stream.encoding, errors=stream.errors, line_buffering=True
    )


class Output:
    """The controller's view of what one worker writes: lines go to `emit`, and the last text of each item is kept."""

    __slots__ = ("_carry", "_emit", "_marked", "_tails", "_whose")

    def __init__(self, emit: Callable[[bytes], None], whose: Callable[[int], int]) -> None:
        """Call `whose` with the item last marked to learn whose text without a mark is."""
        self._emit = emit
        self._whose = whose
        self._carry = b""
        self._marked = IDLE
        self._tails: dict[int, bytes] = {}

    def feed(self, data: bytes) -> None:
        """Take some of what was written."""
        if self._carry or b"\x00" in data:
            data = self._unmark(self._carry + data)
        elif data:
            self._keep(self._whose(self._marked), data)
        if data:
            self._emit(data)

    def finish(self) -> None:
        """Take what was held back for the rest of a mark, which will not come."""
        if self._carry:
            carry, self._carry = self._carry, b""
            self._emit(carry)

    def settle(self, outcomes: Sequence[Outcome], serial: int) -> Sequence[Outcome]:
        """Return outcomes of items from `serial` on, failures with what they had written; forget what all had."""
        if not self._tails:
            return outcomes
        shown: Sequence[Outcome] = outcomes
        if type(outcomes) is not OutcomeColumns:  # those have all completed
            shown = [with_tail(outcome, self.tail(serial + at)) for at, outcome in enumerate(outcomes)]
        end = serial + len(outcomes)
        self._tails = {item: text for item, text in self._tails.items() if item >= end}
        return shown

    def tail(self, serial: int) -> str:
        """Return the last of what an item has written, "" for nothing."""
        return _text(self._tails.get(serial, b""))

    def last(self, serial: int) -> str:
        """Return the same, or all that is kept where it has no text of its own: it died, and took its mark along."""
        return self.tail(serial) or _text(b"".join(self._tails.values())[-TAIL_BYTES:])

    def _unmark(self, data: bytes) -> bytes:
        *rest, last = _MARK.split(data)
        part = _PART.search(last)
        self._carry = part.group() if part is not None else b""
        texts = [*rest[::2], last[: part.start()] if part is not None else last]
        if texts[0]:
            self._keep(self._whose(self._marked), texts[0])
        for number, text in zip(rest[1::2], texts[1:], strict=True):
            self._marked = int(number)
            self._keep(self._marked, text)
        return b"".join(texts)

    def _keep(self, serial: int, text: bytes) -> None:
        if serial == IDLE or not text:
            return
        self._tails[serial] = (self._tails.get(serial, b"") + text)[-TAIL_BYTES:]
        if len(self._tails) > _ITEMS:
            del self._tails[next(iter(self._tails))]


def with_tail(outcome: Outcome, text: str) -> Outcome:
    """Return the outcome with what its task wrote last, if it failed."""
    if outcome.error is None or not text:
        return outcome
    return replace(outcome, error=replace(outcome.error, output_tail=text))


def died_with(outcomes: Sequence[Outcome], text: str) -> list[Outcome]:
    """Return the outcomes of a worker's end with what it wrote last, which their exceptions, ours, tell as a note."""
    for outcome in outcomes:
        if text and isinstance(outcome.exception, TaskFailed):
            outcome.exception.add_note(f"what it wrote last:\n{text}")
    return [with_tail(outcome, text) for outcome in outcomes]


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace").strip("\n")
