"""What `extract` gives for sound documents: text in reading order, structure as offsets, the same each time."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from contextvars import copy_context
from importlib.metadata import version
from types import ModuleType
from typing import Any

import pytest
from longshore.events import ProgressUpdate
from longshore.processor import ProcessorContext
from longshore.task import Attempt, Task, TaskSpec
from longshore.worker import Seat, bind
from longshore_documents import ChunkProcessor, DocumentsPipeline, ExtractProcessor

Extract = Callable[..., dict[str, Any]]
SENTENCES = {
    "cp1252": "Der Kran fährt über den Kai; größere Lasten – auch „schwere“ – gehören ans Ende der Pier.",
    "iso-8859-1": "Où est passé le café du port ? Il était là, près de la grève, l'été dernier.",
    "iso-8859-15": "La señora llegó mañana; el niño cruzó la cañada y comió una piña dulce en el jardín.",
    "cp1250": "Zażółć gęślą jaźń; łódź płynie spokojnie, a załoga śpiewa głośno i źle, choć już późno w nocy.",
    "cp1251": "Причал готов, когда свободно место, на кране есть люди и прилив достаточно высок для судна.",
    "koi8-r": "Причал готов, когда свободно место, на кране есть люди и прилив достаточно высок для судна.",
    "cp1253": "Η προβλήτα είναι έτοιμη όταν υπάρχει θέση, ο γερανός έχει πλήρωμα και η παλίρροια αρκεί.",
    "cp1255": "הרציף מוכן כאשר יש מקום פנוי, יש אנשים על המנוף והגאות גבוהה מספיק בשביל האונייה",
    "shift_jis": "岸壁の準備ができるのは、場所が空き、クレーンに人がいて、潮が十分に高いときである。",
    "euc-jp": "岸壁の準備ができるのは、場所が空き、クレーンに人がいて、潮が十分に高いときである。",
    "gb18030": "码头准备就绪的条件是：有空泊位，起重机上有人，潮水足够高。夜里码头的灯一直亮到天明。",
    "big5": "碼頭準備就緒的條件是：有空泊位，起重機上有人，潮水足夠高。夜裡碼頭的燈一直亮到天明。",
    "euc-kr": "부두는 자리가 비고 기중기에 사람이 있으며 물때가 맞을 때 준비가 된다. 밤에는 불을 켠다.",
}
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


@pytest.mark.parametrize("encoding", UNICODE)
def test_unicode_text_is_read_with_and_without_a_mark(extract: Extract, encoding: str) -> None:
    """Every form of Unicode is told apart by its mark, or where it has none, by where its zero bytes are."""
    text = "Plain words, then some that are not: größer, Zażółć, Причал.\nA second line, in ASCII."
    assert extract("a.txt", text.encode(encoding))["text"] == text


@pytest.mark.parametrize("encoding", SENTENCES)
def test_one_sentence_is_enough_to_guess_the_encoding(extract: Extract, encoding: str) -> None:
    """A text of a sentence in an encoding it does not declare comes out with its letters right."""
    text = SENTENCES[encoding]
    assert extract("a.txt", text.encode(encoding))["text"] == text


@pytest.mark.parametrize("encoding", ["cp1251", "shift_jis", "iso-8859-2", "utf-8"])
def test_declared_encodings_are_believed(extract: Extract, encoding: str) -> None:
    """HTML and XML are read in the encoding they declare, however short they are."""
    word = {"cp1251": "Кран", "shift_jis": "岸壁", "iso-8859-2": "žába", "utf-8": "größer"}[encoding]
    page = f'<meta http-equiv="Content-Type" content="text/html; charset={encoding}"><p>{word}</p>'
    assert extract("a.html", page.encode(encoding))["text"] == word
    tree = f'<?xml version="1.0" encoding="{encoding}"?><a>{word}</a>'
    assert extract("a.xml", tree.encode(encoding))["text"] == word


def test_html_keeps_blocks_apart_and_words_together(extract: Extract) -> None:
    """Blocks are lines, inline markup splits no word, scripts and styles are left out, cells have tabs between them."""
    page = (
        "<title>T</title><style>p{}</style><h2>Head</h2><p>in<b>line</b> &amp;\n text<br>next<script>x()</script>"
        "<ul><li>one<li>two</ul><table><tr><td><p>a</p></td><td>b</td></tr><tr><td>c</td></tr></table>"
        "<pre> k  e\n p</pre>"
    )
    got = extract("a.html", page.encode())
    assert got["text"] == "Head\n\ninline & text\nnext\n\none\ntwo\n\na\tb\nc\n\n k  e\n p"
    assert got["title"] == "T"
    assert got["headings"] == [{"level": 2, "start": 0, "end": 4}]


def test_ten_thousand_nested_elements_are_read(extract: Extract) -> None:
    """Depth is the page's to choose: no recursion of ours ends on it."""
    assert extract("a.html", b"<div>" * 10_000 + b"deep")["text"] == "deep"
    assert extract("a.json", b"[" * 500 + b'"deep"' + b"]" * 500)["text"].strip() == "deep"


