"""Why a document cannot be read: a few words for machines, and the error that carries one."""

from __future__ import annotations

from enum import StrEnum

from longshore.errors import DocumentError


class Reason(StrEnum):
    """The values of `facts["reason"]` of every DocumentError that `extract` raises."""

    ENCRYPTED = "encrypted"
    """It opens only with a password or a key."""
    MALFORMED = "malformed"
    """It is not what its name or its first bytes say, or it is damaged past reading."""
    EMPTY = "empty"
    """It holds nothing."""
    NO_TEXT = "no-text"
    """It holds pages or pictures, but no text: scanned, most likely."""
    UNSUPPORTED = "unsupported"
    """Its format is none of ours."""
    UNREADABLE = "unreadable"
    """It is missing, no regular file, or may not be opened."""
    TOO_LARGE = "too-large"
    """It, what is packed in it, or the text in it passes a limit of the settings."""


def refusal(reason: Reason, message: str) -> DocumentError:
    """Return the error to raise for a document that cannot be read."""
    return DocumentError(message, reason=reason.value)
