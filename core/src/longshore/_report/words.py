"""How numbers and names are told: durations, counts, shares; and texts that are made safe for where they go."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from longshore._plain import escaped, line

_BAD_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def seconds(value: float | None) -> str:
    """Return a duration as people read it: "120 ms", "4.2 s", "3 m 12 s", "2 h 5 m"."""
    if value is None:
        return "–"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms" if value >= 0.0009995 or value == 0 else f"{value * 1e6:.0f} µs"
    if value < 59.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} m"


def number(value: float) -> str:
    """Return a count or a rate, with no more digits than help."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def percent(share: float) -> str:
    """Return a share of 1 in percent."""
    if 0 < share < 0.0005:
        return "under 0.1%"
    return f"{share:.0%}" if share >= 0.01 or share == 0 else f"{share:.1%}"


def plural(count: int, noun: str) -> str:
    """Return "1 task", "2 tasks"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(parts: Iterable[str]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def moment(at: float | None) -> str:
    """Return a time as the clock on the wall has it, with its zone."""
    return "–" if not at else datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def encodable(text: str) -> str:
    """Return the text with escapes for what UTF-8 has no way to say; such names of files there are."""
    return text.encode("utf-8", "backslashreplace").decode()


def short(text: str, most: int = 120) -> str:
    """Return the text, its middle left out where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head]}…{text[-(most - head - 1) :]}"


def code(text: str, most: int = 120) -> str:
    """Return a text that is not ours for Markdown of GitHub, in a table too, and for Slack: nothing in it acts.

    It stands in a code span, where neither follows names or links. What would end the span or a cell, or begin one of
    Slack's commands, is replaced by what looks like it.
    """
    told = short(line(text), most).translate(_SPAN).strip()
    return f"`{told}`" if told else "` `"


def prose(text: str) -> str:
    """Return a sentence for Markdown: names between its quotes become code, and nothing else in it acts."""
    parts = re.split("“([^”]*)”", text)
    return "".join(code(part) if place % 2 else _tame(part) for place, part in enumerate(parts))


def _tame(text: str) -> str:
    """Escape what acts in Markdown; what follows @ or # is no link once something invisible stands between."""
    return _LINKING.sub("\\g<0>\u2060", _ACTIVE.sub(r"\\\g<0>", line(text)))


def xml_text(text: str) -> str:
    """Return the text less what XML 1.0 has no way to say: that becomes a visible escape."""
    return _BAD_XML.sub(lambda found: escaped(found[0]), text)


_ACTIVE = re.compile(r"[\\`*_\[\]<>|~]")
_LINKING = re.compile(r"[@#](?=\w)")
_SPAN = str.maketrans({"`": "ˋ", "|": "¦", "<": "‹", ">": "›"})
