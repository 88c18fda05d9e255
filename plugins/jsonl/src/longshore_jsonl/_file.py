"""The file: bytes that are whole lines come in, and stand in the file in that order; called by the sink alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
"""Windows has neither of the last two."""


class AppendFile:
    """A file, private to its user, that is only ever appended to; a torn last line is closed before more is written."""

    def __init__(self, path: Path, *, append: bool) -> None:
        """Open or make the file; raises OSError, for a symbolic link too."""
        self._path = path
        self._descriptor = -1
        self._torn = False
        self._open(_FLAGS if append else _FLAGS | os.O_TRUNC)

    def write(self, lines: bytes) -> None:
        """Append whole lines; raises OSError when the disk is full, and may then have written a part of them."""
        self._follow()
        left = memoryview(b"\n" + lines if self._torn else lines)
        while left:
            written = os.write(self._descriptor, left)
            self._torn = left[written - 1] != ord("\n")
            left = left[written:]

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
