"""Plugins for one test: the host that knows only what it is handed, the distribution that is there for a while."""

from __future__ import annotations

import gc
import importlib
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from longshore import Settings, WorkerPool
from longshore.errors import PluginError
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.plugins import PluginHost, PluginPolicy
from longshore.testing import RecordingSink, ScriptedProbe, plugin_host, tmp_plugin

SINK = """
'Chats.'
from __future__ import annotations
from longshore.testing import RecordingSink

class ChatSink(RecordingSink):
    made: list[ChatSink] = []

    def __init__(self) -> None:
        super().__init__()
        self.made.append(self)
"""


def raise_from_a_test() -> None:
    raise ZeroDivisionError


def names(host: PluginHost) -> list[tuple[str, str]]:
    return [(candidate.kind, candidate.name) for candidate in host.candidates()]


# ---- the host


def test_a_host_knows_what_it_is_handed_and_nothing_else() -> None:
    """Whatever is installed here, a host without plugins has none, and one with some has those."""
    assert names(PluginHost(failures=None)) != []
    assert names(plugin_host()) == []
    host = plugin_host(sinks={"chat": RecordingSink}, probes={"chat": ScriptedProbe})
    assert names(host) == [("probes", "chat"), ("sinks", "chat")]
    with pytest.raises(PluginError, match="there is no probe named 'psutil' installed"):
        host.create("probes", "psutil")


def test_a_handed_class_may_stand_in_a_function() -> None:
    """The host gives the very class that it was handed, also one that nobody could import."""

    class Chat(RecordingSink):
        """Keeps what it is told."""

    host = plugin_host(sinks={"chat": Chat})
    assert host.load("sinks", "chat") is Chat
    assert type(host.create("sinks", "chat")) is Chat


def test_a_handed_class_is_held_against_its_contract() -> None:
    """It is refused as an installed one would be, with the same words."""

    class Chat:
        @hookimpl
        def open(self, run: Any) -> None: ...

        @hookimpl
        def on_event(self, batch: Sequence[AnyEvent]) -> None: ...

    with pytest.raises(
        PluginError, match=r"sink chat \(handed-to-the-test 0\) .*did you mean on_events.*close is missing"
    ):
        plugin_host(sinks={"chat": Chat}).create("sinks", "chat")


def test_a_host_keeps_to_the_policy() -> None:
    """A handed plugin can be disabled as an installed one can."""
    host = plugin_host(policy=PluginPolicy(disable=["chat"]), sinks={"chat": RecordingSink})
    with pytest.raises(PluginError, match='disable lists "chat"'):
        host.load("sinks", "chat")


def test_a_kind_that_there_is_not_is_refused() -> None:
    """A misspelt kind would hand over nothing."""
    with pytest.raises(ValueError, match=r"no kind of plugin 'sink', only executors, probes, sinks"):
        plugin_host(sink={"chat": RecordingSink})


def test_two_hosts_have_their_own_plugins() -> None:
    """The same name stands for another class in another host."""
    one, other = (
        plugin_host(sinks={"chat": RecordingSink}),
        plugin_host(sinks={"chat": type("C", (RecordingSink,), {})}),
    )
    assert one.load("sinks", "chat") is RecordingSink
    assert other.load("sinks", "chat") is not RecordingSink


def test_a_host_leaves_nothing_behind() -> None:
    """Once nobody has the host, the classes that it was handed are nowhere kept."""
    before, chat = set(sys.modules), type("Chat", (RecordingSink,), {})
    gone = weakref.ref(chat)
    host = plugin_host(sinks={"chat": chat})
    host.load("sinks", "chat")
    del host, chat
    gc.collect()
    assert set(sys.modules) - before == set()
    assert gone() is None


def test_a_host_serves_what_is_installed_for_a_while(tmp_path: Path) -> None:
    """Temporary distributions are handed over as they are; their neighbours on the path stay unknown."""
    with (
        tmp_plugin("acme", SINK, sinks={"chat": "ChatSink"}) as acme,
        tmp_plugin("other", SINK, sinks={"o": "ChatSink"}),
    ):
        host = plugin_host(acme, probes={"own": ScriptedProbe})
        assert names(host) == [("probes", "own"), ("sinks", "chat")]
        assert host.load("sinks", "chat").__module__ == acme.module


