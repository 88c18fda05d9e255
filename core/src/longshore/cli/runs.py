"""`longshore runs`: what is recorded of earlier runs, and doing away with it. Nothing but `prune` writes."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from longshore._report.untasked import read_failed_inputs
from longshore._run_end import read_end
from longshore.cli.console import ExitCode, UsageError, safe, say, show, show_json, show_table
from longshore.cli.journals import DAMAGED, INTERRUPTED, find_run, open_archive, state_of
from longshore.cli.options import JournalPath, Json, RunName
from longshore.cli.recorded import CommandRecord, read_command
from longshore.errors import JournalError
from longshore.hookspecs import Archive
from longshore.records import RunRecord

STATES = ("running", INTERRUPTED, "completed", "stopped", "failed", DAMAGED)
StateName = Literal["interrupted", "completed", "stopped", "failed", "damaged"] | str
"""Those that a shell offers: all but that of a run that goes on."""
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def list_(*, journal: JournalPath = None, json: Json = False) -> int:
    """List the recorded runs, the newest first, with what became of their tasks.

    A run is `running` while a process has it, `interrupted` where that process was killed or the machine went down.
    For example: `longshore runs list`, `longshore runs list --json`
    """
    archive, _ = open_archive(journal)
    runs = archive.runs()
    if json:
        show_json([_facts(archive, run) for run in runs])
        return ExitCode.OK if runs else ExitCode.NOTHING
    if not runs:
        say("longshore: no run is recorded")
        return ExitCode.NOTHING
    rows = [(run.run_id, run.name, state_of(run), _moment(run.started), _counts(archive, run)) for run in runs]
    show_table(("RUN", "WHAT", "STATE", "STARTED", "TASKS"), rows)
    return ExitCode.OK


def show_(run: RunName, /, *, journal: JournalPath = None, json: Json = False) -> int:
    """Tell all that is recorded of one run.

    For example: `longshore runs show last`
    """
    archive, place = open_archive(journal)
    record = find_run(archive, run)
    facts = {**_facts(archive, record), "versions": dict(record.versions), "settings": dict(record.settings)}
    if json:
        show_json(facts)
        return ExitCode.OK
    del facts["settings"]
    told = {**facts, "started": _moment(record.started), "tasks": _counts(archive, record), "counts": None}
    told["ended"] = _moment(record.ended) if record.ended is not None else None
    told["command"] = shlex.join(record.command)
    told["versions"] = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    told["to go on"] = f"longshore resume {record.run_id}{place.option}" if facts["inputs"] is not None else None
    for name, value in told.items():
        if value not in (None, "", False):
            show(safe(f"{name + ':':12}{value}"))
    return ExitCode.OK


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which runs are to go."""

    before: float | None
    keep: int | None
    states: Sequence[str]

    def of(self, runs: Sequence[RunRecord]) -> Iterator[RunRecord]:
        """Yield those of all runs, the newest first, that every condition that is given names."""
        for place, run in enumerate(runs):
            old = self.before is None or (run.ended or run.started) < self.before
            beyond = self.keep is None or place >= self.keep
            if old and beyond and self._of_state(run):
                yield run

    def _of_state(self, run: RunRecord) -> bool:
        state = state_of(run)
        return state in self.states if self.states else state != DAMAGED


def prune(
    *,
    older_than: Annotated[
        str | None, Parameter(help="Runs that ended, or began where no end is recorded, so long ago: `30d`, `12h`.")
    ] = None,
    keep: Annotated[int | None, Parameter(help="All but so many, the newest: `--keep 20`.")] = None,
    state: Annotated[
        tuple[StateName, ...],
        Parameter(
            negative=(),
            show_default=False,
            show_choices=False,
            help=f"Runs of this state, may be repeated: {', '.join(STATES[1:])}.",
        ),
    ] = (),
    dry_run: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Name the runs that would go, and keep them.")
    ] = False,
    journal: JournalPath = None,
    json: Json = False,
) -> int:
    """Delete recorded runs with all that belongs to them: those that every condition given names.

    A run that a process has is never deleted, and a damaged one only by `--state damaged`.
    For example: `longshore runs prune --older-than 30d --dry-run`, `longshore runs prune --keep 20 --state completed`
    """
    chosen = _chosen(older_than, keep, state)
    archive, _ = open_archive(journal)
    gone, kept = _remove(archive, list(chosen.of(archive.runs())), dry_run=dry_run)
    for run_id, why in kept.items():
        say(f"note: run {run_id} is kept: {why}")
    if json:
        show_json({"removed": gone, "kept": kept, "dry_run": dry_run})
    else:
        for run_id in gone:
            show(run_id)
        say(f"longshore: {len(gone)} runs {'would be' if dry_run else 'were'} deleted")
    return ExitCode.SOME_FAILED if any(why != _HELD for why in kept.values()) else ExitCode.OK


