"""XML to a tree, without entities: none is declared, none is fetched, so none expands."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from longshore_documents.decode import decode, has_mark, wide_encoding
from longshore_documents.failures import Reason, refusal

_DECLARATION = re.compile(r"\s*<\?xml\b[^>]*\?>")
_DECLARED_ENCODING = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']")


def declared_encoding(data: bytes) -> str | None:
    """Return the encoding an XML declaration names."""
    match = _DECLARED_ENCODING.search(data[:400])
    return match[1].decode("ascii") if match else None


def parse(data: bytes, name: str) -> ElementTree.Element:
    """Return the root; raises DocumentError "malformed" for what is no XML, "unsupported" for declared entities."""
    text = _DECLARATION.sub("", decode(data, declared_encoding(data)).text, count=1)
    if "<!ENTITY" in text:
        raise refusal(Reason.UNSUPPORTED, f"{name}: declares XML entities, which are not expanded")
    try:
        return ElementTree.fromstring(text)  # noqa: S314 - no entities: see above
    except (ElementTree.ParseError, ValueError) as error:
        raise refusal(Reason.MALFORMED, f"{name}: not well-formed XML") from error


def local(element: ElementTree.Element) -> str:
    """Return an element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def attribute(element: ElementTree.Element, name: str) -> str | None:
    """Return an attribute by its name without namespace."""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return value
    return None


def stream(data: bytes, name: str, wanted: str) -> Iterator[ElementTree.Element]:
    """Yield each element of the local name `wanted`, one at a time, keeping none: for parts too big for a tree."""
    if has_mark(data) or wide_encoding(data):
        data = _DECLARATION.sub("", decode(data).text, count=1).encode()
    if b"<!ENTITY" in data:
        raise refusal(Reason.UNSUPPORTED, f"{name}: declares XML entities, which are not expanded")
    try:
        for _, element in ElementTree.iterparse(io.BytesIO(data)):  # noqa: S314 - no entities: see above
            if local(element) == wanted:
                yield element
                element.clear()
    except (ElementTree.ParseError, ValueError) as error:
        raise refusal(Reason.MALFORMED, f"{name}: not well-formed XML") from error
