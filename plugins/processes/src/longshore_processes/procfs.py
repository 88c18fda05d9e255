"""What Linux tells of processes: who is whose child, who was started below which worker, who is stopped.

Used by the zygote and by the controller; elsewhere than on Linux nothing is known.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from longshore_processes.frames import MEMORY_NAME

_PAGE_NAME: Final = f"/memfd:{MEMORY_NAME}".encode()


def is_stopped(pid: int) -> bool:
    """Tell whether a process was stopped by a signal; one that a debugger holds is not."""
    return _stat(pid)[:1] == ["T"]


def has_ended(pid: int) -> bool:
    """Tell whether a process is no more, or waits only for somebody to be told of its end."""
    return _stat(pid)[:1] in ([], ["Z"], ["X"])


def children() -> list[int]:
    """Return the pids of our children."""
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:  # a kernel without it
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and _stat(int(name))[1:2] == [str(me)]]


def owner(pid: int) -> str | None:
    """Return the id of the worker below which this program was started, by its environment."""
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        for entry in file.read().split(b"\0"):
            if entry.startswith(b"LONGSHORE_WORKER="):
                return entry.partition(b"=")[2].decode(errors="replace")
    return None


def page_of(pid: int) -> int | None:
    """Return the inode of the worker's page that this process has, which forks of a worker inherit."""
    with suppress(OSError), open(f"/proc/{pid}/maps", "rb") as file:
        for line in file:
            if _PAGE_NAME in line:
                return int(line.split()[4])
    return None


def _stat(pid: int) -> list[str]:
    """Return the fields behind the name: state, parent, ..."""
    with suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()
    return []
