"""The files of the page: what is not ours is what was published, what is ours keeps to the rules that make it safe."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import longshore_dashboard
import pytest

STATIC = Path(longshore_dashboard.__file__).parent / "static"
VENDOR = STATIC / "vendor"
OURS = sorted(path for path in STATIC.iterdir() if path.suffix in (".js", ".css", ".html", ".svg"))
FIRST_LOAD_BYTES = 100_000
FILE_LINES = 400


def test_what_is_not_ours_is_as_it_was_published() -> None:
    """Each file of another project has its name, version, licence and digest beside it, and nothing else is there."""
    told = json.loads((VENDOR / "vendor.json").read_text(encoding="utf-8"))
    licences = {package["name"]: package["licence_file"] for package in told["packages"]}
    for entry in told["files"]:
        assert hashlib.sha256((VENDOR / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry["file"]
        assert entry["package"] in licences
        if "changed" in entry:
            as_published = (VENDOR / entry["file"]).read_bytes().replace(b'from"./preact.js"', b'from"preact"')
            assert hashlib.sha256(as_published).hexdigest() == entry["sha256_as_published"]
    known = {"vendor.json", *licences.values(), *(entry["file"] for entry in told["files"])}
    there = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    assert there == known


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_no_text_becomes_a_part_of_the_page(path: Path) -> None:
    """Nothing of ours makes HTML, code or a style out of a string: what tasks are called stays text."""
    text = path.read_text(encoding="utf-8")
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|document\.write|srcdoc|cssText"
    assert re.findall(r"\beval\(|new Function", text) == []
    assert re.findall(ways, text) == []
    assert re.findall(r"javascript:|setTimeout\([\"'`]", text) == []


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_all_comes_from_the_server_itself(path: Path) -> None:
    """No file of ours names another host, and none is longer than can be read at one sitting."""
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"(?:https?:)?//[\w-]+\.[\w.]+", text) == []
    assert len(text.splitlines()) <= FILE_LINES


def test_the_page_itself_has_no_code_and_no_style() -> None:
    """The rules of content that the server sends forbid both, so none may stand in the page."""
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page) == []


def needed(path: Path, found: set[Path]) -> set[Path]:
    """Return the file and all that it refers to; pages are only read when they are shown."""
    if path not in found:
        found.add(path)
        text = path.read_text(encoding="utf-8") if path.parent == STATIC or path.name == "hooks.js" else ""
        names = re.findall(r"""(?:from|URL\(|import\()\s*"\./([\w./]+)\"""", "" if path.name == "frame.js" else text)
        for name in [*names, *re.findall(r'"assets/([\w.]+)"', text)]:
            needed(path.parent / name, found)
    return found


@pytest.mark.parametrize("page", re.findall(r'import\("\./(\w+\.js)"\)', (STATIC / "frame.js").read_text("utf-8")))
def test_whatever_page_is_opened_first_is_small(page: str) -> None:
    """The page itself, all that any page needs, and this one: they come in less than 100 kB."""
    files = needed(STATIC / page, needed(STATIC / "index.html", {STATIC / "frame.js"}))
    files |= needed(STATIC / "live.js", needed(STATIC / "theming.js", files))
    assert STATIC / "vendor" / "preact.js" in files
    assert (STATIC / "vendor" / "uplot.js" in files) is (page == "resources.js")
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in files) < FIRST_LOAD_BYTES
