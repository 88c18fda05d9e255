"""The suite of an installed plugin, without its process: how it is made, what it reports, what is made of that."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from longshore._plugins import timing
from longshore._plugins.apart import OUTPUT
from longshore.errors import PluginError, SettingsError
from longshore.plugins import Candidate, PluginHost
from longshore.testing import SinkConformance, _installed, _suites
from longshore.testing._installed import HANGS, REPORT, UNSET, suite
from longshore.testing._suites import TestRow as Row
from longshore.testing._suites import read_pipeline, run_suite
from longshore.testing.conformance._aside import Aside
from longshore.testing.conformance._host import CollectingHost

SINK = """
from longshore.hookspecs import hookimpl
from pydantic import BaseModel, ConfigDict

class Sink:
    class Settings(BaseModel):
        model_config = ConfigDict(extra="forbid")
        path: str = "/nowhere/at/all"
        port: int = 1
        url: str

    def __init__(self, settings=None):
        self.settings = settings

    @hookimpl
    def open(self, run): ...
    @hookimpl
    def on_events(self, batch): ...
    @hookimpl
    def close(self, summary): ...
"""
PLUGIN = Candidate(kind="sinks", name="one", distribution="acme", version="1", value="acme:Sink")


@pytest.fixture
def file(fake_distributions: Any, tmp_path: Path) -> Callable[..., str]:
    """Write the specification of a sink of this code; return the module beside it."""

    def written(code: str = SINK, **table: object) -> str:
        fake_distributions.add("acme-suite", code, sinks={"one": "Sink"})
        (candidate,) = PluginHost(distributions=fake_distributions, failures=None).candidates()
        spec = {"candidate": msgspec.to_builtins(candidate), "table": table}
        (tmp_path / "spec.json").write_text(json.dumps(spec))
        return str(tmp_path / "test_plugin.py")

    return written


def reported(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / REPORT).read_text().splitlines()]


def test_a_suite_makes_its_plugin_in_a_folder_of_the_tests_own(
    file: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the settings that were given; what is not set, and would be a place or a port of somebody's, is its own."""
    made = suite(file(url="http://127.0.0.1:9"))
    assert issubclass(made, SinkConformance)
    maker = vars(made)["make_sink"].__wrapped__
    settings = maker(None, tmp_path, monkeypatch)().settings
    assert (settings.path, settings.port, settings.url) == (str(tmp_path / "kept"), 0, "http://127.0.0.1:9")
    assert Path.cwd() == tmp_path


