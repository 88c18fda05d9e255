"""What tasks do. A worker imports this module, so it imports next to nothing: how fast workers start is under trial."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from longshore import track
from longshore.worker import current_task
from suite import audit, bad, leaks

FAULTS = 0.05
"""Which part of the attempts of `fragile` fail."""
KILLS = 0.1
"""Of those, which part kill the worker."""
_DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
time.sleep(1000)
"""


def kill_self() -> None:
    """End this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def echo(item: Any) -> Any:
    """Give back what is given."""
    return item


def nap(item: float) -> float:
    """Sleep for so many seconds."""
    time.sleep(item)
    return item


def digest(data: bytes) -> bytes:
    """Return a digest of the data, so that a torn message is seen."""
    return hashlib.sha256(data).digest()


def large_and_digest(item: int) -> tuple[int, bytes, bytes]:
    """Return 8 MiB that can be told from any other's, with their digest."""
    data = hashlib.shake_128(str(item).encode()).digest(1 << 20) * 8
    return item, data, digest(data)


def large_and_killed(item: int) -> tuple[int, bytes, bytes]:
    """Do the same, and have the worker killed at about the time at which that is sent, at the first attempt."""
    if item % 3 == 0 and current_task().attempt == 1:
        threading.Timer(0.001 * item, kill_self).start()
    return large_and_digest(item)


def take_large(data: bytes) -> bytes:
    """Return the digest of what came."""
    return digest(data)


def chatter(item: int) -> int:
    """Log a little."""
    for number in range(3):
        logging.getLogger("faults").warning("task %d says %d", item, number)
    return item


def kill_siblings(item: tuple[int, float]) -> None:
    """Kill all other workers of this pool, then this one, a little later than the others do."""
    parent, delay_s = item
    mine = leaks.workers(parent)
    time.sleep(delay_s)
    leaks.kill(pid for pid in mine if pid != os.getpid())
    kill_self()


def stop_if(item: int) -> int:
    """Stop this process, for one of the items."""
    if item == 3:
        os.kill(os.getpid(), signal.SIGSTOP)
    return item


def hold_the_interpreter(item: float) -> float:
    """Sleep without letting go of the interpreter."""
    ctypes.PyDLL(None).usleep(int(item * 1e6))
    return item


def leave_behind(mode: str) -> str:
    """Start something that is to outlive its task, and hang if told so."""
    options = {"start_new_session": True} if mode != "nohup" else {}
    command = {"setsid": ["sleep", "1000"], "nohup": ["nohup", "sleep", "1000"]}
    subprocess.Popen(command.get(mode, [sys.executable, "-c", _DAEMON]), stdout=subprocess.DEVNULL, **options)
    time.sleep(1000)
    return mode


def give(item: Any) -> Any:
    """Give, or raise, what does harm on its way; or take what came."""
    if isinstance(item, tuple):
        point, action = item
        if point == "pickle result":
            return bad.AtPickle(action)
        if point == "unpickle result":
            return bad.AtUnpickle(action)
        raise (bad.AtPickleError if point == "pickle exception" else bad.AtUnpickleError)(action)
    return item


def zeros(size: int) -> bytes:
    """Return so many bytes."""
    return bytes(size)


def odd(kind: str) -> Any:
    """Return what can't be carried, or only just."""
    ring: list[Any] = [kind]
    ring.append(ring)
    made: dict[str, Any] = {
        "generator": lambda: (number for number in range(3)),
        "open file": lambda: open(os.devnull),  # noqa: SIM115 - that it is open is the point
        "lambda": lambda: lambda: kind,
        "ring": lambda: ring,
    }
    return made[kind]()


def end_oddly(how: str) -> Any:
    """Return something whose end or comparison does harm; or a number."""
    return bad.Ending(how) if isinstance(how, str) else how


def swallow(item: int) -> int:
    """Ignore whatever is thrown into it."""
    until = time.monotonic() + 1000
    while item == 0 and time.monotonic() < until:
        with suppress(BaseException):
            time.sleep(0.01)
    return item


def begin_and_hang(path: str) -> None:
    """Say by which process it is run, and hang."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(1000)


def counting(item: int) -> int:
    """Go through loops in loops, with totals that are known, unknown, or other than was said."""
    for _ in track(range(item % 4 + 1)):
        inner = range(item % 3 + 1)
        for _ in track(iter(inner) if item % 2 else inner):
            if item % 5 == 0:
                current_task().progress(0.1, "says less than is done")
    return item


def fragile(item: int) -> int:
    """Fail in one of twenty attempts, whichever that are; some of them kill the worker."""
    dice = random.Random(f"{item}:{current_task().attempt}")
    if dice.random() < FAULTS:
        if dice.random() < KILLS:
            kill_self()
        raise OSError(f"item {item} fails now")
    return item


class Getting:
    """An initializer that says each time that it is called, and then raises or hangs."""

    def __init__(self, path: Path, action: str) -> None:
        """Write to `path`."""
        self.path, self.action = str(path), action

    def __call__(self) -> None:
        """Do it."""
        audit.write(self.path, str(os.getpid()), sync=False)
        bad.ACTIONS[self.action]()
