"""The first table: twenty tasks, two workers, one bad task; how many of the other nineteen gave their result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from suite import leaks
from suite.registry import scenario
from suite.trial import Trial

PEERS = Path(__file__).parents[1] / "suite" / "peers.py"
OURS = ("longshore (zygote)", "longshore (interpreter)")
THEIRS = ("concurrent.futures", "multiprocessing.Pool", "loky", "pebble", "mpire")
FAULTS = ("kill", "exception", "result")
_LIMIT_S = 15.0
ALSO = "FAULTS_ALSO"
"""Other interpreters to try with, by their paths."""


@scenario(
    "FIRST",
    "one bad task of twenty, in ours and in others: kill -9, exception, result",
    "19, 19, 19",
    short_s=60.0,
    long_s=900.0,
)
def first_table(trial: Trial) -> None:
    pythons = [sys.executable, *filter(None, os.environ.get(ALSO, "").split(os.pathsep))]
    for python in pythons:
        version = _said([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        for pool in (*OURS, *(THEIRS if trial.long else ())):
            cells = [_cell(python, pool, fault) for fault in FAULTS]
            trial.tell(f"{pool} on {version}", " ".join(cells))
            if pool in OURS:
                trial.add("lost", sum(TASKS_LEFT - int(cell) if cell.isdigit() else TASKS_LEFT for cell in cells))


TASKS_LEFT = 19


def _cell(python: str, pool: str, fault: str) -> str:
    """Return how many gave their result, or what else came of it."""
    before = {*leaks.tokened()}
    try:
        said = _said([python, str(PEERS), pool, fault])
    except subprocess.TimeoutExpired:
        said = "hang"
    finally:
        leaks.kill(pid for pid in leaks.tokened() if pid not in before)
    return said.removeprefix("good ")


def _said(command: list[str]) -> str:
    """Return the last line of the output, or of the errors."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, errors = process.communicate(timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            leaks.kill(pid for pid in leaks.tokened() if pid != process.pid and _below(pid))
            raise
    lines = out.strip().splitlines()
    if process.returncode == 0 and lines:
        return lines[-1]
    last = errors.strip().splitlines()[-1:] or [""]
    return "not installed" if "ModuleNotFoundError" in last[0] else f"error: {last[0].partition(':')[0]}"


def _below(pid: int) -> bool:
    """Tell whether this is what a pool left when its parent was killed: it holds the output open."""
    return PEERS.name.encode() in _command(pid) or b"multiprocessing" in _command(pid)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
