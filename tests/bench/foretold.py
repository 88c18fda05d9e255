"""How near `longshore simulate` comes: runs with few workers foretell runs with more, which are done as well.

    uv run python tests/bench/foretold.py                                # all jobs, three times, a table on stdout
    uv run python tests/bench/foretold.py --only waits --rounds 1
    uv run python tests/bench/foretold.py --only waits --write docs/how-to/simulate.md

Each job is done by the command, with a journal, on each number of workers in turn. The first of them foretells the
others. `mix` uses CPU in processes, from 1 ms to some 400 ms an input; `waits` sleeps in threads, where CPUs matter
little; `documents` is the pipeline over a folder of documents, the example documents where none is named.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from marks import Part

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "docs/examples/documents"


def waits(path: str) -> int:
    """Sleep for as many milliseconds as the name of the input says."""
    time.sleep(_ms(path) / 1000.0)
    return 1


def burns(path: str) -> int:
    """Use the CPU for as many milliseconds as the name of the input says."""
    until = time.thread_time() + _ms(path) / 1000.0
    rounds = 0
    while time.thread_time() < until:
        rounds += 1
    return rounds


def _ms(path: str) -> float:
    return float(Path(path).stem.partition("-")[2])


class Job(NamedTuple):
    """What is run, on how many workers; the first number foretells the others."""

    target: str
    executor: str
    workers: tuple[int, ...]
    inputs: int = 0
    mean_ms: float = 0.0
    """Of the times that the inputs take; 0 for documents."""


JOBS = {
    "documents": Job("documents", "processes", (1, 2)),
    "mix": Job("foretold:burns", "processes", (1, 2), 240, 40.0),
    "waits": Job("foretold:waits", "threads", (4, 16, 64), 480, 250.0),
}


class Line(NamedTuple):
    """A run that was foretold, and done."""

    job: str
    known: int
    workers: int
    real_s: float
    told_s: float

    @property
    def error(self) -> float:
        """By how much it was foretold too long, as a fraction; below 0 for too short."""
        return self.told_s / self.real_s - 1.0


def make_inputs(folder: Path, job: Job, seed: int) -> Path:
    """Make the inputs of a job, whose names say what each takes; most are short, and some long."""
    inputs = folder / "inputs"
    inputs.mkdir()
    dice = random.Random(seed)
    for number in range(job.inputs):
        ms = min(10 * job.mean_ms, max(1.0, dice.lognormvariate(0.0, 1.0) * job.mean_ms / 1.65))  # e ** 0.5
        (inputs / f"{number:04}-{ms:.2f}.txt").touch()
    return inputs


def command(folder: Path, *arguments: str) -> str:
    """Run the command in a folder, and return what it printed; CalledProcessError where it could not."""
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    line = [sys.executable, "-m", "longshore", *arguments]
    done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: some inputs failed, as some documents of a corpus are to
        raise subprocess.CalledProcessError(done.returncode, line, done.stdout, done.stderr)
    return done.stdout


def run(folder: Path, job: Job, inputs: Path, workers: int) -> str:
    """Do a job on so many workers; return the journal it is recorded in."""
    journal = folder / f"runs-{workers}"
    options = ["--executor", job.executor, "--workers", str(workers), "--journal", str(journal), "--progress", "none"]
    # Without probes: that others use the machine is not what is foretold, and would hold tasks back.
    command(folder, "run", job.target, str(inputs), "-o", f"out-{workers}.jsonl", "--set", "probes=[]", *options)
    return str(journal)


def simulated(folder: Path, journal: str, workers: Sequence[int]) -> Mapping[str, Any]:  # Any: as the command has it
    """Return what `longshore simulate` says of the run in a journal."""
    more = [part for count in workers for part in ("--workers", str(count))]
    found: dict[str, Any] = json.loads(command(folder, "simulate", "last", "--journal", journal, "--json", *more))
    return found


def lines(name: str, seed: int, corpus: Path) -> Iterator[Line]:
    """Do a job on each number of workers, and yield what the first foretold of each; of itself too."""
    job = JOBS[name]
    with TemporaryDirectory() as place:
        folder = Path(place)
        inputs = make_inputs(folder, job, seed) if job.inputs else corpus
        journals = {workers: run(folder, job, inputs, workers) for workers in job.workers}
        known, *_ = job.workers
        foretold = simulated(folder, journals[known], job.workers)["simulated"]
        for (workers, journal), told in zip(journals.items(), foretold, strict=True):
            real = simulated(folder, journal, [workers])["recorded"]
            yield Line(name, known, workers, real["took_s"], told["took_s"])


def table(found: Sequence[Line]) -> str:
    """Return the lines as a table: medians, and the range of the errors."""
    rows = [
        "| job | known from | foretold for | took | foretold | off by | in all rounds |",
        "|---|---|---|---|---|---|---|",
    ]
    for job, known, workers in dict.fromkeys((one.job, one.known, one.workers) for one in found):
        own = [one for one in found if (one.job, one.workers) == (job, workers)]
        errors = [one.error for one in own]
        real_s, told_s = median(one.real_s for one in own), median(one.told_s for one in own)
        rows.append(
            f"| {job} | {known} {JOBS[job].executor} | {workers} | {real_s:.1f} s | {told_s:.1f} s | "
            f"{median(errors):+.0%} | {min(errors):+.0%} to {max(errors):+.0%} |"
        )
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked for, and print the table."""
    parser = argparse.ArgumentParser(description="How near `longshore simulate` comes.")
    parser.add_argument("--only", action="append", choices=JOBS, help="this job")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corpus", type=Path, default=EXAMPLES, help="a folder of documents")
    parser.add_argument("--json", type=Path, dest="json_file", help="keep what was found there, beside what is there")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table of all that is kept into this page")
    given = parser.parse_args(arguments)
    names = given.only or list(JOBS)
    found = [
        line for turn in range(given.rounds) for name in names for line in lines(name, turn, given.corpus.resolve())
    ]
    if given.json_file is not None:
        kept = [Line(*one) for one in json.loads(given.json_file.read_text())] if given.json_file.exists() else []
        found = kept + found
        given.json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))
    if given.write is not None:
        Part(given.write, "foretold").write(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
