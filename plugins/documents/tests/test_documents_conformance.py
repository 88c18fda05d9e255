"""The processors keep what every processor keeps, on the example documents and on ones that are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from longshore.hookspecs import Processor
from longshore.processor import ProcessorContext
from longshore.testing import ProcessorConformance
from longshore_documents import ChunkProcessor, ExtractProcessor

BAD = {"a.pdf": b"%PDF-1.7\nand no more", "a.docx": b"plain words", "a.json": b'{"a": ', "a.png": b"\x89PNG\r\n\x1a\n"}
EXTRACTED = {
    "text": "One.\n\nTwo, and more of it.",
    "title": "Numbers",
    "headings": [{"start": 0, "end": 4, "level": 1}],
}


class TestExtract(ProcessorConformance):
    """`extract`, one example of each format."""

    @pytest.fixture
    def make_processor(self) -> Callable[[], Processor]:
        return ExtractProcessor

    @pytest.fixture
    def good_contexts(self, maker: ModuleType, tmp_path: Path) -> Sequence[ProcessorContext]:
        return of_files({f"good{Path(name).suffix}": data for name, data in maker.documents().items()}, tmp_path)

    @pytest.fixture
    def bad_contexts(self, tmp_path: Path) -> Sequence[ProcessorContext]:
        return of_files({**BAD, "a.zip": b"PK\x03\x04"}, tmp_path)


class TestChunk(ProcessorConformance):
    """`chunk`, after stages that gave a text, and after such as gave none."""

    @pytest.fixture
    def make_processor(self) -> Callable[[], Processor]:
        return ChunkProcessor

    @pytest.fixture
    def good_contexts(self) -> Sequence[ProcessorContext]:
        texts: list[dict[str, Any]] = [EXTRACTED, {"text": ""}, {"text": "岸 🚢 " * 2000}]
        return [of_stage({"extract": data}) for data in texts]

    @pytest.fixture
    def bad_contexts(self) -> Sequence[ProcessorContext]:
        return [of_stage({}), of_stage({"extract": {"text": None}}), of_stage({"fetch": "no mapping"})]


def of_files(files: dict[str, bytes], folder: Path) -> Sequence[ProcessorContext]:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [ProcessorContext(document_id=name, file_path=str(folder / name)) for name in files]


def of_stage(results: dict[str, Any]) -> ProcessorContext:
    return ProcessorContext(document_id="a", previous_results=results)
