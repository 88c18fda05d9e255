"""HTML: the text as it reads, blocks set apart, tables a row a line; scripts and styles left out."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from longshore_documents.decode import decode
from longshore_documents.source import Source
from longshore_documents.writer import Writer

_SKIPPED = frozenset({"script", "style", "noscript", "template", "title", "svg", "math", "iframe", "object", "head"})
_PARAGRAPHS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hr",
        "html",
        "legend",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "ul",
        "caption",
    ]
)
_LINES = frozenset({"br", "li", "tr", "option", "optgroup", "thead", "tbody", "tfoot"})
_CELLS = frozenset({"td", "th"})
_LEVELS = {f"h{level}": level for level in range(1, 7)}
_ROW_CHARS = 400
"""A cell whose row is longer than this holds layout, not data."""
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9._:-]{1,40})", re.I)
_XML = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})", re.I)


def read_html(source: Source, writer: Writer) -> None:
    """Read a page in the encoding it declares, or looks to be in."""
    found = _META.search(source.data[:4096]) or _XML.search(source.data[:400])
    decoded = decode(source.data, found[1].decode("ascii") if found else None)
    writer.describe(encoding=decoded.encoding)
    read_markup(decoded.text, writer)


def read_markup(text: str, writer: Writer) -> None:
    """Add the page's text to the writer, and its title, where the writer has none yet."""
    tree = LexborHTMLParser(text)
    title = tree.css_first("title")
    if title is not None and writer.title is None:
        writer.title = title.text()
    for node in tree.css("meta[name]"):
        name = (node.attributes.get("name") or "").lower()
        if name in {"author", "description", "keywords"}:
            writer.describe(**{name: node.attributes.get("content")})
    if tree.css_first("img, svg, object, canvas, video, picture") is not None:
        writer.pictures = True
    if tree.root is not None:
        _Walk(writer).run(tree.root)


class _Walk:
    """Goes through a tree without recursion, as its depth is the page's to choose."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._line: list[str] = []
        self._width = 0
        self._level = 0
        self._preformatted = 0
        self._cells = 0
        self._first = True
        """Whether what comes next begins a paragraph, not a line of one."""

    def run(self, root: LexborNode) -> None:
        """Visit everything below `root`, in document order."""
        node: LexborNode | None = root
        while node is not None:
            below = self._enter(node)
            node = below if below is not None else self._next(node, root)
        self._flush(paragraph=True)

    def _next(self, node: LexborNode, root: LexborNode) -> LexborNode | None:
        """Leave a node, and all those it is the last one in; return the next to enter."""
        here: LexborNode | None = node
        while here is not None:
            self._leave(here)
            if here.mem_id == root.mem_id:
                return None
            if here.next is not None:
                return here.next
            here = here.parent
        return None

    def _enter(self, node: LexborNode) -> LexborNode | None:
        if node.is_text_node:
            text = node.text_content or ""
            self._put(text if self._preformatted else text.replace("\t", " "))
            return None
        tag = node.tag or ""
        if tag in _SKIPPED or not node.is_element_node:
            return None
        self._edge(tag)
        self._level = _LEVELS.get(tag, self._level)
        self._preformatted += tag == "pre"
        self._cells += tag in _CELLS
        return node.first_child

    def _leave(self, node: LexborNode) -> None:
        tag = node.tag or ""
        if tag in _SKIPPED or not node.is_element_node:
            return
        if tag in _CELLS:
            self._cells -= 1
            self._put("\t")
        self._edge(tag)
        if tag in _LEVELS:
            self._level = 0
        self._preformatted -= tag == "pre"

    def _put(self, text: str) -> None:
        self._line.append(text)
        self._width += len(text)

    def _edge(self, tag: str) -> None:
        """Act on the border of an element: it ends a line, a paragraph, or nothing."""
        if tag in _LEVELS or (tag in _PARAGRAPHS and not self._narrow()):
            self._flush(paragraph=True)
        elif tag in _LINES and not (tag == "br" and self._narrow()):
            self._flush(paragraph=False)
        elif tag in _PARAGRAPHS or tag == "br":
            self._put(" ")

    def _narrow(self) -> bool:
        """Tell whether this is a cell of a table of data, whose paragraphs stay in its row."""
        return self._cells > 0 and self._width < _ROW_CHARS

    def _flush(self, *, paragraph: bool) -> None:
        text = "".join(self._line)
        self._line.clear()
        self._width = 0
        if not self._preformatted:
            text = "\t".join(" ".join(cell.split()) for cell in text.split("\t")).strip("\t")
        if text.strip():
            if self._first or self._level:
                self._writer.block(text, self._level)
            else:
                self._writer.line(text)
            self._first = bool(self._level)
        self._first = self._first or paragraph
