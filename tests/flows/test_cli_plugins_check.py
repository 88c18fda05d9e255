"""Promises of `longshore plugins check` for a distribution: how long its plugins take to load, and their suites."""

import json
from typing import Any

import pytest

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
def test_what_was_not_tried_is_told(inside: Command, fake_distributions: Distributions) -> None:
    """Beside the counts it says why tests were skipped: a plugin of which little was tried is not shown to work."""
    fake_distributions.add("acme-good", SINK, sinks={"good": "Sink"})
    _, out, _ = inside("plugins", "check", "acme-good", "--json", *UNHURRIED)
    skipped = [test["message"] for test in only(out)["suite"]["tests"] if test["outcome"] == "skipped"]
    _, out, _ = inside("plugins", "check", "acme-good", *UNHURRIED)
    for reason in set(skipped):
        assert f"sinks good: {skipped.count(reason)} skipped: {reason}" in out
    assert skipped


@pytest.mark.slow
def test_settings_that_were_given_wrongly_are_told_so(inside: Command, fake_distributions: Distributions) -> None:
    """Exit code 2 names the key; it does not say that settings are missing, nor how to give more."""
    fake_distributions.add("acme-good", SINK, sinks={"good": "Sink"})
    code, out, _ = inside("plugins", "check", "acme-good", "--set", "sinks.good.nope=1", *UNHURRIED)
    assert code == 2
    assert "the settings that were given do not do: [tool.longshore.sinks.good] nope: no such setting" in out
    assert "give them by" not in out


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


@pytest.mark.slow
def test_what_can_not_be_loaded_has_no_suite(inside: Command, fake_distributions: Distributions) -> None:
    """The reason is that of the load; nothing is timed or tried."""
    fake_distributions.add("acme-broken", "raise RuntimeError('no such library')", sinks={"broken": "Sink"})
    code, out, _ = inside("plugins", "check", "acme-broken", "--json")
    told = only(out)
    assert code == 4
    assert "no such library" in told["reason"]
    assert (told["load_ms"], told["suite"]) == (None, None)
