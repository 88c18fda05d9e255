"""Promises of `longshore plugins check` for a distribution: how long its plugins take to load, and their suites."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from longshore.plugins import CheckResult, LoadTime, PluginHost, PluginState
from longshore.testing._suites import SuiteResult
from longshore.testing._suites import TestRow as Row

Command = Any  # the fixtures' classes: test modules cannot import a conftest
Distributions = Any

UNHURRIED = ("--budget-ms", "60000")
pytestmark = pytest.mark.timeout(150)  # each starts interpreters by the dozen

SINK = """
from pathlib import Path
from longshore.hookspecs import hookimpl
from pydantic import BaseModel, ConfigDict

class Sink:
    class Settings(BaseModel):
        model_config = ConfigDict(extra="forbid")
        path: str = "/nowhere/at/all"
        port: int = 1

    def __init__(self, settings=None):
        self.settings = settings or self.Settings()

    @hookimpl
    def open(self, run):
        self.file = Path(self.settings.path).open("a")

    @hookimpl
    def on_events(self, batch):
        for event in batch:
            self.file.write(event.type + "\\n")

    @hookimpl
    def close(self, summary):
        self.file.close()
"""
NEEDY = SINK.replace("port: int = 1", "url: str")
FORGETFUL = SINK.replace("self.file.close()", "raise OSError('nobody listens')")


def only(out: str) -> dict[str, Any]:  # Any: JSON
    (told,) = json.loads(out)
    return dict(told)


@pytest.mark.slow
def test_a_good_plugin_passes_in_a_folder_of_its_own(inside: Command, fake_distributions: Distributions) -> None:
    """Exit code 0, all tests counted, the load timed; what it keeps by default is not where its settings say."""
    fake_distributions.add("acme-good", SINK, sinks={"good": "Sink"})
    code, out, _ = inside("plugins", "check", "Acme_Good", "--json", *UNHURRIED)
    told = only(out)
    assert code == 0
    assert told["ok"] is True
    assert 0 < told["load_ms"] < told["budget_ms"]
    assert told["heaviest"] == []
    suite = told["suite"]
    assert suite["passed"] > 20
    assert suite["failed"] == 0
    assert len(suite["tests"]) == suite["passed"] + suite["skipped"]
    assert all(test["message"] for test in suite["tests"] if test["outcome"] == "skipped")


@pytest.mark.slow
def test_a_broken_promise_is_named_with_its_reason(inside: Command, fake_distributions: Distributions) -> None:
    """Exit code 4, and of what fails the test's name and what its author is to know, without a traceback."""
    fake_distributions.add("acme-bad", FORGETFUL, sinks={"bad": "Sink"})
    code, out, errors = inside("plugins", "check", "sinks:bad", "--suite")
    assert code == 4
    assert "sinks bad: test_" in out
    assert "nobody listens" in out
    assert "more failed: --json tells of each" in out
    assert "Traceback" not in out + errors


@pytest.mark.slow
def test_a_slow_load_is_told_with_what_is_heavy_in_it(inside: Command, fake_distributions: Distributions) -> None:
    """Over the budget ends with 4 and names the package that takes the time; a larger budget lets it pass."""
    (fake_distributions.folder / "heavy_package.py").write_text("sum(range(12_000_000))\n")
    code = "import heavy_package\nfrom longshore.hookspecs import hookimpl\n"
    code += "class Pipe:\n    @hookimpl\n    def toml(self):\n"
    code += '        return \'stages = [{ name = "a", processor = "x" }]\'\n'
    fake_distributions.add("acme-slow", code, pipelines={"slow": "Pipe"})
    ended, out, _ = inside("plugins", "check", "acme-slow")
    assert ended == 4
    assert "over the budget of 50 ms" in out
    assert "the most is heavy_package" in out
    assert inside("plugins", "check", "acme-slow", *UNHURRIED)[0] == 0


@pytest.mark.slow
def test_settings_that_are_missing_can_be_given(inside: Command, fake_distributions: Distributions) -> None:
    """Exit code 2 says which are missing and how they are given; the user's own are not used, for they may be real."""
    fake_distributions.add("acme-needy", NEEDY, sinks={"needy": "Sink"})
    (inside.folder / "longshore.toml").write_text('[sinks.needy]\nurl = "https://real.example"\n')
    code, out, _ = inside("plugins", "check", "acme-needy", *UNHURRIED)
    assert code == 2
    assert "url: Field required" in out
    assert "--set sinks.needy.KEY=VALUE" in out
    given = ("--set", "sinks.needy.url='http://127.0.0.1:9'", "--json", *UNHURRIED)
    code, out, _ = inside("plugins", "check", "acme-needy", *given)
    assert (code, only(out)["suite"]["failed"]) == (0, 0)


@pytest.mark.slow
def test_what_ends_the_interpreter_is_told(inside: Command, fake_distributions: Distributions) -> None:
    """A plugin that ends its process in a test costs its suite, never the command."""
    fake_distributions.add(
        "acme-gone", SINK.replace("self.file.close()", "import os; os._exit(3)"), sinks={"gone": "Sink"}
    )
    code, out, _ = inside("plugins", "check", "acme-gone")
    assert code == 4
    assert "its suite did not come to its end" in out


