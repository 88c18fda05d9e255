"""What every plugin keeps, of whatever kind: the suites of all kinds inherit it, and pytest runs it with theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from longshore._plugins.contract import class_problems, instance_problems, unsupported_api
from longshore.testing.conformance._held import Held

MakePlugin = Callable[[], Any]  # Any: a plugin of whatever kind


class PluginConformance:
    """A suite for one kind. It names the kind; its fixture `make_plugin` returns what the kind's own fixture does."""

    kind: ClassVar[str]
    """The kind as in `longshore.hookspecs.KINDS`, such as "sinks"."""
    patience_s: float = 10.0
    """How long a test waits for what is bound to come; raise it for what is far away, or slow."""

    @pytest.fixture
    def make_plugin(self) -> MakePlugin:
        """Return what makes a fresh plugin; the suite of each kind has this fixture of its own."""
        raise NotImplementedError(f"the suite of {self.kind} lacks its fixture make_plugin")

    def test_has_the_methods_of_its_kind(self, make_plugin: MakePlugin) -> None:
        """Each method of the contract is there, marked with @hookimpl, async or not as it must be."""
        plugin = make_plugin()
        problems = class_problems(self.kind, type(plugin)) + instance_problems(self.kind, plugin)
        assert not problems, f"{_named(plugin)} does not keep the contract of {self.kind}: {'; '.join(problems)}"

    def test_speaks_a_version_of_the_contracts(self, make_plugin: MakePlugin) -> None:
        """The `api` of its class, 1 where there is none, is a version that this core speaks."""
        plugin = make_plugin()
        problem = unsupported_api(self.kind, type(plugin), "the plugin")
        assert problem is None, f"{_named(plugin)}.api: {problem}"

    def test_takes_nothing_when_it_is_made(self, make_plugin: MakePlugin) -> None:
        """A constructor keeps its settings and does nothing else: no thread, no process, no open file."""
        make_plugin()  # what is loaded only once is no plugin's own
        before = Held.now()
        plugin = make_plugin()
        began = before.new_threads(0.0)
        assert not began, (
            f"making {_named(plugin)} started threads: {began}; the first method that is called may do that"
        )
        opened = before.new_files(0.0)
        assert not opened, f"making {_named(plugin)} opened {opened}; checking a plugin makes one, and never closes it"


def raised(call: Callable[[], object]) -> BaseException | None:
    """Call, and return what that raised."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and the test says what it should
        return error
    return None


def _named(plugin: object) -> str:
    return type(plugin).__qualname__
