"""A control group for each worker: all that is below a worker is in it, is killed at once, and is held to a limit.

Groups of version 2, where one is delegated to us: one in which we may make others; and of version 1, where the one of
the memory controller that we are in is writable. The zygote makes and removes them. Entering one takes a worker half a
millisecond, and some more where the kernel has to wait for all its processors.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple, Self

from longshore import ControlGroups

from longshore_processes.procfs import has_ended

_PREFIX: Final = "longshore-"
_HOME: Final = "home"
_LOOK_S: Final = 0.01
_ROUNDS: Final = 100  # of killing one by one: who forks meanwhile is met in the next
_READ: Final = 8192
_NEAR: Final = 1_000_000  # a group at its limit is below it by what the kernel takes at once, for each processor
_NO_LIMIT: Final = 1 << 60  # version 1 says a number as large as it can


class Files(NamedTuple):
    """What the files of the memory controller are called, and what is written to them."""

    used: str
    peak: str
    events: str
    limits: tuple[tuple[str, float], ...]
    """Files of limits, and of what is allowed above the base the part that each allows; the last one kills."""
    unlimited: str
    cache: tuple[bytes, ...]
    """In memory.stat: pages of files, which the kernel can take back."""
    made: tuple[tuple[str, str], ...]
    """What is written to a new group: nothing is to be swapped out in place of being counted."""


V2: Final = Files(
    "memory.current",
    "memory.peak",
    "memory.events",
    (("memory.high", 1.0), ("memory.max", 1.1)),
    "max",
    (b"inactive_file ", b"active_file "),
    (("memory.oom.group", "1"), ("memory.swap.max", "0")),
)
V1: Final = Files(
    "memory.usage_in_bytes",
    "memory.max_usage_in_bytes",
    "memory.oom_control",
    (("memory.limit_in_bytes", 1.0),),
    "-1",
    (b"total_inactive_file ", b"total_active_file "),
    (("memory.swappiness", "0"),),
)


class Facts(NamedTuple):
    """How the memory of a group stands, in bytes."""

    kills: int
    """How many processes in it the kernel has killed for want of memory, at this limit or at one further up."""
    peak: int
    limit: int | None
    """Where it slows down or ends what is in it; None is nowhere."""

    @property
    def reached(self) -> bool:
        """Whether it was this limit."""
        return self.limit is not None and self.peak >= self.limit - _NEAR


class Memory:
    """The memory of one group: read and limited through descriptors that are kept open."""

    __slots__ = ("_fds", "_files", "_path")

    def __init__(self, path: Path, files: Files) -> None:
        """Read what is at `path`; OSError where nothing is."""
        self._path, self._files = path, files
        self._fds: dict[str, int] = {}
        self.used()

    @classmethod
    def opened(cls, path: str | Path) -> Self:
        """Return that of the group at `path`, of whichever version."""
        path = Path(path)
        return cls(path, V1 if (path / V1.used).exists() else V2)

    @property
    def slows(self) -> bool:
        """Whether what is in it is slowed down at its limit, and killed above."""
        return self._files is V2

    def used(self) -> int:
        """Return what is charged to it, the cache of files included."""
        return _number(self._read(self._files.used)) or 0

    def kept(self) -> int:
        """Return what is charged to it and can't be taken back by the kernel."""
        stat = b"\n" + self._read("memory.stat")
        cache = 0
        for name in self._files.cache:
            rest = stat.partition(b"\n" + name)[2]
            cache += int(rest.split(None, 1)[0]) if rest else 0
        return max(0, self.used() - cache)

    def kills(self) -> int:
        """Return how many processes in it the kernel has killed."""
        rest = self._read(self._files.events).partition(b"oom_kill ")[2]
        return int(rest.split(None, 1)[0]) if rest else 0

    def facts(self) -> Facts:
        """Return all that tells whether it was at its limit."""
        limit = _number(self._read(self._files.limits[0][0]))
        peak = self.used()
        with suppress(OSError):  # version 2 before Linux 5.19
            peak = max(peak, _number(self._read(self._files.peak)) or 0)
        return Facts(self.kills(), peak, limit)

    def limit(self, at: int | None, room: int) -> None:
        """Have the limit at so many bytes, of which `room` are the item's; None is none. Its peak begins anew.

        Where that is below what is used and nothing can be taken back, it stays as it was.
        """
        writes = [
            (name, self._files.unlimited if at is None else str(int(at + room * (part - 1.0))))
            for name, part in self._files.limits
        ]
        for name, text in reversed(writes):
            with suppress(OSError):
                self._write(name, text)
        with suppress(OSError):  # in version 2 it is told to this descriptor only, from Linux 6.12 on
            self._write(self._files.peak, "0")

    def close(self) -> None:
        """Close what is open."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def _read(self, name: str) -> bytes:
        return os.pread(self._open(name), _READ, 0)

    def _write(self, name: str, text: str) -> None:
        os.pwrite(self._open(name), f"{text}\n".encode(), 0)

    def _open(self, name: str) -> int:
        fd = self._fds.get(name)
        if fd is None:
            path = self._path / name
            flags = os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY
            fd = self._fds[name] = os.open(path, flags | os.O_CLOEXEC)
        return fd


class Group:
    """One worker's group."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        """Be the group at `path`."""
        self._path = path

    @property
    def path(self) -> str:
        """Where it is."""
        return str(self._path)

    def enter(self) -> None:
        """Move this process into it, and with that all it will start; OSError if it may not."""
        (self._path / "cgroup.procs").write_text("0")

    def facts(self) -> Facts | None:
        """Return how its memory stands; None where that is not known."""
        with suppress(OSError, ValueError):
            memory = Memory.opened(self._path)
            try:
                return memory.facts()
            finally:
                memory.close()
        return None

    def kill(self) -> None:
        """Kill all that is in it; where the kernel can't do that at once (before 5.14, version 1), one by one."""
        try:
            with (self._path / "cgroup.kill").open("r+") as file:
                file.write("1")
        except OSError:
            killed: set[int] = set()  # in version 1 those that ended are still there until somebody waits for them
            for _ in range(_ROUNDS):
                pids = set(members(self._path)) - killed
                for pid in pids:
                    with suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
                killed |= pids
                if not pids:
                    return

    def remove(self) -> bool:
        """Remove it; False as long as something is in it."""
        try:
            self._path.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