@pytest.mark.slow
def test_what_hangs_again_and_again_is_not_tried_to_the_end(
    inside: Command, fake_distributions: Distributions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 4, and what hung; meanwhile standard error tells how far the suite is, and the data are still JSON."""
    monkeypatch.setattr("longshore.cli.progress._LINE_EVERY_S", 0.0)
    hang = "raise AssertionError('Sink.close, after a run, did not come back within 10 s')"
    hang = f"import time; time.sleep(0.4); {hang}"
    fake_distributions.add("acme-hung", SINK.replace("self.file.close()", hang), sinks={"hung": "Sink"})
    code, out, errors = inside("plugins", "check", "acme-hung", "--json", *UNHURRIED)
    suite = only(out)["suite"]
    assert code == 4
    assert suite["failed"] == 3
    assert suite["broken"].startswith("Sink.close did not come back in 3 tests, so the last ")
    assert " failed, the last test_" in errors
    assert ", now test_" in errors


def test_a_distribution_without_plugins_is_told_why(inside: Command, fake_distributions: Distributions) -> None:
    """Exit code 2 and what to mend: a group that is none, or none at all; not that it is not installed."""
    fake_distributions.add("acme-wrong", SINK, sink={"wrong": "Sink"})
    for name, words in (("acme-wrong", "did you mean longshore.sinks?"), ("longshore-core", "longshore.executors")):
        code, _, errors = inside("plugins", "check", name)
        assert code == 2
        assert f"{name} is installed, and has no plugins" in errors
        assert words in errors


@pytest.mark.parametrize("given", ["-5", "0", "nan"])
def test_a_budget_is_more_than_nothing(inside: Command, given: str) -> None:
    """Any other number is a wrong argument, before anything is loaded."""
    code, _, errors = inside("plugins", "check", "acme-none", f"--budget-ms={given}")
    assert code == 2
    assert "more than 0" in errors


@pytest.mark.slow
@pytest.mark.parametrize(("text", "code"), [("stages = [{ name = 'a', processor = 'x' }]", 0), ("stages = 3", 4)])
def test_a_pipeline_is_read(inside: Command, fake_distributions: Distributions, text: str, code: int) -> None:
    """There is no suite for pipelines; whether the table of one can be read is tried all the same."""
    plugin = "from longshore.hookspecs import hookimpl\n"
    plugin += f"class Pipe:\n    @hookimpl\n    def toml(self):\n        return {text!r}\n"
    fake_distributions.add("acme-pipe", plugin, pipelines={"pipe": "Pipe"})
    ended, out, _ = inside("plugins", "check", "acme-pipe", *UNHURRIED)
    assert ended == code
    assert ("the installed pipeline 'pipe' cannot be read" in out) == bool(code)


def test_without_pytest_it_is_said_what_to_install(
    inside: Command, fake_distributions: Distributions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 and one line, before anything is loaded."""
    fake_distributions.add("acme-good", SINK, sinks={"good": "Sink"})
    monkeypatch.setattr("longshore.cli.closely.has_pytest", lambda: False)
    code, _, errors = inside("plugins", "check", "acme-good")
    assert code == 2
    assert "pip install 'longshore-core[testing]'" in errors
    assert fake_distributions.imported() == set()


PASSED = Row(test="test_opens", outcome="passed")


@pytest.fixture
def fared(
    fake_distributions: Distributions, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[tuple[object, object]]]:
    """Install a sink and have it fare so, without the processes that say so; the list has what was run."""
    fake_distributions.add("acme-told", SINK, sinks={"told": "Sink"})

    def given(
        suite: SuiteResult, *, ms: float = 10.0, state: PluginState = PluginState.LOADED, reason: str = ""
    ) -> list[tuple[object, object]]:
        ran: list[tuple[object, object]] = []

        def check(self: PluginHost, kind: str, name: str) -> list[CheckResult]:
            [found] = [each for each in self.candidates(kind) if each.name == name]
            facts = {field: getattr(found, field) for field in ("kind", "name", "distribution", "version")}
            other = CheckResult(**{**facts, "distribution": "another"}, state=PluginState.FAILED)
            return [other, CheckResult(**facts, state=state, reason=reason, warnings=("acme.py:3: open() goes",))]

        def run(candidate: object, table: object, *, deadline_s: float, tell: object) -> SuiteResult:
            ran.append((candidate, table))
            return suite

        heaviest = (("heavy_package", 80.0), ("acme", 9.0))
        monkeypatch.setattr(PluginHost, "check", check)
        monkeypatch.setattr(PluginHost, "load_time", lambda *_: LoadTime(ms=ms, heaviest=heaviest if ms > 50 else ()))
        monkeypatch.setattr("longshore.cli.closely.run_suite", run)
        return ran

    return given


CHECK = ("plugins", "check", "acme-told")


def test_all_that_is_known_of_a_good_plugin_is_told(inside: Command, fared: Any) -> None:
    """Its row has the counts, what was skipped has its reason, and as JSON each test is there; exit code 0."""
    skipped = [Row(test=f"test_{number}", outcome="skipped", message="no health") for number in range(2)]
    ran = fared(SuiteResult(tests=[PASSED, *skipped]))
    code, out, errors = inside(*CHECK, "--set", "sinks.told.path='there'")
    assert code == 0, errors
    assert out.splitlines()[1].split() == ["sinks", "told", "loaded", "10", "ms", "1", "0", "2"]
    assert "sinks told: 2 skipped: no health" in out
    assert "sinks told: deprecated, acme.py:3: open() goes" in out
    assert "checking sink told (acme-told 1.0)" in errors
    assert ran[0][1] == {"path": "there"}
    told = only(inside(*CHECK, "--json", "--budget-ms", "70")[1])
    assert (told["ok"], told["load_ms"], told["budget_ms"], told["heaviest"]) == (True, 10.0, 70.0, [])
    assert told["suite"]["tests"] == [msgspec.to_builtins(test) for test in [PASSED, *skipped]]


def test_failed_tests_are_named_the_first_of_many(inside: Command, fared: Any) -> None:
    """Exit code 4; a line for each of ten, and how many more there are."""
    fared(SuiteResult(tests=[Row(test=f"test_{n}", outcome="failed", message="it is late") for n in range(13)]))
    code, out, _ = inside(*CHECK)
    assert code == 4
    assert out.count(" failed: it is late") == 10
    assert "3 more failed: --json tells of each" in out


def test_a_load_over_the_budget_is_told_with_what_is_heavy(inside: Command, fared: Any) -> None:
    """Exit code 4, though nothing failed; the packages that take the time are named."""
    fared(SuiteResult(tests=[PASSED]), ms=90.0)
    code, out, _ = inside(*CHECK)
    assert code == 4
    assert "loading it takes 90 ms, over the budget of 50 ms" in out
    assert "the most is heavy_package 80 ms, acme 9 ms" in out
    assert inside(*CHECK, "--budget-ms", "100")[0] == 0
    assert only(inside(*CHECK, "--json")[1])["heaviest"][0] == {"module": "heavy_package", "ms": 80.0}


@pytest.mark.parametrize(
    ("suite", "more", "code", "words"),
    [
        (SuiteResult(broken="url: Field required", unset=True), (), 2, "give them by --set sinks.told.KEY=VALUE"),
        (
            SuiteResult(broken="nope: no such setting", unset=True),
            ("--set", "sinks.told.nope=1"),
            2,
            "the settings that were given do not do: nope: no such setting",
        ),
        (SuiteResult(tests=[PASSED], broken="it hung"), (), 4, "its suite did not come to its end: it hung"),
    ],
)
def test_a_suite_that_was_not_run_to_its_end_says_why(
    inside: Command, fared: Any, suite: SuiteResult, more: tuple[str, ...], code: int, words: str
) -> None:
    """Settings that are missing or wrong are for who asked to give: exit code 2; what broke is the plugin's: 4."""
    fared(suite)
    ended, out, errors = inside(*CHECK, *more)
    assert ended == code, errors
    assert words in out


def test_what_is_switched_off_or_broken_is_not_tried(inside: Command, fared: Any) -> None:
    """Neither timed nor run. One that settings forbid need not work: 0; one that can't be loaded: 4."""
    ran = fared(SuiteResult(), state=PluginState.DISABLED, reason="disable lists it")
    assert inside(*CHECK)[0] == 0
    ran += fared(SuiteResult(), state=PluginState.FAILED, reason="no such library")
    code, out, _ = inside(*CHECK)
    assert (code, "no such library" in out) == (4, True)
    assert ran == []
    told = only(inside(*CHECK, "--json")[1])
    assert (told["load_ms"], told["suite"], told["ok"]) == (None, None, False)


def test_plugins_that_only_have_to_load_are_listed_as_they_did(inside: Command, fared: Any) -> None:
    """By a plugin's own name there is no suite: what was deprecated is told, and any that failed makes it 4."""
    ran = fared(SuiteResult())
    code, out, _ = inside("plugins", "check", "sinks:told")
    assert (code, ran) == (4, [])
    assert "sinks told: acme.py:3: open() goes" in out
    code, out, _ = inside("plugins", "check", "sinks:told", "--json")
    assert [entry["state"] for entry in json.loads(out)] == ["failed", "loaded"]


def test_what_is_known_of_a_plugin_is_told_without_importing_it(
    inside: Command, fake_distributions: Distributions
) -> None:
    """plugins info by name, or by kind and name, as text and as JSON; a name that is none is told with those there."""
    fake_distributions.add("acme-known", SINK, sinks={"known": "Sink"})
    code, out, _ = inside("plugins", "info", "known")
    assert (code, "acme-known" in out, "available" in out) == (0, True, True)
    [told] = json.loads(inside("plugins", "info", "sinks:known", "--json")[1])
    assert (told["kind"], told["name"], told["state"]) == ("sinks", "known", "available")
    code, _, errors = inside("plugins", "info", "nosuch")
    assert (code, "no plugin named 'nosuch' is installed (there are " in errors) == (2, True)
    assert "known" in errors
    assert fake_distributions.imported() == set()
