"""The benchmark command works; what it measures is nobody's business here."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).with_name("run.py")
PEERS = ("aiometer", "taskiq", "mpire", "joblib", "loky", "pebble", "numpy")
SHORT = "{}.{}".format(*sys.version_info[:2])
MARKED = "Words before.\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nWords after.\n"


def bench(*arguments: str, timeout_s: float = 50) -> subprocess.CompletedProcess[str]:
    """Run the command with few tasks, without waiting for a quiet machine."""
    command = [sys.executable, str(RUN), "--small", "--rounds", "1", "--patience", "0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def rows_of(file: Path) -> dict[str, Any]:  # Any: JSON
    """Return what the file of results has for this Python, by row."""
    rows: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["runs"][SHORT]["rows"]
    return rows


def test_a_measured_row_is_written_on_the_page(tmp_path: Path) -> None:
    """It has its line with the verdict; the page is written between its markers only, and the file keeps the row."""
    page = tmp_path / "page.md"
    page.write_text(MARKED, encoding="utf-8")
    done = bench("--rows", "14", "--write", str(page), "--small", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.startswith("Words before.\n<!-- measured: begin -->\n### Python")
    assert text.endswith("<!-- measured: end -->\nWords after.\n")
    assert "500 async no-ops with a journal | ours_async_journal | the same without one |" in text
    assert list(rows_of(tmp_path / "page.json")) == ["14"]


def test_a_page_is_made_anew_of_what_was_kept(tmp_path: Path) -> None:
    """Without measuring, with all Pythons of the file; what misses its floor is listed."""
    page, file = tmp_path / "page.md", tmp_path / "page.json"
    page.write_text(MARKED, encoding="utf-8")
    figures = {"median": 1.5, "low": 1.0, "high": 2.0}
    words = {"row": "1", "work": "no-ops", "ours": "ours_async", "against": "them", "unit": "s", "beside": ""}
    numbers = {"mine": figures, "theirs": figures, "ratio": figures, "floor": 1.8, "goal": 2.8}
    line = {**words, **numbers, "verdict": "missed"}
    about = {"taken": "2026-01-01", "machine": "a CPU", "python": "3.11.7", "packages": "none", "rounds": "1"}
    kept = {"about": about, "foreign_cores": [0.1], "errors": {}, "extras": {}, "lines": [line]}
    runs = {name: {"rows": {"1": kept}} for name in ("3.11", "3.13")}
    file.write_text(json.dumps({"runs": runs}), encoding="utf-8")
    done = bench("--no-measuring", "--write", str(page))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    text = page.read_text(encoding="utf-8")
    assert [part in text for part in ("### Python 3.11\n", "### Python 3.13\n", "- machine: a CPU\n")] == [True] * 3
    assert "| 1 | no-ops | ours_async | them | 1.5 s (1-2) | 1.5 s (1-2) | 1.5x (1-2) | 1.8x | 2.8x | missed |" in text
    assert "Below the floor: row 1, ours_async, them." in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rows", "1,99"), "no such row: 99; there are 1, 1b, 2"),
        (("--python", "/no/such/python"), "/no/such/python is no interpreter that runs"),
        (("--profile", "99"), "no such row to profile: 99"),
        (("--no-measuring", "--write", str(RUN.with_name("work.py"))), "there is no <!-- measured: begin -->"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], words: str) -> None:
    """A row, an interpreter or a page that is not there is a usage error that says what is wrong."""
    done = bench(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_one_pair_runs_interleaved_and_is_kept_and_gone_on_with(tmp_path: Path) -> None:
    """One row, small: all sides run, table and file have ratio, floor, goal, verdict; the next row comes beside it."""
    markdown, file = tmp_path / "bench.md", tmp_path / "bench.json"
    done = bench("--rows", "1", "--json", str(file), "--markdown", str(markdown))
    assert done.returncode == 0, done.stdout + done.stderr
    kept = rows_of(file)["1"]
    assert [line["ours"] for line in kept["lines"]] == ["ours_async", "ours_async_sink"]
    for line in kept["lines"]:
        assert line["ratio"]["median"] > 0
        assert (line["floor"], line["verdict"] in {"goal met", "floor met", "missed"}) == (1.8, True)
    assert [len(values) for values in kept["values"].values()] == [1, 1, 1]
    assert markdown.read_text(encoding="utf-8").strip() == done.stdout.strip()
    assert done.stdout.count("| 1 | 2,000 async no-ops") == 2
    assert bench("--rows", "14", "--json", str(file)).returncode == 0
    assert list(rows_of(file)) == ["1", "14"]


@pytest.mark.slow
def test_a_side_that_fails_is_named_and_the_others_still_run(tmp_path: Path) -> None:
    """Without longshore our sides fail by name, the peer is measured, and the exit status says so."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], timeout=50, check=True)
    python = next(path for path in (bare / "bin" / "python", bare / "Scripts" / "python.exe") if path.exists())
    file = tmp_path / "bench.json"
    done = bench("--rows", "1,3", "--python", str(python), "--json", str(file))
    assert done.returncode == 1
    kept = rows_of(file)
    assert set(kept["1"]["errors"]) == {"ours_async", "ours_async_sink"}
    assert "No module named" in kept["1"]["errors"]["ours_async"]
    assert len(kept["1"]["values"]["semaphore_gather"]) == 1
    assert kept["3"]["not_run"]["aiometer_amap"] == "aiometer is not installed"
    assert "not run: taskiq is not installed" in done.stdout


@pytest.mark.slow
def test_a_profile_says_which_functions_take_the_time_here_and_in_the_workers() -> None:
    """Threads of the controller with their part of its CPU time, and functions, those of the workers by themselves."""
    done = bench("--profile", "8", "--n", "2000")
    assert done.returncode == 0, done.stderr
    here, _, workers = done.stdout.partition("In the workers, ")
    assert "| MainThread |" in here
    assert "longshore/" in here
    assert "| `bench/busy.py:burn` |" in workers


@pytest.mark.bench
@pytest.mark.timeout(400)
def test_every_row_runs_small(tmp_path: Path) -> None:
    """Every side of every row runs with few tasks, and each comparison is in the report."""
    missing = [peer for peer in PEERS if importlib.util.find_spec(peer) is None]
    if missing:
        pytest.skip(f"the dependency group `bench` is not installed: no {', '.join(missing)}")
    file = tmp_path / "bench.json"
    done = bench("--all", "--json", str(file), timeout_s=380)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = rows_of(file)
    assert set(kept) == {"1", "1b", *(str(number) for number in range(2, 17))}
    assert [row for row, each in kept.items() if not each["lines"]] == []
    assert kept["11"]["extras"]["ours_deadline"]["lost"] == [0]
