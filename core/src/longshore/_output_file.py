"""A file that appears under its name whole, or not at all, whoever is killed meanwhile.

In: a path. Out: a file to write to, which takes the path's place at the end of the block. Called by tasks, in any
worker. While it is written it has no name at all where the file system can do that (ext4, XFS, Btrfs, tmpfs, …), so
that one whose writer was killed is gone by itself. Elsewhere it has one beside the path, under a lock that dies with
the writer, and the next writer of the path removes it.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import IO, Any, Final, Literal

if sys.platform != "win32":
    import fcntl

Mode = Literal["w", "wb"]
_NO_UNNAMED: Final = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
_NAME_BYTES_MOST: Final = 200
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@contextmanager
def output_file(
    path: str | os.PathLike[str], mode: Mode, encoding: str | None, newline: str | None, check: Callable[[], None]
) -> Iterator[IO[Any]]:
    """Give a file to write to that takes the place of `path` if the block ends well and `check()` raises nothing."""
    if mode not in ("w", "wb"):
        raise ValueError(f'an output file is written from its beginning: mode is "w" or "wb", not {mode!r}')
    text = {"encoding": encoding or "utf-8", "newline": newline} if mode == "w" else {}
    draft = _Draft(os.path.realpath(path))
    try:
        file: IO[Any] = os.fdopen(os.dup(draft.descriptor), mode, **text)  # type: ignore[call-overload]
        try:
            yield file
            file.close()
        except BaseException:
            with suppress(Exception):  # what could not be written is not wanted any more
                file.close()
            raise
        check()
        draft.publish()
    finally:
        draft.close()


class _Draft:
    """The file before it has its name, locked for as long as it is open."""

    def __init__(self, target: str) -> None:
        self._target = target
        with suppress(FileNotFoundError):
            mode = os.stat(target).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a device or a pipe would be gone, a file in its place
                raise OSError(errno.EINVAL, "an output file takes the place of a file, and this is none", target)
        self._folder, name = os.path.split(target)
        encoded = os.fsencode(name)
        short = name if len(encoded) <= _NAME_BYTES_MOST else blake2b(encoded, digest_size=16).hexdigest()
        self._prefix = os.path.join(self._folder, f".{short}.")
        self._name: str | None = None
        unnamed = _unnamed(self._folder)
        if unnamed is not None:
            self.descriptor = unnamed
            _lock(unnamed)
        else:
            self.descriptor = self._named()

    def publish(self) -> None:
        """Have it on the disk, then under its name, and that on the disk as well."""
        with suppress(FileNotFoundError):  # what it replaces may have been nobody else's to read
            found = os.stat(self._target)
            if stat.S_ISREG(found.st_mode) and hasattr(os, "fchmod"):
                os.fchmod(self.descriptor, stat.S_IMODE(found.st_mode))
        os.fsync(self.descriptor)
        if self._name is None:
            self._name = next(filter(self._link, self._names()))
        os.replace(self._name, self._target)
        self._name = None
        _sync_folder(self._folder)

    def close(self) -> None:
        """Let go of it; it is gone unless it was published."""
        if self._name is not None:
            with suppress(OSError):
                os.unlink(self._name)
        os.close(self.descriptor)

    def _names(self) -> Iterator[str]:
        """Yield names to try, cleared of what killed writers left under them; those of living ones are passed over."""
        for number in itertools.count():
            name = f"{self._prefix}{number}.tmp"
            _clear(name)
            yield name

    def _link(self, name: str) -> bool:
        """Give the unnamed file a name; False where another writer has it."""
        at = os.open(self._folder, os.O_RDONLY)
        try:
            # With a folder given, the call that follows the link in /proc is used, and not the one that can't.
            os.link(f"/proc/self/fd/{self.descriptor}", name, src_dir_fd=at, follow_symlinks=True)
        except FileExistsError:
            return False
        finally:
            os.close(at)
        return True

    def _named(self) -> int:
        for name in self._names():
            try:
                descriptor = os.open(name, _NEW, 0o666)
            except FileExistsError:
                continue
            if _lock(descriptor) and _is_at(name, descriptor):
                self._name = name
                return descriptor
            os.close(descriptor)  # another writer took it for one that was left behind, before it was locked
        raise AssertionError("names do not end")


def _unnamed(folder: str) -> int | None:
    """Return a file of this folder without a name; None where that can't be had, or not be given one later."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in _NO_UNNAMED:
            return None
        raise


def _lock(descriptor: int) -> bool:
    """Lock a file for as long as it is open, unless somebody else has it locked."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _clear(name: str) -> None:
    """Remove a file of a writer that is dead: nobody has it locked."""
    if sys.platform == "win32":  # what has been opened there can't be removed anyhow
        return
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and _lock(descriptor) and _is_at(name, descriptor):
            os.unlink(name)
    finally:
        os.close(descriptor)


def _is_at(name: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(name, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sync_folder(folder: str) -> None:
    if sys.platform == "win32":  # folders can't be opened there, nor synced
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
