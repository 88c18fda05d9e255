"""The plugins of this environment: what is there, what may be used, and using it by name.

Facts, then the user's policy, then the import, then the contract (docs/decisions/0003-plugin-hosting.md). Listing
imports no plugin; one is imported when it is asked for by name, and a broken one costs only itself.
"""

from __future__ import annotations

import importlib.metadata
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import Distribution
from pathlib import Path
from types import EllipsisType
from typing import Any, Final

import platformdirs
from msgspec.structs import replace

from longshore._plugins.advice import nearest, unknown_plugin
from longshore._plugins.check import TRIED, check
from longshore._plugins.facts import Facts, core_version, normalised, read_facts
from longshore._plugins.failures import FailureFile
from longshore._plugins.hooks import HookCaller
from longshore._plugins.load import load_class
from longshore._plugins.make import Table, facts, make
from longshore._plugins.policy import PluginPolicy, decide, strange_names
from longshore._plugins.records import Candidate, CheckResult, PluginState
from longshore._plugins.timing import LoadTime, load_time
from longshore.errors import PluginError
from longshore.hookspecs import KINDS

AUTOLOAD_VARIABLE: Final = "LONGSHORE_DISABLE_PLUGIN_AUTOLOAD"
"""Set to 1 in the environment, nothing is loaded but what the policy's `allow` lists."""

_USABLE = (PluginState.AVAILABLE, PluginState.LOADED)


def failures_path() -> Path:
    """Return where the last failures of plugins are kept: in the platform's state folder."""
    return platformdirs.user_state_path("longshore", appauthor=False) / "plugin-failures.json"


