"""One controller a run: a lock file that says who holds it, so that a second one can be told.

The operating system's lock decides, and goes with the process that holds it. What is written in the file decides only
where that lock can't be trusted: on a file system that other machines share.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec
from longshore.errors import JournalError
from msgspec import Struct

from longshore_sqlite._faults import described

_flock: Callable[[int, int], None] | None
try:
    from fcntl import flock as _flock
except ImportError:  # Windows: there what is written in the file decides
    _flock = None
_SHARED, _ALONE, _AT_ONCE = 1, 2, 4  # as flock(2) has them

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_MOST = 4096


class Holder(Struct, frozen=True, kw_only=True):
    """Who holds a run, or held it last."""

    pid: int
    started: str
    """When the process began, as the system counts it: a pid may be another process's by now."""
    boot: str
    host: str
    at: float

    @classmethod
    def this(cls) -> Self:
        """Return this process."""
        return cls(
            pid=os.getpid(),
            started=started_of(os.getpid()) or "",
            boot=boot_id(),
            host=socket.gethostname(),
            at=time.time(),
        )

    @property
    def described(self) -> str:
        """Who that is, in words."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at))
        return f"process {self.pid} on {self.host} (boot {self.boot[:8] or 'unknown'}), since {since}"


class RunLock:
    """The lock of one run, once it is taken."""

    def __init__(self, descriptor: int) -> None:
        """Keep the open file, which is the lock."""
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, shared: bool = False) -> Self:
        """Take the lock, or raise JournalError that names who holds it.

        With `shared` other machines may have the file, and their locks may not be seen from here.
        """
        try:
            descriptor = os.open(path, _FLAGS, 0o600)
        except OSError as error:
            raise JournalError(f"the lock {path} can't be opened: {error}", path=str(path)) from error
        try:
            if not _locked(descriptor):
                raise _held(path, holder_of(path))
            last = _read(descriptor)
            if last is not None and last.at and _may_live(last, shared=shared):
                raise _held(path, last)
            _write(descriptor, Holder.this())
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                raise described(error, path, "be written") from error
            raise
        return cls(descriptor)

    def release(self) -> None:
        """Let go: whoever comes next need not ask whether this process lives."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor != -1:
            try:
                os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)

    def drop(self) -> None:
        """Close what a fork has inherited; the lock stays with the process that took it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor != -1:
            os.close(descriptor)


def is_held(path: Path) -> bool:
    """Tell whether a process of this machine holds the lock; nothing is taken or written."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        if _flock is None:
            last = _read(descriptor)
            return last is not None and _may_live(last, shared=False)
        try:
            _flock(descriptor, _SHARED | _AT_ONCE)
        except OSError:
            return True
        return False
    finally:
        os.close(descriptor)


def holder_of(path: Path) -> Holder | None:
    """Return who is written in a lock file; None for nobody, or where that can't be read."""
    try:
        data = path.read_bytes()[:_MOST]
    except OSError:
        return None
    return _decoded(data)


def boot_id() -> str:
    """Return what tells one start of this machine from another; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def started_of(pid: int) -> str | None:
    """Return when a process began, in the system's own count; None if there is none, empty where that is not said."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else ("" if _is_there(pid) else None)
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _may_live(last: Holder, *, shared: bool) -> bool:
    """Tell whether who held the lock last may still be at it, though the system's lock is free."""
    this = Holder.this()
    if last.host != this.host and last.boot != this.boot:
        return shared  # another machine: where files are not shared its file was copied, else nobody can tell
    if last.boot != this.boot:
        return False  # this machine was started anew since
    if last.pid == this.pid:
        return False  # an earlier run of this very process, or one whose pid this has now
    started = started_of(last.pid)
    alive = started is not None and started == last.started
    return alive and (shared or _flock is None)


def _held(path: Path, holder: Holder | None) -> JournalError:
    who = holder.described if holder is not None else "another process"
    facts = msgspec.to_builtins(holder) if holder is not None else {}
    return JournalError(
        f"the run in {path.parent} is held by {who}: only one process at a time goes on with a run; end that one "
        f"first, or, if it is on another machine that is gone, delete {path}",
        reason="held",
        holder=facts,
    )


def _locked(descriptor: int) -> bool:
    if _flock is None:
        return True
    try:
        _flock(descriptor, _ALONE | _AT_ONCE)
    except OSError:
        return False
    return True


def _read(descriptor: int) -> Holder | None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return _decoded(os.read(descriptor, _MOST))


def _decoded(data: bytes) -> Holder | None:
    try:
        return msgspec.json.decode(data, type=Holder)
    except msgspec.MsgspecError:  # empty, or torn: the system's lock decides
        return None


def _write(descriptor: int, holder: Holder) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, msgspec.json.encode(holder))
