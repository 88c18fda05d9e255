"""Make `docs/requirements.md`: the specification's rows, each with the tests that carry its mark.

    uv run python docs/make_requirements.py                     # write it anew
    uv run python docs/make_requirements.py --check             # exit 1 if it is not what the tests say
    uv run python docs/make_requirements.py --check RUN.xml...  # and if a row is shown by nothing that ran and passed

`RUN.xml` is what `pytest --junitxml=RUN.xml` wrote. Nothing is run here: the tests are only collected.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
ROWS, PAGE, BENCHMARKS = ROOT / "docs/requirements.toml", ROOT / "docs/requirements.md", ROOT / "docs/benchmarks.md"
SUITES = {
    "unit": ("lifecycle", "submission", "allocation", "accuracy"),
    "integration": ("coordination", "priority", "throttling", "events"),
    "performance": ("concurrency", "utilisation", "update_rate", "scaling"),
}
HEAD = """# Requirements, row by row

What the specification asks for, and the tests that show it. This page is made by `docs/make_requirements.py` of
`docs/requirements.toml` and of the marks of the tests, `@pytest.mark.requirement("req:D04")`: a row without a test is
open, whatever anybody says of it. Tests that are "(slow)" run with `pytest -m slow`, the others with every run.

- **shown**: by the tests named; "but" says what they leave open.
- **measured**: a figure of [benchmarks](benchmarks.md), or the one that stands there; no test asserts it.
- **open**: no test shows it; what will bring it.
"""


@dataclass
class Tests:
    """The tests of each row and of each suite, by file and function; and which of them run only on demand."""

    by_row: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    by_suite: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    on_demand: set[str] = field(default_factory=set)

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Note the marks of what pytest has collected; a test runs on demand if all of its cases do."""
        every_run = set[str]()
        for item in items:
            test = item.nodeid.partition("[")[0]
            rows = [row for mark in item.iter_markers("requirement") for row in mark.args]
            wrong = [row for row in rows if not re.fullmatch(r"req:[A-N]\d\d", str(row))]
            if wrong:
                raise pytest.UsageError(f"{test}: {wrong[0]!r} is no row: write it as req:D04")
            for row in rows:
                self.by_row[row.removeprefix("req:")].add(test)
            for suite in (suite for names in SUITES.values() for suite in names):
                if item.get_closest_marker(suite) is not None:
                    self.by_suite[suite].add(test)
            on_demand = any(item.get_closest_marker(name) for name in ("slow", "bench", "faults"))
            (self.on_demand if on_demand else every_run).add(test)
        self.on_demand -= every_run


def collect() -> Tests:
    """Return the marks of all tests there are; exits with pytest's words if they can't be collected."""
    tests, said = Tests(), io.StringIO()
    with contextlib.redirect_stdout(said):
        status = pytest.main(
            ["--collect-only", "-q", "-n", "0", "-m", "", str(ROOT / "tests"), str(ROOT / "plugins")], plugins=[tests]
        )
    if status != pytest.ExitCode.OK:
        sys.exit(said.getvalue())
    return tests


def passed(reports: Sequence[Path]) -> set[str]:
    """Return the tests of which at least one case ran and passed, and none failed."""
    fine: set[str] = set()
    broken: set[str] = set()
    for report in reports:
        for case in ElementTree.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it
            name = f"{case.get('classname')}.{str(case.get('name')).partition('[')[0]}"
            outcome = {child.tag for child in case}
            if outcome & {"failure", "error"}:
                broken.add(name)
            elif "skipped" not in outcome:
                fine.add(name)
    return fine - broken


def in_report(test: str) -> str:
    """Return the name a report gives to a test."""
    path, _, function = test.partition("::")
    return f"{path.removesuffix('.py').replace('/', '.')}.{function.replace('::', '.')}"


