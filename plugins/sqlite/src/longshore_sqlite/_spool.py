"""Large results, each in a file of its own that is named by its content; whole and lasting before any row names it."""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from pathlib import Path

from longshore.chaos import point
from longshore.errors import JournalError

from longshore_sqlite._faults import described
from longshore_sqlite._place import make_private, sync_folder

SPOOL_OVER = 64 << 10
"""Bytes: what is larger stands in a file of its own, and not among the rows."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


class Spool:
    """The folder of a run's large results."""

    def __init__(self, folder: Path) -> None:
        """Make nothing before there is something to keep."""
        self._folder = folder
        self._made = False
        self._before_spooling = point("journal.before-spooling")

    def write(self, data: bytes) -> str:
        """Keep data and return their name; they last when this returns. JournalError if that fails."""
        name = blake2b(data, digest_size=32).hexdigest()
        try:
            if not self._made:
                make_private(self._folder)
                self._made = True
            if not (self._folder / name).exists():
                self._put(name, data)
        except OSError as error:
            raise described(error, self._folder / name, "keep a result") from error
        return name

    def read(self, name: str) -> bytes:
        """Return what was kept under a name; JournalError if it is gone or is not what was written."""
        path = self._folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise described(error, path, "give a result back") from error
        if blake2b(data, digest_size=32).hexdigest() != name:
            raise JournalError(
                f"the recorded result {path} is damaged: it is not what was written", reason="damaged", path=str(path)
            )
        return data

    def _put(self, name: str, data: bytes) -> None:
        """Write a file that is there as a whole or not at all."""
        part = self._folder / f".{name}.{secrets.token_hex(4)}"
        descriptor = os.open(part, _NEW, 0o600)
        try:
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(descriptor, left) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._before_spooling("")
            os.rename(part, self._folder / name)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(self._folder)
