"""Make the example documents: small files of every format that `longshore run documents` reads.

    python docs/examples/make_documents.py [FOLDER]

FOLDER is `documents` beside this script unless another is given. Nothing but the standard library is needed, and the
bytes are the same each time: zip files are stored, not compressed, and carry no time.
"""

from __future__ import annotations

import csv
import io
import json
import struct
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

QUAY = """The quay is ready when three things are true: a berth is free, a crane is manned, and the tide allows the
draught of the ship. Until then she waits in the roads, and nobody ashore is asked to hurry."""
GANGS = """A gang is eight longshoremen, a winchman and a foreman. Gangs are called for a ship, not for a day; when she
is worked, the gang is free for the next one, in the order in which ships were announced."""
SAFETY = """Nobody walks under a hanging load. A sling with a broken strand is cut in two on the spot, so that nobody
can use it again. Holds are aired before anyone goes down, and one man stays at the hatch."""
WEIGHT = """Weights are taken at the gate and again at the crane. Where the two differ by more than one part in a
hundred, the crate is set aside, opened by the tally clerk, and weighed a third time."""
NIGHT = """At night the lamps on the quay burn from dusk to dawn. The watchman goes round every hour, tries the doors
of the sheds, and writes the hour and his name into the book at each of the seven posts."""
SHIPS = (
    ("ship", "cargo", "tons", "berth"),
    ("Alma", "timber", 1840, 3),
    ("Brigida", "coffee", 620, 1),
    ("Cormorant", "machines", 2210, 5),
    ("Dorothea", "oranges", 415, 2),
)
HTML = "<!DOCTYPE html><html>"
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SLIDE = "http://schemas.openxmlformats.org/presentationml/2006/main"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OPENDOC = "urn:oasis:names:tc:opendocument:xmlns"

Section = tuple[str, Sequence[str]]
Rows = Sequence[Sequence[object]]


