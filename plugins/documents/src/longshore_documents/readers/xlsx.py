"""Workbooks: a row a line, a tab between cells; values as stored, dates as dates, formulas by their last value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element

from longshore import track

from longshore_documents.ooxml import Package, related_id
from longshore_documents.source import Source
from longshore_documents.writer import Writer
from longshore_documents.xmltree import attribute, local, stream

_DATE_FORMATS = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
_FORMAT_LITERALS = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.|_.|\*.')
_ROWS_AT_ONCE = 500


def read_xlsx(source: Source, writer: Writer) -> None:
    """Read each sheet as a part, in the order of the workbook; only cells that are there, however far apart."""
    package = Package(source, "xl/workbook.xml")
    package.describe(writer)
    writer.pictures = package.has_pictures()
    workbook = package.tree(package.main)
    relations = package.relations(package.main)
    sheets = [item for item in workbook.iter() if local(item) == "sheet" and related_id(item) in relations]
    values = _Values(package, workbook)
    writer.describe(sheets=len(sheets))
    for sheet in track(sheets, message="sheets"):
        relation = relations[related_id(sheet)]
        if relation.kind == "worksheet":
            writer.part("sheet", sheet.get("name", ""))
            _sheet(stream(package.read(relation.target), f"{source.name}: {relation.target}", "row"), values, writer)


def _sheet(rows: Iterator[Element], values: _Values, writer: Writer) -> None:
    held: list[str] = []
    for row in rows:
        cells = [values.text(cell) for cell in row if local(cell) == "c"]
        line = "\t".join(" ".join(cell.split()) for cell in cells).strip("\t")
        if line:
            held.append(line)
        if len(held) >= _ROWS_AT_ONCE:
            writer.line("\n".join(held))
            held.clear()
    writer.line("\n".join(held))


class _Values:
    """Turns cells into text by the workbook's shared strings, number formats and calendar."""

    def __init__(self, package: Package, workbook: Element) -> None:
        self._strings = [
            _string(item)
            for part in package.related(package.main, "sharedStrings")
            for item in stream(package.read(part), f"{package.name}: {part}", "si")
        ]
        self._dated = [
            dated for part in package.related(package.main, "styles") for dated in _dated(package.tree(part))
        ]
        properties = next((item for item in workbook if local(item) == "workbookPr"), None)
        late = properties is not None and properties.get("date1904") in {"1", "true"}
        self._epoch = datetime(1904, 1, 1) if late else datetime(1899, 12, 30)

    def text(self, cell: Element) -> str:
        """Return a cell's text, empty for an empty one."""
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return _string(cell)
        value = next((child.text or "" for child in cell if local(child) == "v"), "")
        if kind == "s":
            return self._strings[int(value)] if value else ""
        if kind == "b":
            return "TRUE" if value == "1" else "FALSE"
        return self._number(value, cell) if kind == "n" and value else value

    def _number(self, value: str, cell: Element) -> str:
        try:
            number = float(value)
        except ValueError:
            return value
        style = int(cell.get("s", "0"))
        if style < len(self._dated) and self._dated[style]:
            return self._date(number) or value
        return f"{number:.15g}"  # as many digits as a spreadsheet shows

    def _date(self, days: float) -> str | None:
        """Return a day, a time of day or both; None where the number is none of them."""
        try:
            moment = self._epoch + timedelta(seconds=round(days * 86400))
        except (OverflowError, ValueError):
            return None
        if 0 <= days < 1:
            return moment.time().isoformat()
        return moment.date().isoformat() if days == int(days) else moment.isoformat(sep=" ")


def _string(item: Element) -> str:
    """Return the text of a string item, its phonetic hints left out."""
    pieces: list[str] = []
    for child in item:
        name = local(child)
        if name == "t":
            pieces.append(child.text or "")
        elif name in {"r", "is"}:
            pieces.append(_string(child))
    return "".join(pieces)


def _dated(styles: Element) -> list[bool]:
    """Return for each cell style whether it shows numbers as dates or times."""
    custom = {
        int(item.get("numFmtId", "0")): _is_date_format(item.get("formatCode", ""))
        for item in styles.iter()
        if local(item) == "numFmt"
    }
    for item in styles:
        if local(item) == "cellXfs":
            ids = [int(attribute(form, "numFmtId") or "0") for form in item]
            return [custom.get(number, number in _DATE_FORMATS) for number in ids]
    return []


def _is_date_format(code: str) -> bool:
    plain = _FORMAT_LITERALS.sub("", code.partition(";")[0]).lower()
    return plain != "general" and any(letter in plain for letter in "dmyhs")
