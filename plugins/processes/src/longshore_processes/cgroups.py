"""A control group (version 2) for each worker: all that is below a worker is in it, and is killed at once.

Used by the zygote, where a group is delegated to us: one in which we may make others. Entering one takes a worker some
milliseconds, for the kernel waits for all its processors.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

_PREFIX: Final = "longshore-"
_ROUNDS: Final = 100  # of killing one by one: who forks meanwhile is met in the next


class Group:
    """One worker's group."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        """Be the group at `path`."""
        self._path = path

    def enter(self) -> None:
        """Move this process into it, and with that all it will start; OSError if it may not."""
        (self._path / "cgroup.procs").write_text("0")

    def kill(self) -> None:
        """Kill all that is in it; on kernels before 5.14, which can't do that at once, one by one."""
        try:
            with (self._path / "cgroup.kill").open("r+") as file:
                file.write("1")
        except OSError:
            for _ in range(_ROUNDS):
                if not self._kill_each():
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

    def _kill_each(self) -> bool:
        pids: list[int] = []
        with suppress(OSError):
            pids = [int(pid) for pid in (self._path / "cgroup.procs").read_text().split()]
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return bool(pids)


class Groups:
    """Makes groups below the one this process is in, and takes away those that earlier ones left."""

    def __init__(self, base: Path) -> None:
        """Make them below `base`."""
        self._base = base
        self._left: list[Group] = []

    @classmethod
    def here(
        cls, membership: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/proc/self/mounts")
    ) -> Self | None:
        """Return those below our own group; None where there is none of version 2, or it is not delegated to us."""
        with suppress(OSError):
            own = [line[3:] for line in membership.read_text().splitlines() if line.startswith("0::")]
            roots = [fields[1] for line in mounts.read_text().splitlines() if (fields := line.split())[2] == "cgroup2"]
            for root in roots if own else ():
                base = Path(root) / own[0].strip("/")
                if os.access(base, os.W_OK) and os.access(base / "cgroup.procs", os.W_OK):
                    return cls(base)
        return None

    def make(self, number: int) -> Group:
        """Make the group of a worker; OSError if that can't be."""
        path = self._base / f"{_PREFIX}{os.getpid()}-{number}"
        path.mkdir()
        return Group(path)

    def end(self, group: Group) -> None:
        """Kill all that is in a group, and remove it now or later."""
        group.kill()
        self._left.append(group)
        self.tidy()

    def tidy(self) -> None:
        """Remove groups that have become empty."""
        self._left = [group for group in self._left if not group.remove()]

    def clear_old(self) -> None:
        """Remove the empty groups of those who could not do it any more."""
        with suppress(OSError):
            for path in self._base.glob(f"{_PREFIX}*"):
                pid = path.name.removeprefix(_PREFIX).partition("-")[0]
                if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                    Group(path).remove()
