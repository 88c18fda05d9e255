"""Outlook messages (msg): properties of a compound file; body as text, else out of its HTML or compressed rich text."""

from __future__ import annotations

import io
from dataclasses import replace

import olefile

from longshore_documents.decode import decode
from longshore_documents.failures import Reason, refusal
from longshore_documents.readers.rtf import read_rtf
from longshore_documents.source import Source
from longshore_documents.writer import Writer

_CLASS, _SUBJECT, _SENT_BY, _SENDER, _TO, _CC = "001A", "0037", "0C1A", "0C1F", "0E04", "0E03"
_BODY, _HTML, _RICH_TEXT, _NAME, _LONG_NAME = "1000", "1013", "1009", "3001", "3707"
_MIME_TYPE = "370E"
_LOCKED = ("application/pgp-encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")


def read_msg(source: Source, writer: Writer) -> None:
    """Read one message; raises DocumentError "encrypted" for one that is S/MIME-encrypted."""
    with olefile.OleFileIO(io.BytesIO(source.data)) as compound:
        _read(_Properties(compound), source, writer)


class _Properties:
    """Text and bytes by property tag, at the top or in a storage."""

    def __init__(self, compound: olefile.OleFileIO[str]) -> None:
        self._compound = compound

    def attachments(self) -> list[str]:
        """Return the storages of the attachments, in order."""
        tops = {entry[0] for entry in self._compound.listdir(streams=True, storages=True)}
        return sorted(top for top in tops if top.startswith("__attach_version1.0_"))

    def data(self, tag: str) -> bytes | None:
        """Return a binary property."""
        return self._stream(f"__substg1.0_{tag}0102")

    def text(self, tag: str, storage: str = "") -> str:
        """Return a property of text, in either of its two forms; empty where there is none."""
        place = f"{storage}/" if storage else ""
        wide = self._stream(f"{place}__substg1.0_{tag}001F")
        if wide is not None:
            return wide.decode("utf-16-le", "replace").rstrip("\0")
        narrow = self._stream(f"{place}__substg1.0_{tag}001E")
        return decode(narrow).text.rstrip("\0") if narrow is not None else ""

    def _stream(self, path: str) -> bytes | None:
        if not self._compound.exists(path):
            return None
        data: bytes = self._compound.openstream(path).read()
        return data


def _read(properties: _Properties, source: Source, writer: Writer) -> None:
    attached = properties.attachments()
    names = [properties.text(_LONG_NAME, storage) or properties.text(_NAME, storage) for storage in attached]
    if _is_locked(properties, attached, names):
        raise refusal(Reason.ENCRYPTED, f"{source.name}: the message is encrypted")
    _head(properties, writer)
    writer.describe(attachments=", ".join(name for name in names if name))
    writer.part("body", "body")
    _body(properties, source, writer)


def _is_locked(properties: _Properties, attached: list[str], names: list[str]) -> bool:
    """Tell whether the message is one of S/MIME, PGP or rights management whose body is in an attachment."""
    kind = properties.text(_CLASS).lower()
    if "smime" in kind and "multipartsigned" not in kind:
        return True
    types = [properties.text(_MIME_TYPE, storage).lower() for storage in attached]
    hidden = any(item in _LOCKED for item in types) or any(name.lower().endswith((".p7m", ".rpmsg")) for name in names)
    return hidden and not properties.text(_BODY).strip()


def _head(properties: _Properties, writer: Writer) -> None:
    sender = properties.text(_SENT_BY)
    address = properties.text(_SENDER)
    shown = {
        "From": f"{sender} <{address}>" if "@" in address and address != sender else sender or address,
        "To": properties.text(_TO),
        "Cc": properties.text(_CC),
        "Subject": properties.text(_SUBJECT),
    }
    writer.title = shown["Subject"]
    writer.part("headers", "headers")
    writer.block("\n".join(f"{name}: {value}" for name, value in shown.items() if value))
    writer.describe(**{name.lower(): value for name, value in shown.items() if name != "Subject"})


def _body(properties: _Properties, source: Source, writer: Writer) -> None:
    text = properties.text(_BODY)
    html = properties.data(_HTML)
    packed = properties.data(_RICH_TEXT)
    if text.strip():
        writer.block(text)
    elif html or properties.text(_HTML):
        from longshore_documents.readers.html import read_html, read_markup

        if html:
            read_html(replace(source, data=html), writer)
        else:
            read_markup(properties.text(_HTML), writer)
    elif packed:
        title = writer.title
        read_rtf(replace(source, data=unpack(packed, source)), writer)
        writer.title = title


_PRIMER = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans Serif"
    rb"SymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)
_WINDOW = 4096


def unpack(packed: bytes, source: Source) -> bytes:
    """Return rich text out of Outlook's compression: a dictionary of 4096 bytes, primed with what is usual."""
    if packed[8:12] == b"MELA":  # stored as it is
        return packed[16:]
    inflater = _Inflater()
    read = 16
    while read < len(packed) and not inflater.done:
        read = inflater.run(packed, read)
        if len(inflater.out) > source.limits.text_chars:
            raise refusal(Reason.TOO_LARGE, f"{source.name}: the compressed body unfolds past max_text_mb")
    return bytes(inflater.out)


class _Inflater:
    """The dictionary, and what came out so far."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.done = False
        self._window = bytearray(_PRIMER.ljust(_WINDOW, b" "))
        self._place = len(_PRIMER)

    def run(self, packed: bytes, read: int) -> int:
        """Take one control byte and the eight items it announces; return where the next one is."""
        control = packed[read]
        read += 1
        for bit in range(8):
            if read >= len(packed) or self.done:
                break
            if control >> bit & 1:
                self._repeat(int.from_bytes(packed[read : read + 2].ljust(2, b"\0"), "big"))
                read += 2
            else:
                self._put(packed[read])
                read += 1
        return read

    def _repeat(self, reference: int) -> None:
        offset, length = reference >> 4, (reference & 0xF) + 2
        if offset == self._place:  # how the end is written
            self.done = True
            return
        for step in range(length):
            self._put(self._window[(offset + step) % _WINDOW])

    def _put(self, byte: int) -> None:
        self.out.append(byte)
        self._window[self._place] = byte
        self._place = (self._place + 1) % _WINDOW