def packed(files: Mapping[str, str]) -> bytes:
    """Return a zip file of these files, in this order, uncompressed and without times."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 0
            archive.writestr(entry, text.encode())
    return out.getvalue()


def relations(*targets: tuple[str, str]) -> str:
    lines = [
        f'<Relationship Id="r{number}" Type="{OFFICE}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, 1)
    ]
    return f'{XML}<Relationships xmlns="{PACKAGE}/relationships">{"".join(lines)}</Relationships>'


def content_types(main: Mapping[str, str]) -> str:
    """Return [Content_Types].xml; `main` gives the last part of each part's type, by the part's name."""
    vendor = "application/vnd.openxmlformats-officedocument"
    parts = "".join(f'<Override PartName="/{name}" ContentType="{vendor}.{kind}+xml"/>' for name, kind in main.items())
    rels = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    other = '<Default Extension="xml" ContentType="application/xml"/>'
    return f'{XML}<Types xmlns="{PACKAGE}/content-types">{rels}{other}{parts}</Types>'


def docx(title: str, sections: Iterable[Section], rows: Rows = ()) -> bytes:
    def paragraph(text: str, style: str = "") -> str:
        properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
        return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'

    body = paragraph(title, "Title")
    for heading, texts in sections:
        body += paragraph(heading, "Heading1") + "".join(map(paragraph, texts))
    if rows:
        cells = ["".join(f"<w:tc>{paragraph(str(cell))}</w:tc>" for cell in row) for row in rows]
        body += "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in cells) + "</w:tbl>" + paragraph("")
    names = {"Title": "Title", "Heading1": "heading 1"}
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="{key}"><w:name w:val="{name}"/></w:style>'
        for key, name in names.items()
    )
    return packed(
        {
            "[Content_Types].xml": content_types(
                {
                    "word/document.xml": "wordprocessingml.document.main",
                    "word/styles.xml": "wordprocessingml.styles",
                }
            ),
            "_rels/.rels": relations(("officeDocument", "word/document.xml")),
            "word/_rels/document.xml.rels": relations(("styles", "styles.xml")),
            "word/styles.xml": f'{XML}<w:styles xmlns:w="{WORD}">{styles}</w:styles>',
            "word/document.xml": f'{XML}<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>',
        }
    )


def pptx(slides: Sequence[Section]) -> bytes:
    def shape(number: int, kind: str, texts: Iterable[str]) -> str:
        paragraphs = "".join(f"<a:p><a:r><a:t>{escape(text)}</a:t></a:r></a:p>" for text in texts)
        names = f'<p:cNvPr id="{number}" name="{kind}"/><p:cNvSpPr/><p:nvPr><p:ph type="{kind}"/></p:nvPr>'
        return f"<p:sp><p:nvSpPr>{names}</p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/>{paragraphs}</p:txBody></p:sp>"

    spaces = f'xmlns:p="{SLIDE}" xmlns:a="{DRAWING}" xmlns:r="{OFFICE}"'
    ids = "".join(f'<p:sldId id="{255 + number}" r:id="r{number}"/>' for number in range(1, len(slides) + 1))
    parts = {f"ppt/slides/slide{number}.xml": slide for number, slide in enumerate(slides, 1)}
    kinds = {"ppt/presentation.xml": "presentationml.presentation.main"} | dict.fromkeys(parts, "presentationml.slide")
    files = {
        "[Content_Types].xml": content_types(kinds),
        "_rels/.rels": relations(("officeDocument", "ppt/presentation.xml")),
        "ppt/presentation.xml": f"{XML}<p:presentation {spaces}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(*(("slide", name.removeprefix("ppt/")) for name in parts)),
    }
    group = '<p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>'
    for name, (title, texts) in parts.items():
        tree = f"<p:spTree>{group}{shape(2, 'title', [title])}{shape(3, 'body', texts)}</p:spTree>"
        files[name] = f"{XML}<p:sld {spaces}><p:cSld>{tree}</p:cSld></p:sld>"
    return packed(files)


def xlsx(sheets: Mapping[str, Rows]) -> bytes:
    def cell(value: object, place: str) -> str:
        if isinstance(value, str):
            return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
        return f'<c r="{place}"><v>{value}</v></c>'

    parts = {f"xl/worksheets/sheet{number}.xml": rows for number, rows in enumerate(sheets.values(), 1)}
    kinds = {"xl/workbook.xml": "spreadsheetml.sheet.main"} | dict.fromkeys(parts, "spreadsheetml.worksheet")
    named = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1))
    files = {
        "[Content_Types].xml": content_types(kinds),
        "_rels/.rels": relations(("officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'{XML}<workbook xmlns="{SHEET}" xmlns:r="{OFFICE}"><sheets>{named}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations(*(("worksheet", name.removeprefix("xl/")) for name in parts)),
    }
    for name, rows in parts.items():
        lines = [
            f'<row r="{y}">' + "".join(cell(value, f"{chr(64 + x)}{y}") for x, value in enumerate(row, 1)) + "</row>"
            for y, row in enumerate(rows, 1)
        ]
        files[name] = f'{XML}<worksheet xmlns="{SHEET}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
    return packed(files)


def odt(sections: Iterable[Section]) -> bytes:
    body = ""
    for heading, texts in sections:
        body += f'<text:h text:outline-level="1">{escape(heading)}</text:h>'
        body += "".join(f"<text:p>{escape(text)}</text:p>" for text in texts)
    spaces = f'xmlns:office="{OPENDOC}:office:1.0" xmlns:text="{OPENDOC}:text:1.0" office:version="1.2"'
    kind = "application/vnd.oasis.opendocument.text"
    space = f'xmlns:manifest="{OPENDOC}:manifest:1.0"'
    entries = f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{kind}"/>'
    entries += '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>'
    inner = f"<office:body><office:text>{body}</office:text></office:body>"
    return packed(
        {
            "mimetype": kind,
            "META-INF/manifest.xml": f"{XML}<manifest:manifest {space}>{entries}</manifest:manifest>",
            "content.xml": f"{XML}<office:document-content {spaces}>{inner}</office:document-content>",
        }
    )


def epub(title: str, chapters: Sequence[Section]) -> bytes:
    names = [f"chapter{number}.xhtml" for number in range(1, len(chapters) + 1)]
    items = "".join(f'<item id="{name}" href="{name}" media-type="application/xhtml+xml"/>' for name in names)
    spine = "".join(f'<itemref idref="{name}"/>' for name in names)
    metadata = (
        f"<dc:title>{title}</dc:title><dc:language>en</dc:language><dc:identifier id='id'>{title}</dc:identifier>"
    )
    space = 'xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    root = '<rootfile full-path="content.opf" media-type="application/oebps-package+xml"/>'
    files = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": f'{XML}<container version="1.0" '
        f'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>{root}</rootfiles></container>',
        "content.opf": f'{XML}<package {space} version="3.0" unique-identifier="id"><metadata>{metadata}</metadata>'
        f"<manifest>{items}</manifest><spine>{spine}</spine></package>",
    }
    for name, section in zip(names, chapters, strict=True):
        files[name] = html(section[0], [section], opening=f'{XML}<html xmlns="http://www.w3.org/1999/xhtml">')
    return packed(files)


def html(title: str, sections: Iterable[Section], rows: Rows = (), charset: str = "utf-8", opening: str = HTML) -> str:
    parts = [
        f"<h1>{escape(head)}</h1>" + "".join(f"<p>{escape(text)}</p>" for text in texts) for head, texts in sections
    ]
    if rows:
        lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
        parts.append("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")
    head = f'<head><meta charset="{charset}"/><title>{escape(title)}</title></head>'
    return f"{opening}{head}<body>{''.join(parts)}</body></html>"


def pdf(title: str, pages: Sequence[Sequence[str]]) -> bytes:
    """Return a PDF with one column of Helvetica a page, of ASCII without brackets."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    objects.append(f"<</Title({title})>>".encode("ascii"))
    kids = []
    for lines in pages:
        text = "\n".join(f"({line}) Tj T*" for line in lines)
        stream = f"BT /F1 11 Tf 14 TL 60 780 Td\n{text}\nET".encode("ascii")
        objects.append(b"<</Length %d>>\nstream\n%b\nendstream" % (len(stream), stream))
        page = f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents {len(objects)} 0 R"
        page += "/Resources<</Font<</F1 3 0 R>>>>>>"
        objects.append(page.encode("ascii"))
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(kids)}]>>".encode("ascii")
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    trailer = f"<</Size {len(objects) + 1}/Root 1 0 R/Info 4 0 R>>"
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n{trailer}\n".encode("ascii")
    return bytes(out) + b"startxref\n%d\n%%%%EOF\n" % out.rindex(b"xref\n0 ")


