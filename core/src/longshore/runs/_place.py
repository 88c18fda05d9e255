"""The private folder of a store: made with it and gone with it; the next one sweeps up where a process was killed."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

if sys.platform != "win32":  # which has no such locks: nothing is swept up there
    import fcntl

_PREFIX: Final = "longshore-run-"
_LOCK: Final = "lock"
_AGE_S: Final = 60.0
"""A folder that is younger may be about to be locked."""
_SWEPT_MOST: Final = 20


class Place:
    """A folder of mode 0700, held by a lock for as long as it is used."""

    def __init__(self, within: Path | None) -> None:
        """Make one in `within`, or where the system has temporary files; sweep up those that nobody holds any more."""
        root = Path(within if within is not None else tempfile.gettempdir())
        with suppress(OSError):
            _sweep(root)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        if sys.platform != "win32":
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Remove it with all that is in it; once."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _sweep(root: Path) -> None:
    """Remove folders of ours that are left of processes which are gone."""
    uid = os.getuid() if sys.platform != "win32" else -1
    for path in sorted(root.glob(f"{_PREFIX}*"))[:_SWEPT_MOST]:
        with suppress(OSError):  # another process sweeps as well; or it is none of ours
            found = path.lstat()
            own = stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077
            if own and time.time() - found.st_mtime > _AGE_S and _is_free(path / _LOCK):
                shutil.rmtree(path, ignore_errors=True)


def _is_free(lock: Path) -> bool:
    if sys.platform == "win32":
        return False
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
