"""The settings as the processors hold them: plain records, so that workers need no pydantic to have them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a document may hold; MB is 10**6 bytes, and for text 10**6 characters."""

    max_file_mb: float = 100.0
    max_unpacked_mb: float = 500.0
    max_text_mb: float = 100.0

    @property
    def file_bytes(self) -> int:
        """Bytes of the file."""
        return int(self.max_file_mb * 1e6)

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of everything packed in it."""
        return int(self.max_unpacked_mb * 1e6)

    @property
    def text_chars(self) -> int:
        """Characters of its text."""
        return int(self.max_text_mb * 1e6)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How text is split, in characters."""

    max_chars: int = 2000
    overlap_chars: int = 200
    with_text: bool = False
