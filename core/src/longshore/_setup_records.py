"""The records of what a run is done with: its settings, the plugins there are, and versions.

Used by `records`, from where everybody has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct


class PluginEntry(Struct, frozen=True, kw_only=True):
    """A plugin that is installed, and what became of it."""

    kind: str
    name: str
    distribution: str
    version: str
    state: str
    """As `PluginState` has it: "loaded" for one in use, "available" for one that could be."""
    reason: str = ""


class SettingEntry(Struct, frozen=True, kw_only=True):
    """One setting by its dotted key."""

    key: str
    value: Any  # Any: JSON-safe values
    """What looks like a secret by its name is hidden."""
    origin: str
    """"default", or "set" where somebody did."""


class RunSetup(Struct, frozen=True, kw_only=True):
    """What a run is done with, for people to look at."""

    plugins: Sequence[PluginEntry] = ()
    """Sorted by kind and name; empty for a recorded run."""
    settings: Sequence[SettingEntry] = ()
    versions: Mapping[str, str] = {}
