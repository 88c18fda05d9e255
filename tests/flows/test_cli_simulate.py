"""`longshore simulate`: what a recorded run would take elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from longshore import RetryPolicy
from longshore.cli import run_command

WORK = """
import time

def work(path):
    if path.endswith("7.txt"):
        raise ValueError("no")
    time.sleep(0.02)
    return 1
"""


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """A journal with one run: twenty inputs on two threads, one of which failed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "simulated_work.py").write_text(WORK, encoding="utf-8")
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for number in range(20):
        (inputs / f"{number:02}.txt").write_text("x", encoding="utf-8")
    place = str(tmp_path / "runs")
    options = ["--executor", "threads", "--workers", "2", "--journal", place, "-o", "out.jsonl", "--progress", "none"]
    assert run_command(["run", "simulated_work:work", "inputs", "--set", "probes=[]", *options]) == 1
    capsys.readouterr()
    return place


TWICE = """
import pathlib

def twice(path):
    tried = pathlib.Path(path + ".tried")
    if not tried.exists():
        tried.touch()
        raise ValueError("not yet")
    return 1
"""


def told(capsys: pytest.CaptureFixture[str], journal: str, *options: str) -> dict[str, object]:
    assert run_command(["simulate", "last", "--journal", journal, "--json", *options]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_more_workers_take_less_and_never_less_than_the_longest(
    journal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line of the run itself stands beside those of other fleets, and the bound that none of them passes."""
    found = told(capsys, journal, "--workers", "1", "--workers", "20")
    recorded, simulated = found["recorded"], found["simulated"]
    assert isinstance(recorded, dict)
    assert isinstance(simulated, list)
    assert (recorded["inputs"], recorded["workers"], recorded["left_out"]) == (20, {"threads": 2}, 0)
    one, twenty = simulated
    assert one["completed"] == twenty["completed"] == 20
    assert one["makespan_s"] == pytest.approx(one["busy_s"]["threads"])
    assert twenty["makespan_s"] == pytest.approx(found["longest_s"])
    assert recorded["simulated_s"] <= one["took_s"]


@pytest.mark.slow
def test_the_wait_for_a_second_try_is_not_taken_for_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where every task failed first, the run began with the first tries, not with those after the wait."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "simulated_twice.py").write_text(TWICE, encoding="utf-8")
    inputs = [str(tmp_path / f"{number}.txt") for number in range(3)]
    for path in inputs:
        Path(path).touch()
    journal = str(tmp_path / "runs")
    options = ["--executor", "threads", "--retries", "1", "--journal", journal, "-o", "out.jsonl", "--progress", "none"]
    assert run_command(["run", "simulated_twice:twice", *inputs, "--set", "probes=[]", *options]) == 0
    capsys.readouterr()
    recorded = told(capsys, journal)["recorded"]
    assert isinstance(recorded, dict)
    waited_s = RetryPolicy().backoff * (1.0 - RetryPolicy().jitter)
    assert recorded["start_s"] <= recorded["took_s"] - waited_s


def test_a_run_that_waits_is_foretold_from_what_it_took(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For the workers that it had, the simulation is never longer than the run, nor shorter than its work allows."""
    found = told(capsys, journal)
    recorded, [own, *_] = found["recorded"], found["simulated"]  # type: ignore[misc]  # JSON
    assert isinstance(recorded, dict)
    work_s = own["busy_s"]["threads"]
    assert own["workers"] == recorded["workers"] == {"threads": 2}
    # Two workers never did more than the run had time for; what it took beyond was handing over, which is left out.
    assert work_s / 2 <= own["makespan_s"] <= work_s / 2 + found["longest_s"]
    assert recorded["simulated_s"] <= recorded["took_s"] + found["longest_s"]


def test_for_people_it_is_a_table(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Left to itself it shows what the run had, twice and four times as much; and what a loss costs."""
    assert run_command(["simulate", "--journal", journal, "--lose", "50%@0.01s+0.1s"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line[:1].isdigit()] == ["2", "2", "2", "4", "8"]
    assert any("in vain" in line for line in lines)
    said = re.fullmatch(
        r"no number .* its longest input, ([\d.]+) s, after ([\d.]+) s of starting: ([\d.]+) s", lines[-1]
    )
    assert said is not None, lines[-1]
    longest, start, both = map(float, said.groups())
    found = told(capsys, journal)
    assert longest == pytest.approx(found["longest_s"], abs=0.051)
    assert both == pytest.approx(longest + start, abs=0.11)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--workers", "0"),
        ("--memory-gb", "-1"),
        ("--lose", "much"),
        ("--lose", "100%@1s"),
        ("--lose", "25%@-1s"),
    ],
)
def test_what_can_not_be_is_named(journal: str, capsys: pytest.CaptureFixture[str], wrong: tuple[str, str]) -> None:
    """A fleet that is none is an error of use, in a sentence."""
    assert run_command(["simulate", "last", "--journal", journal, *wrong]) == 2
    assert wrong[0] in capsys.readouterr().err


def test_a_run_without_ends_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no run is recorded, that is said."""
    assert run_command(["simulate", "last", "--journal", str(tmp_path / "none")]) == 2
    assert "no run is recorded" in capsys.readouterr().err
