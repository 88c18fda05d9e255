"""Mail as stored (eml): the headers a reader sees, then the body and everything textual below it.

The standard library's lenient parser is used with its old policy: the new one raises on damaged headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message

from longshore import track

from longshore_documents.decode import Decoded, decode, has_mark, wide_encoding
from longshore_documents.failures import Reason, refusal
from longshore_documents.source import Source
from longshore_documents.writer import Writer

_SHOWN = ("From", "To", "Cc", "Bcc", "Date", "Subject")
_MAX_DEPTH = 50
_LOCKED = frozenset({"application/pgp-encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"})


def read_eml(source: Source, writer: Writer) -> None:
    """Read one message; raises DocumentError "encrypted" where all there is to read is locked."""
    data = source.data
    if has_mark(data) or wide_encoding(data):
        data = decode(data).text.encode()
    message = message_from_bytes(data)
    _head(message, writer)
    parts = list(_leaves(message, 0))
    before = writer.length
    for part in track(parts, message="parts"):
        _leaf(part, writer)
    writer.describe(attachments=", ".join(name for name in (_file_name(part) for part in parts) if name))
    if writer.length == before and any(part.get_content_type() in _LOCKED for part in parts):
        raise refusal(Reason.ENCRYPTED, f"{source.name}: the message is encrypted")


def _head(message: Message, writer: Writer) -> None:
    """Add the headers as lines; the subject is the title, where there is none yet."""
    shown = [(name, header(message, name)) for name in _SHOWN]
    lines = [f"{name}: {value}" for name, value in shown if value]
    if lines:
        writer.part("headers", "headers")
        writer.block("\n".join(lines))
    facts = {name.lower(): value for name, value in shown}
    if writer.title is None:
        writer.title = facts.pop("subject")
        writer.describe(**facts)


def header(message: Message, name: str) -> str:
    """Return a header decoded, as well as it can be, on one line."""
    try:
        raw = str(message.get(name, ""))
        pieces = [_piece(text, charset) for text, charset in decode_header(raw)]
    except (HeaderParseError, ValueError):
        return " ".join(raw.split())
    return " ".join("".join(pieces).split())


def _piece(text: bytes | str, charset: str | None) -> str:
    if isinstance(text, str):
        return _bytes_of(text).decode("utf-8", "replace")
    # A piece without a charset stands between encoded ones and is ASCII by the standard, UTF-8 in practice.
    return decode(text, charset).text if charset else text.decode("utf-8", "replace")


def _leaves(message: Message, depth: int) -> Iterator[Message]:
    """Yield what is no container; of alternatives, the plainest that has text; nested messages with their headers."""
    if depth > _MAX_DEPTH:
        return
    if message.get_content_type() == "multipart/encrypted":
        yield from _children(message)
        return
    if not message.is_multipart():
        yield message
        return
    children = _children(message)
    if message.get_content_type() == "multipart/alternative":
        children = _alternative(children)
    if message.get_content_type() == "message/rfc822":
        yield message  # its own headers are shown where it stands
    for child in children:
        yield from _leaves(child, depth + 1)


def _children(message: Message) -> list[Message]:
    payload = message.get_payload()
    return [part for part in payload if isinstance(part, Message)] if isinstance(payload, list) else []


def _alternative(children: list[Message]) -> list[Message]:
    """Choose plain text where it says something, else what is richest and multipart or HTML, which comes last."""
    for child in children:
        if child.get_content_type() == "text/plain" and body(child).text.strip():
            return [child]
    return children[-1:]


def _leaf(part: Message, writer: Writer) -> None:
    kind = part.get_content_type()
    if kind == "message/rfc822":
        for inner in _children(part):
            _head(inner, writer)
        return
    if part.get_content_maintype() == "image":
        writer.pictures = True
    if part.get_content_maintype() != "text" and not (kind in _LOCKED or kind == "message/delivery-status"):
        return
    if kind in _LOCKED:
        return
    name = _file_name(part)
    writer.part("attachment" if name else "body", name or "body")
    text = body(part).text
    if kind == "text/html":
        from longshore_documents.readers.html import read_markup

        read_markup(text, writer)
    else:
        writer.block(text)


def body(part: Message) -> Decoded:
    """Return a part's text in the charset it names, or looks to be in."""
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else _bytes_of(str(part.get_payload()))
    try:
        charset = part.get_content_charset()
    except (LookupError, ValueError):
        charset = None
    return decode(data, charset)


def _file_name(part: Message) -> str:
    try:
        return str(part.get_filename("") or "")
    except (LookupError, ValueError):
        return ""


def _bytes_of(text: str) -> bytes:
    """Return the bytes the parser kept in a string by surrogate escapes."""
    return text.encode("utf-8", "surrogateescape" if not _has_other_surrogates(text) else "replace")


def _has_other_surrogates(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" and not "\udc80" <= letter <= "\udcff" for letter in text)
