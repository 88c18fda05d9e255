"""The benchmark, as one command: our sides and the peers' of each row, interleaved, fresh processes.

    uv run --group bench python tests/bench/run.py
        [--rows 1,1b,4] [--small] [--rounds 5] [--python PATH] [--json FILE] [--markdown FILE]

Prints a table with floors, goals and verdicts; progress goes to standard error. The exit status is 0 when
every side ran, 1 when one failed: a verdict never changes it. `--python` measures with another interpreter,
one that has longshore and the peers installed; without it, with the one that runs this.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measure import Measured

PACKAGES = ("longshore-core", "anyio", "aiometer", "taskiq", "mpire", "joblib")
_ABOUT = """
import importlib.metadata as m, json, platform, sys
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
packages = {name: version(name) for name in sys.argv[1:]}
print(json.dumps([platform.python_version(), list(sys.version_info[:2]), packages]))
"""


def one(side: str, n: int) -> None:
    """Measure one side here and print its figure as a line of JSON."""
    measure = importlib.import_module(f"sides.{side}").measure
    gc.collect()
    figure = measure(n)
    value, extra = figure if isinstance(figure, tuple) else (figure, {})
    print(json.dumps({"side": side, "n": n, "value": value, "extra": extra}))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Measure longshore against its peers.")
    parser.add_argument("--rows", help="which rows, by key, such as 1,1b,4; all if left out")
    parser.add_argument("--small", action="store_true", help="few tasks: to see that it works, not to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", type=os.path.abspath, default=sys.executable, help="the interpreter, by its path")
    parser.add_argument(
        "--patience", type=float, default=20.0, help="seconds to wait before a round for a quiet machine"
    )
    parser.add_argument("--json", type=Path, dest="json_file")
    parser.add_argument("--markdown", type=Path, dest="markdown_file")
    parser.add_argument("--one", metavar="SIDE", help="measure one side in this process (what each round starts)")
    parser.add_argument("--n", type=int, default=2_000, help="with --one: how many tasks, for ours_idle seconds")
    return parser.parse_args(arguments)


def compare(options: argparse.Namespace) -> int:
    """Measure the wanted rows, print and write the report, and return the exit status."""
    from measure import measure_row  # not at the top: a round's process starts with nothing it can do without
    from report import as_json, lines, markdown
    from rows import ROWS

    keys = [row.key for row in ROWS]
    wanted = options.rows.split(",") if options.rows else keys
    if unknown := sorted(set(wanted) - set(keys)):
        print(f"no such row: {', '.join(unknown)}; there are {', '.join(keys)}", file=sys.stderr)
        return 2
    try:
        python, version, packages = _about(options.python)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{options.python} is no interpreter that runs: {error}", file=sys.stderr)
        return 2
    measured = []
    for row in (row for row in ROWS if row.key in wanted):
        n = row.small_n if options.small else row.n
        measured.append(
            measure_row(row, n, python=options.python, rounds=options.rounds, patience_s=options.patience, say=_say)
        )
    found = [line for each in measured for line in lines(each, version)]
    about = _facts(options, python, packages, measured)
    text = markdown(found, about)
    print(text)
    if options.markdown_file:
        options.markdown_file.write_text(text, encoding="utf-8")
    if options.json_file:
        options.json_file.write_text(json.dumps(as_json(found, measured, about), indent=1), encoding="utf-8")
    return 1 if "failed" in about else 0


def _facts(
    options: argparse.Namespace, python: str, packages: dict[str, str | None], measured: list[Measured]
) -> dict[str, Any]:  # Any: JSON-safe values
    from report import machine

    stray = [cores for each in measured for cores in each.stray_cores]
    small = " (small: to see that it works; the figures mean nothing)" if options.small else ""
    facts: dict[str, Any] = {  # Any: JSON-safe values
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": python,
        "packages": ", ".join(f"{name} {version or 'missing'}" for name, version in packages.items()),
        "rounds": f"{options.rounds}, interleaved, a fresh process each{small}",
        "foreign CPU before a round, cores": f"{max(stray):.2f} at most, {mean(stray):.2f} on average",
        "sinks": "sides named _sink have one that counts what it is told; the other sides of ours have none",
    }
    if told := {side: mean(parts) for each in measured for side, parts in each.told.items() if parts}:
        facts["events told, of all"] = ", ".join(f"{side} {part:.0%}" for side, part in told.items())
    if errors := {side: error for each in measured for side, error in each.errors.items()}:
        facts["failed"] = "; ".join(f"{side}: {error}" for side, error in errors.items())
    return facts


def _about(python: str) -> tuple[str, tuple[int, int], dict[str, str | None]]:
    done = subprocess.run([python, "-c", _ABOUT, *PACKAGES], capture_output=True, text=True, timeout=60, check=True)
    full, (major, minor), packages = json.loads(done.stdout)
    return full, (major, minor), packages


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run, and return the exit status."""
    options = parse(arguments)
    if options.one:
        one(options.one, options.n)
        return 0
    return compare(options)


if __name__ == "__main__":
    sys.exit(main())