def test_word_documents_lose_no_corner(extract: Extract, maker: ModuleType) -> None:
    """Text boxes once, tables, headers and footnotes are read; deleted text and field codes are not."""
    inner = (
        "<w:p><w:r><w:t>Body</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        "<w:r><w:instrText>PAGE</w:instrText><mc:AlternateContent xmlns:mc='m'><mc:Choice><w:txbxContent>"
        "<w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent></mc:Choice>"
        "<mc:Fallback><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent></w:r></w:p>"
    )
    files = unpacked(maker.docx("Title", [("Head", ["x"])]))
    files["word/document.xml"] = files["word/document.xml"].replace("</w:body>", inner + "</w:body>")
    files["word/_rels/document.xml.rels"] = maker.relations(
        ("styles", "styles.xml"), ("header", "header1.xml"), ("header", "header2.xml"), ("footnotes", "notes.xml")
    )
    for name, text in (("header1", "Top"), ("header2", "Top"), ("notes", "Note")):
        files[f"word/{name}.xml"] = f'<w:hdr xmlns:w="{maker.WORD}"><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:hdr>'
    got = extract("a.docx", maker.packed(files))
    assert got["text"] == "Title\n\nHead\n\nx\n\nBody\n\nbox\n\nTop\n\nNote"
    assert [part["name"] for part in got["parts"]] == ["body", "header", "notes"]


def test_workbooks_give_dates_and_shared_strings(extract: Extract, maker: ModuleType) -> None:
    """Numbers in a date format are dates, shared strings are looked up, cells far apart cost nothing."""
    files = unpacked(maker.xlsx({"One": [("a", 1)]}))
    files["xl/_rels/workbook.xml.rels"] = maker.relations(
        ("worksheet", "worksheets/sheet1.xml"), ("styles", "styles.xml"), ("sharedStrings", "strings.xml")
    )
    files["xl/styles.xml"] = (
        f'<styleSheet xmlns="{maker.SHEET}">'
        '<numFmts><numFmt numFmtId="170" formatCode="yyyy\\-mm&quot;d&quot;"/></numFmts>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="170"/><xf numFmtId="20"/></cellXfs></styleSheet>'
    )
    files["xl/strings.xml"] = (
        f'<sst xmlns="{maker.SHEET}"><si><r><t>ri</t></r><r><t>ch</t></r><rPh><t>no</t></rPh></si></sst>'
    )
    files["xl/worksheets/sheet1.xml"] = (
        f'<worksheet xmlns="{maker.SHEET}"><sheetData><row><c s="1"><v>45000</v></c><c s="2"><v>45000.5</v></c>'
        '<c s="3"><v>0.25</v></c><c t="s"><v>0</v></c><c><v>0.30000000000000004</v></c><c t="b"><v>1</v></c></row>'
        '<row r="1048576"><c r="XFD1048576"><v>7</v></c></row></sheetData></worksheet>'
    )
    got = extract("a.xlsx", maker.packed(files))
    assert got["text"] == "2023-03-15\t2023-03-15 12:00:00\t06:00:00\trich\t0.3\tTRUE\n7"


def test_mail_is_read_plain_first_with_its_attachments(extract: Extract) -> None:
    """Of alternatives the plain one is read, encoded headers are decoded, text attachments follow, others are named."""
    message = (
        "From: =?utf-8?q?J=C3=BCrgen?= <j@x.example>\nSubject: S\nMIME-Version: 1.0\n"
        "Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: multipart/alternative; boundary=a\n\n"
        "--a\nContent-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: base64\n\n6NTP\n"
        "--a\nContent-Type: text/html\n\n<p>no</p>\n--a--\n--m\nContent-Type: image/png; name=i.png\n\nxx\n"
        "--m\nContent-Type: text/plain; name=t.txt\n\nattached\n--m--\n"
    )
    got = extract("a.eml", message.encode())
    assert got["text"] == "From: Jürgen <j@x.example>\nSubject: S\n\nХто\n\nattached"
    assert got["title"] == "S"
    assert got["metadata"]["attachments"] == "i.png, t.txt"


def test_rich_text_follows_code_pages_and_unicode(extract: Extract) -> None:
    """Hexadecimal bytes are of the font's charset, \\u skips what follows, pictures and style sheets are left out."""
    rich = (
        rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 A;}{\f1\fcharset204 B;}}{\stylesheet{\s1 No;}}{\*\gen no}{\pict 0a0b}"
        rb"{\info{\title The title}}\f0 caf\'e9 \f1\'ca\'f0\'e0\'ed\f0  \u8364?5 \uc2\u-10179??\u-8704??"
        rb"\par {\b bo}ld\line x}"
    )
    got = extract("a.rtf", rich)
    assert got["text"] == "café Кран €5 \U0001f600\n\nbold\nx"
    assert got["title"] == "The title"


