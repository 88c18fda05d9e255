"""`out.jsonl` once more, for a run that goes on: which inputs have their line, and where to write those of the others.

In: the file as an earlier run left it, ended by whatever at whatever byte. Out: the same file, of whole lines only, at
most one an input.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from longshore._output_file import output_file
from longshore.cli.console import UsageError
from longshore.task import TaskState

_BEGINS: Final = b'{"input": '
_TAIL_BYTES: Final = 1 << 16


class Resumed(NamedTuple):
    """A file that goes on: where to write, and the inputs that have their line."""

    descriptor: int
    done: Mapping[str, TaskState]


class _Line(msgspec.Struct):
    input: str
    status: TaskState
    result: msgspec.Raw
    error: msgspec.Raw


def not_run(_name: str, state: TaskState) -> bool:
    """Tell whether an input of this status has not been tried to its end, so that a run that goes on begins it anew."""
    return state is TaskState.CANCELLED


@contextmanager
def resumed_file(path: str, again: Callable[[str, TaskState], bool] = not_run) -> Iterator[Resumed]:
    """Open the file of an earlier run to go on with; what is written is appended.

    A last line that was cut short is taken away: its input has none. So are the lines of inputs to be tried
    `again`, and all but the last one of an input; where that changes the file, a new one takes its place in one step. A
    file that is not there begins empty. UsageError for one that cannot be opened, and for one with lines that no run
    wrote, which stays as it is.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    try:
        last, whole = _last_lines(path)
        _seal(path, descriptor)
        kept = {name: found for name, found in last.items() if not again(name, found.state)}
        if len(kept) < whole:
            os.close(descriptor)
            descriptor = -1
            _rewrite(path, {found.number for found in kept.values()})
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | getattr(os, "O_CLOEXEC", 0))
        yield Resumed(descriptor, {name: found.state for name, found in kept.items()})
    finally:
        if descriptor >= 0:
            os.close(descriptor)


class _Found(NamedTuple):
    number: int
    state: TaskState


def _last_lines(path: str) -> tuple[dict[str, _Found], int]:
    """Return the last whole line of each input, and how many lines are whole; UsageError for one that is not ours."""
    last: dict[str, _Found] = {}
    whole = 0
    with open(path, "rb") as file:
        for number, text in enumerate(file):
            line = _parsed(text)
            if line is not None:
                last[line[0]] = _Found(number, line[1])
                whole += 1
            elif text.endswith(b"\n") or not _is_torn(text):
                raise UsageError(
                    f"{path}, line {number + 1}: this is not what a run writes; name another file, or mend that line"
                )
    return last, whole


def _parsed(text: bytes) -> tuple[str, TaskState] | None:
    try:
        line = msgspec.json.decode(text, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):  # of a name that is no UTF-8, too, which is written in escapes
        return _parsed_slowly(text)
    return line.input, line.status


def _parsed_slowly(text: bytes) -> tuple[str, TaskState] | None:
    try:
        line: Any = json.loads(text)  # Any: unchecked
        found = msgspec.convert({**line, "input": ""}, _SlowLine)
        return (line["input"], found.status) if isinstance(line["input"], str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


class _SlowLine(msgspec.Struct):
    status: TaskState
    result: Any  # Any: the user's result
    error: Any  # Any: null or an object


def _is_torn(text: bytes) -> bool:
    """Tell whether this may be the beginning of one of our lines; zeros are what a loss of power leaves of some."""
    written = text.rstrip(b"\0")
    return written.startswith(_BEGINS) or _BEGINS.startswith(written)


def _seal(path: str, descriptor: int) -> None:
    """End the last line, if it is whole but for its end, or take it away."""
    with open(path, "rb") as file:
        begin, tail = _tail(file)
    if not tail:
        return
    if _parsed(tail) is not None:
        os.write(descriptor, b"\n")
    else:
        os.ftruncate(descriptor, begin)


def _tail(file: BinaryIO) -> tuple[int, bytes]:
    """Return what stands after the last end of a line, and where that begins."""
    at = file.seek(0, os.SEEK_END)
    tail = b""
    while at:
        step = min(at, _TAIL_BYTES)
        at = file.seek(at - step)
        tail = file.read(step) + tail
        before, end, rest = tail.rpartition(b"\n")
        if end:
            return at + len(before) + 1, rest
    return 0, tail


def _rewrite(path: str, numbers: set[int]) -> None:
    """Keep these lines only; the file is the old one or the new one at any moment."""
    with open(path, "rb") as old, output_file(path, "wb", None, None, lambda: None) as new:
        for number, text in enumerate(old):
            if number in numbers:
                new.write(text)
