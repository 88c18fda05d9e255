"""The figures of the specification can be measured, and what is measured is whole; how fast, no test says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FIGURES = Path(__file__).with_name("figures.py")
CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
READS = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real documents, ../shared/corpus, is not there")
SUITES = {
    "M01": pytest.mark.concurrency,
    "M03": pytest.mark.concurrency,
    "M08": pytest.mark.concurrency,
    "M04": pytest.mark.utilisation,
    "M06": pytest.mark.utilisation,
    "M07": pytest.mark.update_rate,
    "M09": pytest.mark.scaling,
    "M11": READS,
    "M13": READS,
}


@pytest.mark.bench
@pytest.mark.parametrize("row", [pytest.param(row, marks=suite) for row, suite in SUITES.items()])
def test_a_row_of_the_specification_is_measured(row: str, tmp_path: Path) -> None:
    """Every task of the row completes, and each of its figures is in the table and in the file, above zero."""
    file = tmp_path / "figures.json"
    command = [sys.executable, str(FIGURES), "--only", row, "--rounds", "1", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    (figures,) = json.loads(file.read_text("utf-8"))[row]
    assert done.stdout.count(f"| {row} |") == len(figures)
    assert all(figure > 0 for figure in figures) or row in ("M04", "M11")


def test_a_row_that_is_no_figure_is_refused_by_name() -> None:
    """A row that does not exist is a usage error that lists those that do."""
    done = subprocess.run(
        [sys.executable, str(FIGURES), "--only", "M99"], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 2
    assert "no such row: M99; there are M01" in done.stderr
