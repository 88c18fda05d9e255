"""`longshore report`: what is recorded of a run is told in every format, and the figures are the journal's."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

Command = Any  # the fixtures' classes: test modules cannot import a conftest
Browsed = Callable[[Path, Callable[[Any], None]], None]
DOCUMENTS = Path(__file__).parents[2] / "docs" / "examples" / "documents"
QUIET = ("--progress", "none", "--executor", "threads")


def begin(inside: Command, *more: str, **contents: str) -> str:
    """Run over these inputs, and return the run's id."""
    inside.inputs(contents)
    found = re.search(r"recorded as run (\S+)", inside("run", "job:picky", "in", *QUIET, *more)[2])
    assert found is not None
    return found[1]


def facts(inside: Command, *arguments: str) -> dict[str, Any]:  # Any: JSON
    """Return the report as JSON."""
    code, told, errors = inside("report", *arguments, "--json", "-")
    assert code == 0, errors
    made: dict[str, Any] = json.loads(told)
    return made


def test_markdown_is_what_comes_without_a_format(inside: Command) -> None:
    """On stdout, of the last run: its verdict, its stages, what failed."""
    begin(inside, a="1", b="raise")
    code, told, _ = inside("report")
    assert code == 0
    assert "**1 of 2 tasks completed and 1 failed in" in told
    assert "| `longshore.errors.DocumentError` | `it is locked` | `job:picky` | `in/b` | 1 |" in told


def test_all_formats_at_once(inside: Command) -> None:
    """Each file is said on stderr; each is what it is to be."""
    run = begin(inside, a="1", b="raise", c="x")
    files = {"html": "r.html", "md": "r.md", "json": "r.json", "junit": "r.xml"}
    asked = [word for name, file in files.items() for word in (f"--{name}", file)]
    code, told, errors = inside("report", run, *asked, "--trace", "chrome", "c.json", "--trace", "speedscope", "s.json")
    assert (code, told, errors.count("written to")) == (0, "", 6), errors
    folder: Path = inside.folder
    made = json.loads((folder / "r.json").read_text())
    assert (made["run"]["run_id"], made["totals"]["tasks"], made["totals"]["failed"]) == (run, 3, 1)
    suite = ElementTree.fromstring((folder / "r.xml").read_text())[0]
    assert [case.get("name") for case in suite.findall("testcase")] == ["in/b"]
    assert sum(event["ph"] == "X" for event in json.loads((folder / "c.json").read_text())["traceEvents"]) == 3
    assert json.loads((folder / "s.json").read_text())["exporter"] == "longshore"
    assert (folder / "r.html").read_text().startswith("<!doctype html>")


def test_two_runs_are_compared(inside: Command) -> None:
    """What fails now and did not is named, in Markdown, HTML and JSON."""
    first = begin(inside, a="1", b="2")
    second = begin(inside, a="1", b="raise")
    code, told, _ = inside("report", first, "--compare", "last")
    assert code == 0
    assert "Of 2 tasks of the same stage and input, 1 newly failed." in told
    assert "## Newly failing: 1" in told
    made = facts(inside, first, "--compare", second)
    assert [row["key"] for row in made["newly_failing"]["rows"]] == ["in/b"]
    assert inside("report", first, "--compare", second, "--html", "both.html")[0] == 0


def test_a_run_is_compared_with_the_one_before_it(inside: Command) -> None:
    """`previous` is the newest earlier run of the same name, and comes first; a run is not compared with itself."""
    first = begin(inside, a="1", b="2")
    assert "no run of job:picky is recorded from before" in inside("report", "--compare", "previous")[2]
    assert inside("run", "job:size", "in", *QUIET)[0] == 0
    second = begin(inside, a="1", b="raise")
    made = facts(inside, "last", "--compare", "previous")
    assert (made["first"]["run_id"], made["second"]["run_id"]) == (first, second)
    assert [row["key"] for row in made["newly_failing"]["rows"]] == ["in/b"]
    code, _, errors = inside("report", "last", "--compare", second)
    assert (code, f"that is run {second} itself" in errors, "--compare previous" in errors) == (2, True, True), errors
    code, _, errors = inside("report", first, "--compare", "previous")
    assert (code, f"from before {first}" in errors) == (2, True), errors


