"""Objects as files: fetched for as long as a task needs them, or written by a task and put whole.

In: a URL. Out: the path of a file in a folder of this user's alone, gone with the end of the block. Called by tasks, in
any worker. What a killed worker leaves, the next process that fetches an object removes: each folder is locked for as
long as its process uses it.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Final, Literal

from longshore._objects import FileSystem, ObjectFacts, check_url, name_in, open_place, refused, scheme_of, told, untold
from longshore.errors import DocumentError

if sys.platform != "win32":
    import fcntl

UNTOLD_MOST_BYTES: Final = 1 << 30
"""So much is fetched at most of an object whose size the store does not tell."""
_PREFIX: Final = "longshore-object-"
_STEM_MOST: Final = 50  # of four bytes each at most: with the suffix, less than the 255 that a name may have
_SUFFIX_MOST: Final = 12
_sweeping = threading.Lock()
_swept = threading.Event()


@contextmanager
def fetched(url: str, most_bytes: float | None = None) -> Iterator[str]:
    """Give the path of a private copy of an object, whole, which is gone at the end of the block.

    DocumentError for one that is `missing`, `denied`, or `too-large`; anything else is what the store raised, and may
    go by itself. The copy's name is the object's, with "_" for all but letters, digits, ".", "-" and "_".
    """
    system, path = open_place(url)
    with _folder() as folder:
        local = os.path.join(folder, safe_name(url))
        try:
            size = _size(system, path, url, most_bytes)
            system.get_file(path, local, callback=_Bounded(size if size >= 0 else UNTOLD_MOST_BYTES))
            got = os.path.getsize(local)
        except Exception as error:
            refusal = refused(url, error)
            if refusal is not None:
                raise refusal from error
            cause = untold(error)
            if cause is error:
                raise
            raise ConnectionError(f"{told(url)}: {type(cause).__name__}: {cause}") from error
        if most_bytes is not None and got > most_bytes:
            raise _too_large(url, most_bytes)
        if size not in (-1, got):
            raise OSError(errno.EIO, f"{told(url)}: {got} of {size} bytes came, so it is not used")
        yield local


@contextmanager
def object_output(
    url: str, mode: Literal["w", "wb"], encoding: str | None, newline: str | None, check: Callable[[], None]
) -> Iterator[IO[Any]]:
    """Give a local file to write to; it is put at `url` whole if the block ends well and `check()` raises nothing."""
    if mode not in ("w", "wb"):
        raise ValueError(f'an output file is written from its beginning: mode is "w" or "wb", not {mode!r}')
    check_url(url)
    if scheme_of(url) in ("http", "https"):
        raise ValueError(f"{told(url)}: nothing can be written there: name an object of a store, such as s3://")
    system, path = open_place(url)
    with _folder() as folder:
        local = os.path.join(folder, "output")
        text = {"encoding": encoding or "utf-8", "newline": newline} if mode == "w" else {}
        with open(local, mode, **text) as file:  # type: ignore[call-overload]  # mode and text go together
            yield file
        check()
        system.put_file(local, path)


def safe_name(url: str) -> str:
    """Return a file's name for an object of any name: never hidden, never another folder's, with the same suffix."""
    kept = "".join(c if c.isalnum() or c in ".-_" else "_" for c in name_in(url)).lstrip(".")
    stem, suffix = os.path.splitext(kept)
    if len(suffix.encode()) > _SUFFIX_MOST:
        stem, suffix = kept, ""
    return f"{stem[:_STEM_MOST] or 'object'}{suffix}"


def _size(system: FileSystem, path: str, url: str, most_bytes: float | None) -> int:
    system.invalidate_cache()
    info = system.info(path)
    if info.get("type") == "directory":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    size = ObjectFacts.of(info).size
    if most_bytes is not None and size > most_bytes:
        raise _too_large(url, most_bytes)
    return size


def _too_large(url: str, most_bytes: float) -> DocumentError:
    return DocumentError(f"{told(url)}: larger than the {most_bytes / 1e6:g} MB it may have", reason="too-large")


class _Bounded:
    """What fsspec tells of how far it is: it ends a fetch that gives more than was said, which would fill the disk."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes

    def set_size(self, size: int | None) -> None:
        """Heed nothing: the size is asked for before."""

    def relative_update(self, inc: int = 1) -> None:
        """Count what came."""
        self._left -= inc
        if self._left < 0:
            raise OSError(errno.EFBIG, "more came than the store said that the object has: it is another by now")

    def absolute_update(self, value: int) -> None:
        """Heed nothing: no file system tells a fetch so."""


@contextmanager
def _folder() -> Iterator[str]:
    """Give a new folder that only this user can enter, locked until it is removed."""
    _sweep_once()
    folder, descriptor = _made()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _made() -> tuple[str, int | None]:
    """Return a folder, and what holds its lock; one that another took for left behind before it had it is left."""
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX)
        if sys.platform == "win32":
            return folder, None
        with suppress(FileNotFoundError):
            descriptor = _locked(folder)
            if descriptor is not None and os.path.isdir(folder):
                return folder, descriptor
            if descriptor is not None:
                os.close(descriptor)


def _locked(folder: str) -> int | None:
    """Open and lock a folder; None where another has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _sweep_once() -> None:
    """Remove what killed processes of this user left, with the first object of each process."""
    with _sweeping:
        if not _swept.is_set():
            _swept.set()
            _sweep(tempfile.gettempdir())


def _sweep(base: str) -> None:
    """Remove this user's folders that nobody has locked."""
    if sys.platform == "win32":
        return
    with suppress(OSError), os.scandir(base) as found:
        left = [
            one.path
            for one in found
            if one.name.startswith(_PREFIX) and one.is_dir(follow_symlinks=False) and _is_mine(one)
        ]
        for path in left:
            with suppress(OSError):
                descriptor = _locked(path)
                if descriptor is not None:
                    shutil.rmtree(path, ignore_errors=True)
                    os.close(descriptor)


def _is_mine(entry: os.DirEntry[str]) -> bool:
    return entry.stat(follow_symlinks=False).st_uid == os.geteuid()
