"""Rows at the foot of a terminal: rows and other people's text come in, escape sequences go out; safe from any thread.

Between two writes the cursor rests, hidden, at the beginning of the first row. Whatever happens to the terminal
meanwhile (it is resized and wraps its rows anew, somebody else writes to it), the cursor stays with that row, and the
next frame begins there and clears all below: no remainder of rows drawn before is left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TextIO

from longshore_rich._mode import Size

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
"""Around what is to appear at once; terminals that don't know it ignore it."""
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
"""Around rows: one that is wider than anybody thought is cut by the terminal instead of taking a second row."""
_PATIENCE_S = 1.0
_CLEAR_LINE, _CLEAR_BELOW, _PLAIN = "\x1b[K", "\x1b[J", "\x1b[0m"
_CLEAR = f"\r{_CLEAR_LINE}\x1b[C{_CLEAR_BELOW}\r"
"""From the first row on. Not from its first cell: some terminals keep a screen that is cleared as a whole."""


class Painter:
    """Draws rows on one terminal, each frame with one write, and puts text above them."""

    def __init__(self, stream: TextIO, size: Callable[[], Size]) -> None:
        """Prepare to write to `stream`; nothing is written yet. `size` tells the terminal's size."""
        self._stream = stream
        self._size = size
        self._drawn_for = Size(0, 0)
        self._lock = threading.RLock()
        self._frame = ""

    def paint(self, rows: Sequence[str], size: Size, code: str = "") -> None:
        """Draw rows made for `size` in place of those before; `code` goes along and must not move the cursor."""
        lines = "\r\n".join(f"{_PLAIN}{row}{_PLAIN}{_CLEAR_LINE}" for row in rows)
        up = f"\x1b[{len(rows) - 1}A" if len(rows) > 1 else ""
        with self._lock:
            self._drawn_for = size
            self._frame = f"\r{_NO_WRAP}{lines}{_CLEAR_BELOW}{up}\r{_WRAP}"
            self._write(f"{_HIDE}{_BEGIN}{self._frame}{code}{_END}")

    def above(self, text: str) -> None:
        """Put whole lines above the rows, as they are."""
        with self._lock:
            if not self._frame:
                self._write(text)
                return
            # Rows made for a larger terminal would scroll its first ones away for good: the next frame brings new ones.
            rows = self._frame if self._size() == self._drawn_for else ""
            self._write(f"{_BEGIN}{_CLEAR}{text}{rows}{_END}")

    def erase(self, code: str = "") -> None:
        """Take the rows away and show the cursor, where rows were drawn; TimeoutError if another write never ends."""
        if not self._lock.acquire(timeout=_PATIENCE_S):
            raise TimeoutError(f"the terminal has taken no output for {_PATIENCE_S:.0f} s")
        try:
            if self._frame:
                self._frame = ""
                self._write(f"{_CLEAR}{code}{_SHOW}")
        finally:
            self._lock.release()

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