def rtf(title: str, sections: Iterable[Section], codepage: int = 1252) -> bytes:
    def coded(text: str) -> str:
        marked = text.replace("\\", "\\\\").replace("{", "\\{").replace("}", "\\}")
        raw = marked.encode(f"cp{codepage}")
        return "".join(chr(byte) if byte < 0x80 else f"\\'{byte:02x}" for byte in raw)

    parts = [rf"{{\rtf1\ansi\ansicpg{codepage}\deff0{{\fonttbl{{\f0 Times;}}}}{{\info{{\title {coded(title)}}}}}"]
    for heading, texts in sections:
        parts.append(rf"\pard\outlinelevel0\b {coded(heading)}\b0\par")
        parts.extend(rf"\pard {coded(text)}\par" for text in texts)
    return "\n".join([*parts, "}"]).encode("ascii")


def eml(subject: str, body: str, *, attachment: str = "", subtype: str = "plain") -> bytes:
    head = f"From: Tally Office <tally@quay.example>\nTo: Gang Three <gang3@quay.example>\nSubject: {subject}\n"
    head += "Date: Mon, 03 Mar 2025 06:00:00 +0000\nMIME-Version: 1.0\n"
    kind = f"Content-Type: text/{subtype}; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
    if not attachment:
        return f"{head}{kind}\n{body}\n".encode()
    mixed = 'Content-Type: multipart/mixed; boundary="quay"\n'
    more = f'Content-Type: text/csv\nContent-Disposition: attachment; filename="list.csv"\n\n{attachment}\n'
    return f"{head}{mixed}\n--quay\n{kind}\n{body}\n--quay\n{more}--quay--\n".encode()


