"""Real documents: nearly all are read, and what is read holds what other libraries find in them.

The corpus lies beside the project, at `../shared/corpus`; without it these tests are skipped. The other libraries are
test dependencies only, and none of them is used by `extract` for the format it is the judge of.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import tomllib
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from pathlib import Path
from xml.etree import ElementTree

import pytest
from longshore.errors import DocumentError
from longshore.processor import ProcessorContext
from longshore_documents import ChunkProcessor, ExtractProcessor

HERE = Path(__file__).resolve().parent
CORPUS = HERE.parents[2].parent / "shared" / "corpus"
FAILURES: dict[str, str] = tomllib.loads((HERE / "data" / "corpus_failures.toml").read_text(encoding="utf-8"))[
    "reasons"
]
FORMATS = (
    *("pdf", "docx", "pptx", "xlsx", "html", "eml", "msg", "odt", "epub", "rtf"),
    *("csv", "tsv", "json", "ndjson", "xml", "md", "rst", "org", "txt"),
)
WORD = re.compile(r"\w+")
SMALL_BYTES = 60_000

pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the corpus of real documents, ../shared/corpus, is not there"
)


def files() -> list[Path]:
    return sorted(path for path in CORPUS.rglob("*") if path.is_file())


def named(path: Path) -> str:
    suffix = path.suffix[1:].lower()
    return {"htm": "html"}.get(suffix, suffix)


def words(text: str) -> Counter[str]:
    """Words as a reader counts them: ligatures spelt out, and a word broken at the end of a line whole again."""
    whole = re.sub(r"(\w)[-\u00ad\u2010]\s*\n\s*(?=[a-z])", r"\1", unicodedata.normalize("NFKC", text))
    return Counter(WORD.findall(whole.lower()))


def share_found(expected: str, got: str) -> float:
    """The share of the expected words, each as often as it stands there, that are in what was got."""
    wanted, have = words(expected), words(got)
    if not wanted.total():
        return 1.0
    return (wanted & have).total() / wanted.total()


def plain(data: bytes, encoding: str | None = None) -> str:
    """Decode as the file's makers meant, by the mark or by what is known of the corpus."""
    if encoding is None:
        marks = {
            b"\xff\xfe\x00\x00": "utf-32",
            b"\xff\xfe": "utf-16",
            b"\xfe\xff": "utf-16",
            b"\xef\xbb\xbf": "utf-8-sig",
        }
        encoding = next((known for mark, known in marks.items() if data.startswith(mark)), "utf-8")
        if encoding == "utf-8" and b"\0" in data[:2]:
            encoding = "utf-16-be" if data[0] == 0 else "utf-16-le"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("cp1252")


def judge_pdf(path: Path) -> str:
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)

    return "\n".join(page.extract_text() for page in PdfReader(path).pages)


def judge_docx(path: Path) -> str:
    import docx2txt  # type: ignore[import-untyped]  # it ships no types

    return str(docx2txt.process(str(path)))


def judge_pptx(path: Path) -> str:
    from pptx import Presentation

    found: list[str] = []

    def visit(shapes: object) -> None:
        for shape in shapes:  # type: ignore[attr-defined]
            if shape.shape_type is not None and hasattr(shape, "shapes"):
                visit(shape.shapes)
            if shape.has_text_frame:
                found.append(shape.text_frame.text)
            if getattr(shape, "has_table", False):
                found.extend(cell.text for row in shape.table.rows for cell in row.cells)

    for slide in Presentation(str(path)).slides:
        visit(slide.shapes)
    return "\n".join(found)


def judge_xlsx(path: Path) -> str:
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_path(str(path))
    cells = [cell for name in book.sheet_names for row in book.get_sheet_by_name(name).to_python() for cell in row]
    return "\n".join(f"{cell:.15g}" if isinstance(cell, float) else str(cell) for cell in cells)


def soup(markup: str) -> str:
    from bs4 import BeautifulSoup

    tree = BeautifulSoup(markup, "html.parser")
    for element in tree(["script", "style", "noscript", "template", "title", "svg"]):
        element.decompose()
    return tree.get_text(" ")


def judge_html(path: Path) -> str:
    declared = {"fake-html-cp1252.html": "cp1252"}
    return soup(plain(path.read_bytes(), declared.get(path.name)))


def judge_eml(path: Path) -> str:
    data = path.read_bytes()
    if b"\0" in data[:4] or data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        data = plain(data).lstrip("\ufeff").encode()
    message = message_from_bytes(data, policy=policy.default)
    best = message.get_body(preferencelist=("plain", "html"))
    if best is None:
        return ""
    text = str(best.get_content())
    return soup(text) if best.get_content_subtype() == "html" else text


def judge_msg(path: Path) -> str:
    from oxmsg import Message

    message = Message.load(str(path))
    return f"{message.subject}\n{message.sender}\n{message.body or soup(message.html_body or '')}"


