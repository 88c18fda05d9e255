"""How far one controller goes: fleets that are computed, and parts that are measured, kept in docs/scaling.json.

    uv run python tests/bench/scaling.py --all          # all of it, an hour or so; each is kept as soon as it is there
    uv run python tests/bench/scaling.py --missing      # what is not there yet
    uv run python tests/bench/scaling.py --only commits --only controller
    uv run python tests/bench/scaling.py                # only writes the tables of docs/scaling.md anew

Each case is a process of its own. What the engine takes is CPU time: what else the machine does changes it little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from marks import Part
from surroundings import machine

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
FILE, PAGE = DOCS / "scaling.json", DOCS / "scaling.md"
Kept = dict[str, Any]  # Any: JSON-safe values, as the cases print them

DECISIONS: Mapping[str, str] = {
    "plain-1k": "--workers 1000 --tasks 1000000 --mix plain --ran-s 1",
    "plain-10k-100ms": "--workers 10000 --tasks 1000000 --mix plain --ran-s 0.1",
    "plain-10k-1s": "--workers 10000 --tasks 1000000 --mix plain --ran-s 1",
    "plain-10k-10s": "--workers 10000 --tasks 1000000 --mix plain --ran-s 10",
    "plain-10k-10m": "--workers 10000 --tasks 10000000 --mix plain --ran-s 1 --lose 5",
    "mixed-1k": "--workers 1000 --tasks 200000 --mix mixed",
    "mixed-10k": "--workers 10000 --tasks 120000 --mix mixed --lose 1",
}
LOSSES: Mapping[str, str] = {
    f"{'lost' if lose else 'kept'}-{workers}-{ran_s}s": (
        f"--workers {workers} --tasks {20 * workers} --mix plain --ran-s {ran_s} --lose {lose}"
    )
    for workers in (1000, 10_000)
    for ran_s in (10, 60)
    for lose in (0, 1)
}
PARTS = ("held", "commits", "controller")
_BUSY_SWEEP = ((1000, (0.1, 0.2, 0.3, 0.5, 1)), (10_000, (1, 2, 3, 5, 10)))
BUSY: Mapping[str, tuple[int, float]] = {
    f"busy-{workers}-{ran_s}s": (workers, ran_s) for workers, times in _BUSY_SWEEP for ran_s in times
}
CASES = (*PARTS, *DECISIONS, *LOSSES, *BUSY)
JOURNALLED = ("processes", True)


class Results:
    """The file of what was found, by case."""

    def __init__(self, file: Path) -> None:
        """Begin with what is there."""
        self._file = file
        self.cases: dict[str, Kept] = json.loads(file.read_text(encoding="utf-8"))["cases"] if file.exists() else {}

    def keep(self, name: str, found: Kept) -> None:
        """Put a case in its place, and write the file anew, whole or not at all."""
        self.cases[name] = found
        self.cases = {name: self.cases[name] for name in CASES if name in self.cases}
        new = self._file.with_name(f"{self._file.name}.new")
        new.write_text(json.dumps({"cases": self.cases}, indent=1) + "\n", encoding="utf-8")
        os.replace(new, self._file)


def command_of(name: str, cases: Mapping[str, Kept]) -> list[str]:
    """Return what measures a case; KeyError where that needs a figure of another case which is not there."""
    if name in PARTS:
        return [str(HERE / "scaling_parts.py"), name]
    if name in BUSY:
        workers, ran_s = BUSY[name]
        options = f"--workers {workers} --tasks {10 * workers} --mix plain --ran-s {ran_s} "
        options += f"--controller-us {task_us(cases):.0f}"
    else:
        options = {**DECISIONS, **LOSSES}[name]
    return [str(HERE / "fleet.py"), *options.split(), "--json"]


def task_us(cases: Mapping[str, Kept]) -> float:
    """Return what a task costs the controller, with process workers and the journal."""
    lines = cases["controller"]["lines"]
    return float(next(line["cpu_us_per_task"] for line in lines if (line["executor"], line["journal"]) == JOURNALLED))


def measure(name: str, cases: Mapping[str, Kept]) -> Kept:
    """Measure a case, and say when and on what."""
    command = command_of(name, cases)
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True)
    about = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": sys.version.split()[0],
        "command": " ".join([Path(command[0]).name, *command[1:]]),
    }
    return {"about": about, **json.loads(done.stdout)}


# ---- the tables of the page


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _s(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def decisions(cases: Mapping[str, Kept]) -> str:
    """Return the table of what the engine decides, and at what price."""
    heads = ("workers", "tasks", "mix", "lost", "starts a CPU second", "us a start", "CPU in all")
    heads += ("a task waits: median", "p99", "peak of the process")
    rows = [
        (
            f"{found['workers']:,}",
            f"{found['tasks']:,}",
            "mixed" if found["ran_s"] is None else f"plain, {_s(found['ran_s'])}",
            f"{found['lose']} x 5 %" if found["lose"] else "",
            f"{found['starts_per_cpu_s']:,.0f}",
            f"{found['engine_us_per_task']:.0f}",
            f"{found['decide_cpu_s']:.0f} s",
            _s(found["queued"]["median_s"]),
            _s(found["queued"]["p99_s"]),
            f"{found['process_peak_mb']:.0f} MB",
        )
        for found in (cases[name] for name in DECISIONS if name in cases)
    ]
    return _table(heads, rows)


def losses(cases: Mapping[str, Kept]) -> str:
    """Return the table of what a lost twentieth of the workers costs."""
    heads = ("workers", "a task", "work in vain", "of all work", "the run", "with the loss", "longer by")
    rows = []
    for name in LOSSES:
        kept = cases.get(name.replace("lost", "kept", 1))
        if name in cases and kept is not None and name.startswith("lost"):
            lost, busy_s = cases[name], sum(cases[name]["busy_s"].values())
            longer_s = lost["makespan_s"] - kept["makespan_s"]
            rows.append(
                (
                    f"{lost['workers']:,}",
                    _s(lost["ran_s"]),
                    f"{lost['lost_s']:,.0f} s",
                    f"{lost['lost_s'] / busy_s:.2%}",
                    f"{kept['makespan_s']:.0f} s",
                    f"{lost['makespan_s']:.0f} s",
                    f"{longer_s:.1f} s",
                )
            )
    return _table(heads, rows)


def busy(cases: Mapping[str, Kept]) -> str:
    """Return the table of how busy workers are where the controller's own time counts."""
    heads = ("workers", "a task", "tasks a second that they could do", "a worker waits: median", "p99", "it works")
    rows = [
        (
            f"{found['workers']:,}",
            _s(found["ran_s"]),
            f"{found['workers'] / found['ran_s']:,.0f}",
            _s(found["idle"]["median_s"]),
            _s(found["idle"]["p99_s"]),
            f"{found['ran_s'] / (found['ran_s'] + found['idle']['mean_s']):.0%} of the time",
        )
        for found in (cases[name] for name in BUSY if name in cases)
    ]
    return _table(heads, rows)


