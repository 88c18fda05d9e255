"""The page of requirements says what the tests show, and no more."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

REPORT = """<testsuites><testsuite>
<testcase classname="tests.unit.test_one" name="test_skipped[1]"><skipped/></testcase>
<testcase classname="tests.unit.test_one" name="test_skipped[2]"><skipped/></testcase>
<testcase classname="tests.unit.test_one" name="test_half[1]"><skipped/></testcase>
<testcase classname="tests.unit.test_one" name="test_half[2]"/>
<testcase classname="tests.unit.test_one" name="test_broken[1]"/>
<testcase classname="tests.unit.test_one" name="test_broken[2]"><failure/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script that makes the page, as a module."""
    spec = importlib.util.spec_from_file_location("make_requirements", ROOT / "docs/make_requirements.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_a_row_without_a_test_is_open(page: ModuleType) -> None:
    """Whatever its table says; and what a shown row lacks, or what will bring an open one, is said with it."""
    tests = page.Tests()
    tests.by_row["D04"].add("tests/unit/test_one.py::test_half")
    assert page.state("D05", {"what": "", "part": "slowly"}, tests, "") == "open"
    assert page.state("D05", {"what": "", "later": "the next one"}, tests, "") == "open: the next one"
    assert page.state("D04", {"what": ""}, tests, "") == "shown"
    assert page.state("D04", {"what": "", "part": "slowly"}, tests, "") == "shown, but slowly"


def test_a_figure_counts_where_it_is_published(page: ModuleType) -> None:
    """A row that is measured is open until the page of benchmarks has it, or its figure stands in the table."""
    tests = page.Tests()
    assert page.state("M15", {"what": "", "figure": "91 %"}, tests, "") == "measured: 91 %"
    assert page.state("M01", {"what": "", "measured": True}, tests, "| M01 | 700/s |") == "measured"
    assert page.state("M01", {"what": "", "measured": True}, tests, "| M02 | 700/s |") == "open"


def test_a_row_whose_tests_were_all_skipped_is_named(page: ModuleType, tmp_path: Path) -> None:
    """So is one whose test failed in any case, or did not run; one test that passed in any case will do."""
    report = tmp_path / "run.xml"
    report.write_text(REPORT, encoding="utf-8")
    tests = page.Tests()
    for row, name in {"A01": "skipped", "A02": "half", "A03": "broken", "A04": "absent"}.items():
        tests.by_row[row].add(f"tests/unit/test_one.py::test_{name}")
    assert page.unshown(tests, page.passed([report])) == ["A01", "A03", "A04"]


def test_every_row_of_the_table_is_named_once_and_in_order(page: ModuleType) -> None:
    """The rows of each section count up from 01, and nothing but a row or the title stands in it."""
    for letter, section in page.tomllib.loads(page.ROWS.read_text("utf-8")).items():
        rows = [name for name in section if name != "title"]
        assert rows == [f"{letter}{number:02}" for number in range(1, len(rows) + 1)]
        assert all(set(section[row]) <= {"what", "later", "part", "measured", "figure"} for row in rows)
