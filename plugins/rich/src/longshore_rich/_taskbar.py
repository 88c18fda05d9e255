"""Progress in the terminal's tab or in the taskbar (OSC 9;4): a snapshot comes in, a code or nothing goes out; pure."""

from __future__ import annotations

from collections.abc import Mapping

from longshore.records import RunSnapshot

CLEAR = "\x1b]9;4;0;0\x1b\\"
_NORMAL, _ERROR, _UNKNOWN, _PAUSED = 1, 2, 3, 4
_PROGRAMS = ("ghostty", "iTerm.app", "WezTerm")
_VTE = 8200


def takes_progress(env: Mapping[str, str]) -> bool:
    """Tell whether the terminal is one that is known to take it; others show the code as text, or beep.

    Inside of tmux and screen nobody knows what is outside.
    """
    if env.get("TMUX") or env.get("STY") or env.get("TERM", "").startswith(("tmux", "screen")):
        return False
    known = any(env.get(name) for name in ("WT_SESSION", "KONSOLE_VERSION")) or env.get("ConEmuANSI") == "ON"
    vte = env.get("VTE_VERSION", "")
    return known or env.get("TERM_PROGRAM") in _PROGRAMS or (vte.isdecimal() and int(vte) >= _VTE)


def progress_code(snapshot: RunSnapshot) -> str:
    """Return the code for how far a run is, and whether it is held or has failures."""
    done = int(100 * min(snapshot.ended, snapshot.total) / snapshot.total) if snapshot.total else 0
    if snapshot.throttled == "paused":
        state = _PAUSED
    elif snapshot.failed:
        state = _ERROR
    else:
        state = _NORMAL if snapshot.total else _UNKNOWN
    return f"\x1b]9;4;{state};{done}\x1b\\"
