"""The host: listing imports nothing, asking by name gives a plugin that keeps its contract, or a reason why not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from longshore.errors import PluginError, SettingsError
from longshore.hookspecs import hookimpl
from longshore.plugins import Candidate, PluginHost, PluginPolicy, PluginState, failures_path
from longshore.testing import RecordingSink, plugin_host
from pydantic import BaseModel, Field

SINK = """
from longshore.hookspecs import hookimpl

class Sink:
    @hookimpl
    def open(self, run): ...
    @hookimpl
    def on_events(self, batch): ...
    @hookimpl
    def close(self, summary): ...
"""

HOOK = """
from longshore.hookspecs import hookimpl

class Hook:
    @hookimpl
    def route(self, task):
        return "threads"

class Raises:
    @hookimpl
    def route(self, task):
        raise RuntimeError("no luck")
"""

MakeHost = Callable[..., PluginHost]


class WithSettings(RecordingSink):
    """Has a table of its own."""

    class Settings(BaseModel):
        path: str
        size: int = Field(default=1, ge=1)
        kind_of: str = Field(default="x", alias="kind")

    made = 0

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        type(self).made += 1


@pytest.fixture
def make_host(fake_distributions: Any, tmp_path: Path) -> MakeHost:
    """Make hosts over the fake distributions, with a record of failures of their own; arguments are the policy's."""

    failures = tmp_path / "state" / "failures.json"
    return lambda **policy: plugin_host(*fake_distributions.plugins, policy=PluginPolicy(**policy), failures=failures)


def only(host: PluginHost, kind: str = "sinks") -> Candidate:
    """Return the one candidate of this kind."""
    (candidate,) = host.candidates(kind)
    return candidate


@pytest.mark.requirement("req:K02")
def test_listing_imports_nothing(fake_distributions: Any, make_host: MakeHost) -> None:
    """Names, distributions, versions and states are known without running a line of a plugin."""
    fake_distributions.add("acme", "raise SystemExit(3)", version="1.5", sinks={"acme": "Sink"})
    fake_distributions.add("beta", SINK, hooks={"beta": "Hook"}, sinks={"beta": "Sink"})
    found = [(each.kind, each.name, each.version, each.state.value) for each in make_host().candidates()]
    assert found == [
        ("hooks", "beta", "1.0", "available"),
        ("sinks", "acme", "1.5", "available"),
        ("sinks", "beta", "1.0", "available"),
    ]
    assert fake_distributions.imported() == set()


@pytest.mark.requirement("req:K02")
def test_installed_distributions_are_found_by_default(fake_distributions: Any) -> None:
    """Without being told where to look, a host sees what is on the path: install it, and it is there."""
    fake_distributions.add("acme", SINK, sinks={"acme": "Sink"})
    host = PluginHost(failures=None)
    assert [each.distribution for each in host.candidates("sinks") if each.name == "acme"] == ["acme"]
    assert host.load("sinks", "acme").__module__ == "tmp_acme"


@pytest.mark.requirement("req:K03")
def test_only_what_is_asked_for_is_imported(fake_distributions: Any, make_host: MakeHost) -> None:
    """A plugin is imported when it is named, and its neighbours are left alone, broken ones too."""
    fake_distributions.add("broken", "raise SystemExit(3)", sinks={"broken": "Sink"})
    module = fake_distributions.add("good", SINK, sinks={"good": "Sink"})
    host = make_host()
    sink = host.create("sinks", "good")
    assert type(sink).__module__ == module
    assert fake_distributions.imported() == {module}
    assert {each.name: each.state.value for each in host.candidates()} == {"broken": "available", "good": "loaded"}


def test_a_class_is_imported_once(fake_distributions: Any, make_host: MakeHost) -> None:
    """`load` gives the same class again, and looks at no module for it."""
    fake_distributions.add("acme", SINK, sinks={"acme": "Sink"})
    (plugin,) = fake_distributions.plugins
    host = make_host()
    first = host.load("sinks", "acme")
    plugin.forget_import()
    del sys.modules[plugin.module]
    assert host.load("sinks", "acme") is first
    assert not plugin.was_imported()


