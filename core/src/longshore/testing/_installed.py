"""The suite of an installed plugin, for `longshore plugins check`: it runs in a pytest of its own, apart.

A folder holds `spec.json` (the plugin, its settings) and a module that says `TestPlugin = suite(__file__)`. This module
is a plugin of that pytest as well: it writes a line to `report.jsonl` for each test that there is, one as it begins,
and one as it has ended and is cleared up.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from longshore._plugins.load import load_class
from longshore._plugins.make import Table, make, validated
from longshore._plugins.records import Candidate
from longshore.errors import PluginError, SettingsError

if TYPE_CHECKING:
    import pytest

SUITES: Final[Mapping[str, str]] = {
    "executors": "ExecutorConformance",
    "probes": "ProbeConformance",
    "sinks": "SinkConformance",
    "journals": "JournalConformance",
    "processors": "ProcessorConformance",
}
"""The suite of each kind that has one."""
MODULE: Final = "from longshore.testing._installed import suite\n\nTestPlugin = suite(__file__)\n"
REPORT: Final = "report.jsonl"
UNSET: Final = "unset"
"""In the place of a test's outcome: the settings do not do."""
HANGS: Final = "hangs"
"""In the place of a test's outcome: it was the same that hung in several tests, and the others were not tried."""
_HANGS_AT_MOST: Final = 3
_HANG: Final = re.compile(
    r"(?P<what>[^,:']+?)(?: of .*?|[,:'].*?)? did not come(?P<back> back)? within [\d.]+ s\b", re.DOTALL
)
"""What suites say of what they waited for in vain: "Sink.close, after a run, did not come back within 10 s"."""
_CAP: Final = 4_000


def suite(file: str) -> type[Any]:
    """Return the suite of the plugin that `spec.json` beside the file names, which makes it by the settings there.

    SettingsError where those do not do. Each test has a working folder of its own. What is not set, and is there to be
    set, is a `path` in that folder, and as `port` 0: what a suite does is not to meet what runs, nor itself.
    """
    import pytest

    import longshore.testing

    spec = json.loads(Path(file).with_name("spec.json").read_text(encoding="utf-8"))
    candidate = msgspec.convert(spec["candidate"], Candidate)
    cls, loaded = load_class(candidate)
    if cls is None:
        raise PluginError(f"{loaded.label} can't be loaded: {loaded.reason}")
    try:
        validated(cls, candidate, spec["table"])
    except SettingsError as error:
        _add(Path(file).with_name(REPORT), test="its settings", outcome=UNSET, message=str(error))
        raise
    one = candidate.kind.removesuffix("s")
    base: Any = getattr(longshore.testing, SUITES[candidate.kind])

    def make_plugin(
        self: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[], Any]:  # Any: a plugin of this kind
        monkeypatch.chdir(tmp_path)
        table = dict(spec["table"])
        for name, value in (("path", str(tmp_path / "kept")), ("port", 0)):
            if name not in table and _takes(cls, candidate, {**table, name: value}):
                table[name] = value
        return lambda: make(cls, candidate, table)

    return type("TestPlugin", (base,), {f"make_{one}": pytest.fixture(make_plugin)})


def _takes(cls: type[Any], candidate: Candidate, table: Table) -> bool:  # Any: a plugin's class
    try:
        validated(cls, candidate, table)
    except SettingsError:
        return False
    return True


def pytest_configure(config: pytest.Config) -> None:
    """Begin the report."""
    config.pluginmanager.register(_Reporter(config.rootpath / REPORT), "longshore-report")


class _Reporter:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._passed: pytest.TestReport | None = None
        """The test that has passed, until what it made is cleared up."""
        self._hung: defaultdict[str, set[str]] = defaultdict(set)
        """What did not come, with the tests in which that was."""
        self._session: pytest.Session | None = None
        self._begun = 0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._session = session
        for item in session.items:
            self._add(test=_name(item.nodeid))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._begun += 1
        self._add(test=_name(nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        ended: pytest.TestReport | None = report
        if report.when == "teardown" and report.outcome == "passed":
            ended, self._passed = self._passed, None
        elif report.outcome == "passed":
            ended, self._passed = None, report if report.when == "call" else None
        if ended is not None:
            test, message = _name(ended.nodeid), _message(ended)
            self._add(test=test, outcome=ended.outcome, message=message, took_s=ended.duration)
            if ended.outcome == "failed":
                self._stop_if_it_hangs(test, message)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome == "failed":
            self._add(test="", outcome="failed", message=str(report.longrepr)[-_CAP:], took_s=0.0)

    def _stop_if_it_hangs(self, test: str, message: str) -> None:
        """Try no more once the same has hung in several tests: each takes all its patience, and tells nothing new."""
        found = _HANG.match(message)
        if found is None or self._session is None:
            return
        what = f"{found['what']} did not come{found['back'] or ''}"
        self._hung[what].add(test)
        count, left = len(self._hung[what]), len(self._session.items) - self._begun
        if count >= _HANGS_AT_MOST and left and not self._session.shouldfail:
            self._session.shouldfail = f"{what} in {count} tests"
            told = f"{what} in {count} tests, so the last {left} of {len(self._session.items)} were not tried"
            self._add(test="", outcome=HANGS, message=told, took_s=0.0)

    def _add(self, **row: object) -> None:
        _add(self._path, **row)


def _add(path: Path, **row: object) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _name(nodeid: str) -> str:
    return nodeid.rpartition("::")[2]


def _message(report: pytest.TestReport) -> str:
    """Return why a test was skipped or failed: what its author says, not where it says so."""
    said = report.longrepr
    if said is None:
        return ""
    if isinstance(said, tuple):
        return str(said[2]).removeprefix("Skipped: ")
    crash = getattr(said, "reprcrash", None)
    text = str(said) if crash is None else str(crash.message)
    return text.removeprefix("AssertionError: ").partition("\nassert ")[0][:_CAP]  # less what pytest makes of it
