"""Where to cut a text: at the strongest border near the size wanted, each chunk repeating the end of the one before."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Borders inside a text, strongest first; a cut falls at the end of a match.
_BORDERS = (
    re.compile(r"\n[ \t]*\n\s*"),
    re.compile(r"\n"),
    re.compile(r"[.!?…][\"'”’»)\]]*\s+|[。！？]"),
    re.compile(r"\s+"),
)
_BORDER_CHARS = 16
"""Borders longer than this are rare."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of a text; `fresh` is where the part not seen in the chunk before begins."""

    start: int
    end: int
    fresh: int


def split(text: str, *, max_chars: int, overlap_chars: int, borders: Sequence[int] = ()) -> Iterator[Chunk]:
    """Yield chunks that cover the text from end to end, in order, none longer than `max_chars`.

    `borders` are sorted offsets of headings and parts, which are cut at before anything else. A chunk begins up to
    `overlap_chars` before the end of the last one: as far back as a word begins there, or exactly so far inside a word.
    """
    fresh = 0
    while fresh < len(text):
        start = _overlap_start(text, fresh, overlap_chars)
        end = _cut(text, fresh, start + max_chars, borders)
        yield Chunk(start, end, fresh)
        fresh = end


def _overlap_start(text: str, fresh: int, overlap_chars: int) -> int:
    earliest = max(0, fresh - overlap_chars)
    for place in range(earliest, fresh):
        if (place == 0 or text[place - 1].isspace()) and not text[place].isspace():
            return place
    return earliest


def _cut(text: str, fresh: int, limit: int, borders: Sequence[int]) -> int:
    """Return where the chunk that adds text from `fresh` on ends: in the later half of what it may add."""
    if limit >= len(text):
        return len(text)
    earliest = fresh + (limit - fresh + 1) // 2
    index = bisect_left(borders, limit + 1) - 1
    if index >= 0 and borders[index] >= earliest:
        return borders[index]
    for border in _BORDERS:
        # A border may begin a little before the first place to cut at, as long as it ends there or later.
        matches = border.finditer(text, max(fresh, earliest - _BORDER_CHARS), limit)
        ends = [match.end() for match in matches if match.end() >= earliest]
        if ends:
            return ends[-1]
    return limit
