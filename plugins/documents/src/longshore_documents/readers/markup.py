"""XML of any vocabulary: the text of its elements, a line for each that holds text."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from longshore_documents.source import Source
from longshore_documents.writer import Writer
from longshore_documents.xmltree import local, parse

_TITLES = frozenset({"title", "name", "headline", "subject"})


def read_xml(source: Source, writer: Writer) -> None:
    """Read elements in document order; attributes only where no element holds text."""
    root = parse(source.data, source.name)
    writer.describe(root=local(root))
    lines = [line for line in (" ".join(text.split()) for text in root.itertext()) if line]
    if not lines:
        lines = [value for element in root.iter() for value in element.attrib.values()]
    writer.title = _title(root)
    writer.block("\n".join(lines))


def _title(root: Element) -> str | None:
    for element in [root, *root]:
        for child in element:
            if local(child).lower() in _TITLES and child.text and child.text.strip():
                return str(child.text)
    return None
