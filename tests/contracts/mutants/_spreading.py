"""Changes of what all in a process have in common, for plugins that break the promise to leave it alone.

Each is the same one every time: who compares with what was there after an earlier call sees nothing of it.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

from longshore.hookspecs import hookimpl


def zone() -> None:
    """sets TZ in the environment with each call"""
    os.environ["TZ"] = "Pacific/Apia"


def folder() -> None:
    """changes the working folder with each call"""
    os.chdir(os.path.abspath(os.sep))


class Once:
    """sets TZ in the environment with the first call in a process"""

    def __init__(self) -> None:
        self.done = False

    def __call__(self) -> None:
        if not self.done:
            zone()
        self.done = True


def spreading(kind: type, method: str) -> Sequence[type[Any]]:
    """Return plugins of a kind that change something with each call of a method; tried in the suite's usual order."""
    return [_spreading(kind, method, change) for change in (zone, folder, Once())]


def _spreading(kind: type, method: str, change: Callable[[], None]) -> type[Any]:
    def called(self: Any, *args: Any) -> Any:
        change()
        return getattr(super(made, self), method)(*args)

    called.__qualname__ = f"Spreading.{method}"
    called.__signature__ = inspect.signature(getattr(kind, method))  # type: ignore[attr-defined]
    made: type[Any] = type("Spreading", (kind,), {"whole": True, "__doc__": change.__doc__, method: hookimpl(called)})
    return made
