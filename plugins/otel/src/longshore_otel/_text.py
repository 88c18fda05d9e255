"""Texts of tasks, as they may go into a span: they come from anywhere, and one that is no Unicode costs its batch."""

from __future__ import annotations

_CHARACTERS = 4096
_NAMES = 200
OTHERS = "_other"


def clean(text: str) -> str:
    """Return a text that can be sent: cut at 4096 characters, lone surrogates spelled out."""
    if len(text) > _CHARACTERS:
        text = f"{text[:_CHARACTERS]}... ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Names:
    """Names that metrics are told apart by: the first 200 as they are, further ones as one."""

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return what a name goes by."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _NAMES:
                return OTHERS
            known = self._known[name] = clean(name)
        return known
