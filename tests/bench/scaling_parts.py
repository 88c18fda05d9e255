"""What bounds one controller, part by part: bytes a task in the engine, commits of the journal, CPU of a whole pool.

uv run python tests/bench/scaling_parts.py held|commits|controller    # one object of JSON on stdout
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from itertools import count, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from longshore import Settings, WorkerConfig, WorkerPool
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import ExecutorUp, Submit
from longshore.records import Accepted, CommitBatch, RunOpening, Settled, Started, TaskKind
from longshore.task import Attempt, Outcome, TaskSpec, TaskState
from longshore_sqlite import SqliteJournal

HERE = Path(__file__).parent
HELD_TASKS, HELD_RUNNING = 200_000, 10_000
COMMIT_ROWS = (1, 10, 100, 1000)
COMMIT_S = 2.0
POOL_TASKS, POOL_RAN_S = 4000, 0.02
_KIND = TaskKind(name="work", function="module.work", version="1")
_VALUE = {"pages": 12, "words": 3400, "language": "en"}


def held() -> dict[str, Any]:  # Any: JSON-safe values
    """Return the bytes that a task takes in the engine while it waits, and while it runs, with all its objects."""
    spec = TaskSpec(function=time.sleep, name="work", executor="yard")
    engine = Engine(EngineConfig(max_queue_size=2 * HELD_TASKS, max_concurrent_tasks=HELD_RUNNING))
    tracemalloc.start()
    before = _bytes()
    for first in range(0, HELD_TASKS, 1000):
        engine.handle([Submit(spec, [Attempt(f"t{first + one}", spec, queued_at=1.0) for one in range(1000)])], 1.0)
    waiting = _bytes()
    engine.handle([ExecutorUp("yard", HELD_RUNNING, False, True, True)], 2.0)
    running = _bytes()
    snapshot = engine.snapshot()
    tracemalloc.stop()
    assert (snapshot.running, snapshot.queued) == (HELD_RUNNING, HELD_TASKS - HELD_RUNNING)
    a_task = (waiting - before) / HELD_TASKS
    return {
        "tasks": HELD_TASKS,
        "bytes_waiting": a_task,
        "bytes_running": a_task + (running - waiting) / HELD_RUNNING,
    }


def _bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def commits() -> dict[str, Any]:  # Any: JSON-safe values
    """Return how many transactions and rows a second the journal takes, on the disk that has this folder."""
    found: list[dict[str, Any]] = []
    for durability in ("process", "power"):
        for rows in COMMIT_ROWS:
            found.append({"durability": durability, "rows": rows, "notes": 1, **_commits(durability, rows, _ended)})
        found.append({"durability": durability, "rows": 100, "notes": 3, **_commits(durability, 100, _whole)})
    return {"file_system": _file_system(HERE), "lines": found}


def _commits(durability: str, rows: int, batch: Callable[[Sequence[str]], CommitBatch]) -> dict[str, float]:
    with TemporaryDirectory(dir=HERE) as folder:
        journal = SqliteJournal(SqliteJournal.Settings.model_validate({"path": folder, "durability": durability}))
        journal.open(RunOpening(run_id="run", at=time.time(), pid=1))
        numbers, done = count(), 0
        cpu, began = time.process_time(), time.perf_counter()
        while (took := time.perf_counter() - began) < COMMIT_S:
            journal.commit(batch([f"task-{next(numbers)}" for _ in range(rows)]))
            done += 1
        cpu = time.process_time() - cpu
        journal.close()
    return {"commits_per_s": done / took, "tasks_per_s": done * rows / took, "cpu_us_per_task": 1e6 * cpu / done / rows}


def _ended(ids: Sequence[str]) -> CommitBatch:
    """Return what is recorded of tasks that end within a quarter of a second."""
    outcomes = [Outcome(one, None, 0, "work", TaskState.COMPLETED, _VALUE, ran_s=0.2) for one in ids]
    return CommitBatch(run_id="run", at=1.0, settled=[Settled(_KIND, outcomes, [f"identity of {one}" for one in ids])])


def _whole(ids: Sequence[str]) -> CommitBatch:
    """Return all that is recorded of longer tasks: that they are there, began, and ended."""
    accepted = [Accepted(task_id=one, kind=_KIND, identity=f"identity of {one}") for one in ids]
    started = [Started(task_id=one, number=1, at=1.0) for one in ids]
    ended = _ended(ids)
    return CommitBatch(run_id="run", at=1.0, accepted=accepted, started=started, settled=ended.settled)


def _file_system(folder: Path) -> str:
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def controller() -> dict[str, Any]:  # Any: JSON-safe values
    """Return what a task costs the whole of a controller in CPU, where workers report their tasks one by one."""
    lines = [
        {
            "executor": executor,
            "workers": workers,
            "journal": journal,
            "cpu_us_per_task": _pool_us(executor, workers, journal),
        }
        for executor, workers in (("processes", 16), ("asyncio", 1000))
        for journal in (False, True)
    ]
    return {"tasks": POOL_TASKS, "ran_s": POOL_RAN_S, "lines": lines}


def _pool_us(executor: str, workers: int, journal: bool) -> float:
    with TemporaryDirectory(dir=HERE) as folder:
        kept: dict[str, Any] = {"journal": "sqlite", "journals": {"sqlite": {"path": folder}}} if journal else {}
        config = WorkerConfig(async_workers=workers, process_workers=16, max_concurrent_tasks=workers)
        # Without probes: what else the machine does is not to hold tasks back.
        settings = Settings.model_validate({"probes": [], **kept})
        return asyncio.run(_through(WorkerPool(config, settings=settings), executor))


async def _through(pool: WorkerPool, executor: str) -> float:
    function: Callable[[float], Any] = asyncio.sleep if executor == "asyncio" else time.sleep
    async with pool:
        fast = pool.options(executor=executor, version="1")
        for tasks in (500, POOL_TASKS):  # the first ones warm it up
            cpu = time.process_time()
            ended = [outcome.ok async for outcome in fast.outcomes(function, repeat(POOL_RAN_S, tasks))]
            cpu = time.process_time() - cpu
            if not all(ended) or len(ended) != tasks:
                raise RuntimeError(f"of {tasks} tasks {sum(ended)} completed")
    return 1e6 * cpu / POOL_TASKS


PARTS: Mapping[str, Callable[[], dict[str, Any]]] = {"held": held, "commits": commits, "controller": controller}

if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]]()))
