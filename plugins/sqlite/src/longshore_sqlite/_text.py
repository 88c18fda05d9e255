"""Texts that are no Unicode, such as names of files that are no UTF-8: SQLite and JSON take none.

What tells tasks apart is stored as bytes and read back as it was; what people read has escapes in their place.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

_encode = msgspec.json.Encoder().encode


def stored(text: str | None) -> str | bytes | None:
    """Return a text as it is stored, to be read back by `read`."""
    if text is None or text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def read(found: str | bytes | None) -> str | None:
    """Return the text that was stored."""
    return found.decode("utf-8", "surrogatepass") if isinstance(found, bytes) else found


def shown(text: str | None) -> str | None:
    """Return a text with escapes for what is no Unicode."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def json_text(record: Struct) -> str:
    """Return a record as JSON, its texts as `shown`."""
    try:
        return _encode(record).decode("utf-8")
    except UnicodeEncodeError:
        fields = {name: getattr(record, name) for name in record.__struct_fields__}
        told = {name: shown(value) if isinstance(value, str) else value for name, value in fields.items()}
        return _encode(told).decode("utf-8")
