"""Runs of the command that are killed at any moment, and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from scenarios.bulk import corpus
from suite.registry import scenario
from suite.trial import Trial

EXAMPLES = Path(__file__).parents[3] / "docs/examples/documents"
LIMIT_S = 400.0


class _Command:
    """`longshore`, with what it records in a folder of the trial's own."""

    def __init__(self, trial: Trial) -> None:
        self._folder = trial.folder
        self._recorded = False
        self._environ = {**os.environ, "XDG_STATE_HOME": str(trial.folder / "state")}

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Begin, in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "longshore", *words],
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, names: bytes, *words: str) -> int:
        """Run to the end, and return the exit code."""
        with self.start(*words) as process:
            process.communicate(names, timeout=LIMIT_S)
            return process.returncode

    def is_recorded(self) -> bool:
        """Tell whether there is a run to go on with."""
        self._recorded = self._recorded or self.run(b"", "runs", "show", "last") == 0
        return self._recorded


def _killed(command: _Command, names: bytes, words: tuple[str, ...], after_s: float) -> bool:
    """Begin, kill the command so long after that, and tell whether it was still there."""
    with command.start(*words) as process:
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(names)
            process.stdin.close()
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)  # it alone: its workers have to find out
            process.wait(30)
            return True
    return False


@scenario(
    "CORPUSJ",
    "a corpus, its run killed ten times at random moments and gone on with",
    "the same lines as of a run that nobody disturbed, one an input",
    short_s=60.0,
    long_s=900.0,
)
def corpusj(trial: Trial) -> None:
    """Three times on the documents of the docs in the short form."""
    paths = corpus() if trial.long else sorted(str(path) for path in EXAMPLES.rglob("*") if path.is_file())
    names = b"".join(os.fsencode(path) + b"\n" for path in paths)
    begin = ("run", "documents", "-", "--workers", "2", "--progress", "none", "--timeout", "120", "-o")
    command = _Command(trial)
    began = time.monotonic()
    code = command.run(names, *begin, "clean.jsonl", "--no-journal")
    clean_s = time.monotonic() - began
    kills = trial.pick(3, 10)
    while trial.figures.get("kills", 0) < kills and trial.figures.get("ends", 0) < kills:
        words = ("resume", "last") if command.is_recorded() else (*begin, "out.jsonl")
        was_there = _killed(command, names, words, trial.dice.uniform(0.2, 1.0) * clean_s / trial.pick(1, 4))
        trial.add("kills" if was_there else "ends")
    trial.expect(command.run(b"", "resume", "last") == code, f"the last time did not end with {code}")
    clean, resumed = ((trial.folder / name).read_bytes().splitlines() for name in ("clean.jsonl", "out.jsonl"))
    trial.tell("tasks", len(paths))
    trial.add("lost", len(set(clean) - set(resumed)))
    trial.add("recorded_twice", len(resumed) - len(set(resumed)))
    trial.expect(sorted(clean) == sorted(resumed), "the lines are not those of a run that nobody disturbed")
    trial.expect(len(clean) == len(paths), "the run that nobody disturbed has not a line for each input")
    trial.expect(trial.figures.get("kills", 0) > 0, "no run was killed")
