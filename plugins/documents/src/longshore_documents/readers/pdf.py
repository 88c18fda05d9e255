"""PDF by PDFium: the text layer, page by page; a document without one is refused as "no-text"."""

from __future__ import annotations

import re
import threading

import pypdfium2  # type: ignore[import-untyped]  # it ships no types
from longshore import track

from longshore_documents.failures import Reason, refusal
from longshore_documents.source import Source
from longshore_documents.writer import Writer

# PDFium may be entered by one thread of a process at a time, so this lock is the process's, not an object's.
_PDFIUM = threading.Lock()
_FACTS = {
    "Author": "author",
    "Subject": "subject",
    "Keywords": "keywords",
    "CreationDate": "created",
    "ModDate": "modified",
}
_DATE = re.compile(r"D:(\d{4})(\d\d)(\d\d)(\d\d)?(\d\d)?(\d\d)?([Z+-])?(\d\d)?'?(\d\d)?")
_DATES = frozenset({"CreationDate", "ModDate"})
_PASSWORD = 4  # FPDF_ERR_PASSWORD


def read_pdf(source: Source, writer: Writer) -> None:
    """Read each page as a part; raises DocumentError "encrypted" where a password is needed."""
    with _PDFIUM:
        try:
            document = pypdfium2.PdfDocument(source.data)
        except pypdfium2.PdfiumError as error:
            if getattr(error, "err_code", None) == _PASSWORD or "password" in str(error).lower():
                raise refusal(Reason.ENCRYPTED, f"{source.name}: locked by a password") from error
            raise
        try:
            _read(document, writer)
        finally:
            document.close()


def _read(document: pypdfium2.PdfDocument, writer: Writer) -> None:
    facts = document.get_metadata_dict(skip_empty=True)
    writer.title = facts.get("Title")
    writer.describe(pages=len(document))
    for theirs, ours in _FACTS.items():
        fact = facts.get(theirs)
        writer.describe(**{ours: _moment(fact) if theirs in _DATES else fact})
    writer.pictures = len(document) > 0
    damaged = [number for number in track(range(len(document)), message="pages") if not _page(document, number, writer)]
    if len(damaged) == len(document):
        raise refusal(Reason.MALFORMED, f"{writer.name}: none of its {len(document)} pages can be read")
    writer.describe(damaged_pages=", ".join(str(number + 1) for number in damaged))


def _page(document: pypdfium2.PdfDocument, number: int, writer: Writer) -> bool:
    """Add a page, and tell whether it could be read: one that is damaged costs only itself."""
    writer.part("page", str(number + 1))
    try:
        writer.block(_text(document, number))
    except pypdfium2.PdfiumError:
        return False
    return True


def _text(document: pypdfium2.PdfDocument, number: int) -> str:
    page = document[number]
    try:
        layer = page.get_textpage()
        try:
            text = str(layer.get_text_range())  # all of it, also what the page's box cuts off
        finally:
            layer.close()
    finally:
        page.close()
    # PDFium puts U+0002 or U+FFFE where a word is hyphenated at the end of a line; the writer drops both.
    return text


def _moment(fact: str | None) -> str | None:
    """Return a PDF date as ISO 8601 where it is one, else as it stands."""
    match = _DATE.match(fact or "")
    if match is None:
        return fact
    year, month, day, hour, minute, second, zone, zone_hour, zone_minute = match.groups()
    offset = f"{zone}{zone_hour}:{zone_minute or '00'}" if zone_hour and zone != "Z" else zone or ""
    return f"{year}-{month}-{day}T{hour or '00'}:{minute or '00'}:{second or '00'}{offset}"
