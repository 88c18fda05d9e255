"""The benchmark, as one command: our sides and the peers' of each row, interleaved, fresh processes.

    uv run --group bench python tests/bench/run.py
        [--rows 1,1b,4 | --all | --missing] [--small] [--rounds 5] [--python 3.13 | --python PATH]
        [--json FILE] [--markdown FILE] [--write PAGE [--no-measuring]]
    uv run --group bench python tests/bench/run.py --profile ROW

Prints a table with floors, goals and verdicts; progress goes to standard error. The exit status is 0 when every side
ran that is installed, 1 when one failed: a verdict never changes it. `--json` keeps each row as soon as it is measured,
in the place of what the file had for it; `--missing` goes on with those it has not. `--write` makes the measured part
of a page of that file (the page's name with `.json`, where none is named). `--python` measures with another
interpreter: one that has longshore and the peers installed, or a version, for which an environment is made.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinds import Row
    from surroundings import Python


def one(side: str, n: int) -> None:
    """Measure one side here and print its figures as a line of JSON; "module:word" gives `measure` a word more."""
    module, *words = side.split(":")
    measure = importlib.import_module(f"sides.{module}").measure
    gc.collect()
    figure = measure(n, *words)
    value, extra = figure if isinstance(figure, tuple) else (figure, {})
    print(json.dumps({"side": side, "n": n, "value": value, "extra": extra}))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Measure longshore against its peers.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--rows", help="which rows, by key, such as 1,1b,4; all if left out")
    which.add_argument("--all", action="store_true", help="all rows, as when nothing is said")
    which.add_argument("--missing", action="store_true", help="the rows that the file of --json does not have yet")
    which.add_argument("--no-measuring", action="store_true", help="with --write: only write the page")
    which.add_argument("--profile", metavar="ROW", help="instead: where the time goes in our first side of this row")
    parser.add_argument("--small", action="store_true", help="few tasks: to see that it works, not to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", default=sys.executable, help="an interpreter's path, or a version such as 3.13")
    parser.add_argument(
        "--patience", type=float, default=20.0, help="seconds to wait before a round for a quiet machine"
    )
    parser.add_argument("--json", type=Path, dest="json_file")
    parser.add_argument("--markdown", type=Path, dest="markdown_file")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="such as docs/benchmarks.md")
    parser.add_argument("--one", metavar="SIDE", help="measure one side in this process (what each round starts)")
    parser.add_argument("--n", type=int, help="how many tasks, in place of the row's own number")
    options = parser.parse_args(arguments)
    if options.json_file is None and options.write is not None:
        options.json_file = options.write.with_suffix(".json")
    return options


def compare(options: argparse.Namespace) -> int:
    """Measure the wanted rows, print and write the report, and return the exit status."""
    from marks import Part  # not at the top: a round's process starts with nothing it can do without
    from page import markdown, section
    from results import Results
    from surroundings import about, python

    try:
        part = Part(options.write, "measured") if options.write else None
        results, other = Results(options.json_file), python(options.python)
        wanted = _wanted(options, set(results.runs.get(other.short, {})))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 2
    for row in wanted:
        results.keep(other.short, row.key, _measured(row, options, other, about(options, other)))
    kept = results.runs.get(other.short, {})
    shown = {key: kept[key] for key in kept if key in {row.key for row in wanted}}
    if shown:
        text = markdown(shown)
        print(text)
        if options.markdown_file:
            options.markdown_file.write_text(text, encoding="utf-8")
    if part is not None:
        part.write(section(results.runs))
    return 1 if any(record["errors"] for record in shown.values()) else 0


def _wanted(options: argparse.Namespace, kept: set[str]) -> list[Row]:
    """Return the rows to measure; ValueError names one there is not."""
    from rows import ROWS

    if options.no_measuring:
        return []
    if options.missing:
        return [row for row in ROWS if row.key not in kept]
    keys = [row.key for row in ROWS]
    asked = options.rows.split(",") if options.rows else keys
    if unknown := sorted(set(asked) - set(keys)):
        raise ValueError(f"no such row: {', '.join(unknown)}; there are {', '.join(keys)}")
    return [row for row in ROWS if row.key in asked]


def _measured(row: Row, options: argparse.Namespace, other: Python, facts: dict[str, str]) -> dict[str, object]:
    from measure import measure_row
    from results import record

    measured = measure_row(
        row,
        options.n or (row.small_n if options.small else row.n),
        python=other.path,
        packages=other.packages,
        rounds=options.rounds,
        patience_s=options.patience,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    return record(measured, other.version, facts)


def profile(options: argparse.Namespace) -> int:
    """Print where the time goes in our first side of a row, and return the exit status."""
    from rows import ROWS
    from sampling import profiled

    row = next((row for row in ROWS if row.key == options.profile), None)
    if row is None or not row.ours:
        print(f"no such row to profile: {options.profile}", file=sys.stderr)
        return 2
    print(profiled(row.ours[0], options.n or (row.small_n if options.small else row.n)))
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run, and return the exit status."""
    options = parse(arguments)
    if options.one:
        one(options.one, options.n or 2_000)
        return 0
    return profile(options) if options.profile else compare(options)


if __name__ == "__main__":
    sys.exit(main())
