"""The file: bytes that are whole lines come in, and stand in the file in that order; called by the sink alone."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Self

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
"""Windows has neither of the last two."""
_log = logging.getLogger("longshore.jsonl")


class AppendFile:
    """A file, private to its user, that is only ever appended to; a torn last line is closed before more is written.

    With `most_bytes` it is moved to `<name>.1`, what was there to `<name>.2` and so on up to `keep`, before it would
    grow beyond that. It is cut between lines: each stands whole in one of the files, a longer one in a file by itself.
    """

    def __init__(self, path: Path, *, append: bool, most_bytes: int | None = None, keep: int = 1) -> None:
        """Open or make the file; raises OSError, for a symbolic link too."""
        self._path = path
        self._most_bytes = most_bytes
        self._keep = keep
        self._descriptor = -1
        self._torn = False
        self._stuck_until = 0  # bytes: that large it is to grow before it is tried again to move it
        self._open(_FLAGS if append else _FLAGS | os.O_TRUNC)

    def write(self, lines: bytes) -> None:
        """Append whole lines; raises OSError when the disk is full, and may then have written a part of them."""
        self._follow()
        if self._most_bytes is None:
            self._append(lines)
            return
        left = memoryview(lines)
        while left:
            part = left[: self._fitting(lines, len(lines) - len(left))]
            self._append(part)
            left = left[len(part) :]

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor != -1:
            os.close(descriptor)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _append(self, lines: bytes | memoryview) -> None:
        left = memoryview(b"\n" + bytes(lines) if self._torn else lines)
        while left:
            written = os.write(self._descriptor, left)
            self._torn = left[written - 1] != ord("\n")
            left = left[written:]

    def _open(self, flags: int) -> None:
        descriptor = os.open(self._path, flags, 0o600)
        self.close()
        self._descriptor = descriptor
        size = os.fstat(descriptor).st_size
        self._torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"

    def _follow(self) -> None:
        """Open the path anew when the file was moved away, as log rotation does."""
        here = os.fstat(self._descriptor)
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            self._open(_FLAGS)

    def _fitting(self, lines: bytes, start: int) -> int:
        """Return how many bytes of `lines` from `start` on go into the file now; make room where not one line does."""
        most = self._most_bytes or 0
        size = os.fstat(self._descriptor).st_size
        rest = len(lines) - start
        room = max(most, self._stuck_until) - size - self._torn
        if rest <= room:
            return rest
        end = lines.rfind(b"\n", start, start + max(0, room)) + 1
        if end > start:
            return end - start
        if size and not self._rotate(size, most):
            return rest  # where nothing can be moved, it is better to have one large file than to lose lines
        end = lines.rfind(b"\n", start, start + most) + 1
        return (end if end > start else lines.index(b"\n", start) + 1) - start

    def _rotate(self, size: int, most: int) -> bool:
        """Move the file away and begin a new one; False, and said, where that can't be done."""
        try:
            names = self._names()
            for newer, older in zip(reversed(names[:-1]), reversed(names[1:]), strict=True):
                os.replace(newer, older)
            self._open(_FLAGS)
        except OSError as error:
            self._stuck_until = size + most
            _log.warning("%s is not rotated, and grows on: %s", self._path, error)
            return False
        self._stuck_until = 0
        return True

    def _names(self) -> list[Path]:
        """Return the files that move up by one name, and the first name that is free or the last that there may be."""
        names = [self._path]
        for number in range(1, self._keep + 1):
            names.append(self._path.with_name(f"{self._path.name}.{number}"))
            if not names[-1].exists():
                break
        return names
