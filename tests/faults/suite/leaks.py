"""What is left behind: processes by a token in their environment, and this process's threads, descriptors and files.

A process that was given to another parent, or that left its session, still has the token; one that made itself a new
environment has not, and no scenario starts such a one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

TOKEN = "FAULTS_TOKEN"
SETTLE_S = 2.0
"""How long anything may take to be gone."""


def wait_for(condition: Callable[[], object], within_s: float) -> bool:
    """Wait for something that nobody tells of; tell whether it came."""
    until = monotonic() + within_s
    while not condition():
        if monotonic() > until:
            return False
        sleep(0.005)
    return True


def tokened(token: str | None = None, but: Iterable[int] = ()) -> list[int]:
    """Return the live processes with this token, or this process's own, in their environment; without this process."""
    wanted = f"{TOKEN}={token or os.environ[TOKEN]}".encode()
    apart = {os.getpid(), *but}
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) not in apart:
            with suppress(OSError):
                alive = ") Z " not in (folder / "stat").read_text()
                if wanted in (folder / "environ").read_bytes().split(b"\0") and alive:
                    found.append(int(folder.name))
    return found


def gone_after(find: Callable[[], list[int]], since: float, within_s: float = SETTLE_S) -> tuple[float, int]:
    """Return how many seconds after `since` nothing was found any more, and how many are left at the limit."""
    wait_for(lambda: not find(), max(0.0, since + within_s - monotonic()))
    return monotonic() - since, len(find())


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def workers(controller: int) -> list[int]:
    """Return the worker processes below a controller: what the zygote forked, or interpreters of their own."""
    found = []
    for pid in children(controller):
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"longshore_processes.zygote" in command:
                found += children(pid)
            elif b"longshore_processes.child" in command:
                found.append(pid)
    return found


def kill(pids: Iterable[int], number: int = signal.SIGKILL) -> None:
    """Send a signal to processes that may be gone."""
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


class Belongings:
    """What this process has, to be compared with what it has later."""

    def __init__(self) -> None:
        """Take stock."""
        self.threads = set(threading.enumerate())
        self.descriptors = _descriptors()
        self.shared = _shared()

    def more(self) -> list[str]:
        """Return what there is now and was not then, once it had time to go."""
        wait_for(lambda: not self._found(), SETTLE_S)
        return self._found()

    def _found(self) -> list[str]:
        threads = [f"thread {thread.name}" for thread in set(threading.enumerate()) - self.threads]
        descriptors = [f"descriptor {name}" for name in (_descriptors() - self.descriptors).elements()]
        return [*threads, *descriptors, *(f"shared memory {name}" for name in _shared() - self.shared)]


def _descriptors() -> Counter[str]:
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found[os.readlink(f"/proc/self/fd/{name}").partition(":[")[0]] += 1
    found.pop(f"/proc/{os.getpid()}/fd", None)  # what lists them
    return found


def _shared() -> set[str]:
    with suppress(OSError):
        return {name for name in os.listdir("/dev/shm") if str(os.getpid()) in name}
    return set()
