"""`out.jsonl`: one line an input, holding only what the input determines."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

from longshore._calling import json_text
from longshore.cli.console import UsageError
from longshore.errors import LongshoreError, PayloadError
from longshore.task import ErrorRecord, TaskState
from longshore.worker import type_name

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_REASON_CAP = 500  # characters of a message that stands in for a reason
_SAID_IN_FULL = ("vetoed", "refused", "no module")
"""Words that say only that something would not have it, or what is missing; why, and which, stands in the message."""


@contextmanager
def stdout_for_data() -> Iterator[int]:
    """Give a descriptor for what is data; all else that prints to stdout, here or in a worker, goes to stderr."""
    try:
        sys.stdout.flush()
        data, saved = os.dup(1), os.dup(1)
    except (OSError, AttributeError) as error:
        raise UsageError("stdout is closed: send it to a file, or to /dev/null") from error
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield data
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)
        os.close(data)


@contextmanager
def output_file(path: str) -> Iterator[int]:
    """Open the file of results and give its descriptor; UsageError if it cannot be.

    What it held stays until the first line is written, and a new file to which none was written is taken away again.
    """
    new = not os.path.lexists(path)
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    try:
        yield opened
    finally:
        empty = os.fstat(opened).st_size == 0
        os.close(opened)
        if new and empty:
            with suppress(OSError):
                os.unlink(path)


class Lines:
    """Writes whole lines, each at once, to a descriptor that somebody else opened."""

    def __init__(self, descriptor: int, *, anew: bool = False) -> None:
        """Write there; `anew` empties the file before the first line."""
        self._descriptor = descriptor
        self._anew = anew
        self._drawn_on = _terminal_of_stderr(descriptor)
        self.begun = False
        """Whether anything was written."""

    def write(self, line: str) -> None:
        """Write one line; BrokenPipeError if nobody reads, LongshoreError if it cannot be."""
        self._put(_bytes(line))

    def write_name(self, name: str) -> None:
        """Write a file's name as it is, byte for byte."""
        self._put(os.fsencode(name) + b"\n")

    def _put(self, data: bytes) -> None:
        if not self.begun and self._anew and stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.ftruncate(self._descriptor, 0)
        self.begun = True
        try:
            if self._drawn_on:  # by a live view, which has to put it above its rows
                sys.stderr.write(data.decode("utf-8", "surrogateescape"))
                sys.stderr.flush()
                return
            self._write_all(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise LongshoreError(f"the output cannot be written: {error.strerror}") from error

    def _write_all(self, data: bytes) -> None:
        """Write all of it; what of it came to a file that then could take no more is taken back."""
        left = data
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            if len(left) < len(data) and stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                os.ftruncate(self._descriptor, os.lseek(self._descriptor, 0, os.SEEK_CUR) - (len(data) - len(left)))
            raise


def _terminal_of_stderr(descriptor: int) -> bool:
    """Tell whether the descriptor is the terminal that standard error is."""
    try:
        return (
            sys.stderr.isatty()
            and os.isatty(descriptor)
            and os.fstat(descriptor).st_rdev == os.fstat(sys.stderr.fileno()).st_rdev
        )
    except (OSError, ValueError, AttributeError):
        return False


def line(name: str, state: TaskState, result: str = "null", error: tuple[str, str] | None = None) -> str:
    """Return the line of one input, given its result as JSON, and type and reason of its error."""
    told = "null" if error is None else json_text({"type": error[0], "reason": error[1]})
    return f'{{"input": {json_text(name)}, "status": "{state.value}", "result": {result}, "error": {told}}}\n'


def error_facts(error: ErrorRecord | None, state: TaskState) -> tuple[str, str] | None:
    """Return type and reason as far as the input determines them: no ids, no addresses.

    The reason is a word where there is one, unless the word says no more than that the message has more.
    """
    if error is None:
        return None if state is TaskState.COMPLETED else (state.value, state.value)
    first = error.message.strip().split("\n")[0]
    word = None if error.reason in _SAID_IN_FULL else error.reason
    return error.type, word or _ADDRESS.sub("", first)[:_REASON_CAP] or error.type


def payload_facts(error: PayloadError) -> tuple[str, str]:
    """Return type and reason of a result that is not JSON."""
    return type_name(error), str(error)[:_REASON_CAP]


def _bytes(line: str) -> bytes:
    try:
        return line.encode("utf-8")
    except UnicodeEncodeError:  # a name that is no UTF-8: its bytes survive as the escapes Python reads them back from
        return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in line).encode("utf-8")
