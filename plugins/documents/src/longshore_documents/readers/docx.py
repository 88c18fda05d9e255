"""Word documents: body, text boxes, tables, then headers, footers, notes and comments; deleted text is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from longshore import track

from longshore_documents.ooxml import Package
from longshore_documents.source import Source
from longshore_documents.writer import Writer
from longshore_documents.xmltree import attribute, local

_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
_SKIPPED = frozenset({"del", "moveFrom", "Fallback", "pPr", "rPr", "instrText", "delText", "sectPr"})
_ASIDES = {"header": "header", "footer": "footer", "footnotes": "notes", "endnotes": "notes", "comments": "comments"}
_HEADING_NAME = re.compile(r"heading (\d)$", re.I)

Levels = dict[str, int]
"""Heading level by style id."""


def read_docx(source: Source, writer: Writer) -> None:
    """Read the main part as "body", and each aside that holds text as a part of its own."""
    package = Package(source, "word/document.xml")
    package.describe(writer)
    writer.pictures = package.has_pictures()
    levels = _levels(package)
    writer.part("body", "body")
    root = package.tree(package.main)
    body = next((child for child in root if local(child) == "body"), root)
    for child in track(list(body), message="blocks"):
        _Story(writer, levels).read(child)
    seen: set[str] = set()
    for kind, name in _ASIDES.items():
        for part in package.related(package.main, kind):
            _aside(package.tree(part), name, writer, seen)


def _aside(root: Element, name: str, writer: Writer, seen: set[str]) -> None:
    """Add an aside unless one with the same text was there: pages repeat their headers."""
    text = "".join(root.itertext())
    if text.strip() and text not in seen:
        seen.add(text)
        writer.part(name, name)
        _Story(writer, {}).read(root)


def _levels(package: Package) -> Levels:
    levels: Levels = {}
    for part in package.related(package.main, "styles"):
        for style in package.tree(part):
            name = next((attribute(child, "val") or "" for child in style if local(child) == "name"), "")
            match = _HEADING_NAME.match(name)
            if match or name.lower() == "title":
                levels[attribute(style, "styleId") or ""] = int(match[1]) if match else 1
    return levels


class _Story:
    """Reads block content; text boxes inside a paragraph follow it as blocks of their own."""

    def __init__(self, writer: Writer, levels: Levels) -> None:
        self._writer = writer
        self._levels = levels

    def read(self, element: Element) -> None:
        """Add an element's paragraphs and tables."""
        name = local(element)
        if name in _SKIPPED:
            return
        if name == "p":
            self._paragraph(element)
        elif name == "tbl":
            for row in _rows(element):
                self._writer.line(row)
        else:
            for child in element:
                self.read(child)

    def _paragraph(self, element: Element) -> None:
        boxes: list[Element] = []
        text = _inline(element, boxes)
        self._writer.block(text, self._level(element) if text.strip() else 0)
        for box in boxes:
            self.read(box)

    def _level(self, paragraph: Element) -> int:
        for properties in paragraph:
            if local(properties) != "pPr":
                continue
            for item in properties:
                value = attribute(item, "val") or ""
                if local(item) == "pStyle" and value in self._levels:
                    return self._levels[value]
                if local(item) == "outlineLvl" and value.isdigit() and int(value) < 9:
                    return int(value) + 1
        return 0


def _inline(element: Element, boxes: list[Element]) -> str:
    """Return the text of a paragraph; the text boxes met are appended to `boxes`."""
    pieces: list[str] = []
    for child in element:
        name = local(child)
        if name == "t":
            pieces.append(child.text or "")
        elif name in _BREAKS:
            pieces.append(_BREAKS[name])
        elif name == "txbxContent":
            boxes.append(child)
        elif name not in _SKIPPED:
            pieces.append(_inline(child, boxes))
    return "".join(pieces)


def _rows(table: Element) -> Iterator[str]:
    for row in _find(table, "tr"):
        yield "\t".join(_cell(cell) for cell in _find(row, "tc")).rstrip("\t")


def _cell(element: Element) -> str:
    """Return a cell's paragraphs, those of tables and boxes in it too, on one line."""
    texts: list[str] = []
    for child in element:
        if local(child) == "p":
            boxes: list[Element] = []
            texts.append(_inline(child, boxes))
            texts.extend(_cell(box) for box in boxes)
        elif local(child) not in _SKIPPED:
            texts.append(_cell(child))
    return " ".join(" ".join(texts).split())


def _find(element: Element, wanted: str) -> Iterator[Element]:
    """Yield the children of this name, looking through content controls and the like."""
    for child in element:
        name = local(child)
        if name == wanted:
            yield child
        elif name in {"sdt", "sdtContent", "customXml", "ins", "moveTo"}:
            yield from _find(child, wanted)
