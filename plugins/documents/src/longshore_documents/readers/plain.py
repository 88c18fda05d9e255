"""Plain text and light markup (txt, md, rst, org): kept as it is, headings found by how they look."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import accumulate

from longshore_documents.decode import decode
from longshore_documents.source import Source
from longshore_documents.writer import Writer, clean

_FENCE = re.compile(r" {0,3}(```|~~~)")
_ATX = re.compile(r" {0,3}(#{1,6})\s+\S")
_STAR = re.compile(r"(\*+)\s+\S")
_SETEXT = re.compile(r" {0,3}(=+|-+)\s*$")
_RULE = re.compile(r"([=\-`:'\"~^_*+#<>.])\1{2,}\s*$")

Heading = tuple[int, int]
"""Level, and number of the line."""


def read_txt(source: Source, writer: Writer) -> None:
    """Read text in any encoding."""
    _verbatim(source, writer)


def read_md(source: Source, writer: Writer) -> None:
    """Read Markdown: headings by # or by underlining, none within fences."""
    _mark(writer, _verbatim(source, writer), _markdown_headings)


def read_org(source: Source, writer: Writer) -> None:
    """Read Org: headings by stars."""
    _mark(writer, _verbatim(source, writer), _org_headings)


def read_rst(source: Source, writer: Writer) -> None:
    """Read reStructuredText: headings by underlining, their levels in the order the underlines come."""
    _mark(writer, _verbatim(source, writer), _rst_headings)


def _verbatim(source: Source, writer: Writer) -> str:
    decoded = decode(source.data)
    writer.describe(encoding=decoded.encoding)
    text = clean(decoded.text)
    writer.block(text)
    return text.strip("\n")


def _mark(writer: Writer, text: str, find: Callable[[list[str]], Iterator[Heading]]) -> None:
    """Mark the lines that `find` calls headings; the text is all there is in the writer, so offsets agree."""
    lines = text.split("\n")
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    for level, number in find(lines):
        writer.heading(level, starts[number], starts[number] + len(lines[number]))


def _markdown_headings(lines: list[str]) -> Iterator[Heading]:
    fenced = False
    for number, line in enumerate(lines):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced and (match := _ATX.match(line)):
            yield len(match[1]), number
        elif not fenced and number and (match := _SETEXT.match(line)) and _is_title(lines[number - 1], "|-=#>"):
            yield (1 if match[1][0] == "=" else 2), number - 1


def _org_headings(lines: list[str]) -> Iterator[Heading]:
    for number, line in enumerate(lines):
        if match := _STAR.match(line):
            yield len(match[1]), number


def _rst_headings(lines: list[str]) -> Iterator[Heading]:
    levels: list[str] = []
    for number, line in enumerate(lines):
        match = _RULE.match(line) if number else None
        if match and _is_title(lines[number - 1], "=-~|+") and len(line.rstrip()) >= len(lines[number - 1].rstrip()):
            if match[1] not in levels:
                levels.append(match[1])
            yield levels.index(match[1]) + 1, number - 1


def _is_title(line: str, unlikely: str) -> bool:
    return bool(line.strip()) and not line.startswith((" ", "\t")) and line.lstrip()[0] not in unlikely