def msg(properties: Mapping[str, str]) -> bytes:
    """Return an Outlook message: a compound file whose streams all lie in the ministream."""
    sizes = {int(tag, 16): len(text.encode("utf-16-le")) + 2 for tag, text in properties.items()}
    listed = [struct.pack("<HHIII", 0x1F, tag, 6, size, 0) for tag, size in sizes.items()]
    streams = {"__properties_version1.0": bytes(32) + b"".join(listed)}
    streams |= {f"__substg1.0_{tag}001F": text.encode("utf-16-le") for tag, text in properties.items()}
    names = sorted(streams, key=lambda name: (len(name), name.upper()))
    mini, mini_fat, entries = bytearray(), [], []
    for number, name in enumerate(names):
        data = streams[name]
        first, count = len(mini) // 64, -(-len(data) // 64)
        mini += data.ljust(count * 64, b"\0")
        mini_fat += [*range(first + 1, first + count), 0xFFFFFFFE]
        right = number + 2 if number + 1 < len(names) else 0xFFFFFFFF
        entries.append(entry(name, 2, right=right, first=first, size=len(data)))
    directory = b"".join([entry("Root Entry", 5, child=1, first=0, size=len(mini)), *entries])
    sections = [bytes(mini), directory, struct.pack(f"<{len(mini_fat)}I", *mini_fat)]
    fills = [b"\0", b"\0", b"\xff"]
    sectors = [data.ljust(-(-len(data) // 512) * 512, fill) for data, fill in zip(sections, fills, strict=True)]
    fat: list[int] = []
    firsts = []
    for data in sectors:
        firsts.append(len(fat))
        fat += [*range(len(fat) + 1, len(fat) + len(data) // 512), 0xFFFFFFFE]
    fat_place = len(fat)
    fat += [0xFFFFFFFD] + [0xFFFFFFFF] * (127 - len(fat))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    head += struct.pack(
        "<IIIIIIIIII", 0, 1, firsts[1], 0, 4096, firsts[2], len(sectors[2]) // 512, 0xFFFFFFFE, 0, fat_place
    )
    return head.ljust(512, b"\xff") + b"".join(sectors) + struct.pack("<128I", *fat)


def entry(name: str, kind: int, *, right: int = 0xFFFFFFFF, child: int = 0xFFFFFFFF, first: int, size: int) -> bytes:
    """Return one entry of a compound file's directory."""
    raw = name.encode("utf-16-le") + b"\0\0"
    links = struct.pack("<BBIII", kind, 1, 0xFFFFFFFF, right, child)
    return raw.ljust(64, b"\0") + struct.pack("<H", len(raw)) + links + bytes(36) + struct.pack("<IQ", first, size)


def table(rows: Rows, delimiter: str) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return out.getvalue()


def records() -> list[dict[str, object]]:
    return [dict(zip(map(str, SHIPS[0]), row, strict=True)) for row in SHIPS[1:]]


def documents() -> dict[str, bytes]:
    """Return every example by its path below the folder."""
    return {**office(), **mail(), **markup(), **data(), **text()}


def office() -> dict[str, bytes]:
    tides = {"Tides": [("day", "high", "low"), *((day, 4.1 + day / 10, 0.9 + day / 20) for day in range(1, 29))]}
    return {
        "office/harbour-rules.docx": docx("Harbour rules", [("Berths", [QUAY, GANGS]), ("Loads", [SAFETY, WEIGHT])]),
        "office/week-report.docx": docx("Report of the week", [("Ships worked", [GANGS, NIGHT])], SHIPS),
        "office/safety.pptx": pptx([("Under the hook", SAFETY.splitlines()), ("In the hold", [NIGHT, QUAY])]),
        "office/new-gangs.pptx": pptx([("Welcome", ["Who does what"]), ("Gangs", [GANGS]), ("Weights", [WEIGHT])]),
        "office/ships.xlsx": xlsx({"Ships": SHIPS, "Notes": [("note",), (WEIGHT,)]}),
        "office/tides.xlsx": xlsx(tides),
        "office/minutes.odt": odt([("Minutes of the meeting", [QUAY, NIGHT]), ("Decided", [SAFETY])]),
        "office/letter.odt": odt([("To the owners of the Alma", [WEIGHT, GANGS])]),
        "office/memo.rtf": rtf(
            "Memo", [("Memo to all foremen", [SAFETY, "Café au lait is served from six: 20¢ a cup."])]
        ),
        "office/cyrillic.rtf": rtf("Заметка", [("Заметка", ["Груз принят, причал свободен."])], 1251),
        "books/quay.epub": epub("A year on the quay", [("Spring", [QUAY, GANGS]), ("Autumn", [NIGHT, WEIGHT])]),
        "pdf/handbook.pdf": pdf("Handbook", [lines(QUAY, GANGS), lines(SAFETY, WEIGHT), lines(NIGHT)]),
        "pdf/notice.pdf": pdf("Notice", [lines("NOTICE", SAFETY)]),
    }


def mail() -> dict[str, bytes]:
    page = html("Ships", [("Ships this week", [QUAY])], SHIPS)
    properties = {
        "001A": "IPM.Note",
        "0037": "Berth three is free",
        "0C1A": "Tally Office",
        "0E04": "Gang Three",
        "1000": f"{QUAY}\r\n\r\n{NIGHT}",
    }
    return {
        "mail/call.eml": eml("Call for the Alma", f"{QUAY}\n\n{GANGS}"),
        "mail/list.eml": eml("=?utf-8?b?U2hpcHMg4oCTIHRoZSBsaXN0?=", WEIGHT, attachment=table(SHIPS, ",")),
        "mail/page.eml": eml("Ships this week", page, subtype="html"),
        "mail/berth.msg": msg(properties),
    }


def markup() -> dict[str, bytes]:
    ships = "".join(f"<ship><name>{row[0]}</name><cargo>{row[1]}</cargo></ship>" for row in SHIPS[1:])
    return {
        "web/quay.html": html("The quay", [("The quay", [QUAY, SAFETY]), ("At night", [NIGHT])], SHIPS).encode(),
        "web/cafe.htm": html("Café", [("Le café du port", ["Ouvert dès l’aube."])], (), "cp1252").encode("cp1252"),
        "web/ships.xml": f"{XML}<ships><title>Ships in port</title>{ships}</ships>".encode(),
        "notes/guide.md": f"# Guide\n\n{QUAY}\n\n## Safety\n\n{SAFETY}\n\n- slings\n- hooks\n".encode(),
        "notes/guide.rst": f"Guide\n=====\n\n{GANGS}\n\nNight\n-----\n\n{NIGHT}\n".encode(),
        "notes/jobs.org": f"* Jobs\n{WEIGHT}\n** TODO oil the crane\n** DONE paint berth two\n".encode(),
    }


def data() -> dict[str, bytes]:
    return {
        "data/ships.csv": table(SHIPS, ",").encode(),
        "data/semicolons.csv": table([*SHIPS, ("Müritz", "Getreide", 98, 4)], ";").encode("cp1252"),
        "data/ships.tsv": table(SHIPS, "\t").encode(),
        "data/ships.json": json.dumps({"port": "Quay", "ships": records()}, indent=2).encode(),
        "data/ships.ndjson": "".join(json.dumps(record) + "\n" for record in records()).encode(),
    }


def text() -> dict[str, bytes]:
    return {
        "notes/night.txt": f"{NIGHT}\n\n{SAFETY}\n".encode(),
        "notes/utf-16.txt": b"\xff\xfe" + f"{QUAY}\n".encode("utf-16-le"),
        "notes/latin-1.txt": "Der Kran fährt über den Kai; größere Lasten gehören ans Ende der Pier.\n".encode(
            "latin-1"
        ),
        "notes/russian.txt": "Причал готов, когда свободно место, на кране есть люди и прилив высок.\n".encode(),
    }


def lines(*texts: str) -> list[str]:
    return [line for text in texts for line in [*text.splitlines(), ""]]


def main(folder: Path) -> None:
    """Write every example below `folder`."""
    for name, content in documents().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(f"{len(content):7d}  {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "documents")
