"""What a command that takes long says on stderr meanwhile; called by `bench` and `plugins check`."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Final

from longshore.cli.console import line, say

_LINE_EVERY_S: Final = 5.0  # between two lines in a log


class Progress:
    """Says on stderr what is being done: on one line of a terminal, or now and then in a log."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
        self._began = self._said = time.monotonic()
        self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def _clear(self) -> None:
        if self._live and self._width:
            print(f"\r{'':{self._width}}\r", end="", file=sys.stderr, flush=True)
            self._width = 0

    def problem(self, text: str) -> None:
        """Say it, on a line of its own."""
        self._clear()
        say(f"longshore: {text}")

    def doing(self, text: str, executor: str | None = None) -> None:
        """Say it, if that is due."""
        now = time.monotonic()
        told = line(f"{now - self._began:4.0f} s  {text}")
        if self._live:
            told = told[: shutil.get_terminal_size().columns - 1]  # a line that wraps can't be taken back
            print(f"\r{told:{self._width}}", end="", file=sys.stderr, flush=True)
            self._width = len(told)
        elif now - self._said >= _LINE_EVERY_S:
            self._said = now
            say(told)
