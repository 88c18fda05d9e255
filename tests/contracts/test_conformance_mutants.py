"""The conformance suites notice: each of their tests refuses a plugin that breaks its promise, and no good one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("mutation", Path(__file__).with_name("mutation.py"))
assert _spec is not None
assert _spec.loader is not None
mutation = importlib.util.module_from_spec(_spec)
sys.modules["mutation"] = mutation
_spec.loader.exec_module(mutation)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", mutation.kinds())
def test_each_test_of_a_suite_refuses_its_mutant(kind: str) -> None:
    """Each test has a mutant and fails for it, by an assertion; a plugin that keeps the contract passes them all."""
    assert mutation.missed(kind, mutation.attempt(kind, whole=False)) == []


@pytest.mark.parametrize("kind", mutation.kinds())
def test_the_page_shows_each_test_and_its_mutant(kind: str) -> None:
    """`docs/conformance.md` has a row for each test of a suite and its mutant, each noticed, and no other."""
    page = mutation.PAGE.read_text(encoding="utf-8").partition(mutation.BEGIN)[2].partition(mutation.END)[0]
    shown = [line for line in page.splitlines() if line.startswith(f"| {kind} |")]
    wanted = [f"{mutation.named(kind, trial)} yes |" for trial in mutation.trials(kind)]
    written = "write it anew: uv run python tests/contracts/mutation.py --write"
    assert [" | ".join(line.split(" | ")[:4]) + " |" for line in shown] == wanted, written


def test_suites_say_what_they_need_where_there_is_no_pytest() -> None:
    """Without pytest the fakes are there all the same, and a suite names what to install."""
    code = """
import sys
sys.modules["pytest"] = None
from longshore.testing import ManualExecutor
try:
    from longshore.testing import ExecutorConformance
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert "longshore-core[testing]" in done.stdout


def test_a_worker_that_runs_what_a_suite_runs_loads_little() -> None:
    """The functions that tasks of a suite run bring neither pytest nor what only the controller needs."""
    names = ("pytest", "pydantic", "stevedore", "pluggy", "longshore._engine")
    code = f"import sys, longshore.testing.conformance._work; print([n for n in {names} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.strip() == "[]"
