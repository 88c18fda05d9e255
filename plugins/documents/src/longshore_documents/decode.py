"""Bytes to text: byte order marks first, then what the document declares, UTF-8, and at last a guess."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before utf-16-le, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 65_536
"""Bytes looked at for a guess: more makes it slower, not better."""
# Encodings that a charset label means something wider by, in practice.
_ALIASES = {
    "iso-8859-1": "cp1252",
    "latin-1": "cp1252",
    "latin1": "cp1252",
    "us-ascii": "cp1252",
    "ascii": "cp1252",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-sjis": "cp932",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "windows-31j": "cp932",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
    "unicode": "utf-16",
}
_WORD = re.compile(r"[^\W\d_]+")
_WESTERN = frozenset("äöüßÄÖÜéèêëàâáåãçñíìîïóòôõøúùûýÿæœÉÈÊËÀÂÁÅÃÇÑÍÌÎÏÓÒÔÕØÚÙÛÆŒ\u00a0«»“”‘’„–—…•€£§°©®™¡¿·½ºª´")


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text, and the encoding it was in."""

    text: str
    encoding: str


def decode(data: bytes, declared: str | None = None) -> Decoded:
    """Return the text; never raises. `declared` is believed where the bytes agree with it."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return Decoded(data[len(mark) :].decode(encoding, "replace"), encoding)
    wide = wide_encoding(data)
    candidates = [wide] if wide else [_codec(declared), "utf-8"]
    for candidate in candidates:
        text = _strictly(data, candidate)
        if candidate and text is not None:
            return Decoded(text, candidate)
    guess = _guess(data[:_SAMPLE])
    return Decoded(data.decode(guess, "replace"), guess)


def wide_encoding(data: bytes) -> str | None:
    """Return the UTF-16 or UTF-32 that bytes without a mark look like, by where their NUL bytes are."""
    sample = data[:4096]
    quarter = len(sample) // 4
    if not quarter or sample.count(0) * 4 < len(sample):
        return None
    zeros = [sample[place : quarter * 4 : 4].count(0) / quarter for place in range(4)]
    if zeros[2] > 0.9 and zeros[3] > 0.9 and zeros[0] < 0.1:
        return "utf-32-le"
    if zeros[0] > 0.9 and zeros[1] > 0.9 and zeros[3] < 0.1:
        return "utf-32-be"
    if min(zeros[1], zeros[3]) > 0.4 and max(zeros[0], zeros[2]) < 0.1:
        return "utf-16-le"
    if min(zeros[0], zeros[2]) > 0.4 and max(zeros[1], zeros[3]) < 0.1:
        return "utf-16-be"
    return None


def has_mark(data: bytes) -> bool:
    """Tell whether the bytes begin with a byte order mark."""
    return any(data.startswith(mark) for mark, _ in _MARKS)


def _codec(label: str | None) -> str | None:
    if not label:
        return None
    name = label.strip().lower()
    name = _ALIASES.get(name, name)
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    # Codecs such as rot13 or zip are no encodings of text; those of Python's own are none of a document's.
    hidden = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7", "mbcs", "oem"}
    usable = getattr(info, "_is_text_encoding", True) and info.name not in hidden
    return info.name if usable and not info.name.startswith(("utf-16", "utf-32")) else None


def _strictly(data: bytes, encoding: str | None) -> str | None:
    if encoding is None:
        return None
    try:
        return data.decode(encoding)
    except UnicodeError:
        return None


def _guess(sample: bytes) -> str:
    """Guess an 8-bit or CJK encoding; a few high bytes in Western words are cp1252, too few for statistics."""
    if _looks_western(sample.decode("cp1252", "replace")):
        return "cp1252"
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_exclusion=["utf_7", "utf_16", "utf_32"]).best()
    return best.encoding if best is not None else "cp1252"


def _looks_western(text: str) -> bool:
    """Tell whether the letters past ASCII are Western European ones, few, and mostly inside words with others."""
    words = _WORD.findall(text)
    high = [letter for letter in text if letter > "\x7f"]
    if not high or not _WESTERN.issuperset(high) or len(high) * 2 > sum(map(len, words)):
        return False
    mixed = sum(1 for word in words if not word.isascii() and any(letter < "\x80" for letter in word))
    foreign = sum(1 for word in words if len(word) > 1 and all(letter > "\x7f" for letter in word))
    return mixed >= 2 * foreign