def test_json_keeps_every_digit_and_the_order(extract: Extract) -> None:
    """Keys stand beside their values in the file's order; numbers are as written; lone surrogates do no harm."""
    data = b'{"b": {"n": 1.10, "big": 123456789012345678901234567890}, "a": ["x", null, true], "s": "\\ud800!"}'
    assert (
        extract("a.json", data)["text"]
        == "b:\n  n: 1.10\n  big: 123456789012345678901234567890\na:\n  x\n  null\n  true\ns: !"
    )


@pytest.mark.parametrize(
    ("name", "data", "form"),
    [
        ("notes", b"just words", "txt"),
        ("data.yaml", b"a: 1\nb: 2\n", "txt"),
        ("page.docx", b"<!DOCTYPE html><p>words", "html"),
        ("page.unknown", b"\n<!-- c -->\n<html><p>words", "html"),
        ("feed.rss", b"<?xml version='1.0'?><a>words</a>", "xml"),
        ("letter.bin", b"From: a@x.example\nSubject: s\n\nwords", "eml"),
        ("memo.txt", b"{\\rtf1 words}", "rtf"),
        ("lines.json", b'{"a": 1}\n{"a": 2}\n', "json"),
    ],
)
def test_the_bytes_decide_where_the_suffix_is_missing_or_wrong(
    extract: Extract, name: str, data: bytes, form: str
) -> None:
    """A missing, unknown or wrong suffix keeps no document from being read."""
    assert extract(name, data)["format"] == form


def test_office_documents_are_told_by_what_is_in_them(extract: Extract, maker: ModuleType) -> None:
    """A docx called doc, a pptx called docx and a pdf called txt are read as what they are."""
    documents = maker.documents()
    assert extract("a.doc", documents["office/harbour-rules.docx"])["format"] == "docx"
    assert extract("a.docx", documents["office/safety.pptx"])["format"] == "pptx"
    assert extract("a.txt", documents["pdf/notice.pdf"])["format"] == "pdf"


def test_a_mime_type_stands_in_for_a_suffix(tmp_path: Any) -> None:
    """Where the name says nothing, the type the caller gives does."""
    path = tmp_path / "table"
    path.write_bytes(b"a,b\n1,2\n")
    context = ProcessorContext(document_id="t", file_path=str(path), mime_type="text/csv; charset=utf-8")
    assert ExtractProcessor().process(context).data["text"] == "a\tb\n1\t2"


def test_offsets_point_into_the_text(extract: Extract, maker: ModuleType) -> None:
    """Parts and headings lie inside the text and in order."""
    for name, data in maker.documents().items():
        got = extract(os.path.basename(name), data)
        for mark in (*got["parts"], *got["headings"]):
            assert 0 <= mark["start"] <= mark["end"] <= len(got["text"])
        starts = [part["start"] for part in got["parts"]]
        assert starts == sorted(starts)


def test_pages_are_reported_as_progress(tmp_path: Any, maker: ModuleType) -> None:
    """Inside a task, each page is a step; the last one is all of them."""
    path = tmp_path / "a.pdf"
    path.write_bytes(maker.documents()["pdf/handbook.pdf"])
    updates: list[ProgressUpdate] = []
    seat = Seat("w", updates.append)
    processor = ExtractProcessor()
    task = Task("t", TaskSpec(function=processor.process, name="extract", executor="inline"))
    seat.attempt = Attempt.of(task)

    def in_a_worker() -> None:
        bind(seat)
        processor.process(ProcessorContext(document_id="d", file_path=str(path)))
        seat.finish()

    copy_context().run(in_a_worker)  # so that the seat is nobody's after this test
    assert (updates[-1].completed_steps, updates[-1].total_steps, updates[-1].message) == (3, 3, "pages")


@pytest.mark.parametrize("kind", [ExtractProcessor, ChunkProcessor])
def test_what_the_processors_ask_for(kind: type[ExtractProcessor] | type[ChunkProcessor]) -> None:
    """Both are of this distribution's version, never retried, and made for processes."""
    metadata = kind(kind.Settings()).metadata
    assert metadata.version == version("longshore-documents")
    assert (metadata.retry_count, metadata.executor) == (0, "processes")


def test_the_pipeline_is_the_table_it_says() -> None:
    """The shipped data are two stages, `chunk` after `extract`, in processes."""
    stages = tomllib.loads(DocumentsPipeline().toml())["stages"]
    assert [(stage["name"], stage["processor"], stage["executor"]) for stage in stages] == [
        ("extract", "extract", "processes"),
        ("chunk", "chunk", "processes"),
    ]
    assert stages[0]["timeout"] == 60
    assert stages[1]["after"] == ["extract"]


def test_importing_loads_no_document_library() -> None:
    """The module comes without pydantic and without any library of a format."""
    heavy = [
        "pydantic",
        "pypdfium2",
        "selectolax",
        "charset_normalizer",
        "olefile",
        "zipfile",
        "xml.etree.ElementTree",
        "email.message",
    ]
    code = f"import sys, longshore_documents; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


def unpacked(data: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}