class PluginHost:
    """Finds, guards and makes plugins under one policy; every method may be called from any thread.

    What is installed is read once, on first use, so a host sees what was there then. A plugin that failed to load stays
    failed for this host: it is not imported a second time.
    """

    def __init__(
        self,
        policy: PluginPolicy | None = None,
        *,
        distributions: Callable[[], Iterable[Distribution]] | None = None,
        failures: Path | EllipsisType | None = ...,
    ) -> None:
        """Read nothing yet. `failures` is the file of last failures: `failures_path()` if left out; None keeps none."""
        self._policy = PluginPolicy() if policy is None else policy
        self._distributions = distributions or importlib.metadata.distributions
        self._failures = FailureFile(failures_path() if isinstance(failures, EllipsisType) else failures)
        self._lock = threading.RLock()
        self._facts: Facts | None = None
        self._known: list[Candidate] = []
        self._classes: dict[tuple[str, str], type[Any]] = {}  # Any: plugins of every kind

    def candidates(self, kind: str | None = None) -> list[Candidate]:
        """Return every plugin of this kind, or of all, with state and reason, sorted; imports nothing."""
        failures = self._failures.read()
        shown = []
        for candidate in self._all(kind):
            last = self._failures.reason(candidate, failures)
            if last and candidate.state is PluginState.AVAILABLE:
                candidate = replace(candidate, reason=f"(last failure: {last})")
            shown.append(candidate)
        return shown

    def of_distribution(self, distribution: str) -> list[Candidate]:
        """Return every plugin of an installed distribution, as `candidates` does; empty where it has none."""
        wanted = normalised(distribution)
        return [candidate for candidate in self.candidates() if normalised(candidate.distribution) == wanted]

    def problems(self) -> list[str]:
        """Return a line for each distribution or entry point whose metadata could not be used; imports nothing.

        Also one for each name in the policy that nothing installed has.
        """
        with self._lock:
            facts = self._read()
        return [*facts.problems, *strange_names(self._policy, facts.plugins)]

    def load(self, kind: str, name: str) -> type[Any]:  # Any: a plugin's class, of whatever kind
        """Return the plugin's class, imported and checked against its contract; PluginError says why it can't be."""
        with self._lock:
            cls = self._classes.get((kind, name))
            if cls is not None:
                return cls
            cls, candidate = load_class(self._usable(kind, name))
            self._remember(candidate)
            if cls is None:
                self._failures.record(candidate)
                raise _refusal(candidate)
            self._failures.clear(candidate)
            self._classes[kind, name] = cls
            return cls

    def create(self, kind: str, name: str, table: Table | None = None) -> Any:  # Any: a plugin of whatever kind
        """Return a new instance, made with its own settings from the table; each call makes another.

        SettingsError names the table and the key at fault; PluginError says what is wrong with the plugin.
        """
        with self._lock:
            cls = self.load(kind, name)
            candidate = self._named(kind, name)
        return make(cls, candidate, table or {})

    def quarantine(self, kind: str, name: str, reason: str) -> None:
        """Load and make this plugin no more: it kept failing, as the reason says. Instances in use are the caller's."""
        with self._lock:
            candidate = replace(self._named(kind, name), state=PluginState.QUARANTINED, reason=reason)
            self._classes.pop((kind, name), None)
            self._remember(candidate)
            self._failures.record(candidate)

    def check(self, kind: str | None = None, name: str | None = None, *, deadline_s: float = 30.0) -> list[CheckResult]:
        """Load each of these plugins in a process of its own, at most `deadline_s` each, and say how it fared.

        The results are sorted as `candidates` are; those the policy stops are not tried. A class is also made when
        it needs no settings, so that its attributes are seen.
        """
        chosen = [candidate for candidate in self._all(kind) if name in (None, candidate.name)]
        if name is not None and not chosen:
            raise self._unknown(kind, name)
        results = check(chosen, deadline_s=deadline_s)
        for candidate, result in zip(chosen, results, strict=True):
            if candidate.state in TRIED:
                tried = replace(candidate, state=result.state, reason=result.reason)
                (self._failures.clear if result.ok else self._failures.record)(tried)
        return results

    def load_time(self, kind: str, name: str, budget_ms: float = 50.0) -> LoadTime | None:
        """Return how long the plugin's class takes to load in a fresh process, beyond a pool; None if it can't be.

        Of one over the budget it is also said what in it takes longest.
        """
        return load_time(self._usable(kind, name), budget_ms)

    def hooks(self, names: Iterable[str], tables: Mapping[str, Table] | None = None) -> HookCaller:
        """Return a caller for these hooks, each made with its table; raises as `create` does for one that can't be."""
        given = tables or {}
        made = [(name, self.create("hooks", name, given.get(name))) for name in dict.fromkeys(names)]
        return HookCaller(made, quarantine=lambda name, reason: self.quarantine("hooks", name, reason))

    def _read(self) -> Facts:
        if self._facts is None:
            self._facts = read_facts(self._distributions())
            # the environment is read here, in the front: the policy is pure
            autoload = os.environ.get(AUTOLOAD_VARIABLE, "") in ("", "0")
            self._known = decide(self._facts.plugins, self._policy, core_version=core_version(), autoload=autoload)
        return self._facts

    def _all(self, kind: str | None = None) -> list[Candidate]:
        if kind is not None and kind not in KINDS:
            near = nearest(kind, KINDS)
            raise PluginError(
                f"there is no kind of plugin {kind!r}: " + (f"did you mean {near}?" if near else ", ".join(KINDS))
            )
        with self._lock:
            self._read()
            return [candidate for candidate in self._known if kind in (None, candidate.kind)]

    def _named(self, kind: str, name: str) -> Candidate:
        """Return the candidate a name stands for: the usable one, else one that says why there is none."""
        found = [candidate for candidate in self._all(kind) if candidate.name == name]
        if not found:
            raise self._unknown(kind, name)
        # of several, all but one may be disabled by `prefer`: the one left says what there is to say
        return min(found, key=lambda candidate: candidate.state is PluginState.DISABLED)

    def _usable(self, kind: str, name: str) -> Candidate:
        candidate = self._named(kind, name)
        if candidate.state not in _USABLE:
            raise _refusal(candidate)
        return candidate

    def _remember(self, changed: Candidate) -> None:
        place = (changed.kind, changed.name, changed.distribution)
        self._known = [changed if (each.kind, each.name, each.distribution) == place else each for each in self._known]

    def _unknown(self, kind: str | None, name: str) -> PluginError:
        installed = [(candidate.kind, candidate.name) for candidate in self._all()]
        return PluginError(unknown_plugin(kind, name, installed), kind=kind, name=name, reason="unknown")


def _refusal(candidate: Candidate) -> PluginError:
    said = facts(candidate, reason=candidate.reason)
    return PluginError(
        f"{candidate.label} cannot be used, it is {_STATES[candidate.state]}: {candidate.reason}", **said
    )


_STATES: Final = {
    PluginState.AVAILABLE: "available",
    PluginState.LOADED: "loaded",
    PluginState.DISABLED: "disabled",
    PluginState.CONFLICT: "in conflict",
    PluginState.INCOMPATIBLE: "incompatible",
    PluginState.FAILED: "broken",
    PluginState.QUARANTINED: "quarantined",
}


__all__ = [
    "AUTOLOAD_VARIABLE",
    "Candidate",
    "CheckResult",
    "HookCaller",
    "LoadTime",
    "PluginHost",
    "PluginPolicy",
    "PluginState",
    "failures_path",
]
