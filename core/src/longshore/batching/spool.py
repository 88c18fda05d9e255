"""What a worker writes down of its batches, so that its death tells what had ended, and what it was at.

One folder for each run on each machine, for this user only, under a name that nobody can guess. A batch's file is there
from before its first attempt begins, and has a record of each that ended. A process that is killed leaves it, and any
worker on the same machine can read it then.
"""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from longshore.batching.codec import load
from longshore.batching.words import Record

LARGE: Final = 1 << 20
"""Records above are not written: their attempt counts as the one that ran, if the worker dies before they are sent."""
_LENGTH: Final = struct.Struct("<Q")


def _folder(run: str) -> str:
    return os.path.join(tempfile.gettempdir(), f"longshore-{run}")


def _file(run: str, home: str, number: int) -> str:
    return os.path.join(_folder(run), f"{home}.{number}")


class Spool:
    """A worker's own side."""

    def __init__(self, run: str, home: str) -> None:
        """Write nothing yet."""
        self._run, self.home = run, home

    def open(self) -> bool:
        """Make the folder and the mark by which readers see that it is theirs to read; False where that can't be."""
        folder = _folder(self._run)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            facts = os.lstat(folder)
            if os.path.islink(folder) or (hasattr(os, "getuid") and facts.st_uid != os.getuid()):
                return False
            os.close(os.open(os.path.join(folder, self.home), os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError:
            return False
        return True

    def begin(self, number: int) -> int | None:
        """Open a batch's file; None where that can't be."""
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
            return os.open(_file(self._run, self.home, number), flags, 0o600)
        except OSError:
            return None

    def renounce(self) -> None:
        """Have nobody believe what is written here: a batch that begins can't be written down."""
        with suppress(OSError):
            os.unlink(os.path.join(_folder(self._run), self.home))

    def forget(self, numbers: Iterable[int]) -> None:
        """Remove the files of these batches."""
        for number in numbers:
            with suppress(OSError):
                os.unlink(_file(self._run, self.home, number))

    def close(self) -> None:
        """Remove what is this worker's, and the folder if nobody else has anything there."""
        remove_of(self._run, self.home)


def write(fd: int, record: Record) -> bool:
    """Append a record; False where it was not written, and none after it may be."""
    if len(record.data) > LARGE:
        return False
    data = pickle.dumps(tuple(record), 5)
    try:
        return os.write(fd, _LENGTH.pack(len(data)) + data) == _LENGTH.size + len(data)
    except OSError:
        return False


def read(run: str, home: str, numbers: Iterable[int]) -> dict[int, list[Record] | None] | None:
    """Return the records of batches of a worker that died, None for one that had not begun.

    None for all where nothing of that worker is to be seen on this machine.
    """
    if not os.path.exists(os.path.join(_folder(run), home)):
        return None
    return {number: _records(_file(run, home, number)) for number in numbers}


def remove_of(run: str, home: str) -> None:
    """Remove all that a worker wrote down."""
    folder = _folder(run)
    with suppress(OSError):
        for name in os.listdir(folder):
            if name == home or name.startswith(f"{home}."):
                os.unlink(os.path.join(folder, name))
        os.rmdir(folder)


def remove_all(run: str) -> None:
    """Remove what all workers of this machine wrote down, those that were killed included."""
    shutil.rmtree(_folder(run), ignore_errors=True)


def _records(path: str) -> list[Record] | None:
    try:
        with open(path, "rb") as file:
            whole = file.read()
    except OSError:
        return None
    records, at = [], 0
    while at + _LENGTH.size <= len(whole):
        (size,) = _LENGTH.unpack_from(whole, at)
        at += _LENGTH.size
        if at + size > len(whole):  # it died in the middle of this one
            break
        records.append(Record(*load(whole[at : at + size])))
        at += size
    return records


__all__ = ["LARGE", "Spool", "read", "remove_all", "remove_of", "write"]