class Groups:
    """Makes groups below the one this process is in, and takes away those that earlier ones left."""

    def __init__(self, base: Path, files: Files = V2) -> None:
        """Make them below `base`."""
        self._base = base
        self._files = files
        self._left: list[Group] = []

    @classmethod
    def here(cls, found: ControlGroups | None = None) -> Self | None:
        """Return those below our own group; None where there is none of version 2, or it is not delegated to us."""
        own = (found or ControlGroups()).own("", 2)
        if own is None:
            return None
        base = Path(own.folder)
        if _is_home(base):  # another pool of this program has moved us there
            base = base.parent
        return cls(base) if _is_ours(base) else None

    @classmethod
    def here_v1(cls, found: ControlGroups | None = None) -> Self | None:
        """Return those below our group of the memory controller of version 1; None where we may make none."""
        own = (found or ControlGroups()).own("memory", 1)
        base = None if own is None else Path(own.folder)
        return cls(base, V1) if base is not None and _is_ours(base) and (base / V1.used).exists() else None

    def may_limit(self, ours: frozenset[int]) -> bool:
        """Tell whether groups made here can have limits, where we move none but these processes for it."""
        if self._files is V1:
            return True
        with suppress(OSError):
            if "memory" in (self._base / "cgroup.subtree_control").read_text().split():
                return True
            there = "memory" in (self._base / "cgroup.controllers").read_text().split()
            may_write = os.access(self._base / "cgroup.subtree_control", os.W_OK) and _is_delegated(self._base)
            return there and may_write and self._only(ours)
        return False

    def settle_in(self, ours: frozenset[int]) -> bool:
        """Have the memory controller in groups made here; tell whether it is.

        In version 2 a group with such groups below has no process of its own: ours move to one beside those.
        """
        if self._files is V1:
            return True
        control = self._base / "cgroup.subtree_control"
        with suppress(OSError):
            if "memory" in control.read_text().split():
                return True
            if not self._only(ours):
                return False
            home = self._base / f"{_PREFIX}{os.getpid()}-{_HOME}"
            home.mkdir()
            _move(members(self._base), home)
            try:
                control.write_text("+memory")
            except OSError:
                self.move_out()
                return False
            return True
        return False

    def move_out(self) -> None:
        """Undo that, once there are no groups of workers here any more."""
        rest = [path for path in self._base.glob(f"{_PREFIX}*-*") if not _is_home(path)]
        homes = list(self._base.glob(f"{_PREFIX}*-{_HOME}"))
        if rest or not homes:
            return
        with suppress(OSError):
            (self._base / "cgroup.subtree_control").write_text("-memory")
        for home in homes:
            _move(members(home), self._base)
            Group(home).remove()

    def make(self, number: int, *, limited: bool = False) -> Group:
        """Make the group of a worker; OSError if that can't be."""
        path = self._base / f"{_PREFIX}{os.getpid()}-{number}"
        path.mkdir()
        for name, text in self._files.made if limited else ():
            with suppress(OSError):  # kernels without one of them
                (path / name).write_text(text)
        return Group(path)

    def end(self, group: Group) -> None:
        """Kill all that is in a group, and remove it now or later."""
        group.kill()
        self._left.append(group)
        self.tidy()

    def tidy(self) -> None:
        """Remove groups that have become empty."""
        self._left = [group for group in self._left if not group.remove()]

    def clear_old(self, within_s: float = 0.0) -> None:
        """Remove the groups of those who could not do it any more, as they become empty; waits no longer than that."""
        with suppress(OSError):
            for path in self._base.glob(f"{_PREFIX}*"):
                pid = path.name.removeprefix(_PREFIX).partition("-")[0]
                if pid.isdigit() and not _is_home(path) and has_ended(int(pid)):
                    self._left.append(Group(path))
        self.tidy()
        until = monotonic() + within_s
        while self._left and monotonic() < until:
            sleep(_LOOK_S)
            self.tidy()

    def _only(self, ours: frozenset[int]) -> bool:
        return set(members(self._base)) <= ours


def _number(text: bytes) -> int | None:
    """Return what a file says; None for no limit."""
    word = text.split(None, 1)[0]
    return int(word) if word.isdigit() and int(word) < _NO_LIMIT else None


def members(path: Path) -> list[int]:
    """Return the processes in the group at `path`, not those in groups below it."""
    with suppress(OSError):
        return [int(pid) for pid in (path / "cgroup.procs").read_text().split()]
    return []


def _move(pids: Iterable[int], path: Path) -> None:
    for pid in pids:
        with suppress(OSError):  # it has ended
            (path / "cgroup.procs").write_text(str(pid))


def _is_home(path: Path) -> bool:
    return path.name.startswith(_PREFIX) and path.name.endswith(f"-{_HOME}")


def _is_delegated(base: Path) -> bool:
    """Tell whether a group of version 2 was given away to be divided; root may write to any, and must not.

    systemd says so by an attribute of the folder; the root of a container's own hierarchy is the container's.
    """
    if os.geteuid() != 0 or not (base.parent / "cgroup.procs").exists():
        return True
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            return os.getxattr(base, name) == b"1"
    return False


def _is_ours(base: Path) -> bool:
    return os.access(base, os.W_OK) and os.access(base / "cgroup.procs", os.W_OK)
