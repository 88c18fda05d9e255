"""Rich text: control words are followed as far as text, code pages, tables and headings need; the rest is left out."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from longshore_documents.source import Source
from longshore_documents.writer import Writer

_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?"  # control word
    rb"|\\'([0-9a-fA-F]{2})"  # byte in hexadecimal
    rb"|\\([^a-zA-Z'])"  # control symbol
    rb"|([{}])"
    rb"|[\r\n]+"
    rb"|([^\\{}\r\n]+)"  # text
)
_DESTINATIONS = frozenset(
    b"colortbl fonttbl stylesheet info pict object objdata themedata colorschememapping datastore latentstyles "
    b"listtable listoverridetable rsidtbl revtbl generator xmlnstbl fldinst filetbl listtext pntext bkmkstart "
    b"bkmkend shppict nonshppict sp template private mmathPr datafield wgrffmtfilter pgptbl docvar blipuid".split()
)
_INFO = {b"title": "title", b"author": "author", b"subject": "subject", b"keywords": "keywords"}
_SYMBOLS = {
    b"tab": "\t",
    b"line": "\n",
    b"cell": "\t",
    b"nestcell": "\t",
    b"emdash": "\u2014",
    b"endash": "\u2013",
    b"emspace": " ",
    b"enspace": " ",
    b"bullet": "\u2022",
    b"lquote": "\u2018",
    b"rquote": "\u2019",
    b"ldblquote": "\u201c",
    b"rdblquote": "\u201d",
}
_CHARSETS = {
    77: "mac-roman", 128: "cp932", 129: "cp949", 134: "gb18030", 136: "cp950", 161: "cp1253", 162: "cp1254",
    163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250",
}  # fmt: skip
_MAX_GROUPS = 10_000


@dataclass(frozen=True, slots=True)
class _State:
    """What a group inherits and gives back when it ends."""

    skip: bool = False
    info: str = ""
    in_fonts: bool = False
    codepage: str = "cp1252"
    unicode_skip: int = 1


def read_rtf(source: Source, writer: Writer) -> None:
    """Read rich text; groups are kept on a list, so nesting is bounded by a number and not by the stack."""
    rich = _RichText(writer)
    for match in _TOKEN.finditer(source.data):
        rich.take(match)
    rich.close()


class _RichText:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._state = _State()
        self._default = "cp1252"
        self._stack: list[_State] = []
        self._bytes = bytearray()
        self._text: list[str] = []
        self._facts: dict[str, list[str]] = {}
        self._fonts: dict[int, str] = {}
        self._font = 0
        self._level = 0
        self._in_table = False
        self._to_skip = 0
        self._starred = False

    def take(self, match: re.Match[bytes]) -> None:
        """Take one token."""
        word, number, code, symbol, brace, text = match.groups()
        if word is not None:
            self._word(word, int(number) if number else None)
        elif code is not None:
            self._put_bytes(bytes.fromhex(code.decode()))
        elif symbol is not None:
            self._symbol(symbol)
        elif brace is not None:
            self._group(brace)
        elif text is not None:
            self._put_bytes(text)

    def close(self) -> None:
        """End the last paragraph, and pass on what the document says of itself."""
        self._end_paragraph()
        facts = {name: "".join(pieces) for name, pieces in self._facts.items()}
        self._writer.title = facts.pop("title", None)
        self._writer.describe(**facts)

    def _group(self, brace: bytes) -> None:
        self._flush_bytes()
        self._to_skip = 0
        if brace == b"{":
            if len(self._stack) >= _MAX_GROUPS:
                raise ValueError("groups nested too deep")
            self._stack.append(self._state)
        elif self._stack:
            self._state = self._stack.pop()

    def _symbol(self, symbol: bytes) -> None:
        if symbol == b"*":
            self._starred = True
        elif symbol in b"\\{}":
            self._put_bytes(symbol)
        elif symbol in b"~_":
            self._put_text(" " if symbol == b"~" else "-")
        elif symbol in b"\r\n":
            self._end_paragraph()

    def _word(self, word: bytes, number: int | None) -> None:
        self._flush_bytes()
        starred, self._starred = self._starred, False
        if word in _INFO and self._inside_info():
            self._state = replace(self._state, skip=False, info=_INFO[word])
        elif word in _DESTINATIONS or starred:
            self._state = replace(
                self._state, skip=True, in_fonts=word == b"fonttbl", info="info" if word == b"info" else ""
            )
        elif word in _SYMBOLS:
            self._put_text(_SYMBOLS[word])
        elif word in {b"par", b"sect", b"page", b"row", b"nestrow"}:
            self._end_paragraph(row=word in {b"row", b"nestrow"})
        elif number is not None:
            self._numbered(word, number)
        elif word == b"pard":
            self._level = 0
            self._in_table = False
        elif word == b"intbl":
            self._in_table = True
        elif word == b"mac":
            self._default = "mac-roman"
            self._state = replace(self._state, codepage="mac-roman")

    def _numbered(self, word: bytes, number: int) -> None:
        if word == b"u":
            self._unicode(number)
        elif word == b"uc":
            self._state = replace(self._state, unicode_skip=max(0, number))
        elif word == b"ansicpg":
            self._default = _codepage(number) or self._default
            self._state = replace(self._state, codepage=self._default)
        elif word == b"f":
            self._font = number
            if not self._state.in_fonts:
                self._state = replace(self._state, codepage=self._fonts.get(number, self._default))
        elif word == b"fcharset" and self._state.in_fonts and number in _CHARSETS:
            self._fonts[self._font] = _CHARSETS[number]
        elif word == b"outlinelevel" and not self._state.skip and 0 <= number < 9:
            self._level = number + 1
        elif word == b"bin":
            raise ValueError("binary data inside rich text")

    def _unicode(self, number: int) -> None:
        code = number + 0x10000 if number < 0 else number
        if 0 <= code <= 0xFFFF:
            self._put_text(chr(code))
        self._to_skip = self._state.unicode_skip

    def _put_bytes(self, data: bytes) -> None:
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            data = data[skipped:]
        self._bytes += data

    def _flush_bytes(self) -> None:
        if self._bytes:
            data, self._bytes = bytes(self._bytes), bytearray()
            self._put_text(data.decode(self._state.codepage, "replace"))

    def _put_text(self, text: str) -> None:
        if self._state.info in _INFO.values():
            self._facts.setdefault(self._state.info, []).append(text)
        elif not self._state.skip:
            self._text.append(text)

    def _end_paragraph(self, *, row: bool = False) -> None:
        self._flush_bytes()
        if self._in_table and not row:
            self._text.append(" ")
            return
        # Characters beyond the first plane come as two halves; put them together.
        text = "".join(self._text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        self._text.clear()
        if row:
            self._writer.line("\t".join(" ".join(cell.split()) for cell in text.split("\t")).rstrip("\t"))
        else:
            self._writer.block(text, self._level if text.strip() else 0)

    def _inside_info(self) -> bool:
        return any(state.info == "info" for state in self._stack)


def _codepage(number: int) -> str | None:
    name = "mac-roman" if number == 10000 else f"cp{number}"
    try:
        "".encode(name)
    except LookupError:
        return "utf-8" if number == 65001 else None
    return name
