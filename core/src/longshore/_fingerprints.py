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


class Fingerprint(Struct, frozen=True, array_like=True):
    """What was seen of a file, and what it held if it was read."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    seen_ns: int
    """When it was looked at, by the clock of the wall: a write soon after may leave the times as they are."""
    digest: str | None = None
    """blake2b of the content, 32 hexadecimal digits; None where that was not read."""

    @property
    def settled(self) -> bool:
        """Whether the last change was over by more than a step of the times when it was looked at.

        Else it may have been written once more within the same step of the clock, and only the content tells.
        """
        return max(self.mtime_ns, self.ctime_ns) + GRANULARITY_NS < self.seen_ns

    def holds(self, found: os.stat_result) -> bool:
        """Tell whether a file of these facts has this content for sure, without reading it."""
        facts = self.size, self.mtime_ns, self.ctime_ns, self.inode
        return self.settled and facts == (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def glimpse(path: str | os.PathLike[str], *, clock_ns: Callable[[], int] = time.time_ns) -> Fingerprint:
    """Return what can be seen of a regular file without reading it; NoIdentity for what is none. OSError as `stat`."""
    return _seen(_regular(path, os.stat(path)), clock_ns())


def fingerprint(path: str | os.PathLike[str], *, clock_ns: Callable[[], int] = time.time_ns) -> Fingerprint:
    """Return the fingerprint of a regular file, with its content.

    NoIdentity for what is no regular file, and for one that does not stand still while it is read. OSError as `open`.
    """
    for _ in range(_TRIES):
        found = _read(path, clock_ns())
        if found is not None:
            return found
    raise NoIdentity(f"{os.fspath(path)} is being written: it changed while it was read")


def is_same(path: str | os.PathLike[str], known: Fingerprint) -> bool:
    """Tell whether a file holds what it held; in doubt its content decides, and without that both times.

    The inode alone decides nothing: some file systems number anew with each mount. Raises as `fingerprint`.
    """
    found = _regular(path, os.stat(path))
    if found.st_size != known.size:
        return False
    if known.holds(found):
        return True
    if known.digest is None:
        return (found.st_mtime_ns, found.st_ctime_ns) == (known.mtime_ns, known.ctime_ns)
    return fingerprint(path).digest == known.digest


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
    return _seen(before, began_ns, hashed.hexdigest())


def _seen(found: os.stat_result, now_ns: int, digest: str | None = None) -> Fingerprint:
    return Fingerprint(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, now_ns, digest)