def judge_odt(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        root = ElementTree.fromstring(archive.read("content.xml"))
    office = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
    body = root.find(f"{office}body")
    return " ".join(body.itertext()) if body is not None else ""


def judge_epub(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        pages = [name for name in archive.namelist() if name.endswith(("html", "htm"))]
        return "\n".join(soup(plain(archive.read(name))) for name in pages)


def judge_rtf(path: Path) -> str:
    from striprtf.striprtf import rtf_to_text

    convert: Callable[..., str] = rtf_to_text
    return str(convert(path.read_bytes().decode("latin-1"), errors="ignore"))


def judge_csv(path: Path) -> str:
    dialects = {
        "csv-with-line-delimiter.csv": "|",
        "table-semicolon-delimiter.csv": ";",
        "semicolon-delimited.csv": ";",
    }
    delimiter = "\t" if path.suffix == ".tsv" else dialects.get(path.name, ",")
    rows = csv.reader(io.StringIO(plain(path.read_bytes())), delimiter=delimiter)
    return "\n".join(cell for row in rows for cell in row)


def scalars(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from scalars(item)
    elif isinstance(value, list):
        for item in value:
            yield from scalars(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def judge_json(path: Path) -> str:
    return "\n".join(scalars(json.loads(plain(path.read_bytes()))))


def judge_ndjson(path: Path) -> str:
    lines = [line for line in plain(path.read_bytes()).splitlines() if line.strip()]
    return "\n".join(text for line in lines for text in scalars(json.loads(line)))


def judge_xml(path: Path) -> str:
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", plain(path.read_bytes()).lstrip("\ufeff"))
    return " ".join(ElementTree.fromstring(text).itertext())


def judge_text(path: Path) -> str:
    return plain(path.read_bytes())


JUDGES: dict[str, Callable[[Path], str]] = {
    "pdf": judge_pdf,
    "docx": judge_docx,
    "pptx": judge_pptx,
    "xlsx": judge_xlsx,
    "html": judge_html,
    "eml": judge_eml,
    "msg": judge_msg,
    "odt": judge_odt,
    "epub": judge_epub,
    "rtf": judge_rtf,
    "csv": judge_csv,
    "tsv": judge_csv,
    "json": judge_json,
    "ndjson": judge_ndjson,
    "xml": judge_xml,
    "md": judge_text,
    "rst": judge_text,
    "org": judge_text,
    "txt": judge_text,
}


def extract(path: Path) -> str:
    return str(ExtractProcessor().process(ProcessorContext(document_id=str(path))).data["text"])


def unread(paths: list[Path], share: float = 0.95) -> list[str]:
    """The files whose text lacks words that the judge of their format finds, with the share it has."""
    poor: list[str] = []
    for path in paths:
        found = share_found(JUDGES[named(path)](path), extract(path))
        if found < share:
            poor.append(f"{path.relative_to(CORPUS)}: {found:.1%}")
    return poor


def readable() -> dict[str, list[Path]]:
    """The files of each format by suffix, expected failures left out."""
    by_format: dict[str, list[Path]] = defaultdict(list)
    for path in files():
        if named(path) in JUDGES and path.relative_to(CORPUS).as_posix() not in FAILURES:
            by_format[named(path)].append(path)
    return by_format


def refused(paths: list[Path]) -> dict[str, str]:
    """The reasons of those that are not read, by their place in the corpus."""
    reasons: dict[str, str] = {}
    for path in paths:
        try:
            extract(path)
        except DocumentError as error:
            reasons[path.relative_to(CORPUS).as_posix()] = error.facts["reason"]
    return reasons


@pytest.mark.slow
def test_every_small_file_ends_as_is_written_down() -> None:
    """Each small file either gives text, or fails with the reason that is written down for it by name."""
    small = [path for path in files() if path.stat().st_size < SMALL_BYTES]
    names = {path.relative_to(CORPUS).as_posix() for path in small}
    assert refused(small) == {name: reason for name, reason in FAILURES.items() if name in names}


@pytest.mark.slow
def test_every_file_ends_as_is_written_down() -> None:
    """Each file of the corpus either gives text, or fails with the reason that is written down for it by name."""
    assert refused(files()) == FAILURES


@pytest.mark.slow
def test_a_small_sample_of_each_format_is_read() -> None:
    """Of the six smallest files of each format all but one are read: 95 % of the words another library finds."""
    for form, paths in readable().items():
        small = [path for path in paths if path.stat().st_size < SMALL_BYTES]
        sample = sorted(small, key=lambda path: path.stat().st_size)[:6]
        assert len(unread(sample)) <= len(sample) // 6, form


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("form", FORMATS)
def test_nine_in_ten_files_of_each_format_are_read(form: str) -> None:
    """Of all files of a format, expected failures left out, nine in ten are read."""
    paths = readable()[form]
    poor = unread(paths)
    assert paths
    assert len(poor) <= 0.1 * len(paths), poor


@pytest.mark.slow
def test_two_readings_of_every_file_are_the_same() -> None:
    """What is extracted, chunks included, is the same each time, byte for byte."""
    first, second = ({path: outcome(path) for path in files()} for _ in range(2))
    assert first == second


def outcome(path: Path) -> str:
    try:
        data = ExtractProcessor().process(ProcessorContext(document_id=str(path))).data
        chunked = ChunkProcessor().process(ProcessorContext(document_id="", previous_results={"extract": data}))
    except DocumentError as error:
        return repr(error.facts)
    return json.dumps(chunked.data)
