"""What docx, pptx and xlsx share: parts that point at each other by relationships, and core properties."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from longshore_documents.archive import Archive
from longshore_documents.failures import Reason, refusal
from longshore_documents.source import Source
from longshore_documents.writer import Writer
from longshore_documents.xmltree import local, parse

_PROPERTIES = {
    "creator": "author",
    "subject": "subject",
    "keywords": "keywords",
    "description": "description",
    "language": "language",
    "created": "created",
    "modified": "modified",
}


@dataclass(frozen=True, slots=True)
class Relation:
    """One part's pointer to another: the last word of its type, and the part's name."""

    kind: str
    target: str


class Package:
    """The parts of an Office document."""

    def __init__(self, source: Source, main: str) -> None:
        """Open it; `main` is where the main part is, should the package not say."""
        self.name = source.name
        self._archive = Archive(source)
        named = [relation.target for relation in self.relations("").values() if relation.kind == "officeDocument"]
        self.main = next((name for name in [*named, main] if name in self._archive), "")
        if not self.main:
            raise refusal(Reason.MALFORMED, f"{source.name}: the package has no main part")

    def read(self, part: str) -> bytes:
        """Return a part's bytes."""
        return self._archive.read(part)

    def tree(self, part: str) -> Element:
        """Return a part's root element."""
        return parse(self._archive.read(part), f"{self.name}: {part}")

    def relations(self, part: str) -> dict[str, Relation]:
        """Return what a part points at inside the package and that is there, by relationship id."""
        folder, base = posixpath.split(part)
        rels = posixpath.join(folder, "_rels", f"{base}.rels")
        if rels not in self._archive:
            return {}
        found: dict[str, Relation] = {}
        for element in self.tree(rels):
            target = posixpath.normpath(posixpath.join("/", folder, element.get("Target", ""))).lstrip("/")
            if element.get("TargetMode") != "External" and target in self._archive:
                found[element.get("Id", "")] = Relation(element.get("Type", "").rpartition("/")[2], target)
        return found

    def related(self, part: str, *kinds: str) -> list[str]:
        """Return the parts of these kinds that `part` points at, each once, kind by kind."""
        relations = list(self.relations(part).values())
        return list(dict.fromkeys(item.target for kind in kinds for item in relations if item.kind == kind))

    def has_pictures(self) -> bool:
        """Tell whether there are media."""
        return any("/media/" in name for name in self._archive.names)

    def describe(self, writer: Writer) -> None:
        """Pass title, author and the like on; a package without them, or with damaged ones, is as good."""
        for part in self.related("", "core-properties"):
            for element in self.tree(part):
                name = local(element)
                if name == "title":
                    writer.title = element.text
                elif name in _PROPERTIES:
                    writer.describe(**{_PROPERTIES[name]: element.text})


def related_id(element: Element) -> str:
    """Return the relationship id an element carries (`r:id`), empty without one."""
    for key, value in element.attrib.items():
        if key.endswith("}id"):
            return value
    return ""
