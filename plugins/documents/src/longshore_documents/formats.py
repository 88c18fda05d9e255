"""Which format a document has: by its bytes where they say so, else by its suffix, else by how its text looks."""

from __future__ import annotations

import re

from longshore_documents.decode import decode, has_mark, wide_encoding
from longshore_documents.failures import Reason, refusal
from longshore_documents.source import Source

SUFFIXES = {
    "csv": "csv",
    "docx": "docx",
    "docm": "docx",
    "eml": "eml",
    "epub": "epub",
    "htm": "html",
    "html": "html",
    "xhtml": "html",
    "json": "json",
    "jsonl": "ndjson",
    "markdown": "md",
    "md": "md",
    "msg": "msg",
    "ndjson": "ndjson",
    "odt": "odt",
    "org": "org",
    "pdf": "pdf",
    "pptx": "pptx",
    "pptm": "pptx",
    "rst": "rst",
    "rtf": "rtf",
    "tab": "tsv",
    "tsv": "tsv",
    "txt": "txt",
    "text": "txt",
    "xlsx": "xlsx",
    "xlsm": "xlsx",
    "xml": "xml",
}
"""Format by suffix."""

_MIME_TYPES = {
    "application/epub+zip": "epub",
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/xml": "xml",
    "message/rfc822": "eml",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
    "text/tab-separated-values": "tsv",
    "text/xml": "xml",
}
_TEXTUAL = frozenset({"csv", "eml", "html", "json", "md", "ndjson", "org", "rst", "tsv", "txt", "xml"})
_FOREIGN = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"ID3", "an MP3 recording"),
    (b"OggS", "an Ogg recording"),
    (b"fLaC", "a FLAC recording"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\x00", "a database"),
)
_LEGACY = {
    "WordDocument": "a Word document of before 2007 (doc)",
    "PowerPoint Document": "a presentation of before 2007 (ppt)",
    "Workbook": "a workbook of before 2007 (xls)",
    "Book": "a workbook of before 1997 (xls)",
}
_HEADER_LINE = re.compile(
    r"(?:From \S+.*\n)?(?:Return-Path|Received|From|To|Date|Subject|MIME-Version|Message-ID|Delivered-To): ", re.I
)
_XML = re.compile(r"\s*<\?xml\b", re.I)
_HTML = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
_RICH_TEXT = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,16}\{\\rtf")


def recognise(source: Source, mime_type: str | None = None) -> str:
    """Return the format; raises DocumentError "unsupported", "encrypted" or "malformed" where there is none of ours."""
    data = source.data
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return _zipped(source)
    if data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _compound(source)
    if _RICH_TEXT.match(data[:64]):
        return "rtf"
    _refuse_foreign(source)
    named = SUFFIXES.get(source.suffix) or _MIME_TYPES.get((mime_type or "").partition(";")[0].strip().lower())
    if _is_binary(data):
        if named is not None and named not in _TEXTUAL:
            raise refusal(Reason.MALFORMED, f"{source.name}: does not begin as {named} does")
        raise refusal(Reason.UNSUPPORTED, f"{source.name}: neither text nor a document format known here")
    if named in _TEXTUAL and named is not None:
        return named
    return _by_look(source, named)


def _by_look(source: Source, named: str | None) -> str:
    """Return the format of text whose suffix is missing, unknown, or that of a binary format."""
    head = decode(source.data[:8192]).text.lstrip("\ufeff")
    if _HTML.match(head):
        return "html"
    if _XML.match(head):
        return "xml"
    if _HEADER_LINE.match(head):
        return "eml"
    if named is not None:
        raise refusal(Reason.MALFORMED, f"{source.name}: plain text, not {named}")
    return "txt"


def _zipped(source: Source) -> str:
    from longshore_documents.archive import Archive

    archive = Archive(source)
    if "mimetype" in archive:
        kind = archive.read("mimetype").strip()
        if kind == b"application/epub+zip":
            return "epub"
        if kind.startswith(b"application/vnd.oasis.opendocument.text"):
            return "odt"
    for start, form in (("word/", "docx"), ("ppt/", "pptx"), ("xl/", "xlsx")):
        if any(name.startswith(start) and name.endswith(".xml") for name in archive.names):
            return form
    if "META-INF/container.xml" in archive:
        return "epub"
    if SUFFIXES.get(source.suffix) in {"docx", "pptx", "xlsx", "odt", "epub"}:
        raise refusal(Reason.MALFORMED, f"{source.name}: a zip file without the parts of a {source.suffix}")
    raise refusal(Reason.UNSUPPORTED, f"{source.name}: a zip file that is no document")


def _compound(source: Source) -> str:
    """Return "msg", or refuse: all else in Microsoft's compound files is legacy Office, or locked."""
    import io

    import olefile

    try:
        with olefile.OleFileIO(io.BytesIO(source.data)) as compound:
            names = {entry[0] for entry in compound.listdir(streams=True, storages=True)}
    except Exception as error:
        raise refusal(Reason.MALFORMED, f"{source.name}: a damaged compound file") from error
    if "EncryptedPackage" in names or "EncryptionInfo" in names:
        raise refusal(Reason.ENCRYPTED, f"{source.name}: locked by a password")
    if "__properties_version1.0" in names:
        return "msg"
    what = next((said for stream, said in _LEGACY.items() if stream in names), "a compound file of unknown kind")
    raise refusal(Reason.UNSUPPORTED, f"{source.name}: {what}")


def _refuse_foreign(source: Source) -> None:
    data = source.data
    what = next((said for magic, said in _FOREIGN if data.startswith(magic)), None)
    if data[:4] == b"RIFF" and len(data) > 12:
        what = f"a RIFF file ({data[8:12].decode('latin-1').strip()})"
    elif data[4:8] == b"ftyp":
        what = "an image or film (HEIC, MP4)"
    elif data[:2] == b"BM" and len(data) > 14 and data[6:10] == b"\x00\x00\x00\x00":
        what = "a BMP image"
    if what is not None:
        raise refusal(Reason.UNSUPPORTED, f"{source.name}: {what}, which holds no text to extract")


def _is_binary(data: bytes) -> bool:
    if has_mark(data) or wide_encoding(data):
        return False
    sample = data[:8192]
    controls = sum(sample.count(byte) for byte in (*range(0x07), *range(0x0E, 0x1A), *range(0x1C, 0x20)))
    return controls * 50 > len(sample)
