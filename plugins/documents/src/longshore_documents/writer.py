"""Where readers put what they find: blocks of text in reading order, with headings and parts kept as offsets."""

from __future__ import annotations

import re
from typing import Any

from longshore_documents.failures import Reason, refusal

_NEWLINES = re.compile(r"\r\n?|[\v\f\x85\u2028\u2029]")
# C0 and C1 controls but tab and newline, lone surrogates, and the two code points that are no characters.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """Return the text with plain newlines, and without control characters or what UTF-8 cannot carry."""
    return _UNWANTED.sub("", _NEWLINES.sub("\n", text))


class Writer:
    """Collects one document; its size is bounded, so that no small file can unfold into a huge text."""

    def __init__(self, name: str, max_chars: int) -> None:
        """Begin an empty document called `name` in messages."""
        self.title: str | None = None
        self.metadata: dict[str, str | int] = {}
        self.pictures = False
        """Whether there is something to see beside text, so that no text is not the same as nothing."""
        self.name = name
        self._max_chars = max_chars
        self._pieces: list[str] = []
        self.length = 0
        """Characters so far."""
        self._headings: list[dict[str, Any]] = []  # Any: offsets and a level, JSON-safe
        self._parts: list[dict[str, Any]] = []  # Any: offsets and names, JSON-safe

    def part(self, kind: str, name: str) -> None:
        """Begin a part (a page, sheet, slide, chapter, …) of the document."""
        self._close_part()
        self._parts.append({"kind": kind, "name": clean(name)[:200], "start": None})

    def block(self, text: str, level: int = 0) -> None:
        """Add a paragraph, set off by an empty line; `level` from 1 makes it a heading."""
        self._add("\n\n", clean(text).strip("\n"), level)

    def line(self, text: str) -> None:
        """Add a line directly below what is there: a table row, a list item."""
        self._add("\n", clean(text).strip("\n"), 0)

    def heading(self, level: int, start: int, end: int) -> None:
        """Mark text that is already there as a heading."""
        self._headings.append({"level": level, "start": start, "end": end})

    def describe(self, **facts: str | int | None) -> None:
        """Keep facts about the document; what is empty or None is left out."""
        for key, value in facts.items():
            kept = clean(value).strip()[:1000] if isinstance(value, str) else value
            if kept is not None and kept != "":
                self.metadata[key] = kept

    def data(self, form: str) -> dict[str, Any]:  # Any: JSON-safe values
        """Return the document as JSON-safe values; raises DocumentError "empty" or "no-text"."""
        self._close_part()
        text = "".join(self._pieces)
        if not text.strip():
            if self.pictures:
                raise refusal(Reason.NO_TEXT, f"{self.name}: holds no text, only pictures; it needs OCR")
            raise refusal(Reason.EMPTY, f"{self.name}: holds no text")
        title = clean(self.title).strip() if self.title else ""
        if not title and self._headings:
            title = text[self._headings[0]["start"] : self._headings[0]["end"]].lstrip("#* ")
        return {
            "text": text,
            "title": " ".join(title.split())[:300] or None,
            "format": form,
            "metadata": dict(sorted(self.metadata.items())),
            "parts": self._parts,
            "headings": self._headings,
        }

    def _add(self, gap: str, text: str, level: int) -> None:
        if not text.strip():
            return
        if self._pieces:
            self._append(gap)
        start = self.length
        if self._parts and self._parts[-1]["start"] is None:
            self._parts[-1]["start"] = start
        self._append(text)
        if level:
            self.heading(level, start, self.length)

    def _append(self, piece: str) -> None:
        self._pieces.append(piece)
        self.length += len(piece)
        if self.length > self._max_chars:
            message = f"{self.name}: more than {self._max_chars / 1e6:g} million characters of text; see max_text_mb"
            raise refusal(Reason.TOO_LARGE, message)

    def _close_part(self) -> None:
        if self._parts and "end" not in self._parts[-1]:
            part = self._parts[-1]
            if part["start"] is None:
                part["start"] = self.length
            part["end"] = self.length
