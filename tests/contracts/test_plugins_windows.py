"""The window of contract versions that each kind of plugin has: which plugins are taken, and who is to be upgraded."""

from __future__ import annotations

import pytest
from longshore._plugins import contract
from longshore._plugins.contract import unsupported_api
from longshore.hookspecs import API, KINDS, ApiWindow

WINDOWS = {kind: ApiWindow(1, 2) if kind == "sinks" else ApiWindow(1, 1) for kind in KINDS}


@pytest.mark.parametrize(
    ("kind", "api", "said"),
    [
        (
            "sinks",
            0,
            "it is written for version 0 of the sink contract, and this core takes plugins from 1 on: upgrade acme",
        ),
        ("sinks", 1, None),
        ("sinks", 2, None),
        ("sinks", 3, "it needs version 3 of the sink contract, and this core has 2: upgrade longshore-core"),
        ("hooks", 2, "it needs version 2 of the hook contract, and this core has 1: upgrade longshore-core"),
        ("hooks", 1, None),
    ],
)
def test_a_plugin_is_taken_within_the_window_of_its_kind(
    kind: str, api: int, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`api` is the lowest version that a plugin needs, of its own kind; the reason says which side to upgrade."""
    monkeypatch.setattr(contract, "API", WINDOWS)
    assert unsupported_api(kind, type("Plugin", (), {"api": api}), "acme") == said


def test_each_kind_has_a_window() -> None:
    """No kind is left out, and none has a floor above its current version."""
    assert set(API) == set(KINDS)
    assert all(1 <= window.floor <= window.current for window in API.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_without_api_needs_the_first_version(kind: str) -> None:
    """`api` may be left out while the first version is taken."""
    assert unsupported_api(kind, type("Plugin", (), {}), "acme") is None
