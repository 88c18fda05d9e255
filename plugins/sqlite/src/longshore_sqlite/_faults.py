"""What SQLite and the operating system say, in words: one JournalError that names what happened, to which file."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from longshore.errors import JournalError

_WORDS = {
    "SQLITE_FULL": ("full", "the disk is full, or over its quota"),
    "SQLITE_BUSY": ("locked", "another process holds it"),
    "SQLITE_LOCKED": ("locked", "another connection holds it"),
    "SQLITE_IOERR": ("io", "the disk could not read or write it"),
    "SQLITE_CORRUPT": ("damaged", "it is damaged"),
    "SQLITE_NOTADB": ("damaged", "it is no journal, or damaged"),
    "SQLITE_READONLY": ("readonly", "it may not be written"),
    "SQLITE_CANTOPEN": ("unopened", "it can't be opened"),
    "SQLITE_PERM": ("readonly", "access to it is denied"),
}
_ERRNO = {
    errno.ENOSPC: "SQLITE_FULL",
    errno.EDQUOT: "SQLITE_FULL",
    errno.EFBIG: "SQLITE_FULL",
    errno.EIO: "SQLITE_IOERR",
}


def name_of(error: sqlite3.Error | OSError) -> str:
    """Return SQLite's name for an error, without what follows its first part."""
    if isinstance(error, OSError):
        return _ERRNO.get(error.errno or 0, f"OSError {errno.errorcode.get(error.errno or 0, '')}".strip())
    name: str = getattr(error, "sqlite_errorname", None) or type(error).__name__
    return "_".join(name.split("_")[:2])


def described(error: sqlite3.Error | OSError, path: Path, doing: str) -> JournalError:
    """Return what is told of an error while `doing` something with the journal at `path`."""
    name = name_of(error)
    reason, words = _WORDS.get(name, ("failed", "it failed"))
    detail = getattr(error, "sqlite_errorname", name)
    told = JournalError(
        f"the journal {path} could not {doing}: {words} ({detail}: {error}); {_ADVICE.get(reason, _LAST)}",
        reason=reason,
        path=str(path),
        error=detail,
    )
    told.__cause__ = error
    return told


_LAST = "what was told of before that is kept, and the run can go on from there"
_ADVICE = {
    "full": "make room and resume the run: what was told of before that is kept",
    "locked": "end what holds it, or wait longer for it by journals.sqlite.busy_timeout_s",
    "damaged": "restore it, or begin a new run",
    "io": "look at the disk before the run goes on; nothing more is written here",
}
