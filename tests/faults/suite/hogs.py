"""Tasks that take memory, each in its own way; and one that never gives any back."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MB = 1_000_000
_HELD_S = 1.0
_SLOW_S = 0.004  # for each megabyte
_ON_DISK = "/var/tmp"
_TMPFS = "/dev/shm"
_SPARE_MB = 40  # of a parent, before it forks
_kept: list[bytes] = []


def at_once(taken_mb: int) -> None:
    """Fill it as fast as it goes."""
    kept = b"x" * (taken_mb * MB)
    time.sleep(_HELD_S)
    del kept


def slowly(taken_mb: int) -> None:
    """Fill it by the megabyte."""
    kept = []
    for _ in range(taken_mb):
        kept.append(b"x" * MB)
        time.sleep(_SLOW_S)


def file_mapped(taken_mb: int) -> None:
    """Fill pages of a file on disk, through a mapping."""
    with tempfile.TemporaryFile(dir=_ON_DISK) as file:  # the folder of a scenario may lie in memory
        file.truncate(taken_mb * MB)
        with mmap.mmap(file.fileno(), 0) as view:
            for at in range(0, len(view), 4096):
                view[at] = 1


def tmpfs(taken_mb: int) -> None:
    """Fill a file that lies in memory."""
    path = f"{_TMPFS}/faults-{os.getpid()}"
    try:
        with open(path, "wb") as file:
            for _ in range(taken_mb):
                file.write(b"x" * MB)
            time.sleep(_HELD_S / 4)
    finally:
        os.unlink(path)


def grandchild(taken_mb: int) -> None:
    """Have a program fill it, and take no notice of what becomes of that."""
    code = f"import time; kept = b'x' * {taken_mb * MB}; time.sleep({_HELD_S})"
    subprocess.run(["sh", "-c", f'{sys.executable} -c "{code}"; true'], stderr=subprocess.DEVNULL, check=False)


def forks_share(taken_mb: int) -> None:
    """Fill what is within the limit, and have many children that share it: it is there once."""
    kept = b"x" * (_SPARE_MB * MB)
    _fork(taken_mb // _SPARE_MB // 2, lambda: time.sleep(_HELD_S / 2))
    del kept


def forks_copy(taken_mb: int) -> None:
    """Have many children that each fill what is within the limit: together they are far above it."""
    _fork(taken_mb // _SPARE_MB, lambda: time.sleep(_HELD_S + 0 * len(b"x" * (_SPARE_MB * MB))))


def _fork(count: int, call: Callable[[], object]) -> None:
    children = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            with suppress(BaseException):
                call()
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)


WAYS: dict[str, Callable[[int], None]] = {
    call.__name__: call for call in (at_once, slowly, file_mapped, tmpfs, grandchild, forks_share, forks_copy)
}


def take(item: tuple[str, int] | int) -> int | tuple[str, int]:
    """Take memory in the way that is named; give back any other item."""
    if isinstance(item, tuple):
        WAYS[item[0]](item[1])
    return item


def leak(taken_mb: int) -> float:
    """Take so much and keep it; return how many MB this worker has of its own by now."""
    _kept.append(b"x" * (taken_mb * MB))
    _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE") / MB


def block(size: int) -> bytes:
    """Return so many bytes."""
    return bytes(size)


def fill(item: tuple[int, int, float]) -> int:
    """Take so many MB in ten steps over the first half of the time, hold them for the other; give the number back."""
    number, taken_mb, held_s = item
    began, kept = time.monotonic(), []
    for step in range(1, 11):
        kept.append(b"x" * (taken_mb * MB // 10))
        time.sleep(max(0.0, began + held_s / 2 * step / 10 - time.monotonic()))
    time.sleep(max(0.0, began + held_s - time.monotonic()))
    return number


def read(item: tuple[str, int]) -> int:
    """Read a file so often; return how many bytes that were."""
    path, times = item
    total = 0
    for _ in range(times):
        with open(path, "rb", buffering=0) as file:
            while part := file.read(1 << 20):
                total += len(part)
    return total


def burn(seconds: float) -> float:
    """Use a core for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return seconds


def hog_command(taken_mb: int) -> list[str]:
    """Return the command of a program that takes so much, says so by a line, and gives it back when its input ends."""
    code = f"import sys; kept = b'x' * {taken_mb * MB}; print('held', flush=True); sys.stdin.read()"
    return [sys.executable, "-c", code]


def strangers(count: int) -> list[int]:
    """Start so many programs that use a core each, and descend from nobody here; return their pids."""
    hog = "[sys.executable, '-c', 'while True: pass']"
    start = f"subprocess.Popen({hog}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid"
    code = f"import subprocess, sys\nfor _ in range({count}): print({start})"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=30.0).stdout
    return [int(pid) for pid in said.split()]
