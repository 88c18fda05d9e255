"""Whole runs on somebody's cluster: the same results as in processes here, whatever of the cluster dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from longshore import RetryPolicy, Settings, WorkerPool
from longshore.records import JournalQuery
from longshore.task import TaskState
from longshore.testing import MemoryJournal
from support.programs import end_of
from support.waiting import wait_until

pytestmark = pytest.mark.slow

DOCUMENTS = Path(__file__).parents[4] / "docs/examples/documents"
DEADLINE_S = 50.0
POISON, TASKS = 17, 120

JOB = """
import pathlib, time

def noted(path):
    with open("ran", "a") as file:
        file.write(path + "\\n")
    time.sleep(0.05)
    text, give_up = pathlib.Path(path).read_text(), time.monotonic() + 40.0
    while int(text) >= 20 and not pathlib.Path("go").exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    return text
"""


def longshore(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start the command in a folder, with nothing of the user's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LONGSHORE_")}
    own = {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
    command = [sys.executable, "-m", "longshore", *words]
    return subprocess.Popen(command, cwd=folder, env={**kept, **own}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def on_cluster(folder: Path, address: str) -> None:
    (folder / "longshore.toml").write_text(f'probes = []\n[executors.dask]\naddress = "{address}"\n')


def test_dask_gives_the_same_documents(theirs: Any, tmp_path: Path) -> None:
    """The pipeline of documents writes on a cluster what it writes in processes here, byte for byte."""
    theirs.add_worker()
    theirs.add_worker()
    on_cluster(tmp_path, theirs.address)
    wrote = {}
    for executor in ("processes", "dask"):
        options = ("-o", f"{executor}.jsonl", "--executor", executor, "--progress", "none", "--no-journal")
        code, _, err = end_of(longshore(tmp_path, "run", "documents", str(DOCUMENTS), *options))
        assert code in (0, 1), err
        wrote[executor] = sorted((tmp_path / f"{executor}.jsonl").read_bytes().splitlines())
    assert len(wrote["dask"]) == sum(path.is_file() for path in DOCUMENTS.rglob("*"))
    assert wrote["dask"] == wrote["processes"]


def step(folder: Path, number: int) -> int:
    """Leave a trace of the worker, then take a moment; one of them kills its worker."""
    (folder / f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
    if number == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.03)
    return number


@pytest.mark.anyio
async def test_dask_workers_that_die_cost_what_they_ran(theirs: Any, tmp_path: Path) -> None:
    """A worker is killed, and a task kills one with each try: it is poison, all others complete, each recorded once."""
    theirs.add_worker(nanny=True, threads=1)
    theirs.add_worker(nanny=True, threads=1)
    traces, journal = tmp_path / "traces", MemoryJournal()
    traces.mkdir()
    settings = Settings(probes=(), executors={"dask": {"address": theirs.address}})
    retry = RetryPolicy(attempts=3, backoff=0.01, jitter=0.0)
    killed = False
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=settings, journal=journal) as pool:
        on = pool.options(executor="dask", retry=retry)
        outcomes = []
        async for outcome in on.outcomes(step_in(traces), range(TASKS)):
            outcomes.append(outcome)
            if len(outcomes) >= 30 and not killed and outcome.index != POISON:
                newest = max(traces.iterdir(), key=lambda path: int(path.name.split("-")[2]))
                killed = True
                os.kill(int(newest.name.split("-")[1]), signal.SIGKILL)
    assert killed
    assert Counter(outcome.index for outcome in outcomes) == Counter(range(TASKS))
    (bad,) = [outcome for outcome in outcomes if not outcome.ok]
    assert bad.index == POISON
    assert bad.error is not None
    assert bad.error.type.endswith("PoisonTask")
    recorded = [(outcome.index, outcome.state) for outcome in journal.outcomes]
    assert Counter(recorded) == Counter((outcome.index, outcome.state) for outcome in outcomes)
    assert journal.refused == 0
    entries = list(journal.archive().tasks(JournalQuery()))
    assert {entry.state for entry in entries} == {TaskState.COMPLETED, TaskState.FAILED}
    assert sum(entry.attempts > 1 for entry in entries) <= 4, "others than those that ran were tried again"


def step_in(folder: Path) -> Callable[[int], int]:
    """Return the function with its folder, so that each item is a number."""

    def call(number: int) -> int:
        return step(folder, number)

    return call


def test_dask_run_goes_on_elsewhere_when_the_scheduler_dies(theirs: Any, tmp_path: Path) -> None:
    """One clear error ends the run; `resume` does the rest on another executor, and each input has one line."""
    (tmp_path / "job.py").write_text(JOB)
    inputs = tmp_path / "in"
    inputs.mkdir()
    for number in range(60):
        (inputs / f"{number}.txt").write_text(str(number))
    theirs.add_worker()
    on_cluster(tmp_path, theirs.address)
    options = ("-o", "out.jsonl", "--executor", "dask", "--progress", "none")
    running = longshore(tmp_path, "run", "job:noted", "in", *options)
    out = tmp_path / "out.jsonl"
    wait_until(lambda: out.exists() and len(out.read_bytes().splitlines()) >= 10, "some lines", DEADLINE_S)
    theirs.scheduler.send_signal(signal.SIGKILL)
    code, _, err = end_of(running)
    assert code == 4, err
    told = [line for line in err.splitlines() if "the Dask scheduler" in line]
    assert len(told) == 1, err
    assert f"{theirs.address} is gone" in told[0]
    assert len(err.splitlines()) == 3, f"the run's name, its counts, and why it ended: {err}"
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    done = {line["input"] for line in lines if line["status"] == "completed"}
    assert 10 <= len(done) < 60
    (tmp_path / "ran").unlink()
    (tmp_path / "go").touch()
    code, _, err = end_of(longshore(tmp_path, "resume", "last", "--executor", "threads", "--progress", "none"))
    assert code == 0, err
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert Counter(line["input"] for line in lines) == Counter(f"in/{number}.txt" for number in range(60))
    assert {line["status"] for line in lines} == {"completed"}
    again = (tmp_path / "ran").read_text().splitlines()
    assert done.isdisjoint(again), "what had a result ran again"
    code, shown, err = end_of(longshore(tmp_path, "runs", "show", "last", "--json"))
    assert code == 0, err
    assert json.loads(shown)["counts"] == {"completed": 60}
