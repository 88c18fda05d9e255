"""The example documents: made again they are the same, every one is read, and other libraries can open them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples" / "documents"
FORMATS = (
    *("pdf", "docx", "pptx", "xlsx", "html", "eml", "msg", "odt", "epub", "rtf"),
    *("csv", "tsv", "json", "ndjson", "xml", "md", "rst", "org", "txt"),
)


def test_the_script_makes_the_committed_bytes(maker: ModuleType) -> None:
    """The files beside the script are what it makes, byte for byte, and nothing else lies there."""
    there = {path.relative_to(EXAMPLES).as_posix(): path.read_bytes() for path in EXAMPLES.rglob("*") if path.is_file()}
    assert there == maker.documents()


@pytest.mark.requirement("req:M14")
def test_all_formats_are_there_and_small(maker: ModuleType) -> None:
    """About thirty files of all the formats, under 1 MB together."""
    made = maker.documents()
    suffixes = {name.rpartition(".")[2] for name in made}
    assert suffixes == {*FORMATS, "htm"}
    assert 28 <= len(made) <= 40
    assert sum(map(len, made.values())) < 1_000_000


@pytest.mark.requirement("req:M14")
def test_every_example_is_read_as_its_format(maker: ModuleType, extract: Callable[..., dict[str, Any]]) -> None:
    """Every example gives text, as the format its suffix names, without a character that could not be decoded."""
    for name, data in maker.documents().items():
        got = extract(Path(name).name, data)
        assert got["format"] == {"htm": "html"}.get(name.rpartition(".")[2], name.rpartition(".")[2])
        assert len(got["text"]) > 30
        assert "\ufffd" not in got["text"]


def test_office_examples_are_sound(maker: ModuleType, tmp_path: Path) -> None:
    """Libraries that are stricter than ours find the same sentence in the examples as was put there."""
    from docx import Document
    from oxmsg import Message
    from pptx import Presentation
    from pypdf import PdfReader
    from python_calamine import CalamineWorkbook

    maker.main(tmp_path)
    office = tmp_path / "office"
    assert maker.QUAY in [item.text for item in Document(str(office / "harbour-rules.docx")).paragraphs]
    shapes = Presentation(str(office / "new-gangs.pptx")).slides[1].shapes
    assert maker.GANGS in [shape.text_frame.text.replace("\v", "\n") for shape in shapes]
    assert CalamineWorkbook.from_path(str(office / "ships.xlsx")).get_sheet_by_name("Ships").to_python()[1][0] == "Alma"
    assert maker.NIGHT.splitlines()[0] in PdfReader(tmp_path / "pdf" / "handbook.pdf").pages[2].extract_text()
    assert (Message.load(str(tmp_path / "mail" / "berth.msg")).body or "").startswith(maker.QUAY)


@pytest.mark.parametrize("form", ["odt", "epub"])
def test_packed_examples_begin_with_their_type(maker: ModuleType, form: str) -> None:
    """The type of an odt or epub is its first entry, stored, where other programs look for it."""
    for name, data in maker.documents().items():
        if name.endswith(form):
            assert data[30:38] == b"mimetype"
            assert data[38:50] == b"application/"
