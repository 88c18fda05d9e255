"""The catalogue of faults, scenario by scenario, in its short form: `run.py` is the command, these are its tests."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN = HERE / "run.py"
LIMIT_S = 120.0
ROWS = {"F10": ["req:F10"]}
"""Rows of docs/requirements.md that a scenario shows."""


def short_ids() -> Iterator[str]:
    """Yield the ids of the scenarios that have a short form, without importing what they import."""
    for path in sorted((HERE / "scenarios").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "scenario":
                given = {word.arg: ast.literal_eval(word.value) for word in node.keywords}
                if given.get("short_s", 0.0) is not None:
                    yield ast.literal_eval(node.args[0])


LONG = {"M3", "S1"}
"""Scenarios whose short form takes half a minute, too."""


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    rows = [pytest.mark.requirement(*ROWS[name])] if name in ROWS else []
    return [*rows, pytest.mark.long] if name in LONG else rows


CASES = [pytest.param(name, marks=marks_of(name)) for name in short_ids()]


@pytest.mark.faults
@pytest.mark.timeout(2 * LIMIT_S)
@pytest.mark.parametrize("scenario", CASES)
def test_a_fault_costs_what_is_promised(scenario: str, tmp_path: Path) -> None:
    """What the scenario does to real processes costs no more than is promised, and nothing is left of it."""
    told = tmp_path / "told.json"
    done = subprocess.run(
        [sys.executable, str(RUN), "--only", scenario, "--json", str(told)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    [verdict] = json.loads(told.read_text(encoding="utf-8"))["scenarios"]
    if verdict["verdict"] == "skipped":
        pytest.skip("; ".join(verdict["missed"]))
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_unknown_scenario_is_refused_by_name() -> None:
    """A scenario that does not exist is a usage error that lists those that do."""
    done = subprocess.run(
        [sys.executable, str(RUN), "--only", "K1,K99"], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 2
    assert "no such scenario: K99" in done.stderr
    assert "CORPUS40" in done.stderr


def test_every_group_of_the_catalogue_is_there() -> None:
    """K1 to K13, M1 to M13, O1 to O10, S1 to S5, T1 to T8, J1 to J16, and of E what is tried so far, each by its id."""
    wanted = {*(f"{group}{n}" for group in "KM" for n in range(1, 14)), *(f"O{n}" for n in range(1, 11))}
    wanted |= {*(f"S{n}" for n in range(1, 6)), *(f"T{n}" for n in range(1, 9))}
    wanted |= {"E7", *(f"J{n}" for n in range(1, 17))}
    assert wanted <= set(short_ids())


FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT_S)
def test_a_frozen_group_of_a_killed_scenario_is_removed() -> None:
    """The runner thaws and removes groups whose maker is gone, as it starts and as it ends; others stay."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    stale, used = FREEZER / f"faults-{gone.pid}", FREEZER / f"faults-{os.getpid()}"
    frozen = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        try:
            stale.mkdir()
        except OSError as error:
            pytest.skip(f"no freezer of version 1 here: {error.strerror}")
        used.mkdir()
        (stale / "cgroup.procs").write_text(str(frozen.pid), encoding="ascii")
        (stale / "freezer.state").write_text("FROZEN", encoding="ascii")
        frozen.kill()
        done = subprocess.run(
            [sys.executable, str(RUN), "--only", "T3"], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert f"removed the cgroup {stale.name}" in done.stderr
        assert not stale.exists()
        assert used.exists()
        assert frozen.wait(10.0) == -9
    finally:
        for path in (stale, used):
            if path.exists():
                (path / "freezer.state").write_text("THAWED", encoding="ascii")
                frozen.kill()
                frozen.wait(10.0)
                path.rmdir()
        if frozen.poll() is None:
            frozen.kill()
            frozen.wait(10.0)
