"""The conformance suite of an installed plugin, run by pytest in a process of its own; called by `plugins check`."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from longshore._plugins.apart import ending, last_words, run_apart
from longshore.plugins import Candidate
from longshore.testing._installed import HANGS, MODULE, REPORT, SUITES, UNSET

_PYTEST: Final = """
import pytest
folder = sys.argv[1]
sys.exit(pytest.main([
    "--rootdir", folder, "-c", folder + "/pytest.ini", "-p", "longshore.testing._installed",
    "-p", "no:cacheprovider", "--basetemp", folder + "/tests", "-q", folder + "/test_plugin.py",
]))
"""
_READ: Final = f"""
from longshore._pipeline_tables import find_pipeline
from longshore.plugins import PluginHost
from longshore.settings import Settings
said = ""
try:
    find_pipeline(spec["name"], Settings(), PluginHost(failures=None))
except Exception as error:
    said = str(error) or repr(error)
with open(sys.argv[1] + "/{REPORT}", "w", encoding="utf-8") as file: file.write(said)
"""


class TestRow(Struct, frozen=True, kw_only=True):
    """How one test of a suite went."""

    test: str
    outcome: str | None = None
    """"passed", "failed" or "skipped"; None until it has ended. "unset", of no test: settings are missing."""
    message: str = ""
    took_s: float = 0.0


class SuiteResult(Struct, frozen=True, kw_only=True):
    """How a suite went; `broken` says why it did not come to its end."""

    tests: Sequence[TestRow] = ()
    broken: str | None = None
    unset: bool = False
    """Whether that is that the plugin can't be made with the settings that were given."""

    def count(self, outcome: str) -> int:
        """Return how many tests ended so."""
        return sum(test.outcome == outcome for test in self.tests)

    @property
    def ok(self) -> bool:
        """Tell whether it came to its end, and nothing failed."""
        return self.broken is None and not self.count("failed")


def has_pytest() -> bool:
    """Tell whether suites can be run."""
    return importlib.util.find_spec("pytest") is not None


def has_suite(kind: str) -> bool:
    """Tell whether there is a suite for plugins of this kind."""
    return kind in SUITES


def run_suite(
    candidate: Candidate,
    table: Mapping[str, Any],  # Any: TOML values
    *,
    deadline_s: float,
    tell: Callable[[Sequence[TestRow]], object] = lambda rows: None,
) -> SuiteResult:
    """Run the suite of a plugin that is made with these settings; at most so long, and nothing of it is left.

    `tell` is called now and then, with all tests as they stand; the last is the one that runs, once one has begun.
    """
    with tempfile.TemporaryDirectory(prefix="longshore-suite-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "test_plugin.py").write_text(MODULE, encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        spec = {"candidate": msgspec.to_builtins(candidate), "table": dict(table)}
        report = folder / REPORT
        environ = _environment(folder)
        code = run_apart(
            folder, spec, _PYTEST, deadline_s, environ=environ, inside=True, meanwhile=lambda: tell(_rows(report))
        )
        rows = _rows(report)
        ended = [row for row in rows if row.outcome is not None]
        hangs = [row.message for row in ended if row.outcome == HANGS]
        if hangs:
            return SuiteResult(tests=[row for row in ended if row.outcome != HANGS], broken=hangs[0])
        if code is None:
            last = rows[-1].test if rows else "the first"
            return SuiteResult(tests=ended, broken=f"it was stopped after {deadline_s:g} s, in {last}")
        failed = any(row.outcome == "failed" for row in ended)
        if ended and len(ended) == len(rows) and code == int(failed):
            return SuiteResult(tests=ended)
        unset = [row.message for row in ended if row.outcome == UNSET]
        if unset:
            return SuiteResult(broken=unset[0], unset=True)
        reasons = [row.message.strip().splitlines()[-1] for row in ended if not row.test and row.message.strip()]
        return SuiteResult(tests=ended, broken=reasons[0] if reasons else _cut_short(code, rows, folder))


def read_pipeline(name: str, *, deadline_s: float) -> SuiteResult:
    """Read the table of an installed pipeline in a process of its own: the one test there is of its kind."""
    with tempfile.TemporaryDirectory(prefix="longshore-suite-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        code = run_apart(folder, {"name": name}, _READ, deadline_s)
        if code is None:
            return SuiteResult(broken=f"it was stopped after {deadline_s:g} s, while its table was read")
        try:
            said = (folder / REPORT).read_text(encoding="utf-8")
        except OSError:
            return SuiteResult(broken=f"its process ended with {ending(code)} while its table was read")
        return SuiteResult(tests=[TestRow(test="its table", outcome="failed" if said else "passed", message=said)])


def _cut_short(code: int, rows: Sequence[TestRow], folder: Path) -> str:
    """Return in words how tests ended that did not run as they should."""
    open_ = sum(row.outcome is None for row in rows)
    if not open_:
        return f"pytest ended with {code}: {last_words(folder)}"
    return f"its process ended with {ending(code)} in {rows[-1].test}, and {open_} of {len(rows)} tests did not end"


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment, less what would change the run, with a folder for what plugins keep by default."""
    less = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "LONGSHORE_"))}
    return {**less, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "XDG_STATE_HOME": str(folder / "state")}


def _rows(report: Path) -> list[TestRow]:
    """Return how the tests went, each once: as it ended, or without an outcome; the one that began last comes last."""
    rows: dict[str, TestRow] = {}
    lines = report.read_bytes().splitlines() if report.exists() else []
    for line in lines:
        try:
            row = msgspec.json.decode(line, type=TestRow)
        except msgspec.MsgspecError:  # it was being written when the process was ended
            continue
        if row.outcome is None:
            rows.pop(row.test, None)
        known = rows.get(row.test)
        if known is None or known.outcome != "failed":  # one that fails and then fails to clear up has failed
            rows[row.test] = row
    return list(rows.values())
