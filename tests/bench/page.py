"""The measured part of a page, made of the results: for each Python the facts, the table, and what misses its floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from report import Line, table
from results import Record, as_line


def markdown(records: Mapping[str, Record]) -> str:
    """Return the facts and the table of the rows of one Python."""
    found = [as_line(line) for kept in records.values() for line in kept["lines"]]
    return "\n".join([*facts(list(records.values())), "", *table(found), ""])


def facts(records: Sequence[Record]) -> list[str]:
    """Return what was measured where and when, one fact a line; several values where the rows differ."""
    stray = [cores for kept in records for cores in kept["foreign_cores"]]
    told: dict[str, str] = {}
    taken = sorted({kept["about"]["taken"] for kept in records})
    told["taken"] = " to ".join(dict.fromkeys((taken[0], taken[-1])))
    for name in ("machine", "python", "packages", "rounds"):
        told[name] = "; or ".join(dict.fromkeys(str(kept["about"][name]) for kept in records))
    if stray:
        told["foreign CPU before a round, cores"] = f"{max(stray):.2f} at most, {mean(stray):.2f} on average"
    told["sinks"] = "sides named _sink have one that counts what it is told; the other sides of ours have none"
    parts = {side: extra["told"] for kept in records for side, extra in kept["extras"].items() if "told" in extra}
    if parts:
        told["events told, of all"] = ", ".join(f"{side} {mean(values):.0%}" for side, values in parts.items())
    errors = {side: error for kept in records for side, error in kept["errors"].items()}
    if errors:
        told["failed"] = "; ".join(f"{side}: {error}" for side, error in errors.items())
    return [f"- {name}: {value}" for name, value in told.items()]


def section(runs: Mapping[str, Mapping[str, Record]]) -> str:
    """Return the whole measured part, a section for each Python."""
    parts = []
    for python, records in runs.items():
        parts += [f"### Python {python}", "", markdown(records)]
        missed = [as_line(line) for kept in records.values() for line in kept["lines"]]
        parts += [*_missed([line for line in missed if line.verdict == "missed"]), ""]
    return "\n".join(parts)


def _missed(missed: Sequence[Line]) -> list[str]:
    if not missed:
        return ["No figure is below its floor."]
    return ["Below the floor: " + "; ".join(f"row {line.row}, {line.ours}, {line.against}" for line in missed) + "."]
