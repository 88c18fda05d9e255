"""Limits that only the system can set, by a cgroup of the scenario's own; skipped where none can be made."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from suite.leaks import SETTLE_S, wait_for
from suite.trial import Skipped

ROOT = Path("/sys/fs/cgroup")
_PREFIX = "faults-"  # and the pid of whoever made it


class Group:
    """A cgroup; of version 1, for in version 2 a frozen process can be killed."""

    def __init__(self, path: Path) -> None:
        """Be the one at `path`."""
        self._path = path

    def read(self, name: str) -> str:
        """Return what a file of it says."""
        return (self._path / name).read_text(encoding="ascii").strip()

    def write(self, name: str, value: object) -> None:
        """Set something."""
        (self._path / name).write_text(str(value), encoding="ascii")

    def full(self) -> Callable[[], int]:
        """Have the kernel count how often this one is full and it kills for that; not what is full inside of it."""
        counter, control = os.eventfd(0, os.EFD_NONBLOCK), os.open(self._path / "memory.oom_control", os.O_RDONLY)
        self.write("cgroup.event_control", f"{counter} {control}")
        os.close(control)

        def count() -> int:
            try:
                return os.eventfd_read(counter)
            except BlockingIOError:
                return 0
            finally:
                os.close(counter)

        return count

    def take_in(self, pid: int) -> None:
        """Have this process in it, and all that it will start."""
        self.write("cgroup.procs", pid)


@contextmanager
def group(controller: str) -> Iterator[Group]:
    """Make one below that of this process; what is in it when this ends goes back to where it was."""
    home = _home(controller)
    path = home / f"{_PREFIX}{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        raise Skipped(f"no cgroup of {controller} can be made here: {error.strerror}") from error
    try:
        yield Group(path)
    finally:
        _remove(path)


def clear_stale() -> list[str]:
    """Thaw and remove groups of scenarios that were killed before they could; return their names.

    What was frozen goes on, and ends if it was killed meanwhile; what lives is put where the group was.
    """
    lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines() if sys.platform == "linux" else []
    cleared = []
    for controller in {name for line in lines for name in line.split(":")[1].split(",") if name and "=" not in name}:
        with suppress(Skipped, OSError):
            for path in _home(controller).glob(f"{_PREFIX}*"):
                if not Path("/proc", path.name.removeprefix(_PREFIX)).exists():
                    _remove(path)
                    cleared.append(path.name)
    return cleared


def _remove(path: Path) -> None:
    """Thaw a group, put what is in it where the group is, and remove it."""
    with suppress(OSError):  # only some groups can be frozen
        (path / "freezer.state").write_text("THAWED", encoding="ascii")
    for pid in (path / "cgroup.procs").read_text(encoding="ascii").split():
        with suppress(OSError):
            (path.parent / "cgroup.procs").write_text(pid, encoding="ascii")
    wait_for(lambda: not (path / "cgroup.procs").read_text(encoding="ascii"), SETTLE_S)
    for inner in [*(one for one in path.iterdir() if one.is_dir()), path]:  # workers' own, of a pool that was killed
        with suppress(OSError):
            inner.rmdir()


def _home(controller: str) -> Path:
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        _, names, place = line.split(":", 2)
        if controller in names.split(","):
            inside = ROOT / controller / place.lstrip("/")
            return inside if inside.is_dir() else ROOT / controller
    raise Skipped(f"no cgroup of {controller} (version 1) is mounted here")