def _chosen(older_than: str | None, keep: int | None, states: Sequence[str]) -> _Chosen:
    """Return what was asked for; UsageError where it can't be meant."""
    if older_than is None and keep is None and not states:
        raise UsageError("which runs? Give --older-than 30d, --keep 20 or --state completed, or several of them")
    if keep is not None and keep < 0:
        raise UsageError(f"--keep {keep}: it cannot be less than 0")
    for name in states:
        if name not in STATES[1:]:
            raise UsageError(f"--state {name}: it is one of {', '.join(STATES[1:])}")
    return _Chosen(None if older_than is None else time.time() - _seconds(older_than), keep, states)


_HELD = "a process has it"


def _remove(archive: Archive, runs: Sequence[RunRecord], *, dry_run: bool) -> tuple[list[str], dict[str, str]]:
    """Remove runs, and return which are gone, and why others are not."""
    gone: list[str] = []
    kept: dict[str, str] = {}
    for run in runs:
        if run.held:
            kept[run.run_id] = _HELD
            continue
        try:
            if not dry_run:
                archive.remove(run.run_id)
        except JournalError as error:
            kept[run.run_id] = _HELD if error.facts.get("reason") == "held" else str(error)
        else:
            gone.append(run.run_id)
    return gone, kept


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if found is None:
        raise UsageError(f"--older-than {text}: give a number and a unit: 90s, 45m, 12h, 30d or 4w")
    return float(found[1]) * _UNITS[found[2]]


def _facts(archive: Archive, run: RunRecord) -> dict[str, Any]:  # Any: JSON-safe values
    """Return what is recorded of a run, JSON-safe."""
    command = _command(archive, run)
    return {
        "run": run.run_id,
        "what": run.name,
        "state": state_of(run),
        "started": _stamp(run.started),
        "ended": _stamp(run.ended),
        "begun": run.generation,
        "host": run.host,
        "pid": run.pid,
        "tasks": sum(run.counts.values()),
        "counts": dict(run.counts),
        "failed_inputs": _failed_inputs(archive, run),
        "inputs": command.inputs if command is not None else None,
        "folder": command.folder if command is not None else None,
        "output": command.output if command is not None else None,
        "command": list(run.command),
        "reason": _reason(archive, run),
    }


def _command(archive: Archive, run: RunRecord) -> CommandRecord | None:
    with suppress(JournalError):
        return read_command(archive, run.run_id)
    return None


def _reason(archive: Archive, run: RunRecord) -> str | None:
    """Return what is wrong with a run that is damaged, and why one has failed."""
    if run.state == DAMAGED:
        try:
            archive.run(run.run_id)
        except JournalError as error:
            return str(error)
        return None
    with suppress(JournalError):
        return read_end(archive, run).error
    return None


def _counts(archive: Archive, run: RunRecord) -> str:
    """Return in words what became of a run's tasks, and how many inputs failed though no task of theirs did."""
    told = [f"{count} {state.replace('_', ' ')}" for state, count in sorted(run.counts.items())]
    failed = _failed_inputs(archive, run)
    if failed:
        told.append(f"{failed} input{'' if failed == 1 else 's'} failed outside of tasks")
    return ", ".join(told)


def _failed_inputs(archive: Archive, run: RunRecord) -> int:
    with suppress(JournalError):
        return len(read_failed_inputs(archive, run.run_id))
    return 0


def _moment(at: float | None) -> str:
    return "" if not at else datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _stamp(at: float | None) -> str | None:
    return None if not at else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
