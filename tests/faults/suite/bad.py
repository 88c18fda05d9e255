"""Objects that do harm at one moment of their way: as they are pickled, or as they are read again."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Any, NoReturn


def crash() -> NoReturn:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still here")


def leave() -> NoReturn:
    """End the process without any farewell."""
    os._exit(3)


def fail() -> NoReturn:
    """Raise."""
    raise RuntimeError("at this moment")


def hang() -> NoReturn:
    """Go on for ever, or until everything is over."""
    OVER.wait(1000)
    raise AssertionError("still here")


OVER = threading.Event()
"""For those threads of this process that nobody can end otherwise."""
ACTIONS = {"crash": crash, "exit": leave, "raise": fail, "hang": hang}


class AtPickle:
    """Does it as it is pickled."""

    def __init__(self, action: str) -> None:
        """Know what."""
        self.action = action

    def __reduce__(self) -> Any:
        """Do it."""
        ACTIONS[self.action]()


class AtUnpickle:
    """Does it as it is read."""

    def __init__(self, action: str) -> None:
        """Know what."""
        self.action = action

    def __reduce__(self) -> Any:
        """Have it done by whoever reads this."""
        return ACTIONS[self.action], ()


class AtPickleError(Exception):
    """An exception that does it as it is pickled."""

    def __reduce__(self) -> Any:
        """Do it."""
        ACTIONS[self.args[0]]()


class AtUnpickleError(Exception):
    """An exception that does it as it is read."""

    def __reduce__(self) -> Any:
        """Have it done by whoever reads this."""
        return ACTIONS[self.args[0]], ()


class TwoArgumentsError(Exception):
    """Can't be made again from its `args`."""

    def __init__(self, one: str, two: str) -> None:
        """Take two."""
        super().__init__(f"{one} and {two}")


class KeywordError(Exception):
    """Takes no positional arguments."""

    def __init__(self, *, why: str) -> None:
        """Take one by name."""
        super().__init__(why)


class LyingError(Exception):
    """Says that it is something else."""

    def __reduce__(self) -> Any:
        """Lie."""
        return int, (3,)


class HoldingError(Exception):
    """Holds what can't travel."""

    def __init__(self, text: str, held: object) -> None:
        """Hold it."""
        super().__init__(text)
        self.held = held


class MuteError(Exception):
    """Can't say what it is."""

    def __str__(self) -> str:
        """Refuse."""
        raise RuntimeError("no words")


def raise_odd(kind: str) -> NoReturn:
    """Raise an exception of this kind."""
    if kind == "circular cause":
        one, two = ValueError("one"), ValueError("two")
        one.__cause__, two.__cause__ = two, one
        raise one
    if kind == "with a cause":
        raise ValueError("above") from KeyError("below")
    made: dict[str, Any] = {
        "two arguments": lambda: TwoArgumentsError("one", "two"),
        "keyword only": lambda: KeywordError(why="by name"),
        "lies": lambda: LyingError("what it said"),
        "holds a lock": lambda: HoldingError("locked", threading.Lock()),
        "holds a socket": lambda: HoldingError("open", socket.socket()),
        "group": lambda: ExceptionGroup("both", [ValueError("one"), KeyError("two")]),
        "10 MB": lambda: ValueError("x" * 10_000_000),
        "mute": lambda: MuteError("unheard"),
    }
    raise made[kind]()


ODD = {
    "two arguments": "TwoArgumentsError",
    "keyword only": "KeywordError",
    "lies": "LyingError",
    "holds a lock": "HoldingError",
    "holds a socket": "HoldingError",
    "circular cause": "ValueError",
    "with a cause": "ValueError",
    "group": "ExceptionGroup",
    "10 MB": "ValueError",
    "mute": "MuteError",
}
"""Exceptions that are hard to carry, and the name of their class."""


class Ending:
    """A result whose end, or comparison, raises or blocks in a worker."""

    def __init__(self, how: str) -> None:
        """Know how."""
        self.how = how

    def _act(self, moment: str) -> None:
        if "LONGSHORE_WORKER" in os.environ and self.how.startswith(moment):
            ACTIONS["hang" if self.how.endswith("blocks") else "raise"]()

    def __del__(self) -> None:
        """Be gone, some time."""
        self._act("del")

    def __eq__(self, other: object) -> bool:
        """Compare, some time."""
        self._act("eq")
        return isinstance(other, Ending) and other.how == self.how

    __hash__ = None  # type: ignore[assignment]
