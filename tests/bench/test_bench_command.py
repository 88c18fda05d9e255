"""The benchmark command works; what it measures is nobody's business here."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
PEERS = ("aiometer", "taskiq", "mpire", "joblib")


def bench(*arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run the command with few tasks, without waiting for a quiet machine."""
    command = [sys.executable, str(RUN), "--small", "--rounds", "1", "--patience", "0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def test_one_pair_runs_interleaved_and_is_reported_in_both_forms(tmp_path: Path) -> None:
    """One row, small: all sides run, and table and JSON hold the ratio, floor, goal and verdict."""
    markdown, as_json = tmp_path / "bench.md", tmp_path / "bench.json"
    done = bench("--rows", "1", "--json", str(as_json), "--markdown", str(markdown), timeout_s=50)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(as_json.read_text(encoding="utf-8"))
    assert [line["ours"] for line in report["lines"]] == ["ours_async", "ours_async_sink"]
    for line in report["lines"]:
        assert line["ratio"]["median"] > 0
        assert (line["floor"], line["verdict"] in {"goal met", "floor met", "missed"}) == (1.8, True)
    assert [len(values) for values in report["rows"][0]["values"].values()] == [1, 1, 1]
    assert markdown.read_text(encoding="utf-8").strip() == done.stdout.strip()
    assert done.stdout.count("| 1 | 2,000 async no-ops") == 2


def test_a_side_that_fails_is_named_and_the_others_still_run(tmp_path: Path) -> None:
    """Without longshore our sides fail by name, the peer is measured, and the exit status says so."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], timeout=50, check=True)
    python = next(path for path in (bare / "bin" / "python", bare / "Scripts" / "python.exe") if path.exists())
    as_json = tmp_path / "bench.json"
    done = bench("--rows", "1", "--python", str(python), "--json", str(as_json), timeout_s=50)
    report = json.loads(as_json.read_text(encoding="utf-8"))
    assert done.returncode == 1
    assert set(report["rows"][0]["errors"]) == {"ours_async", "ours_async_sink"}
    assert "No module named" in report["rows"][0]["errors"]["ours_async"]
    assert len(report["rows"][0]["values"]["semaphore_gather"]) == 1


def test_an_unknown_row_is_refused_by_name() -> None:
    """A row that does not exist is a usage error that lists those that do."""
    done = bench("--rows", "1,99", timeout_s=50)
    assert done.returncode == 2
    assert "no such row: 99" in done.stderr
    assert "1b" in done.stderr


@pytest.mark.bench
@pytest.mark.timeout(300)
def test_every_row_runs_small(tmp_path: Path) -> None:
    """Every side of every row runs with few tasks, and each comparison is in the report."""
    missing = [peer for peer in PEERS if importlib.util.find_spec(peer) is None]
    if missing:
        pytest.skip(f"the dependency group `bench` is not installed: no {', '.join(missing)}")
    as_json = tmp_path / "bench.json"
    done = bench("--json", str(as_json), timeout_s=280)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {line["row"] for line in json.loads(as_json.read_text(encoding="utf-8"))["lines"]}
    assert found == {"1", "1b", "2", "3", "4", "6", "13", "15", "16"}