def test_a_plugin_is_made_each_time() -> None:
    """`create` calls the class each time it is asked, so that no two pools share a plugin."""
    host, before = plugin_host(sinks={"acme": WithSettings}), WithSettings.made
    paths = [host.create("sinks", "acme", {"path": path}).settings.path for path in ("a", "b", "b")]
    assert (paths, WithSettings.made - before) == (["a", "b", "b"], 3)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit(3)", "its import raised SystemExit: 3"),
        ("raise GeneratorExit", "its import raised GeneratorExit"),
        ("class Bad(BaseException):\n    def __str__(self): raise ValueError\nraise Bad", "its import raised Bad"),
        ("import there_is_no_such_module", "ModuleNotFoundError: No module named 'there_is_no_such_module'"),
        ("x = 1", "AttributeError"),
        ("def Sink(): ...", "must name a class, not a function"),
        ("class Sink: ...", "method open is missing; method on_events is missing; method close is missing"),
        ("class Sink:\n    api = 'one'", "api must be an integer"),
    ],
)
@pytest.mark.requirement("req:K03")
def test_a_broken_plugin_is_named_with_its_distribution_and_reason(
    fake_distributions: Any, make_host: MakeHost, code: str, words: str
) -> None:
    """Whatever a plugin does at import, the host goes on and says which distribution is at fault."""
    fake_distributions.add("acme", code, version="3.1", sinks={"acme": "Sink"})
    host = make_host()
    with pytest.raises(PluginError, match=r"sink acme \(acme 3.1\) cannot be used, it is broken") as caught:
        host.load("sinks", "acme")
    assert words in str(caught.value)
    assert caught.value.facts["distribution"] == "acme"
    assert caught.value.facts["state"] == "failed"
    candidate = only(host)
    assert candidate.state is PluginState.FAILED
    assert words in candidate.reason


def test_the_traceback_of_a_failed_import_is_kept(fake_distributions: Any, make_host: MakeHost) -> None:
    """The plugin's author sees where it was raised."""
    fake_distributions.add("acme", "def inner():\n    raise SystemExit(3)\ninner()", sinks={"acme": "Sink"})
    host = make_host()
    with pytest.raises(PluginError):
        host.load("sinks", "acme")
    assert "in inner" in str(only(host).error)


def test_a_keyboard_interrupt_at_import_passes(fake_distributions: Any, make_host: MakeHost) -> None:
    """Ctrl-C during an import ends the command, and blames no plugin."""
    fake_distributions.add("acme", "raise KeyboardInterrupt", sinks={"acme": "Sink"})
    host = make_host()
    with pytest.raises(KeyboardInterrupt):
        host.load("sinks", "acme")
    assert only(host).state is PluginState.AVAILABLE


def test_a_failed_plugin_is_not_imported_again(fake_distributions: Any, make_host: MakeHost) -> None:
    """One host tries a broken plugin once; its side effects do not pile up."""
    fake_distributions.add("acme", "raise SystemExit(3)", sinks={"acme": "Sink"})
    (plugin,) = fake_distributions.plugins
    host = make_host()
    seen = []
    for _ in range(3):
        with pytest.raises(PluginError):
            host.load("sinks", "acme")
        seen.append(plugin.was_imported())
        plugin.forget_import()
    assert seen == [True, False, False]


def test_an_api_from_the_future_is_incompatible(fake_distributions: Any, make_host: MakeHost) -> None:
    """A plugin for later contracts is told apart from a broken one."""
    fake_distributions.add("acme", SINK + "\nSink.api = 99", sinks={"acme": "Sink"})
    host = make_host()
    with pytest.raises(PluginError, match="upgrade longshore-core"):
        host.load("sinks", "acme")
    assert only(host).state is PluginState.INCOMPATIBLE


@pytest.mark.parametrize(
    ("policy", "requires", "state", "words"),
    [
        ({"disable": ["acme"]}, [], "disabled", 'disable lists "acme"'),
        ({"allow": ["other"]}, [], "disabled", "allow does not list acme"),
        ({}, ["longshore-core>=99"], "incompatible", "it wants longshore-core>=99"),
    ],
)
def test_what_policy_refuses_is_never_imported(
    fake_distributions: Any, make_host: MakeHost, policy: Any, requires: list[str], state: str, words: str
) -> None:
    """A refused plugin is refused by name too, with the reason, and no line of it runs."""
    fake_distributions.add("acme", SINK, requires=requires, sinks={"acme": "Sink"})
    with pytest.raises(PluginError, match=words) as caught:
        make_host(**policy).load("sinks", "acme")
    assert caught.value.facts["state"] == state
    assert fake_distributions.imported() == set()


