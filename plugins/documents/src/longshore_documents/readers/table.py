"""Tables as text (csv, tsv): one line a row, a tab between cells."""

from __future__ import annotations

import csv
import io
from itertools import islice

from longshore import track

from longshore_documents.decode import decode
from longshore_documents.source import Source
from longshore_documents.writer import Writer

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50
_PROGRESS_ROWS = 1000


def read_csv(source: Source, writer: Writer) -> None:
    """Read cells separated by what most rows agree on: comma, semicolon, tab or bar."""
    decoded = decode(source.data)
    writer.describe(encoding=decoded.encoding)
    _read(decoded.text, _delimiter(decoded.text), writer)


def read_tsv(source: Source, writer: Writer) -> None:
    """Read cells separated by tabs."""
    decoded = decode(source.data)
    writer.describe(encoding=decoded.encoding)
    _read(decoded.text, "\t", writer)


def _read(text: str, delimiter: str, writer: Writer) -> None:
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    try:
        rows = list(csv.reader(io.StringIO(plain, newline=""), delimiter=delimiter))
    except csv.Error:  # a cell past csv's limit of 128 KiB, from a stray quotation mark: then it is lines, no table
        writer.block(plain)
        return
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    writer.describe(rows=len(rows), columns=max(map(len, rows), default=0), delimiter=repr(delimiter)[1:-1])
    for start in track(range(0, len(rows), _PROGRESS_ROWS), message="rows"):
        writer.line("\n".join(_line(row) for row in rows[start : start + _PROGRESS_ROWS]))


def _line(row: list[str]) -> str:
    return "\t".join(" ".join(cell.split()) for cell in row).rstrip("\t")


def _delimiter(text: str) -> str:
    """Return the delimiter that splits the first rows most evenly, and among those the most often."""
    rows = [line for line in islice(io.StringIO(text), _SAMPLE_LINES) if line.strip()]

    def merit(delimiter: str) -> tuple[float, int]:
        counts = [len(row) for row in csv.reader(rows, delimiter=delimiter) if row]
        if not counts or max(counts) == 1:
            return 0.0, 0
        usual = max(set(counts), key=lambda count: (counts.count(count), count))
        return (counts.count(usual) / len(counts) if usual > 1 else 0.0), usual

    try:
        return max(_DELIMITERS, key=merit)
    except csv.Error:
        return ","
