"""Text: strings from outside and plain numbers come in, what may stand on a terminal goes out; pure.

Every string that a task, a file or an exception brought passes `Glyphs.clean` before anything else is done with it.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import NamedTuple
from unicodedata import category

from rich.cells import cell_len
from rich.text import Text

_SPACES = "Zs"
"""The category of what `isprintable` takes for unprintable, and which harms nothing: spaces of other widths."""


def visible(text: str, limit: int = 300) -> str:
    r"""Return at most about `limit` characters of `text`, with what acts or hides spelled out, as `\x1b` or `\u200b`.

    That is: controls, line separators, marks that turn the direction of text or have no width of their own, halves of
    surrogate pairs. Marks that combine with a letter stay.
    """
    cut = text if len(text) <= limit else f"{text[:limit]}..."
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() or category(char) == _SPACES else _spelled(char) for char in cut)


def _spelled(char: str) -> str:
    return char.encode("unicode_escape").decode()


class Glyphs(NamedTuple):
    """The characters a view draws with, and what it may show of others."""

    full: str
    empty: str
    dot: str
    ellipsis: str
    ascii_only: bool

    def clean(self, text: str, limit: int = 300) -> str:
        """Return `text` as it may be shown: nothing in it acts on the terminal, all of it can be encoded."""
        shown = visible(text, limit)
        return shown.encode("ascii", "backslashreplace").decode() if self.ascii_only else shown

    def fit(self, text: Text, width: int) -> Text:
        """Cut `text` to `width` cells, in place, and return it."""
        if text.cell_len > width:
            text.truncate(max(0, width - cell_len(self.ellipsis)), overflow="crop")
            text.append(self.ellipsis[:width])
        return text


ASCII = Glyphs("#", ".", "-", "...", True)
UNICODE = Glyphs("█", "░", "·", "…", False)


def glyphs_for(encoding: str | None, env: Mapping[str, str]) -> Glyphs:
    """Return what a stream of this encoding can show; unknown ones, dumb terminals and the locale C get ASCII."""
    try:
        name = codecs.lookup(encoding or "ascii").name
    except LookupError:
        return ASCII
    # Python takes the locale C for UTF-8 (PEP 540), where the terminal's font and the user mean ASCII.
    locale = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    plain = locale in ("C", "POSIX") or env.get("TERM") == "dumb"
    return UNICODE if name in ("utf-8", "utf-8-sig") and not plain else ASCII


def duration(seconds: float) -> str:
    """Return seconds for people: 0.4s, 12s, 3m12s, 2h05m, 1d03h."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if minutes == 0:
        return f"{rest}s"
    if hours == 0:
        return f"{minutes}m{rest:02}s"
    return f"{hours}h{minutes_left:02}m" if hours < 24 else f"{hours // 24}d{hours % 24:02}h"


def per_second(rate: float) -> str:
    """Return a rate for people: 0.3/s, 12.4/s, 1,840/s."""
    return f"{rate:.1f}/s" if rate < 100 else f"{rate:,.0f}/s"


def megabytes(amount: float) -> str:
    """Return MB for people: 0.3MB, 612MB, 13.1GB."""
    if amount < 10:
        return f"{amount:.1f}MB"
    return f"{amount:.0f}MB" if amount < 1000 else f"{amount / 1000:.1f}GB"


def percent(part: float, whole: float | None) -> str:
    """Return the share in whole percent, rounded down so that 100% means all; "" where there is no whole."""
    return f"{int(100 * min(part, whole) / whole)}%" if whole else ""


def span(low_s: float | None, high_s: float | None) -> str:
    """Return a range of durations, or the one that is known; "" where none is."""
    known = [duration(seconds) for seconds in (low_s, high_s) if seconds is not None]
    return known[0] if len(set(known)) == 1 else "-".join(known)


def bar(part: float, whole: float | None, width: int, glyphs: Glyphs) -> str:
    """Return a bar of `width` characters, empty where there is no whole."""
    filled = int(width * min(1.0, part / whole)) if whole else 0
    return glyphs.full * filled + glyphs.empty * (width - filled)