def test_a_conflict_names_both_and_prefer_breaks_it(fake_distributions: Any, make_host: MakeHost) -> None:
    """Two distributions with one name: neither is used until the user has chosen, then that one is."""
    fake_distributions.add("one", SINK, sinks={"acme": "Sink"})
    fake_distributions.add("two", SINK, sinks={"acme": "Sink"})
    with pytest.raises(PluginError, match="one and two both claim this name"):
        make_host().load("sinks", "acme")
    assert fake_distributions.imported() == set()
    host = make_host(prefer={"acme": "two"})
    assert host.load("sinks", "acme").__module__ == "tmp_two"
    assert [each.state.value for each in host.candidates()] == ["disabled", "loaded"]


@pytest.mark.parametrize(("value", "loads"), [("1", False), ("0", True), ("", True)])
def test_the_environment_can_switch_loading_off(
    fake_distributions: Any, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch, value: str, loads: bool
) -> None:
    """With LONGSHORE_DISABLE_PLUGIN_AUTOLOAD=1 nothing is loaded but what the allow-list names."""
    fake_distributions.add("acme", SINK, sinks={"acme": "Sink"})
    monkeypatch.setenv("LONGSHORE_DISABLE_PLUGIN_AUTOLOAD", value)
    assert (only(make_host()).state is PluginState.AVAILABLE) is loads
    assert make_host(allow=["acme"]).load("sinks", "acme")


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("executors", "ray", "there is no executor named 'ray' installed: pip install longshore-ray"),
        ("sinks", "acmee", "did you mean 'acme'?"),
        ("sinks", "dashbord", "did you mean 'dashboard' (pip install longshore-dashboard)?"),
        ("probes", "acme", "but there is a sink of this name"),
        ("sinks", "zzz", "(installed: acme)"),
        ("journals", "zzz", "(no journal is installed)"),
        ("sink", "acme", "there is no kind of plugin 'sink': did you mean sinks?"),
    ],
)
def test_an_unknown_name_says_what_to_try(
    fake_distributions: Any, make_host: MakeHost, kind: str, name: str, words: str
) -> None:
    """The error for a name nobody provides says what to install, or what was meant."""
    fake_distributions.add("acme", SINK, sinks={"acme": "Sink"})
    with pytest.raises(PluginError) as caught:
        make_host().load(kind, name)
    assert words in str(caught.value)


def test_settings_are_validated_and_given_to_the_class() -> None:
    """A class with `Settings` gets an instance of it, made from its own table."""
    host = plugin_host(sinks={"acme": WithSettings})
    sink = host.create("sinks", "acme", {"path": "events.jsonl", "kind": "y"})
    assert (sink.settings.path, sink.settings.size, sink.settings.kind_of) == ("events.jsonl", 1, "y")


@pytest.mark.parametrize(
    ("table", "key", "words"),
    [
        ({}, "path", "Field required"),
        ({"path": "x", "size": 0}, "size", "greater than or equal to 1"),
        ({"path": "x", "sizes": 3}, "sizes", "no such setting; did you mean size?"),
        ({"path": "x", "qqq": 3}, "qqq", "it has kind, path, size"),
    ],
)
def test_a_wrong_setting_names_table_key_and_plugin(table: dict[str, Any], key: str, words: str) -> None:
    """An error in a plugin's table names the table, the key and the distribution."""
    with pytest.raises(SettingsError) as caught:
        plugin_host(sinks={"acme": WithSettings}).create("sinks", "acme", table)
    text = str(caught.value)
    assert text.startswith(f"[tool.longshore.sinks.acme] {key}: ")
    assert words in text
    assert "sink acme (handed-to-the-test 0)" in text
    assert (caught.value.facts["table"], caught.value.facts["key"]) == ("sinks.acme", key)


