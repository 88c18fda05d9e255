"""One module per family of formats; each is imported when its first document comes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from longshore_documents.source import Source
from longshore_documents.writer import Writer

Reader = Callable[[Source, Writer], None]

_MODULES = {
    "csv": "table",
    "docx": "docx",
    "eml": "eml",
    "epub": "epub",
    "html": "html",
    "json": "records",
    "md": "plain",
    "msg": "msg",
    "ndjson": "records",
    "odt": "odt",
    "org": "plain",
    "pdf": "pdf",
    "pptx": "pptx",
    "rst": "plain",
    "rtf": "rtf",
    "tsv": "table",
    "txt": "plain",
    "xlsx": "xlsx",
    "xml": "markup",
}


def reader_of(form: str) -> Reader:
    """Return the function that reads a document of this format into a writer.

    A module with several formats has one function each, `read_<format>`.
    """
    module = import_module(f"{__name__}.{_MODULES[form]}")
    reader: Reader = getattr(module, f"read_{form}")
    return reader
