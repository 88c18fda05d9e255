"""The files in which Linux tells of itself, opened once and read as often as wanted, at a third of the cost."""

from __future__ import annotations

import os
import sys

TICKS_PER_S = os.sysconf("SC_CLK_TCK") if sys.platform != "win32" else 100
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if sys.platform != "win32" else 4096
_AT_ONCE_BYTES = 65536
_FULL_BYTES = 4000
"""The kernel gives a list a page at a time: a shorter answer was all of it."""


class KeptFile:
    """Reads a file; `keep` says whether it stays open between two readings.

    What was opened stays what it was: a process's file never shows another process that was given the same number.
    """

    __slots__ = ("_descriptor", "_keep", "_path")

    def __init__(self, path: str, *, keep: bool = True) -> None:
        """Take the path; nothing is opened yet."""
        self._path = path
        self._keep = keep
        self._descriptor: int | None = None

    def read(self) -> bytes:
        """Return all of it; b"" where it is not there, cannot be read, or what it tells of has gone."""
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            data = part = os.pread(self._descriptor, _AT_ONCE_BYTES, 0)
            while len(part) >= _FULL_BYTES:
                part = os.pread(self._descriptor, _AT_ONCE_BYTES, len(data))
                data += part
        except OSError:
            self.close()
            return b""
        if not self._keep:
            self.close()
        return data

    def close(self) -> None:
        """Close it; the next reading opens it anew."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        """Leave nothing open."""
        self.close()
