"""Colour: a row with styles comes in, the same as a string with escape sequences goes out; writes nothing itself."""

from __future__ import annotations

import io
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text


class Ink:
    """Renders rows for a terminal, or for one that has no colour.

    rich is told everything and left nothing to detect but how many colours the terminal has.
    """

    def __init__(self, env: Mapping[str, str], *, colour: bool) -> None:
        """Prepare; without `colour` there is no escape sequence in what is rendered."""
        self._colour = colour
        self._console = Console(
            file=io.StringIO(),
            force_terminal=True,
            force_interactive=False,
            force_jupyter=False,
            no_color=not colour,
            color_system="auto" if colour else None,
            markup=False,
            emoji=False,
            highlight=False,
            _environ=env,
        )

    def __call__(self, row: Text) -> str:
        """Return one row as a string, without a newline."""
        if not self._colour:
            return row.plain
        with self._console.capture() as captured:
            self._console.print(row, end="", soft_wrap=True)
        return captured.get()