def journal(cases: Mapping[str, Kept]) -> str:
    """Return the table of what the journal takes."""
    heads = ("durability", "tasks a commit", "recorded of each", "commits a second", "tasks a second", "CPU a task")
    rows = [
        (
            line["durability"],
            f"{line['rows']:,}",
            "its end" if line["notes"] == 1 else "that it is there, began, ended",
            f"{line['commits_per_s']:,.0f}",
            f"{line['tasks_per_s']:,.0f}",
            f"{line['cpu_us_per_task']:.0f} us",
        )
        for line in cases["commits"]["lines"]
    ]
    return _table(heads, rows)


def parts(cases: Mapping[str, Kept]) -> str:
    """Return the table of what a whole controller takes."""
    held, pool = cases["held"], cases["controller"]
    rows = [
        ("a task that waits in the engine", f"{held['bytes_waiting']:.0f} bytes"),
        ("a task that runs, in the engine", f"{held['bytes_running']:.0f} bytes"),
    ]
    for line in pool["lines"]:
        kept = "with" if line["journal"] else "without"
        name = f"a task of {_s(pool['ran_s'])} on {line['workers']:,} {line['executor']} workers, {kept} journal"
        rows.append((name, f"{line['cpu_us_per_task']:.0f} us of CPU in the controller"))
    return _table(("what", "costs"), rows)


def about(cases: Mapping[str, Kept]) -> str:
    """Return when and on what all was measured, a fact a line."""
    told = [found["about"] for found in cases.values()]
    taken = sorted(one["taken"] for one in told)
    facts = {"taken": f"{taken[0]} to {taken[-1]}"}
    for name in ("machine", "python"):
        facts[name] = "; or ".join(dict.fromkeys(one[name] for one in told))
    facts["disk of the journal"] = cases["commits"]["file_system"]
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


TABLES = {"about": about, "decisions": decisions, "losses": losses, "busy": busy, "journal": journal, "parts": parts}


def write(cases: Mapping[str, Kept], page: Path = PAGE) -> None:
    """Put the tables into the page."""
    for name, table in TABLES.items():
        Part(page, name).write(table(cases))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, and write the page."""
    parser = argparse.ArgumentParser(description="How far one controller goes.")
    parser.add_argument("--all", action="store_true", help="measure all cases")
    parser.add_argument("--missing", action="store_true", help="measure those that are not in the file")
    parser.add_argument("--only", action="append", choices=CASES, default=[], help="measure this one")
    given = parser.parse_args(arguments)
    results = Results(FILE)
    wanted = CASES if given.all else [name for name in CASES if given.missing and name not in results.cases]
    for name in given.only or wanted:
        print(name, file=sys.stderr, flush=True)
        results.keep(name, measure(name, results.cases))
    write(results.cases)
    return 0


if __name__ == "__main__":
    sys.exit(main())
