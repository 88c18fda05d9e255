"""How to show a run: what was asked for, the stream and the environment come in, a mode, colour and a size go out.

rich detects none of this: it takes FORCE_COLOR on a pipe for a terminal, and draws cursor movements into a log.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, NamedTuple, TextIO

Mode = Literal["live", "lines", "json", "none"]
_OFF = ("", "0", "false", "no")


class Size(NamedTuple):
    """Columns and rows."""

    width: int
    height: int


def choose_mode(view: str, *, terminal: bool, env: Mapping[str, str]) -> Mode:
    """Return the mode for `view` (auto, live, lines, json, none); "live" off a terminal becomes "lines"."""
    match view:
        case "lines" | "json" | "none":
            return view
        case "live":
            return "live" if _can_draw(terminal, env) else "lines"
        case "auto":
            asked = env.get("TTY_INTERACTIVE")
            watched = asked == "1" or (asked != "0" and not _on(env, "CI"))
            return "live" if watched and _can_draw(terminal, env) else "lines"
        case _:
            raise ValueError(f"progress can be shown as auto, live, lines, json or none, not {view!r}")


def wants_colour(*, terminal: bool, env: Mapping[str, str]) -> bool:
    """Tell whether to use colour: NO_COLOR forbids, else FORCE_COLOR or CLICOLOR_FORCE demands, else a terminal.

    TTY_COMPATIBLE says of a stream that it is as good as a terminal, or that a terminal is not.
    """
    if env.get("NO_COLOR"):
        return False
    if _on(env, "FORCE_COLOR") or _on(env, "CLICOLOR_FORCE"):
        return True
    compatible = env.get("TTY_COMPATIBLE")
    return (terminal or compatible == "1") and compatible != "0" and env.get("TERM") != "dumb"


def terminal_size(stream: TextIO, env: Mapping[str, str]) -> Size:
    """Return the size as it is now; COLUMNS and LINES make it smaller, never larger than the terminal is."""
    try:
        real = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError, AttributeError):
        real = os.terminal_size((0, 0))
    return Size(_least(real.columns, env.get("COLUMNS"), 80), _least(real.lines, env.get("LINES"), 24))


def _least(real: int, wanted: str | None, usual: int) -> int:
    known = [size for size in (real, int(wanted) if wanted and wanted.isdecimal() else 0) if size > 0]
    return min(known, default=usual)


def _can_draw(terminal: bool, env: Mapping[str, str]) -> bool:
    """Tell whether a view can be drawn: on a terminal, or where both variables say that it is as good as one."""
    said = env.get("TTY_COMPATIBLE") == "1" and env.get("TTY_INTERACTIVE") == "1"
    able = env.get("TERM", "") not in ("dumb", "unknown") and env.get("TTY_COMPATIBLE") != "0"
    return (terminal or said) and able


def _on(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").lower() not in _OFF
