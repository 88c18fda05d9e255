"""What is done with documents, by workers: they are read, or they meet another fate."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import NoReturn

from longshore.errors import DocumentError
from longshore.processor import ProcessorContext
from longshore_documents import ExtractProcessor
from suite.tasks import kill_self


@dataclass(frozen=True)
class Document:
    """One document of the corpus, once more."""

    path: str
    copy: int
    fate: str | None


def extract(document: Document) -> str:
    """Return a digest of what is in a document, or of why it can't be read; or meet another fate."""
    if document.fate is not None:
        meet(document.fate)
    try:
        result = ExtractProcessor().process(ProcessorContext(document_id=document.path))
        said = json.dumps(result.data, sort_keys=True, default=str)
    except DocumentError as error:
        said = f"refused: {error}"
    return hashlib.sha256(said.encode(errors="surrogatepass")).hexdigest()


def meet(fate: str) -> NoReturn:
    """Crash, hang, or eat memory."""
    if fate == "crash":
        kill_self()
    held = []
    while True:
        if fate == "memory":
            held.append(bytearray(b"x") * 20_000_000)
        time.sleep(0.02)
