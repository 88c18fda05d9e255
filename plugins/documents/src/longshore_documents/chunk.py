"""The processor `chunk`: text that `extract` gave, in pieces of a bounded size, cut on structure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from longshore import track
from longshore.hookspecs import hookimpl
from longshore.processor import ProcessorContext, ProcessorMetadata, ProcessorResult

from longshore_documents.lazy import SettingsOf
from longshore_documents.limits import Sizes
from longshore_documents.split import split

if TYPE_CHECKING:
    from longshore_documents.settings import ChunkSettings

Data = dict[str, Any]  # Any: JSON-safe values


class ChunkProcessor:
    """Adds `chunks` to what `extract` gave: offsets into `text`, in order, covering it from end to end.

    Each chunk has `index`, `start`, `end`, and the `heading` its new text stands under (None above the first). The same
    input and settings always give the same chunks.
    """

    Settings = SettingsOf("ChunkSettings")
    api: int = 1

    def __init__(self, settings: ChunkSettings | None = None) -> None:
        """Keep the sizes; without settings, the defaults."""
        self._sizes = Sizes(**settings.model_dump()) if settings is not None else Sizes()

    @property
    def metadata(self) -> ProcessorMetadata:
        """What the pool should know."""
        return ProcessorMetadata(
            name="chunk",
            version="0.1.0",
            timeout_seconds=60.0,
            retry_count=0,
            concurrent_limit=1024,
            executor="processes",
            is_cpu_intensive=True,
        )

    @hookimpl
    def initialize(self) -> None:
        """Do nothing: splitting needs nothing."""

    @hookimpl
    def process(self, context: ProcessorContext) -> ProcessorResult:
        """Split the text of `previous_results["extract"]`, or of the one stage before that has a text.

        Raises ValueError when no stage before gave a text.
        """
        given = _given(context.previous_results)
        return ProcessorResult(data={**given, "chunks": self._chunks(given)})

    @hookimpl
    def cleanup(self) -> None:
        """Do nothing: nothing is held between documents."""

    @hookimpl
    def health_check(self) -> bool:
        """Tell that it can work."""
        return True

    def _chunks(self, given: Data) -> list[Data]:
        sizes, text = self._sizes, given["text"]
        headings = given.get("headings", [])
        starts = [heading["start"] for heading in headings]
        borders = sorted({*starts, *(part["start"] for part in given.get("parts", []))})
        pieces = list(split(text, max_chars=sizes.max_chars, overlap_chars=sizes.overlap_chars, borders=borders))
        chunks: list[Data] = []
        for index, piece in enumerate(track(pieces, message="chunks")):
            above = bisect_right(starts, piece.fresh) - 1
            heading = text[headings[above]["start"] : headings[above]["end"]] if above >= 0 else None
            chunk: Data = {"index": index, "start": piece.start, "end": piece.end, "heading": heading}
            chunks.append({**chunk, "text": text[piece.start : piece.end]} if sizes.with_text else chunk)
        return chunks


def _given(previous: Mapping[str, Any]) -> Data:  # Any: `data` of the stages before
    stages = [previous[name] for name in ("extract", *sorted(previous)) if name in previous]
    for data in stages:
        if isinstance(data, Mapping) and isinstance(data.get("text"), str):
            return dict(data)
    raise ValueError(
        f'chunk needs the stage "extract", or another that gives "text", before it; it got {sorted(previous)}'
    )
