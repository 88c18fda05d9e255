"""Ties the life of a process to that of its parent. Linux only; elsewhere it does nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def die_with(parent_pid: int) -> bool:
    """Have the kernel kill this process when the thread that started it ends; False if that has happened already.

    The look at the parent comes after the arming: one that ends in between would tell nobody.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent_pid


def become_subreaper() -> None:
    """Inherit the descendants that lose their parent."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0)
