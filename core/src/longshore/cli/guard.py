"""One run at a time writes a file of results: a lock file beside it, which says who does.

The operating system's lock decides, and goes with the process that holds it, so that a file left by one that was
killed is in nobody's way. What is written in it is only for whoever is refused.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec

from longshore.cli.console import UsageError, line, say

_flock: Callable[[int, int], None] | None
try:
    from fcntl import flock as _flock
except ImportError:  # Windows: there a file is not guarded
    _flock = None
_ALONE, _AT_ONCE = 2, 4  # as flock(2) has them

_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_HELD: Final = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # as flock(2) has them, over networks too
_ENDING: Final = ".longshore-lock"
_MOST: Final = 4096  # bytes of a lock file that are read
_TRIES: Final = 100  # each is lost to another run that ended between two calls
_held: set[int] = set()


def is_lock(name: str) -> bool:
    """Tell whether a file of this name is a lock file, which is nobody's input."""
    return name.startswith(".") and name.endswith(_ENDING)


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes a file of results."""

    pid: int
    at: float
    run: str | None = None

    @property
    def described(self) -> str:
        """Who that is, in words."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at))
        run = "a run that is not recorded" if self.run is None else f"run {line(self.run)}"
        return f"{run}, in process {self.pid} since {since}"


class Guard:
    """The right to write a file of results."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Keep the open lock file; None where the file is not guarded."""
        self._descriptor = descriptor
        self.tell(None)

    def tell(self, run: str | None) -> None:
        """Say by which recorded run the file is written."""
        if self._descriptor is None:
            return
        told = msgspec.json.encode(Writer(pid=os.getpid(), at=time.time(), run=run))
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, told, 0)


@contextmanager
def guarded(path: str) -> Iterator[Guard]:
    """Have the file of results for this run alone; UsageError names the run that has it.

    What is no file, such as a pipe or a device, is not guarded; nor is a file where no lock file can be made or locked,
    which a note says. All names of a file that lead to it by links are one; machines that share a file see each other's
    locks if their file system passes them on.
    """
    real = os.path.realpath(path)
    if _flock is None or (os.path.lexists(real) and not os.path.isfile(real)):
        yield Guard()
        return
    beside = os.path.join(os.path.dirname(real), f".{os.path.basename(real)}{_ENDING}")
    try:
        descriptor = _taken(path, beside, _flock)
    except OSError as error:
        if os.path.isdir(os.path.dirname(real)):  # else the file can't be opened either, which is told then
            say(f"note: {line(path)} is not kept from other runs: {line(beside)}: {error.strerror}")
        yield Guard()
        return
    _held.add(descriptor)
    try:
        yield Guard(descriptor)
    finally:
        with suppress(OSError):  # before the lock is free: nobody else's is taken away
            os.unlink(beside)
        _held.discard(descriptor)
        os.close(descriptor)


def _taken(path: str, beside: str, flock: Callable[[int, int], None]) -> int:
    """Return the lock file, open and locked; UsageError if somebody else has it, OSError if it can't be had."""
    for _ in range(_TRIES):
        descriptor = os.open(beside, _FLAGS, 0o666)  # whoever may write the results may ask for them
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is not a file")
            try:
                flock(descriptor, _ALONE | _AT_ONCE)
            except OSError as error:
                if error.errno in _HELD:
                    raise UsageError(_refusal(path, descriptor)) from error
                raise
            if _is_still(beside, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OSError(errno.EBUSY, "it is taken away again and again")


def _is_still(beside: str, descriptor: int) -> bool:
    """Tell whether the open file is the one of that name, and not one that was taken away meanwhile."""
    try:
        return os.path.samestat(os.lstat(beside), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _refusal(path: str, descriptor: int) -> str:
    try:
        who = msgspec.json.decode(os.pread(descriptor, _MOST, 0), type=Writer).described
    except (OSError, msgspec.MsgspecError, ValueError, OverflowError):  # just begun, or not ours to trust
        who = "another run"
    return f"{line(path)} is being written by {who}: name another file with -o, or wait until that one has ended"


def _in_child() -> None:
    """Close what a fork has inherited: the lock stays with the process that took it."""
    while _held:
        with suppress(OSError):
            os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