def test_a_run_may_write_its_report_at_its_end(inside: Command) -> None:
    """By the ending of the file's name; the exit code is the run's, and no file that can't be written changes it."""
    inside.inputs({"a": "1", "b": "raise"})
    code, _, _ = inside("run", "job:picky", "in", *QUIET, "--report", "end.md")
    assert code == 1
    assert "1 of 2 tasks completed and 1 failed" in (inside.folder / "end.md").read_text()
    (inside.folder / "away").mkdir()
    (inside.folder / "leaves.py").write_text("import os\ndef leaves(path):\n    os.rmdir('away')\n")
    code, _, errors = inside("run", "leaves:leaves", "in/a", *QUIET, "--report", "away/r.html")
    assert code == 0, errors
    assert "there is no report: cannot write away/r.html" in errors


def test_a_report_that_can_not_be_written_is_noticed_before_the_run(
    inside: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is missing, is no folder, or is not to be written in ends it with 2, and nothing is run."""
    inside.inputs({"a": "1"})
    (inside.folder / "taken.md").mkdir()
    refused = {"no/such/r.html": "there is no folder", "in/a/r.html": "there is no folder", "taken.md": "is a folder"}
    for file, told in refused.items():
        code, _, errors = inside("run", "job:picky", "in", *QUIET, "--report", file)
        assert (code, told in errors, "recorded as" in errors) == (2, True, False), errors
    monkeypatch.setattr("os.access", lambda *_args, **_more: False)
    code, _, errors = inside("run", "job:picky", "in", *QUIET, "--report", "r.html")
    assert (code, "it can't be written there" in errors) == (2, True), errors


def test_what_cannot_be_meant_is_said(inside: Command) -> None:
    """With the exit code of wrong usage, and what to give instead."""
    begin(inside, a="1")
    refused = {
        ("report", "nothing"): "there is no run nothing",
        ("report", "--html", "-", "--md", "-"): "one of them to stdout",
        ("report", "--junit", "x.xml", "--compare", "last"): "--junit is of one run: leave out --compare",
        ("report", "--html", "no/such/folder/r.html"): "cannot write no/such/folder/r.html",
        ("run", "job:picky", "in", *QUIET, "--report", "r.pdf"): "end it with .html",
        ("run", "job:picky", "in", *QUIET, "--report", "r.md", "--no-journal"): "leave out --no-journal",
    }
    for arguments, told in refused.items():
        code, _, errors = inside(*arguments)
        assert (code, told in errors) == (2, True), errors


@pytest.mark.slow
def test_a_run_of_documents_tells_what_its_journal_has(inside: Command, browsed: Browsed) -> None:
    """Counts, stages and the slowest are those of the record; the page shows them, asks nobody, and logs no error."""
    shutil.copytree(DOCUMENTS, inside.folder / "papers")
    code, _, errors = inside("run", "documents", "papers", "-o", "out.jsonl", "--progress", "none")
    assert code == 0, errors
    made = facts(inside, "last")
    counts = json.loads(inside("runs", "show", "last", "--json")[1])["counts"]
    assert (made["totals"]["tasks"], made["totals"]["completed"]) == (sum(counts.values()), counts["completed"])
    assert {stage["name"]: stage["tasks"] for stage in made["stages"]} == {"extract": 32, "chunk": 32}
    assert made["totals"]["run_s"] == pytest.approx(sum(stage["run_s"] for stage in made["stages"]), rel=1e-3)
    assert sum(sum(row) for row in made["throughput"]["counts"]) == 64
    assert inside("report", "last", "--html", "r.html")[0] == 0
    browsed(inside.folder / "r.html", lambda page: shows(page, made))


def shows(page: Any, made: dict[str, Any]) -> None:  # Any: playwright's page, which need not be here, and JSON
    """Compare what the page shows with the report; sort a table."""
    assert page.locator("#verdict").inner_text() == f"✔ {made['verdict']['text']}"
    assert page.locator(".tile b").first.inner_text() == str(made["totals"]["tasks"])
    headings = [each for each in page.locator("section h2").all_inner_texts() if each != "Held back"]  # if it was
    assert headings[:3] == ["What it took its time for", "Timeline", "At work at once"]
    stages = page.locator("section", has=page.locator("h2", has_text="Stages"))
    assert stages.locator("tbody td:first-child").all_inner_texts() == ["extract", "chunk"]
    stages.locator("th button", has_text="stage").click()
    stages.locator("th button", has_text="stage").click()
    assert stages.locator("tbody td:first-child").all_inner_texts() == ["chunk", "extract"]
    assert page.evaluate("document.querySelector('canvas').width") > 0
