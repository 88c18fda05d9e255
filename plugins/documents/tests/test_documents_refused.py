"""What `extract` does with what cannot be read: the right reason, whatever the bytes, and never a crash."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from longshore.errors import DocumentError
from longshore.processor import ProcessorContext
from longshore_documents import ExtractProcessor, Reason
from longshore_documents.formats import SUFFIXES

Refuse = Callable[..., str]
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
GARBAGE = bytes(range(256)) * 8


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.txt", b"", Reason.EMPTY),
        ("a.pdf", b"", Reason.EMPTY),
        ("a.md", b" \n\t\n", Reason.EMPTY),
        ("a.txt", b"\xff\xfe", Reason.EMPTY),
        ("a.csv", b",,\n,,\n", Reason.EMPTY),
        ("a.html", b"<html><body></body></html>", Reason.EMPTY),
        ("a.html", b"<img src=x>", Reason.NO_TEXT),
        ("a.wav", b"RIFF\x10\0\0\0WAVEfmt ", Reason.UNSUPPORTED),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0", Reason.UNSUPPORTED),
        ("a.txt", b"\x89PNG\r\n\x1a\n", Reason.UNSUPPORTED),
        ("a.png", GARBAGE, Reason.UNSUPPORTED),
        ("a.docx", GARBAGE, Reason.MALFORMED),
        ("a.docx", b"plain words", Reason.MALFORMED),
        ("a.pdf", b"%PDF-1.7\n" + GARBAGE, Reason.MALFORMED),
        ("a.docx", b"PK\x03\x04" + GARBAGE, Reason.MALFORMED),
        ("a.msg", OLE + GARBAGE, Reason.MALFORMED),
        ("a.json", b'{"a": ', Reason.MALFORMED),
        ("a.json", b"[" * 100_000, Reason.MALFORMED),
        ("a.ndjson", b'{"a": 1}\nno\n', Reason.MALFORMED),
        ("a.xml", b"<a><b></a>", Reason.MALFORMED),
        ("a.xml", b"<a>" * 100_000, Reason.MALFORMED),
        ("a.eml", b"Content-Type: multipart/encrypted; boundary=b\n\n--b\n"
                  b"Content-Type: application/pgp-encrypted\n\nVersion: 1\n--b--\n", Reason.ENCRYPTED),
    ],
)  # fmt: skip
def test_each_document_is_refused_with_its_reason(reason: Refuse, name: str, data: bytes, expected: Reason) -> None:
    """Empty, unsupported, malformed and encrypted files are told apart."""
    assert reason(name, data) == expected


def test_a_missing_file_a_folder_a_pipe_and_a_locked_file_are_unreadable(tmp_path: Path) -> None:
    """What cannot be opened is unreadable at once; opening a named pipe waits for nobody."""
    os.mkfifo(tmp_path / "pipe.txt")
    for path in (tmp_path / "missing.txt", tmp_path, tmp_path / "pipe.txt", "a\0b.txt"):
        with pytest.raises(DocumentError) as caught:
            ExtractProcessor().process(ProcessorContext(document_id=str(path)))
        assert caught.value.facts == {"reason": "unreadable"}


def test_a_file_without_permission_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No permission to read is one of the reasons; the refusal is feigned, as root may open everything."""

    def refuse(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    path = tmp_path / "a.txt"
    path.write_bytes(b"words")
    monkeypatch.setattr("longshore_documents.source.os.open", refuse)
    with pytest.raises(DocumentError, match="Permission denied") as caught:
        ExtractProcessor().process(ProcessorContext(document_id=str(path)))
    assert caught.value.facts["reason"] == "unreadable"


@pytest.mark.requirement("req:M14")
def test_a_pdf_of_pictures_has_no_text(reason: Refuse, maker: ModuleType) -> None:
    """Pages without a text layer are not the same as nothing: they need OCR."""
    assert reason("a.pdf", maker.pdf("T", [[]])) == Reason.NO_TEXT


def test_a_damaged_page_costs_only_itself(extract: Callable[..., dict[str, Any]], maker: ModuleType) -> None:
    """A PDF one of whose pages cannot be read gives the others and names the damaged one."""
    whole = maker.pdf("T", [["first page"], ["second page"], ["third page"]])
    kids = [piece.split(b" 0 R")[0].strip() for piece in whole.split(b"/Kids[")[1].split(b"]")[0].split(b" 0 R ")]
    broken = whole.replace(b"\n%b 0 obj\n<</Type/Page" % kids[1], b"\n%b 0 obj\n[/Type/Page" % kids[1])
    got = extract("a.pdf", broken)
    assert got["text"].split() == ["first", "page", "third", "page"]
    assert got["metadata"]["damaged_pages"] == "2"


def test_locked_archives_are_encrypted(reason: Refuse, maker: ModuleType) -> None:
    """An odt whose manifest tells of encryption, and a zip entry with the flag of a password, are encrypted."""
    files = {"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": "x"}
    files["META-INF/manifest.xml"] = "<m:file-entry><m:encryption-data/></m:file-entry>"
    assert reason("a.odt", maker.packed(files)) == Reason.ENCRYPTED
    data = bytearray(maker.docx("T", []))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := data.find(mark, start)) >= 0:
            data[start + place] |= 1
            start += 4
    assert reason("a.docx", bytes(data)) == Reason.ENCRYPTED