def test_settings_that_were_given_are_left_as_they_are(
    file: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they are a place; and a plugin that has no such setting is not given one."""
    code = SINK.replace("        port: int = 1\n", "")
    maker = vars(suite(file(code, url="u", path="mine")))["make_sink"].__wrapped__
    settings = maker(None, tmp_path, monkeypatch)().settings
    assert settings.path == "mine"
    assert not hasattr(settings, "port")


def test_settings_that_do_not_do_are_reported(file: Callable[..., str], tmp_path: Path) -> None:
    """As such, apart from tests that failed: it is who asked that has to give them."""
    with pytest.raises(SettingsError, match="Field required"):
        suite(file())
    [row] = reported(tmp_path)
    assert row["outcome"] == UNSET
    assert "url" in row["message"]


def test_a_plugin_that_can_not_be_loaded_has_no_suite(file: Callable[..., str]) -> None:
    """The reason is that of the load."""
    with pytest.raises(PluginError, match="no such library"):
        suite(file("raise RuntimeError('no such library')"))


def report(test: str, when: str, outcome: str, said: object = None) -> Any:
    """Return a report as pytest makes them."""
    return SimpleNamespace(nodeid=f"t.py::T::{test}", when=when, outcome=outcome, longrepr=said, duration=0.25)


def test_each_test_is_reported_as_it_begins_and_ends(tmp_path: Path) -> None:
    """A test has passed when what it made is cleared up too; what is told of others is what their author says."""
    registered: list[Any] = []
    manager = SimpleNamespace(register=lambda plugin, name: registered.append(plugin))
    _installed.pytest_configure(SimpleNamespace(pluginmanager=manager, rootpath=tmp_path))  # type: ignore[arg-type]
    [reporter] = registered
    reporter.pytest_collection_finish(SimpleNamespace(items=[SimpleNamespace(nodeid="t.py::T::test_a")]))
    crash = SimpleNamespace(reprcrash=SimpleNamespace(message="AssertionError: it is late\nassert 1 == 2"))
    for each in (
        *(report("test_a", when, "passed") for when in ("setup", "call", "teardown")),
        report("test_b", "setup", "skipped", ("file", 3, "Skipped: no GPU")),
        *(report("test_c", "setup", "passed"), report("test_c", "call", "failed", crash)),
    ):
        reporter.pytest_runtest_logreport(each)
    reporter.pytest_runtest_logstart("t.py::T::test_d")
    reporter.pytest_runtest_logreport(report("test_d", "call", "passed"))
    reporter.pytest_runtest_logreport(report("test_d", "teardown", "failed", "a thread is left"))
    reporter.pytest_collectreport(SimpleNamespace(outcome="failed", longrepr="no module"))
    ended = [(row["test"], row.get("outcome"), row.get("message")) for row in reported(tmp_path)]
    assert ended == [
        ("test_a", None, None),
        ("test_a", "passed", ""),
        ("test_b", "skipped", "no GPU"),
        ("test_c", "failed", "it is late"),
        ("test_d", None, None),
        ("test_d", "failed", "a thread is left"),
        ("", "failed", "no module"),
    ]


@pytest.fixture
def hung(tmp_path: Path) -> Callable[..., list[str]]:
    """Report these failures of a suite of so many tests; the list has what was said when it stopped."""

    def given(*messages: str, of: int) -> list[str]:
        session = SimpleNamespace(items=[SimpleNamespace(nodeid=f"t.py::T::{n}") for n in range(of)], shouldfail=False)
        reporter = _installed._Reporter(tmp_path / REPORT)
        reporter.pytest_collection_finish(session)  # type: ignore[arg-type]
        for number, message in enumerate(messages):
            reporter.pytest_runtest_logstart(f"t.py::T::{number}")
            crash = SimpleNamespace(reprcrash=SimpleNamespace(message=f"AssertionError: {message}"))
            reporter.pytest_runtest_logreport(report(f"{number}", "call", "failed", crash))
            reporter.pytest_runtest_logreport(report(f"{number}", "teardown", "passed"))
        told = [row["message"] for row in reported(tmp_path) if row.get("outcome") == HANGS]
        assert bool(session.shouldfail) == bool(told)
        return told

    return given


def never_back(what: str) -> str:
    """Return what suites say of a call that hangs."""
    with Aside(0.0) as aside, pytest.raises(AssertionError) as caught:
        aside.tried(what, (release := threading.Event()).wait, 50.0)
    release.set()
    return str(caught.value)


async def never_told(what: str) -> str:
    """Return what they say of what an executor never tells."""
    with pytest.raises(AssertionError) as caught:
        await CollectingHost(patience_s=0.0).until(lambda: False, what=what)
    return str(caught.value)


def test_a_suite_stops_when_the_same_has_hung_in_three_tests(hung: Callable[..., list[str]]) -> None:
    """Whatever it was given in each; it is said what hung, and how many tests were not tried for it."""
    calls = [never_back(f"Sink.close, after a run {what},") for what in ("that went well", "of no task", "'of', it")]
    assert hung(*calls, "it is late", of=9) == [
        "Sink.close did not come back in 3 tests, so the last 6 of 9 were not tried"
    ]


def test_an_executor_that_tells_nothing_ends_its_suite_too(hung: Callable[..., list[str]]) -> None:
    """What a host waits for is named without the task it was of."""
    waits = [asyncio.run(never_told(f"an outcome of task-{number}")) for number in range(3)]
    assert hung(*waits, of=4) == ["an outcome did not come in 3 tests, so the last 1 of 4 were not tried"]


def test_a_suite_goes_on_while_it_is_something_else_that_fails(hung: Callable[..., list[str]]) -> None:
    """Two that hang in one call and two in another, or any number that just fail; and after the last none is left."""
    two = [never_back("Sink.close"), never_back("Sink.open")] * 2
    assert hung(*two, *["it is late"] * 4, of=9) == []
    assert hung(*[never_back("Sink.close")] * 3, of=3) == []


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Have a process of its own end so, having left these rows; the list has what each was given."""

    def given(*rows: Mapping[str, object] | str, code: int | None = 0, said: str = "") -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def run(folder: Path, spec: Mapping[str, Any], code_: str, deadline_s: float, **more: Any) -> int | None:
            asked.append({"spec": spec, "deadline_s": deadline_s, **more})
            meanwhile = more.get("meanwhile", lambda: None)
            meanwhile()
            lines = [row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows]
            if lines:
                (folder / REPORT).write_text("".join(lines))
                meanwhile()
            (folder / OUTPUT).write_text(said)
            return code

        monkeypatch.setattr(_suites, "run_apart", run)
        return asked

    return given


A, B = {"test": "test_a"}, {"test": "test_b"}
PASSED = {**A, "outcome": "passed", "took_s": 0.5}
FAILED = {**B, "outcome": "failed", "message": "it is late"}


def test_a_suite_that_came_to_its_end_is_told_test_by_test(
    apart: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed test is no reason to doubt the others; nothing of who asks changes the run."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "--boom")
    monkeypatch.setenv("LONGSHORE_EXECUTOR", "threads")
    asked = apart(A, B, A, PASSED, B, FAILED, {**B, "outcome": "passed"}, code=1)
    found = run_suite(PLUGIN, {"url": "u"}, deadline_s=7.0)
    assert found.tests == [Row(**PASSED), Row(**FAILED)]
    assert (found.ok, found.broken, found.count("passed"), found.count("failed")) == (False, None, 1, 1)
    assert (asked[0]["spec"]["table"], asked[0]["deadline_s"], asked[0]["inside"]) == ({"url": "u"}, 7.0, True)
    environ = asked[0]["environ"]
    assert not {"PYTEST_ADDOPTS", "LONGSHORE_EXECUTOR"} & set(environ)
    assert environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] == "1"


@pytest.mark.parametrize(
    ("rows", "ended", "broken"),
    [
        ([A, B, A, PASSED, B], {"code": None}, "it was stopped after 7 s, in test_b"),
        ([], {"code": None}, "it was stopped after 7 s, in the first"),
        (
            [A, B, A, PASSED, B, '{"te'],
            {"code": 3},
            "its process ended with exit code 3 in test_b, and 1 of 2",
        ),
        ([A, B, A, PASSED, B], {"code": 0}, "its process ended with exit code 0 in test_b, and 1 of 2"),
        ([A, B, A, PASSED, B], {"code": -9}, "its process ended with signal 9, SIGKILL in test_b"),
        ([A, PASSED], {"code": 3, "said": "INTERNALERROR"}, "pytest ended with 3: INTERNALERROR"),
        ([{"test": "", "outcome": "failed", "message": "E\nno module"}], {"code": 2}, "no module"),
    ],
)
def test_one_that_did_not_is_told_where_it_was(
    apart: Callable[..., list[dict[str, Any]]], rows: list[Any], ended: dict[str, Any], broken: str
) -> None:
    """What had ended by then is kept; exit code 0 of a process that left tests behind is no success either."""
    apart(*rows, **ended)
    found = run_suite(PLUGIN, {}, deadline_s=7.0)
    assert not found.ok
    assert (found.broken or "").startswith(broken)
    assert all(row.outcome is not None for row in found.tests)


def test_settings_that_are_missing_are_told_apart_from_what_is_broken(
    apart: Callable[..., list[dict[str, Any]]],
) -> None:
    """The message is that of the settings, not that of what pytest made of them."""
    apart({"test": "its settings", "outcome": UNSET, "message": "url: Field required"}, code=2)
    found = run_suite(PLUGIN, {}, deadline_s=7.0)
    assert (found.unset, found.broken) == (True, "url: Field required")


def test_one_that_hangs_again_and_again_is_told_with_what_was_tried(
    apart: Callable[..., list[dict[str, Any]]],
) -> None:
    """What hangs is why it did not come to its end, and no test of its own."""
    told = "Sink.close did not come back in 3 tests, so the last 1 of 2 were not tried"
    apart(A, B, A, FAILED, {"test": "", "outcome": HANGS, "message": told}, code=1)
    found = run_suite(PLUGIN, {}, deadline_s=7.0)
    assert (found.tests, found.broken, found.ok) == ([Row(**FAILED)], told, False)


def test_a_suite_tells_how_far_it_is(apart: Callable[..., list[dict[str, Any]]]) -> None:
    """Each time all tests as they stand, what runs last; none before they are known."""
    heard: list[list[tuple[str, str | None]]] = []
    apart(A, B, A, PASSED, B)
    run_suite(PLUGIN, {}, deadline_s=7.0, tell=lambda rows: heard.append([(row.test, row.outcome) for row in rows]))
    assert heard == [[], [("test_a", "passed"), ("test_b", None)]]


def test_the_table_of_a_pipeline_is_its_one_test(apart: Callable[..., list[dict[str, Any]]]) -> None:
    """It passes where reading says nothing; a process that ends or hangs meanwhile is told."""
    apart("")
    assert read_pipeline("p", deadline_s=7.0).ok
    apart("stages: it is a list")
    [row] = read_pipeline("p", deadline_s=7.0).tests
    assert (row.outcome, row.message) == ("failed", "stages: it is a list")
    apart(code=3)
    assert read_pipeline("p", deadline_s=7.0).broken == "its process ended with exit code 3 while its table was read"
    apart(code=None)
    assert read_pipeline("p", deadline_s=7.0).broken == "it was stopped after 7 s, while its table was read"


class Loads:
    """In place of the processes that load a plugin: how long each takes; None for one that does not come back."""

    def __init__(self, *took_s: float | None) -> None:
        self._took_s = list(took_s)
        self.options: list[tuple[str, ...]] = []

    def __call__(self, folder: Path, *_: Any, options: tuple[str, ...], environ: Mapping[str, str]) -> int:
        assert "PYTHONDONTWRITEBYTECODE" not in environ
        self.options.append(options)
        took_s = self._took_s.pop(0)
        if took_s is not None:
            listed = "import time:   900000 |   900000 | before", timing._MARK, "import time:   50000 |   50000 | heavy"
            (folder / OUTPUT).write_text("\n".join(listed))
            (folder / "took.txt").write_text(repr(took_s))
        return 0


def test_the_time_of_a_load_is_the_best_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else the machine does only makes it longer; only one over its budget is looked into."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(timing, "run_apart", quick := Loads(0.03, 0.02, 0.5))
    found = timing.load_time(PLUGIN, 50.0)
    assert found is not None
    assert (found.ms, found.heaviest, quick.options) == (20.0, (), [()] * 3)
    monkeypatch.setattr(timing, "run_apart", slow := Loads(0.2, 0.1, 0.5, 0.05))
    found = timing.load_time(PLUGIN, 50.0)
    assert found is not None
    assert (found.ms, found.heaviest) == (100.0, (("heavy", 50.0),))
    assert slow.options[3] == ("-X", "importtime")


def test_a_load_that_does_not_come_back_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """None, be it the first try or the last."""
    for tries in ((None,), (0.1, 0.1, None)):
        monkeypatch.setattr(timing, "run_apart", Loads(*tries))
        assert timing.load_time(PLUGIN, 50.0) is None