# ---- the distribution


def test_a_temporary_plugin_is_found_like_an_installed_one() -> None:
    """While it is there everybody finds it; nothing of it is imported until it is asked for; then it is gone."""
    path, modules = list(sys.path), set(sys.modules)
    with tmp_plugin("acme-chat", SINK, version="2.1", sinks={"chat": "ChatSink"}) as plugin:
        (found,) = [one for one in PluginHost(failures=None).candidates("sinks") if one.name == "chat"]
        assert (found.distribution, found.version) == ("acme-chat", "2.1")
        assert not plugin.was_imported()
        assert PluginHost(failures=None).load("sinks", "chat").__module__ == plugin.module
        assert plugin.was_imported()
    assert "chat" not in [one.name for one in PluginHost(failures=None).candidates("sinks")]
    assert sys.path == path
    assert {module for module in set(sys.modules) - modules if module.startswith("tmp_")} == set()
    assert not plugin.folder.exists()


@pytest.mark.anyio
@pytest.mark.usefixtures("deadline")
async def test_a_pool_uses_a_temporary_plugin_by_its_name() -> None:
    """Named in a call, it is made and told as any other sink."""
    with tmp_plugin("acme-chat", SINK, sinks={"chat": "ChatSink"}) as plugin:
        async with WorkerPool(settings=Settings(probes=()), sinks=["chat"]) as pool:
            assert [value async for value in pool.options(executor="inline").map(abs, [-1])] == [1]
        assert pool.summary is not None
        assert [sink.name for sink in pool.summary.snapshot.sinks] == ["chat"]
        (made,) = sys.modules[plugin.module].ChatSink.made
        assert len(made.of_type("task_completed")) == 1


def test_a_temporary_plugin_is_taken_away_after_a_failure() -> None:
    """What the test raises passes, and the plugin is gone all the same."""
    path = list(sys.path)

    with pytest.raises(ZeroDivisionError), tmp_plugin("acme", SINK, sinks={"chat": "ChatSink"}):
        raise_from_a_test()
    assert sys.path == path


def test_what_a_temporary_plugin_needs_is_in_its_metadata() -> None:
    """A plugin for another core is told to be incompatible."""
    with tmp_plugin("acme", SINK, requires=["longshore-core>=99"], sinks={"chat": "ChatSink"}) as plugin:
        with pytest.raises(PluginError, match="it wants longshore-core>=99"):
            plugin_host(plugin).load("sinks", "chat")
        assert not plugin.was_imported()


def test_that_a_plugin_was_imported_can_be_forgotten() -> None:
    """Once forgotten, it counts again only with the next import of its module, even of one that then fails."""
    with tmp_plugin("acme", "raise SystemExit(3)", sinks={"chat": "ChatSink"}) as plugin:
        for _ in range(2):
            with pytest.raises(PluginError):
                plugin_host(plugin).load("sinks", "chat")
            assert plugin.was_imported()
            plugin.forget_import()
        assert not plugin.was_imported()


@pytest.mark.parametrize(
    "code",
    [
        "from dataclasses import dataclass\n\n@dataclass\nclass ChatSink: ...",
        "@(lambda cls: cls)\nclass ChatSink: ...",
        "'''Several\nlines.'''\nfrom __future__ import (\n    annotations,\n)\nclass ChatSink: ...",
        "",
        "'only a text'",
        "from __future__ import annotations",
    ],
)
def test_any_code_can_be_that_of_a_plugin(code: str) -> None:
    """What has to stand first in a module does so, and its import is seen."""
    with tmp_plugin("acme", code, sinks={"chat": "ChatSink"}) as plugin:
        importlib.import_module(plugin.module)
        assert plugin.was_imported()


def test_code_that_cannot_be_parsed_fails_when_it_is_imported() -> None:
    """A plugin may be broken on purpose."""
    with (
        tmp_plugin("acme", "class", sinks={"chat": "ChatSink"}) as plugin,
        pytest.raises(PluginError, match="its import raised SyntaxError"),
    ):
        plugin_host(plugin).load("sinks", "chat")