def test_a_zip_bomb_is_refused_before_it_unfolds(reason: Refuse, maker: ModuleType) -> None:
    """What would unpack past the limit is too large, whether it says so or lies about its size."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"<a>" + b" " * 3_000_000 + b"</a>")
    assert reason("a.docx", out.getvalue(), max_unpacked_mb=2) == Reason.TOO_LARGE
    lying = out.getvalue().replace((3_000_007).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    assert lying != out.getvalue()
    assert reason("a.docx", lying, max_unpacked_mb=2) == Reason.MALFORMED


def test_shared_strings_cannot_multiply_past_the_limit(reason: Refuse, maker: ModuleType) -> None:
    """A long string that a thousand cells share is a thousand long strings, and counts as such."""
    files = {
        "xl/workbook.xml": f'<w xmlns:r="{maker.OFFICE}"><sheets><sheet name="s" r:id="r1"/></sheets></w>',
        "xl/_rels/workbook.xml.rels": maker.relations(("worksheet", "sheet.xml"), ("sharedStrings", "strings.xml")),
        "xl/strings.xml": f"<sst><si><t>{'x' * 10_000}</t></si></sst>",
        "xl/sheet.xml": "<w><d><row>" + '<c t="s"><v>0</v></c>' * 1000 + "</row></d></w>",
    }
    assert reason("a.xlsx", maker.packed(files), max_text_mb=1) == Reason.TOO_LARGE


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_entities_are_never_expanded(reason: Refuse, maker: ModuleType, encoding: str) -> None:
    """Declared entities are refused in any encoding, in xml files and in parts of office documents."""
    bomb = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><a>&y;</a>'
    assert reason("a.xml", bomb.encode(encoding)) == Reason.UNSUPPORTED
    assert reason("a.docx", maker.packed({"word/document.xml": bomb})) == Reason.UNSUPPORTED
    assert reason("a.xml", b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>') == Reason.UNSUPPORTED


@pytest.mark.requirement("req:M14")
def test_a_file_past_the_limit_is_too_large(reason: Refuse) -> None:
    """The size of the file is limited, and no more than that is ever read."""
    assert reason("a.txt", b"x" * 1001, max_file_mb=0.001) == Reason.TOO_LARGE


def test_messages_name_the_file_and_nothing_that_changes(maker: ModuleType, tmp_path: Path) -> None:
    """The error says which file and what is wrong with it, the same text each time."""
    path = tmp_path / "bad.pptx"
    path.write_bytes(maker.packed({"ppt/presentation.xml": "<a><b></a>"}))
    texts = set()
    for _ in range(2):
        with pytest.raises(DocumentError, match=r"bad\.pptx: .*not well-formed") as caught:
            ExtractProcessor().process(ProcessorContext(document_id=str(path)))
        texts.add(str(caught.value))
    assert len(texts) == 1


def ends_in_order(name: str, data: bytes, folder: Path) -> None:
    """Assert that the bytes give a text or one of the reasons."""
    path = folder / name
    path.write_bytes(data)
    try:
        got = ExtractProcessor().process(ProcessorContext(document_id=str(path))).data
    except DocumentError as error:
        Reason(error.facts["reason"])  # one of ours, else ValueError
        return
    assert got["text"].strip()
    got["text"].encode()


@given(data=st.binary(max_size=300), suffix=st.sampled_from(sorted(SUFFIXES)))
@settings(max_examples=150, deadline=None)
def test_any_bytes_end_in_a_text_or_a_reason(
    data: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the bytes and the suffix, the end is a text or a DocumentError with one of the reasons."""
    ends_in_order(f"a.{suffix}", data, tmp_path_factory.getbasetemp())


@pytest.mark.slow
@given(
    picks=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=20),
    cut=st.floats(0.2, 1),
    which=st.integers(0),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_documents_end_in_a_text_or_a_reason(
    picks: list[tuple[float, int]], cut: float, which: int, maker: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Sound documents with bytes changed and their ends cut off are read, or refused with a reason."""
    documents = sorted(maker.documents().items())
    name, content = documents[which % len(documents)]
    data = bytearray(content)
    for place, value in picks:
        data[int(place * (len(data) - 1))] = value
    ends_in_order(Path(name).name, bytes(data[: max(1, int(len(data) * cut))]), tmp_path_factory.getbasetemp())
