"""Presentations: slide by slide, shapes in their order, tables a row a line, then the speaker's notes."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from longshore import track

from longshore_documents.ooxml import Package, related_id
from longshore_documents.source import Source
from longshore_documents.writer import Writer
from longshore_documents.xmltree import local

_MACHINE_MADE = frozenset({"sldNum", "dt", "ftr", "hdr", "sldImg"})


def read_pptx(source: Source, writer: Writer) -> None:
    """Read each slide as a part, in the order they are shown."""
    package = Package(source, "ppt/presentation.xml")
    package.describe(writer)
    writer.pictures = package.has_pictures()
    slides = _slides(package)
    writer.describe(slides=len(slides))
    for number, part in track(list(enumerate(slides, 1)), message="slides"):
        writer.part("slide", str(number))
        _shapes(package.tree(part), writer)
        for diagram in package.related(part, "diagramData"):
            for text in _paragraphs(package.tree(diagram)):
                writer.line(text)
        for notes in package.related(part, "notesSlide"):
            _shapes(package.tree(notes), writer, skip=_MACHINE_MADE)


def _slides(package: Package) -> list[str]:
    relations = package.relations(package.main)
    ids = [related_id(item) for item in package.tree(package.main).iter() if local(item) == "sldId"]
    return [relations[key].target for key in ids if key in relations]


def _shapes(element: Element, writer: Writer, skip: frozenset[str] = frozenset()) -> None:
    for child in element:
        name = local(child)
        if name == "sp":
            _shape(child, writer, skip)
        elif name == "tbl":
            for row in _named(child, "tr"):
                writer.line("\t".join(" ".join(" ".join(_paragraphs(cell)).split()) for cell in _named(row, "tc")))
        elif name != "Fallback":
            _shapes(child, writer, skip)


def _shape(shape: Element, writer: Writer, skip: frozenset[str]) -> None:
    role = next((item.get("type", "body") for item in shape.iter() if local(item) == "ph"), "")
    if role in skip:
        return
    texts = [text for text in _paragraphs(shape) if text.strip()]
    if role in {"title", "ctrTitle"}:
        writer.block(" ".join(" ".join(texts).split()), level=1)
        return
    for number, text in enumerate(texts):
        if number:
            writer.line(text)
        else:
            writer.block(text)


def _paragraphs(element: Element) -> Iterator[str]:
    for paragraph in element.iter():
        if local(paragraph) == "p":
            yield "".join(_piece(item) for item in paragraph.iter())


def _piece(item: Element) -> str:
    name = local(item)
    if name == "t":
        return item.text or ""
    return {"br": "\n", "tab": "\t"}.get(name, "")


def _named(element: Element, wanted: str) -> list[Element]:
    return [child for child in element if local(child) == wanted]
