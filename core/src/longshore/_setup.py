"""What a run is done with, as views show it: settings without their secrets, plugins, versions.

Made when it is asked for: by the pool for a run that goes on, by the command line for a recorded one.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from typing import Any

from longshore._faults import is_secret
from longshore._plugins.facts import CORE, core_version
from longshore.plugins import PluginHost, PluginState
from longshore.records import PluginEntry, RunSetup, SettingEntry
from longshore.settings import Settings, leaves

_MISSING = object()
_HIDDEN = "********"
_THERE = (PluginState.AVAILABLE, PluginState.LOADED)


def setup_of(settings: Settings, host: PluginHost) -> RunSetup:
    """Return what a run with these settings is done with; reads what is installed, and imports nothing."""
    plugins = [
        PluginEntry(
            kind=one.kind,
            name=one.name,
            distribution=one.distribution,
            version=one.version,
            state=one.state.value,
            reason=one.reason,
        )
        for one in host.candidates()
    ]
    return RunSetup(plugins=plugins, settings=entries(settings.model_dump(mode="json")), versions=versions_of(host))


def versions_of(host: PluginHost) -> dict[str, str]:
    """Return the versions of Python, of ours, and of the distributions of all plugins that are not disabled."""
    plugins = {one.distribution: one.version for one in host.candidates() if one.state in _THERE}
    return {"python": platform.python_version(), CORE: core_version() or "unknown", **dict(sorted(plugins.items()))}


def chosen(table: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON-safe values
    """Return what of settings is not as it comes."""
    return _differing(table, Settings().model_dump(mode="json"))


def _differing(table: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:  # Any: as above
    found: dict[str, Any] = {}  # Any: as above
    for name, value in table.items():
        default = usual.get(name, _MISSING)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            inner = _differing(value, default)
            if inner:
                found[name] = inner
        elif value != default:
            found[name] = value
    return found


def without_secrets(table: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON-safe values
    """Return settings with what looks like a secret hidden, in lists too, for whatever keeps or shows them."""
    return {key: _without(value, is_secret(key)) for key, value in table.items()}


def _without(value: Any, secret: bool) -> Any:  # Any: as above
    if isinstance(value, Mapping):
        return without_secrets(value)
    if isinstance(value, list):
        return [_without(one, secret) for one in value]
    return _HIDDEN if secret and isinstance(value, str) else value


def recorded_setup(
    settings: Mapping[str, Any],  # Any: JSON-safe values
    versions: Mapping[str, str],
) -> RunSetup:
    """Return what a recorded run was done with, as far as its record says."""
    return RunSetup(settings=entries(settings), versions=dict(versions))


def entries(table: Mapping[str, Any]) -> list[SettingEntry]:  # Any: JSON-safe values
    """Return settings by their keys, each beside whether it is as it comes."""
    defaults = dict(values(Settings().model_dump(mode="json")))
    return [
        SettingEntry(key=key, value=value, origin="default" if defaults.get(key, _MISSING) == value else "set")
        for key, value in values(table)
    ]


def values(table: Mapping[str, Any]) -> Iterator[tuple[str, object]]:  # Any: JSON-safe values
    """Yield each value by its dotted key; what looks like a secret is hidden."""
    for key in leaves(table):
        value: Any = table  # Any: as above
        for name in key:
            value = value[name]
        secret = isinstance(value, str) and is_secret(key[-1])
        yield ".".join(key), _HIDDEN if secret else value
