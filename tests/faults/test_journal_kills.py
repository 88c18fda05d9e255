"""A controller that is killed at any moment, and its run resumed until it is done: nothing is lost, or done in vain."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from longshore.records import JournalQuery
from longshore_sqlite import SqliteJournal

TASKS, KILLS = 150, 5
DEADLINE_S = 45.0
PROGRAM = """
import asyncio, os, sys, time
from longshore import Settings, WorkerConfig, WorkerPool

folder, executor = sys.argv[1], sys.argv[2]

def note(file, text):
    descriptor = os.open(os.path.join(folder, file), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (text + "\\n").encode())
    os.close(descriptor)

def work(number):
    note("audit", f"began {number}")
    time.sleep(0.004 if number % 20 else 0.08)
    if number % 50 == 7:
        raise ValueError(f"no {number}")
    return {"number": number}

async def main():
    settings = Settings(probes=(), journals={"sqlite": {"path": os.path.join(folder, "runs")}})
    runs = os.path.join(folder, "runs")
    known = os.listdir(runs) if os.path.isdir(runs) else []
    resume = known[0] if known and os.path.exists(os.path.join(runs, known[0], "lock")) and len(sys.argv) > 3 else None
    config = WorkerConfig(thread_workers=4)
    async with WorkerPool(config, settings=settings, journal="sqlite", resume=resume) as pool:
        note("starts", pool.run_id)
        async for outcome in pool.options(version="1", executor=executor).outcomes(work, range(150)):
            note("audit", f"told {outcome.index} {outcome.state.value}")
    note("done", "done")

if __name__ == "__main__":
    asyncio.run(main())
"""


def lines(folder: Path, name: str) -> list[str]:
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


def start(folder: Path, *, resume: bool) -> subprocess.Popen[bytes]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(folder), "threads", *(["resume"] if resume else [])]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def kill_at_random(folder: Path, dice: random.Random, *, resume: bool) -> bool:
    """Run, and kill the controller at some moment after it began; tell whether it had ended before."""
    process = start(folder, resume=resume)
    runs, until = len(lines(folder, "starts")), time.monotonic() + DEADLINE_S
    while process.poll() is None and len(lines(folder, "starts")) == runs:
        assert time.monotonic() < until, "the run did not begin"
        time.sleep(0.002)
    try:
        process.wait(dice.uniform(0.0, 0.25))
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    return process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_killed_controller_loses_nothing(tmp_path: Path, seed: int) -> None:
    """After kill -9 at random, again and again, the resumed run gives every outcome: J1 of the fault catalogue, short.

    What was told of before a kill is told the same after it and does not run again, and each task has exactly one
    recorded outcome.
    """
    dice = random.Random(seed)
    for turn in range(KILLS):
        if kill_at_random(tmp_path, dice, resume=turn > 0):
            break
    last = start(tmp_path, resume=True)
    _, errors = last.communicate(timeout=DEADLINE_S)
    assert last.returncode == 0, errors.decode()

    assert len(set(lines(tmp_path, "starts"))) == 1
    told: dict[str, set[str]] = {}
    began: Counter[str] = Counter()
    for line in lines(tmp_path, "audit"):
        word, index, *state = line.split()
        if word == "told":
            told.setdefault(index, set()).update(state)
        else:
            assert index not in told, f"{index} ran again after its outcome was told"
            began[index] += 1
    expected = {str(number): {"failed" if number % 50 == 7 else "completed"} for number in range(TASKS)}
    assert told == expected
    assert set(began) == set(expected)

    archive = SqliteJournal(SqliteJournal.Settings(path=str(tmp_path / "runs"))).archive()
    [run] = archive.runs()
    assert (run.state, run.counts) == ("completed", {"completed": TASKS - 3, "failed": 3})
    recorded = list(archive.outcomes(JournalQuery(run_id=run.run_id)))
    assert Counter(outcome.index for outcome in recorded) == Counter(range(TASKS))
    assert all(outcome.value == {"number": outcome.index} for outcome in recorded if outcome.ok)
