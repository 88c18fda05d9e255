"""The fault suite, as one command: every scenario of the catalogue, each in a process of its own.

    uv run python tests/faults/run.py                # the short form: what CI runs
        [--long] [--only K6,S1] [--jobs 2] [--seed 7] [--python PATH] [--also PATH] [--corpus FOLDER]
        [--json FILE] [--after FILE] [--promises FILE]

A line per scenario as it ends, then a table. The exit status is 1 when any missed what it promises, hung, or broke.
`--long` takes long, and writes `docs/promises.md` when nothing is left out; what an earlier run has found, by its JSON,
need not be tried again: `--only K6 --after earlier.json`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from suite.cgroups import clear_stale
from suite.one import load, try_one
from suite.report import as_json, earlier, line, machine, page, table
from suite.trying import Verdict, try_all

ROOT = Path(__file__).parents[2]
PROMISES = ROOT / "docs/promises.md"
LONG = "uv run --group bench python tests/faults/run.py --long"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Try what longshore promises.")
    parser.add_argument("--long", action="store_true", help="more of everything; takes most of an hour")
    parser.add_argument("--only", help="which scenarios, by id, such as K6,S1; all if left out")
    parser.add_argument("--jobs", type=int, help="how many at a time: 2 in the short form, 1 in the long one")
    parser.add_argument("--seed", type=int, default=1, help="what all dice begin with")
    parser.add_argument("--python", type=os.path.abspath, default=sys.executable, help="the interpreter, by its path")
    parser.add_argument(
        "--corpus", type=Path, help="the folder of documents for CORPUS40; else found beside the checkout"
    )
    parser.add_argument(
        "--also", type=os.path.abspath, action="append", help="another interpreter, for the table FIRST"
    )
    parser.add_argument("--json", type=Path, dest="json_file")
    parser.add_argument("--after", type=Path, help="the JSON of an earlier run, for what is not tried now")
    parser.add_argument("--promises", type=Path, help="where to write the page; docs/promises.md with --long")
    parser.add_argument("--one", metavar="ID", help="try one in this process and folder (what each is started with)")
    parser.add_argument("--verdict", type=Path, help="with --one: where to write what came of it")
    return parser.parse_args(arguments)


def compare(options: argparse.Namespace) -> int:
    """Try what is wanted, tell, write, and return the exit status."""
    scenarios = load()
    wanted = options.only.split(",") if options.only else list(scenarios)
    if unknown := sorted(set(wanted) - set(scenarios)):
        print(f"no such scenario: {', '.join(unknown)}; there are {', '.join(scenarios)}", file=sys.stderr)
        return 2
    if options.corpus is not None:
        os.environ["FAULTS_CORPUS"] = str(options.corpus.absolute())
    os.environ["FAULTS_ALSO"] = os.pathsep.join(options.also or ())
    chosen = [scenarios[name] for name in wanted if options.only or options.long or scenarios[name].short_s is not None]
    jobs = options.jobs or (1 if options.long else 2)
    print(f"{len(chosen)} scenarios, seed {options.seed}, {jobs} at a time", file=sys.stderr, flush=True)
    found = {verdict.id: verdict for verdict in earlier(options.after)} if options.after else {}

    def take(count: str, verdict: Verdict) -> None:
        _say(count, verdict)
        found[verdict.id] = verdict
        _write(options, [found[name] for name in scenarios if name in found], whole=len(found) == len(scenarios))

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _clear()
    try:
        tried = try_all(chosen, options, jobs, take)
    finally:
        _clear()
    print(table([found[name] for name in scenarios if name in found]))
    return 1 if any(verdict.verdict in ("missed", "hang", "failed") for verdict in tried) else 0


def _clear() -> None:
    for name in clear_stale():
        print(f"removed the cgroup {name}, which a scenario that was killed had left", file=sys.stderr, flush=True)


def _write(options: argparse.Namespace, verdicts: list[Verdict], *, whole: bool) -> None:
    about = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "longshore": importlib.metadata.version("longshore-core"),
        "machine": machine(),
        "python": sys.version.split()[0],
        "seed": str(options.seed),
    }
    target = options.promises or (PROMISES if options.long and whole else None)
    if target is not None:
        target.write_text(page(verdicts, about, LONG), encoding="utf-8")
    if options.json_file:
        options.json_file.write_text(json.dumps(as_json(verdicts, about), indent=1), encoding="utf-8")


def _say(count: str, verdict: Verdict) -> None:
    print(f"[{count}] {line(verdict)}", file=sys.stderr, flush=True)
    if verdict.verdict in ("missed", "hang", "failed"):
        for note in verdict.notes:
            print(f"        {note}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run, and return the exit status."""
    options = parse(arguments)
    if options.one:
        try_one(options.one, long=options.long, seed=options.seed, verdict=options.verdict.absolute())
    return compare(options)


if __name__ == "__main__":
    sys.exit(main())
