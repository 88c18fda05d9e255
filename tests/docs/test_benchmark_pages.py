"""What the pages on measuring show is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tests/bench/run.py"


def said_by(*command: str) -> str:
    """Return what a Python command prints, on whichever stream."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=50, check=False)
    return done.stdout + done.stderr


def options_of(page: Path, program: str) -> set[str]:
    """Return the long options that the page's commands give this program."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if program in line]
    return {option for line in lines for option in re.findall(r"--[a-z][a-z-]+", line.partition(program)[2])}


@pytest.mark.slow
@pytest.mark.parametrize(("page", "command"), [("benchmark.md", "bench"), ("simulate.md", "simulate")])
def test_the_options_of_the_command_are_those_it_has(page: str, command: str) -> None:
    """Each option that the how-to names stands in the help of its command."""
    text = (ROOT / "docs/how-to" / page).read_text(encoding="utf-8")
    shown = set(re.findall(r"--[a-z][a-z-]+", text)) - {"--workers 8"}
    told = said_by("-m", "longshore", command, "--help")
    assert shown
    assert {option for option in shown if option not in told} == set()


def test_the_benchmark_has_the_options_and_rows_of_its_page() -> None:
    """Each option stands in its help; each row of the benchmark in the table of what is measured, and no other."""
    page = ROOT / "docs/benchmarks.md"
    told = said_by(str(RUN), "--help")
    assert {option for option in options_of(page, "tests/bench/run.py") if option not in told} == set()
    table = page.read_text(encoding="utf-8").partition("## What is measured")[2].partition("## ")[0]
    shown = re.findall(r"^\| (\w+) \|", table, flags=re.MULTILINE)[1:]
    known = re.search(r"there are (.*)", said_by(str(RUN), "--rows", "none"))
    assert known is not None
    assert shown == known[1].split(", ")


def test_both_measured_parts_of_the_page_can_be_written_anew() -> None:
    """The page has the markers that the two commands look for, one after the other."""
    marks = re.findall(r"<!-- (\w+): (\w+) -->", (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8"))
    assert marks == [("measured", "begin"), ("measured", "end"), ("figures", "begin"), ("figures", "end")]


def test_the_figures_of_the_front_page_are_published_ones() -> None:
    """Each "so many times as fast" of it stands in a row of the benchmarks."""
    shown = re.findall(r"\b[\d.]+x\b", (ROOT / "docs/index.md").read_text(encoding="utf-8"))
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert len(shown) == 3
    assert [figure for figure in shown if f"| {figure} (" not in page] == []
