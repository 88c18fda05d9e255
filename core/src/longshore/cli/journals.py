"""Which journal a command uses and where it is; and which of the recorded runs somebody means."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from longshore.cli.console import UsageError, line, say
from longshore.hookspecs import Archive, Journal
from longshore.plugins import PluginHost, PluginState
from longshore.records import RunRecord
from longshore.settings import Settings, load_settings

LAST: Final = "last"
"""Means the run that was begun last."""
_DEFAULT: Final = "sqlite"
_USABLE = (PluginState.AVAILABLE, PluginState.LOADED)


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """A journal by its name, with its options."""

    name: str
    table: Mapping[str, Any] = field(default_factory=dict)  # Any: the journal's own options
    asked: bool = False
    """Whether somebody named it; what is only a default may be missing."""
    path: str | None = None
    """The place that the command line names."""

    @property
    def option(self) -> str:
        """What names the same place on another command line, with a blank before it; empty for the usual one."""
        return "" if self.path is None else f" --journal {shlex.quote(self.path)}"

    def make(self, host: PluginHost) -> Journal:
        """Make the journal; PluginError or SettingsError say why it can't be."""
        journal: Journal = host.create("journals", self.name, self.table)
        return journal


def journal_for_run(settings: Settings, host: PluginHost, path: str | None, *, off: bool) -> JournalPlace | None:
    """Return the journal of a run; None where it is to have none, or has none as nothing that could be is installed."""
    if off and path is not None:
        raise UsageError("--journal and --no-journal: give one of them")
    if off or (settings.journal is False and path is None):
        return None
    place = _place(settings, path)
    if place.asked:
        return place
    states = [each.state for each in host.candidates("journals") if each.name == place.name]
    if any(state in _USABLE for state in states):
        return place
    say(
        f"note: nothing is recorded: the journal {place.name} is not installed or not usable: "
        f"pip install longshore-{place.name}"
    )
    return None


def open_archive(path: str | None) -> tuple[Archive, JournalPlace]:
    """Return a reader of all recorded runs, and where they are.

    PluginError if no such journal is installed; UsageError if the command line names a place that is not there.
    """
    settings = load_settings().settings
    place = _place(settings, path)
    if place.path is not None and not os.path.exists(place.path):
        raise UsageError(f"no run is recorded in {line(place.path)}: it is not there; see what --journal says")
    return place.make(PluginHost(settings.plugins)).archive(), place


def find_run(archive: Archive, name: str) -> RunRecord:
    """Return the run that a whole id, the beginning of one or "last" means; UsageError if that is not just one."""
    runs = archive.runs()
    if name == LAST:
        found = [run for run in runs if run.state != DAMAGED][:1]
    else:
        whole = [run for run in runs if run.run_id == name]
        found = whole or [run for run in runs if name and run.run_id.startswith(name)]
    if not found:
        raise UsageError(_unfound(runs, name))
    if len(found) > 1:
        shown = ", ".join(run.run_id for run in found[:4]) + (", ..." if len(found) > 4 else "")
        raise UsageError(f"{name} is the beginning of {len(found)} runs: {shown}")
    return found[0] if found[0].state != DAMAGED else archive.run(found[0].run_id)  # which raises what is wrong


def _unfound(runs: Sequence[RunRecord], name: str) -> str:
    """Return why none of the runs is meant."""
    if not runs:
        return "no run is recorded: `longshore run` records its runs"
    if name != LAST:
        return f"there is no run {name}: `longshore runs list` names those that there are"
    those = "the one run that is recorded is" if len(runs) == 1 else f"all {len(runs)} runs that are recorded are"
    return f"{those} damaged: `longshore runs show {runs[0].run_id}` says how, `longshore runs list` names them"


DAMAGED: Final = "damaged"
INTERRUPTED: Final = "interrupted"


def state_of(run: RunRecord) -> str:
    """Return a run's state as it is now: one that is recorded as running and that nobody holds was interrupted."""
    return INTERRUPTED if run.state == "running" and not run.held else run.state


def _place(settings: Settings, path: str | None) -> JournalPlace:
    name = settings.journal or _DEFAULT
    table = settings.table("journals", name)
    if path is None:
        return JournalPlace(name, table, asked=bool(settings.journal))
    place = os.path.abspath(os.path.expanduser(path))
    return JournalPlace(name, {**table, "path": place}, asked=True, path=place)
