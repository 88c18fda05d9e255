"""What an input file holds, in few bytes: enough to know it again after a run was ended and the file moved or edited.

In: paths. Out: fingerprints. Size and times come first, and the content is read where they leave a doubt.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from longshore._canonical import NoIdentity

GRANULARITY_NS: Final = 2_000_000_000
"""The coarsest step of a file's times in use: FAT's 2 s. Of two writes within one step the times tell nothing."""
_CHUNK_BYTES: Final = 1 << 20
_TRIES: Final = 3


class Fingerprint(Struct, frozen=True):
    """What a file held when it was read; as an argument of a task, its content counts for the key, not its name."""

    size: int
    digest: str
    """blake2b of the content, 32 hexadecimal digits."""
    mtime_ns: int
    ctime_ns: int
    inode: int
    read_ns: int
    """When its reading began, by the clock of the wall: a write soon after may leave the times as they are."""

    def __longshore_identity__(self) -> tuple[int, str]:
        """Go by the content."""
        return self.size, self.digest

    def holds(self, found: os.stat_result, granularity_ns: int = GRANULARITY_NS) -> bool:
        """Tell whether a file of these facts has this content for sure, without reading it.

        It has where size, times and inode are as they were, and the last change was over by more than `granularity_ns`
        when it was read: else it may have been written once more within the same step of the clock.
        """
        same = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino) == (
            self.size,
            self.mtime_ns,
            self.ctime_ns,
            self.inode,
        )
        return same and max(self.mtime_ns, self.ctime_ns) + granularity_ns < self.read_ns


def fingerprint(
    path: str | os.PathLike[str],
    known: Fingerprint | None = None,
    *,
    clock_ns: Callable[[], int] = time.time_ns,
    granularity_ns: int = GRANULARITY_NS,
) -> Fingerprint:
    """Return the fingerprint of a regular file; `known` spares the reading where it holds still.

    NoIdentity for what is no regular file, and for one that does not stand still while it is read. OSError as `open`.
    """
    if known is not None and known.holds(_regular(path, os.stat(path)), granularity_ns):
        return known
    for _ in range(_TRIES):
        found = _read(path, clock_ns())
        if found is not None:
            return found
    raise NoIdentity(f"{os.fspath(path)} is being written: it changed while it was read")


def is_same(path: str | os.PathLike[str], known: Fingerprint, *, granularity_ns: int = GRANULARITY_NS) -> bool:
    """Tell whether a file holds what `known` says, reading it only in doubt; raises as `fingerprint`."""
    found = _regular(path, os.stat(path))
    if found.st_size != known.size:
        return False
    return known.holds(found, granularity_ns) or fingerprint(path).digest == known.digest


def _regular(path: str | os.PathLike[str], found: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        raise NoIdentity(f"{os.fspath(path)} is no regular file")
    return found


def _read(path: str | os.PathLike[str], began_ns: int) -> Fingerprint | None:
    """Return what the file holds; None where it changed meanwhile."""
    _regular(path, os.stat(path))  # to open a pipe would wait for its writer
    hashed = blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:
        before = _regular(path, os.fstat(file.fileno()))
        while chunk := file.read(_CHUNK_BYTES):
            hashed.update(chunk)
        after = os.fstat(file.fileno())
    facts = (before.st_size, before.st_mtime_ns, before.st_ctime_ns)
    if facts != (after.st_size, after.st_mtime_ns, after.st_ctime_ns):
        return None
    return Fingerprint(
        before.st_size, hashed.hexdigest(), before.st_mtime_ns, before.st_ctime_ns, before.st_ino, began_ns
    )
