"""What the interpreter does at its end about executors that nobody has shut down: it lets their work end."""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Waited(Protocol):
    """What has work that the interpreter is to wait for."""

    def close(self) -> None:
        """Take no more."""

    def join(self) -> None:
        """Wait until all has ended."""

    def abandon(self) -> None:
        """Be of no use in a forked process."""


# Process-wide, as the end of the process is.
_open: WeakSet[Waited] = WeakSet()
_registered = threading.Event()
_registering = threading.Lock()


def wait_for(one: Waited) -> None:
    """Have the interpreter wait for `one` before it ends; RuntimeError if it is ending already."""
    with _registering:
        if not _registered.is_set():
            # `atexit` comes too late: when threads have been waited for, and no new ones may be started. This is how
            # concurrent.futures does it itself, and it runs before its own, for that was registered earlier: threads
            # of its executors, in the pool's own work or in that of users, are still to be had.
            register = threading._register_atexit  # type: ignore[attr-defined]  # not in typeshed
            register(_at_exit)
            os.register_at_fork(after_in_child=_forked)
            _registered.set()
    _open.add(one)


def _at_exit() -> None:
    waited = list(_open)
    for one in waited:
        one.close()
    for one in waited:
        one.join()


def _forked() -> None:
    """Forget, in a forked process, what has its thread in another."""
    for one in list(_open):
        one.abandon()
    _open.clear()
