"""The records of this room: what is installed (Fact), what becomes of it (Candidate), how a check went (CheckResult).

`facts.py` makes facts, `policy.py` turns each into a candidate, `load.py` gives candidates their next state.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class PluginState(StrEnum):
    """What became of a candidate; only an available or loaded one can be used."""

    AVAILABLE = "available"
    LOADED = "loaded"
    DISABLED = "disabled"
    CONFLICT = "conflict"
    INCOMPATIBLE = "incompatible"
    FAILED = "failed"
    QUARANTINED = "quarantined"


class Fact(Struct, frozen=True, kw_only=True, order=True):
    """One entry point as its distribution declares it; ordered by kind, name and distribution."""

    kind: str
    name: str
    distribution: str
    version: str
    value: str
    """The entry point's text, such as "package.module:Class"."""
    requires: tuple[str, ...] = ()
    """The distribution's `Requires-Dist` lines."""


class Candidate(Struct, frozen=True, kw_only=True):
    """A plugin that could be used, or why it can't: known without importing it."""

    kind: str
    name: str
    distribution: str
    version: str
    value: str
    """The entry point's text, such as "package.module:Class"."""
    state: PluginState = PluginState.AVAILABLE
    reason: str = ""
    """Why it is in this state, in plain words; empty when there is nothing to say."""
    error: str | None = None
    """The traceback of what it raised, as text."""

    @property
    def label(self) -> str:
        """Name the plugin in a message, with where it comes from."""
        return f"{self.kind.removesuffix('s')} {self.name} ({self.distribution} {self.version})"


class CheckResult(Struct, frozen=True, kw_only=True):
    """How a plugin fared when it was loaded in a process of its own."""

    kind: str
    name: str
    distribution: str
    version: str
    state: PluginState
    reason: str = ""
    error: str | None = None
    load_ms: float | None = None
    """Milliseconds its import took; None when it was not imported, or did not come back."""
    warnings: tuple[str, ...] = ()
    """What its own files were warned of as deprecated while it was loaded and made."""

    @property
    def ok(self) -> bool:
        """Tell whether it can be used."""
        return self.state is PluginState.LOADED
