"""How to show a run: what was asked for, the stream and the environment come in, a mode and a console go out.

rich is told everything and left nothing to detect: by itself it takes FORCE_COLOR on a pipe for a terminal and draws
cursor movements into a log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TextIO

from rich.console import Console

Mode = Literal["live", "lines", "json", "none"]
_OFF = ("", "0", "false", "no")


def choose_mode(view: str, *, terminal: bool, env: Mapping[str, str]) -> Mode:
    """Return the mode for `view` (auto, live, lines, json, none); "live" off a terminal becomes "lines"."""
    match view:
        case "lines" | "json" | "none":
            return view
        case "live":
            return "live" if _can_draw(terminal, env) else "lines"
        case "auto":
            watched = not _on(env, "CI") and env.get("TTY_INTERACTIVE") != "0"
            return "live" if watched and _can_draw(terminal, env) else "lines"
        case _:
            raise ValueError(f"progress can be shown as auto, live, lines, json or none, not {view!r}")


def wants_colour(*, terminal: bool, env: Mapping[str, str]) -> bool:
    """Tell whether to use colour: NO_COLOR forbids, else FORCE_COLOR or CLICOLOR_FORCE demands, else a terminal."""
    if env.get("NO_COLOR"):
        return False
    return _on(env, "FORCE_COLOR") or _on(env, "CLICOLOR_FORCE") or terminal


def live_console(stream: TextIO, env: Mapping[str, str]) -> Console:
    """Return a console that draws on the terminal behind `stream`."""
    colour = wants_colour(terminal=True, env=env)
    return Console(
        file=stream,
        force_terminal=True,
        force_interactive=True,
        force_jupyter=False,
        no_color=not colour,
        color_system="auto" if colour else None,
        markup=False,
        emoji=False,
        highlight=False,
    )


def _can_draw(terminal: bool, env: Mapping[str, str]) -> bool:
    return terminal and env.get("TERM", "") not in ("dumb", "unknown") and env.get("TTY_COMPATIBLE") != "0"


def _on(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").lower() not in _OFF
