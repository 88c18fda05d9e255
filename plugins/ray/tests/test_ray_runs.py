"""Whole runs: the page's example, the same documents as in processes, and what is left when the head of a cluster dies.

All but the first start a cluster of their own for each run, which takes much of a machine: with `-m bench` only.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from longshore import RetryPolicy, Settings, TaskCancelled, TaskTimeout, WorkerPool, current_task
from longshore.testing import RecordingSink
from support.programs import end_of
from support.waiting import wait_until

ROOT = Path(__file__).parents[3]
DOCUMENTS = ROOT / "docs/examples/documents"
PAGE = ROOT / "docs/how-to/ray.md"
DEADLINE_S = 150.0

JOB = """
import pathlib, time

def noted(path):
    with open("ran", "a") as file:
        file.write(path + "\\n")
    time.sleep(0.05)
    return pathlib.Path(path).read_text()
"""
SETTINGS = "probes = []\n[executors.ray]\nworkers = 2\nobject_store_mb = 200\n"


def started(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start Python in a folder, with nothing of the user's settings."""
    (folder / "longshore.toml").write_text(SETTINGS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LONGSHORE_", "RAY_"))}
    own = {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *words], cwd=folder, env={**kept, **own}, stdout=pipe, stderr=pipe)


def double(number: int) -> int:
    return 2 * number


def report() -> str:
    for page in range(1, 6):
        current_task().progress(page / 5, f"page {page} of 5")
    return "read"


def flaky() -> int:
    if current_task().attempt < 3:
        raise ValueError(f"attempt {current_task().attempt}")
    return current_task().attempt


def nap() -> None:
    time.sleep(60.0)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.anyio
async def test_ray_one_word(theirs: str) -> None:
    """Order, progress, retries, time limits and cancelling are those of every executor."""
    sink = RecordingSink()
    settings = Settings(probes=(), executors={"ray": {"workers": 2}})
    async with WorkerPool(settings=settings, sinks=[sink]) as pool:
        on = pool.options(executor="ray")
        assert [number async for number in on.map(double, range(300))] == [2 * number for number in range(300)]
        assert await (await on.submit(report)) == "read"
        retried = await on.options(retry=RetryPolicy(attempts=3, backoff=0.01, jitter=0.0)).submit(flaky)
        assert await retried == 3
        with pytest.raises(TaskTimeout):
            await (await on.options(timeout=0.2).submit(nap))
        cancelled = await on.submit(nap)
        cancelled.cancel()
        with pytest.raises(TaskCancelled):
            await cancelled
        stats = pool.get_stats()
        assert (stats.completed_tasks, stats.timed_out_tasks, stats.cancelled_tasks) == (302, 1, 1)
    messages = [event.data["message"] for event in sink.of_type("task_progress")]
    assert (messages[0], messages[-1]) == ("page 1 of 5", "page 5 of 5")


@pytest.mark.bench
@pytest.mark.timeout(2 * DEADLINE_S)
def test_ray_example_runs_as_it_is_printed(tmp_path: Path) -> None:
    """The page's example is a whole program, and prints what stands below it, and nothing else."""
    text = PAGE.read_text("utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"^```text\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "squares.py").write_text(example, "utf-8")
    assert end_of(started(tmp_path, "squares.py")) == (0, printed, "")


@pytest.mark.bench
@pytest.mark.timeout(3 * DEADLINE_S)
def test_ray_gives_the_same_documents(tmp_path: Path) -> None:
    """The pipeline of documents writes on Ray what it writes in processes, byte for byte."""
    wrote = {}
    for executor in ("processes", "ray"):
        options = ("-o", f"{executor}.jsonl", "--executor", executor, "--progress", "none", "--no-journal")
        code, _, err = end_of(started(tmp_path, "-m", "longshore", "run", "documents", str(DOCUMENTS), *options))
        assert code in (0, 1), err
        wrote[executor] = sorted((tmp_path / f"{executor}.jsonl").read_bytes().splitlines())
    assert len(wrote["ray"]) == sum(path.is_file() for path in DOCUMENTS.rglob("*"))
    assert wrote["ray"] == wrote["processes"]


def kill_head(controller: int) -> None:
    """Kill the head of the cluster that a process has started, with all that this runs on its machine."""
    parts = [one for one in psutil.Process(controller).children() if one.name() in ("gcs_server", "raylet")]
    assert len(parts) == 2, parts
    for one in parts:
        one.send_signal(signal.SIGKILL)


@pytest.mark.bench
@pytest.mark.timeout(3 * DEADLINE_S)
def test_ray_run_goes_on_elsewhere_when_the_head_dies(tmp_path: Path) -> None:
    """One clear error ends the run; `resume` does the rest on another executor, and each input has one line."""
    (tmp_path / "job.py").write_text(JOB)
    inputs = tmp_path / "in"
    inputs.mkdir()
    for number in range(200):
        (inputs / f"{number}.txt").write_text(str(number))
    options = ("-o", "out.jsonl", "--executor", "ray", "--progress", "none")
    running = started(tmp_path, "-m", "longshore", "run", "job:noted", "in", *options)
    out = tmp_path / "out.jsonl"
    wait_until(lambda: out.exists() and len(out.read_bytes().splitlines()) >= 10, "some lines", DEADLINE_S)
    kill_head(running.pid)
    code, _, err = end_of(running)
    assert code == 4, err
    told = [line for line in err.splitlines() if "the Ray cluster at 127.0.0.1:" in line]
    assert len(told) == 1, err
    assert "is gone" in told[0]
    done = [row for row in lines_of(out) if row["status"] == "completed"]
    assert 10 <= len(done) < 200
    (tmp_path / "ran").unlink()
    code, _, err = end_of(
        started(tmp_path, "-m", "longshore", "resume", "last", "--executor", "threads", "--progress", "none"),
    )
    assert code == 0, err
    rows = lines_of(out)
    assert Counter(row["input"] for row in rows) == Counter(f"in/{number}.txt" for number in range(200))
    assert {row["status"] for row in rows} == {"completed"}
    again = (tmp_path / "ran").read_text().splitlines()
    assert {row["input"] for row in done}.isdisjoint(again), "what had a result ran again"


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of lines."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
