"""Books: the chapters of the spine, in reading order."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from longshore import track

from longshore_documents.archive import Archive
from longshore_documents.decode import decode
from longshore_documents.failures import Reason, refusal
from longshore_documents.readers.html import read_markup
from longshore_documents.source import Source
from longshore_documents.writer import Writer
from longshore_documents.xmltree import declared_encoding, local, parse

_PROPERTIES = {
    "creator": "author",
    "subject": "subject",
    "language": "language",
    "date": "created",
    "publisher": "publisher",
}
_CONTAINER = "META-INF/container.xml"


def read_epub(source: Source, writer: Writer) -> None:
    """Read each chapter as a part; raises DocumentError "encrypted" where the chapters are."""
    archive = Archive(source)
    container = parse(archive.read(_CONTAINER), f"{source.name}: {_CONTAINER}")
    where = next((item.get("full-path", "") for item in container.iter() if local(item) == "rootfile"), "")
    package = parse(archive.read(where), f"{source.name}: {where}")
    chapters = _chapters(package, posixpath.dirname(where), archive)
    _refuse_locked(source, archive, chapters)
    _describe(package, writer)
    writer.title = writer.title or ""  # a chapter's own title is not the book's
    for number, chapter in track(list(enumerate(chapters, 1)), message="chapters"):
        writer.part("chapter", str(number))
        data = archive.read(chapter)
        read_markup(decode(data, declared_encoding(data)).text, writer)


def _chapters(package: Element, folder: str, archive: Archive) -> list[str]:
    items = {item.get("id", ""): item for item in package.iter() if local(item) == "item"}
    order = [item.get("idref", "") for item in package.iter() if local(item) == "itemref"]
    paths: list[str] = []
    for key in order:
        item = items.get(key)
        if item is not None and "html" in item.get("media-type", "html"):
            paths.append(posixpath.normpath(posixpath.join(folder, unquote(item.get("href", "")))))
    return [path for path in dict.fromkeys(paths) if path in archive]


def _refuse_locked(source: Source, archive: Archive, chapters: list[str]) -> None:
    name = "META-INF/encryption.xml"
    if name not in archive:
        return
    tree = parse(archive.read(name), f"{source.name}: {name}")
    locked = {unquote(item.get("URI", "")) for item in tree.iter() if local(item) == "CipherReference"}
    if locked.intersection(chapters):  # fonts are often obfuscated in books that are open
        raise refusal(Reason.ENCRYPTED, f"{source.name}: its chapters are encrypted")


def _describe(package: Element, writer: Writer) -> None:
    for item in package.iter():
        name = local(item)
        if name == "title" and not writer.title:
            writer.title = item.text
        elif name in _PROPERTIES and _PROPERTIES[name] not in writer.metadata:
            writer.describe(**{_PROPERTIES[name]: item.text})