def test_an_error_in_settings_does_not_show_the_value() -> None:
    """What is in a table may be a secret."""
    with pytest.raises(SettingsError) as caught:
        plugin_host(sinks={"acme": WithSettings}).create("sinks", "acme", {"path": "x", "size": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_table_for_a_class_without_settings_is_an_error() -> None:
    """Settings that would be dropped in silence are refused; an empty table is none."""
    host = plugin_host(sinks={"acme": RecordingSink})
    assert host.create("sinks", "acme", {})
    with pytest.raises(SettingsError, match="path: this plugin has no settings"):
        host.create("sinks", "acme", {"path": "x"})


def test_a_constructor_that_raises_is_the_plugins_fault() -> None:
    """Even SystemExit from a constructor becomes an error that names the plugin."""

    class Picky(RecordingSink):
        def __init__(self) -> None:
            raise SystemExit("not today")

    with pytest.raises(
        PluginError, match=r"sink acme \(handed-to-the-test 0\) could not be made: SystemExit: not today"
    ):
        plugin_host(sinks={"acme": Picky}).create("sinks", "acme")


@pytest.mark.requirement("req:K03")
def test_an_instance_without_its_attributes_is_refused() -> None:
    """What the pool would stumble over later is found when the plugin is made."""

    class Bare:
        @hookimpl
        def read(self, request: Any) -> Any: ...

    with pytest.raises(PluginError, match="attribute resources is missing; attribute period_s is missing"):
        plugin_host(probes={"acme": Bare}).create("probes", "acme")


def test_a_quarantined_plugin_is_made_no_more(fake_distributions: Any, make_host: MakeHost) -> None:
    """After quarantine the plugin is refused with the reason, in listings too."""
    fake_distributions.add("acme", SINK, sinks={"acme": "Sink"})
    host = make_host()
    host.create("sinks", "acme")
    host.quarantine("sinks", "acme", "it raised 5 times in a row")
    with pytest.raises(PluginError, match="it is quarantined: it raised 5 times in a row"):
        host.create("sinks", "acme")
    assert only(host).state is PluginState.QUARANTINED


def test_the_last_failure_is_shown_until_it_loads_or_changes_version(
    fake_distributions: Any, make_host: MakeHost, tmp_path: Path
) -> None:
    """A later listing tells of the last failure without importing; success or an upgrade clears it."""
    fake_distributions.add("acme", "raise SystemExit(3)", sinks={"acme": "Sink"})
    (plugin,) = fake_distributions.plugins
    with pytest.raises(PluginError):
        make_host().load("sinks", "acme")
    later = only(make_host())
    assert later.state is PluginState.AVAILABLE
    assert later.reason == "(last failure: its import raised SystemExit: 3)"
    plugin.path.write_text(SINK + "\n# mended, of another length")
    assert make_host().load("sinks", "acme")
    assert only(make_host()).reason == ""
    assert json.loads((tmp_path / "state" / "failures.json").read_text()) == {}


def test_the_record_is_kept_in_the_platforms_state_folder(
    fake_distributions: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to itself, a host records failures where later commands find them; told None, nowhere."""
    monkeypatch.setattr("longshore.plugins.platformdirs.user_state_path", lambda *_, **__: tmp_path / "home")
    fake_distributions.add("acme", "raise SystemExit(3)", sinks={"acme": "Sink"})
    for failures, kept in (({"failures": None}, False), ({}, True)):
        with pytest.raises(PluginError):
            PluginHost(distributions=fake_distributions, **failures).load("sinks", "acme")
        assert failures_path().exists() is kept


@pytest.mark.requirement("req:K09")
def test_hooks_are_made_by_name_and_quarantined_in_the_host(fake_distributions: Any, make_host: MakeHost) -> None:
    """A pool's hooks are the listed ones, in that order; the host learns of the one that kept failing."""
    fake_distributions.add("acme", HOOK, hooks={"good": "Hook", "raises": "Raises", "unlisted": "Hook"})
    host = make_host()
    hooks = host.hooks(["raises", "good", "good"])
    for _ in range(6):
        assert hooks.route(object()) == "threads"  # type: ignore[arg-type]
    states = {each.name: each.state.value for each in host.candidates("hooks")}
    assert states == {"good": "loaded", "raises": "quarantined", "unlisted": "available"}
    assert hooks.errors == {"raises": 5}


def test_no_hooks_listed_means_none_loaded(fake_distributions: Any, make_host: MakeHost) -> None:
    """Installing a hook is not enough: only listed ones run."""
    fake_distributions.add("acme", HOOK, hooks={"good": "Hook"})
    assert not make_host().hooks([]).active
    assert fake_distributions.imported() == set()


def test_problems_in_metadata_are_told(fake_distributions: Any, make_host: MakeHost) -> None:
    """An entry point under a misspelt group would never be found; the host says so."""
    fake_distributions.add("acme", SINK, sink={"acme": "Sink"})
    (problem,) = make_host().problems()
    assert "did you mean longshore.sinks?" in problem
