"""One document as readers get it: its bytes and the limits, read from disk once and whole."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from longshore_documents.failures import Reason, refusal
from longshore_documents.limits import Limits


@dataclass(frozen=True, slots=True)
class Source:
    """A document's name (for messages, and for its suffix), bytes and limits."""

    name: str
    data: bytes
    limits: Limits

    @property
    def suffix(self) -> str:
        """The suffix in lower case, without the dot; empty where there is none."""
        return Path(self.name).suffix[1:].lower()


def load(path: str, limits: Limits) -> Source:
    """Read a regular file; raises DocumentError "unreadable", "too-large" or "empty"."""
    try:
        data = _read(path, limits.file_bytes)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise refusal(Reason.UNREADABLE, f"{path}: cannot be opened: {detail}") from error
    if not data:
        raise refusal(Reason.EMPTY, f"{path}: the file has no bytes")
    return Source(path, data, limits)


def _read(path: str, limit: int) -> bytes:
    # O_NONBLOCK: opening a named pipe must not wait for somebody to write to it.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise refusal(Reason.UNREADABLE, f"{path}: not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        message = f"{path}: larger than {limit / 1e6:g} MB; raise max_file_mb of the processor `extract` to read it"
        raise refusal(Reason.TOO_LARGE, message)
    return data