def state(row: str, facts: Mapping[str, Any], tests: Tests, figures: str) -> str:  # Any: TOML values
    """Return what can be said of a row."""
    if facts.get("measured") and re.search(rf"\b{row}\b", figures):
        return "measured"
    if "figure" in facts:
        return f"measured: {facts['figure']}"
    if not tests.by_row.get(row):
        return f"open: {facts['later']}" if "later" in facts else "open"
    part = f", but {facts['part']}" if "part" in facts else ""
    return f"shown{part}"


def named(tests: set[str], on_demand: set[str]) -> str:
    """Return tests for a table's cell, by file."""
    files: dict[str, list[str]] = defaultdict(list)
    for test in sorted(tests):
        path, _, function = test.partition("::")
        files[Path(path).stem].append(function.removeprefix("test_") + (" (slow)" if test in on_demand else ""))
    return "; ".join(f"`{file}`: {', '.join(functions)}" for file, functions in files.items())


def shown_by(row: str, found: str, tests: Tests) -> str:
    """Return what shows a row: its tests, and where its figure stands."""
    told = named(tests.by_row.get(row, set()), tests.on_demand)
    return "; ".join(
        filter(None, [told, f"the lines {row} of [benchmarks](benchmarks.md)" if found == "measured" else ""])
    )


def page(tests: Tests) -> str:
    """Return the page."""
    sections, figures = tomllib.loads(ROWS.read_text("utf-8")), BENCHMARKS.read_text("utf-8")
    known = {row for section in sections.values() for row in section}
    if strange := sorted(set(tests.by_row) - known):
        sys.exit(f"tests carry the mark of rows that are not in {ROWS.name}: {', '.join(strange)}")
    states = {
        row: state(row, facts, tests, figures)
        for section in sections.values()
        for row, facts in section.items()
        if row != "title"
    }
    lines = [HEAD, *_sums(states), ""]
    for letter, section in sections.items():
        lines += [f"## {letter}. {section['title']}", "", "| row | what | state | shown by |", "|---|---|---|---|"]
        lines += [
            f"| {row} | {facts['what']} | {states[row]} | {shown_by(row, states[row], tests)} |"
            for row, facts in section.items()
            if row != "title"
        ]
        lines.append("")
    return "\n".join([*lines, *_suites(tests), ""])


def _sums(states: Mapping[str, str]) -> Iterator[str]:
    for word in ("shown", "measured", "open"):
        rows = [row for row, text in states.items() if text.startswith(word)]
        yield (
            f"{word}: {len(rows)} of {len(states)} rows"
            + (f" ({', '.join(rows)})" if word == "open" and rows else "")
            + "  "
        )


def _suites(tests: Tests) -> Iterator[str]:
    yield from ("## The suites the specification lists", "", "| suite | `pytest -m` | tests |", "|---|---|---|")
    for kind, names in SUITES.items():
        yield from (f"| {kind} | {name} | {len(tests.by_suite.get(name, ()))} |" for name in names)


def unshown(tests: Tests, fine: set[str]) -> list[str]:
    """Return the rows whose tests all failed, were skipped or are missing in the reports, those run on demand aside."""
    return [
        row
        for row, of_row in sorted(tests.by_row.items())
        if not of_row & tests.on_demand and not any(in_report(test) in fine for test in of_row)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the page, and return the exit status."""
    parser = argparse.ArgumentParser(description="Make docs/requirements.md of its rows and the marks of the tests.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is not true")
    parser.add_argument("reports", nargs="*", type=Path, help="what pytest --junitxml wrote")
    options = parser.parse_args(arguments)
    tests = collect()
    text = page(tests)
    if not options.check:
        PAGE.write_text(text, "utf-8")
        return 0
    wrong = [f"row {row}: none of its tests ran and passed" for row in unshown(tests, passed(options.reports))]
    if not options.reports:
        wrong = []
    if PAGE.read_text("utf-8") != text:
        wrong.append("docs/requirements.md is not what the tests say: run `uv run python docs/make_requirements.py`")
    print("\n".join(wrong) or "docs/requirements.md is what the tests say")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
