"""OpenDocument text: headings, paragraphs, lists and tables of content.xml; tracked deletions are left out."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from longshore import track

from longshore_documents.archive import Archive
from longshore_documents.failures import Reason, refusal
from longshore_documents.source import Source
from longshore_documents.writer import Writer
from longshore_documents.xmltree import attribute, local, parse

_SKIPPED = frozenset({"tracked-changes", "sequence-decls", "forms", "variable-decls"})
_PROPERTIES = {
    "initial-creator": "author",
    "subject": "subject",
    "keyword": "keywords",
    "language": "language",
    "creation-date": "created",
    "date": "modified",
}
_MAX_SPACES = 100


def read_odt(source: Source, writer: Writer) -> None:
    """Read the text; raises DocumentError "encrypted" where the manifest says so."""
    archive = Archive(source)
    if "META-INF/manifest.xml" in archive and b"encryption-data" in archive.read("META-INF/manifest.xml"):
        raise refusal(Reason.ENCRYPTED, f"{source.name}: locked by a password")
    if "meta.xml" in archive:
        _describe(parse(archive.read("meta.xml"), f"{source.name}: meta.xml"), writer)
    writer.pictures = any(name.startswith("Pictures/") for name in archive.names)
    root = parse(archive.read("content.xml"), f"{source.name}: content.xml")
    body = next((item for item in root.iter() if local(item) == "text" and item.tag.find("office") >= 0), root)
    writer.part("body", "body")
    for child in track(list(body), message="blocks"):
        _block(child, writer)


def _describe(meta: Element, writer: Writer) -> None:
    for item in meta.iter():
        name = local(item)
        if name == "title":
            writer.title = item.text
        elif name in _PROPERTIES:
            writer.describe(**{_PROPERTIES[name]: item.text})


def _block(element: Element, writer: Writer, *, listed: bool = False) -> None:
    name = local(element)
    if name in _SKIPPED:
        return
    if name == "h":
        level = attribute(element, "outline-level") or "1"
        writer.block(_inline(element), level=int(level) if level.isdigit() else 1)
    elif name == "p":
        add = writer.line if listed else writer.block
        add(_inline(element))
    elif name == "table-row":
        writer.line("\t".join(" ".join(_inline(cell).split()) for cell in element))
    else:
        for child in element:
            _block(child, writer, listed=listed or name == "list-item")


def _inline(element: Element) -> str:
    name = local(element)
    if name == "s":
        count = attribute(element, "c") or "1"
        return " " * min(int(count) if count.isdigit() else 1, _MAX_SPACES)
    if name == "tab":
        return "\t"
    if name == "line-break":
        return "\n"
    pieces = [element.text or ""]
    for child in element:
        # Paragraphs inside a line (cells, notes, text frames) are set off by a space.
        gap = " " if local(child) in {"p", "h", "note", "table-row", "table-cell", "list-item"} else ""
        pieces += [gap, _inline(child), gap, child.tail or ""]
    return "".join(pieces)
