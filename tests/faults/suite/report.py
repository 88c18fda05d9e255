"""Verdicts as a table for the terminal, as JSON, and as the page of promises."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from suite.trying import Verdict

_APART = ("lost", "run_again", "recorded_twice", "bystanders", "orphans", "leaks", "hang", "detect_s", "recover_s")
_HEAD = """# Promises, and what they are tried with

Each row is a way in which things go wrong, done to real processes by

    {command}

which wrote this page. A scenario runs in a process of its own with a limit on its time: past it the verdict is "hang".
What tasks did is taken from what they wrote themselves, one synced line each, and compared with events and outcomes; at
the end nothing may be left: processes, threads, descriptors, temporary files, shared memory.

- **lost**: tasks without an outcome. **again**: attempts that were run more than once. **twice**: outcomes recorded
  more than once. **harmed**: tasks that were not at fault and gave no result, or a wrong one. **left**: processes 2 s
  after the end, and anything else that was not given back. All are to be 0.
- **found**, **back**: seconds from the fault to its outcome, and to the first task of the worker that came in its
  place, the longest there was.

{about}
"""
_NAMES = ("id", "what happens", "what is promised", "form", "lost", "again", "twice", "harmed", "left", "hang")
_COLUMNS = f"| {' | '.join((*_NAMES, 'found', 'back', 'more'))} |"


def line(verdict: Verdict) -> str:
    """Return a line for the terminal."""
    figures = " ".join(f"{name}={value}" for name, value in verdict.figures.items() if value not in (0, "no"))
    why = f"  <- {'; '.join(verdict.missed)}" if verdict.missed else ""
    return f"{verdict.id:<10} {verdict.verdict:<8} {verdict.took_s:7.1f} s  {verdict.title}: {figures}{why}"


def table(verdicts: Sequence[Verdict]) -> str:
    """Return all lines, and the sums."""
    kinds = ("kept", "missed", "hang", "failed", "skipped")
    sums = ", ".join(f"{sum(v.verdict == kind for v in verdicts)} {kind}" for kind in kinds)
    return "\n".join([*map(line, verdicts), sums])


def as_json(verdicts: Sequence[Verdict], about: dict[str, str]) -> dict[str, Any]:
    """Return everything, JSON-safe."""
    return {"about": about, "scenarios": [asdict(verdict) for verdict in verdicts]}


def earlier(path: Path) -> list[Verdict]:
    """Return the verdicts that are kept in a file."""
    return [Verdict(**facts) for facts in json.loads(path.read_text(encoding="utf-8"))["scenarios"]]


def page(verdicts: Sequence[Verdict], about: dict[str, str], command: str) -> str:
    """Return `docs/promises.md`."""
    facts = "\n".join(f"- {name}: {value}" for name, value in about.items())
    rows = [_row(verdict) for verdict in verdicts]
    rule = "|".join(["---"] * _COLUMNS.count(" | "))
    lines = [_HEAD.format(command=command, about=facts), _COLUMNS, f"|---|{rule}|", *rows, "", *_not_kept(verdicts)]
    return "\n".join(lines).rstrip() + "\n"


def machine() -> str:
    """Return what it ran on, in a few words."""
    return f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs"


def _row(verdict: Verdict) -> str:
    figures = verdict.figures
    left = sum(figures.get(name, 0) for name in ("orphans", "leaks"))
    cells = [figures.get(name, "") for name in ("lost", "run_again", "recorded_twice", "bystanders")]
    times = [figures.get(name, "") for name in ("detect_s", "recover_s")]
    more = ", ".join(f"{name} {value}" for name, value in figures.items() if name not in _APART)
    if verdict.verdict != "kept":
        cells, left, times, more = [""] * 4, "", ["", ""], f"**{verdict.verdict}**: {'; '.join(verdict.missed)}"
    row = [
        verdict.id,
        verdict.title,
        verdict.promise,
        verdict.form,
        *cells,
        left,
        figures.get("hang", ""),
        *times,
        more,
    ]
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |"


def _not_kept(verdicts: Sequence[Verdict]) -> Iterator[str]:
    wrong = [verdict.id for verdict in verdicts if verdict.verdict in ("missed", "hang", "failed")]
    if wrong:
        yield f"Not kept: {', '.join(wrong)}."
