"""Text and structure out of real documents: the processors `extract` and `chunk`, and the pipeline `documents`.

Importing this module loads no document library and no pydantic: a format's library comes with its first document, the
settings' models when somebody asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longshore_documents.chunk import ChunkProcessor
from longshore_documents.extract import ExtractProcessor
from longshore_documents.failures import Reason
from longshore_documents.pipeline import DocumentsPipeline

if TYPE_CHECKING:
    from longshore_documents.settings import ChunkSettings, ExtractSettings

__all__ = ["ChunkProcessor", "ChunkSettings", "DocumentsPipeline", "ExtractProcessor", "ExtractSettings", "Reason"]


def __getattr__(name: str) -> Any:  # Any: a class, by name
    """Import the settings on first use."""
    if name in {"ChunkSettings", "ExtractSettings"}:
        from longshore_documents import settings

        return getattr(settings, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
