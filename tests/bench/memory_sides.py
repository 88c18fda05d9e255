"""Who runs the fleet of tasks with hidden peaks: each side is called in a process and a group of its own.

A side is given the book, the seed, how many tasks and workers there are; it returns the numbers it has results for, and
what it has to say.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from memory_work import LARGE_MB, peaks_mb, take


class Job(NamedTuple):
    """What is to be run."""

    book: str
    seed: int
    tasks: int
    workers: int
    total_mb: float


class Done(NamedTuple):
    """What came of it: the tasks that gave their result, and notes."""

    numbers: list[int]
    notes: str = ""


def ours(job: Job) -> Done:
    """Longshore with its defaults, told only how much memory a task may take at most."""
    return asyncio.run(_ours(job, declared=False))


def ours_declared(job: Job) -> Done:
    """The same, where every task says what it will take: what can be had by who knows."""
    return asyncio.run(_ours(job, declared=True))


async def _ours(job: Job, *, declared: bool) -> Done:
    from longshore import Outcome, Resources, Settings, WorkerConfig, WorkerPool

    config = WorkerConfig(process_workers=job.workers, task_memory_limit_mb=LARGE_MB + 200)
    outcomes: list[Outcome] = []
    notes: list[str] = []
    async with WorkerPool(config, settings=Settings()) as pool:
        on = pool.options(executor="processes", name="take")
        pool.events.subscribe(lambda event: notes.append(str(event.data.get("error"))), types=["worker_error"])
        handles = []
        for number, peak_mb in enumerate(peaks_mb(job.tasks, job.seed)):
            one = on.options(resources=Resources(memory_mb=peak_mb + 50)) if declared else on
            handles.append(await one.submit(take, job.book, number, peak_mb))
        outcomes = [await handle.outcome() for handle in handles]
    for outcome in outcomes:
        if not outcome.ok and outcome.error is not None:
            notes.append(f"task {outcome.task_id}: {outcome.error.type} {outcome.error.message}")
    return Done([outcome.value for outcome in outcomes if outcome.ok], "\n".join(notes))


def fixed(job: Job) -> Done:
    """`concurrent.futures` with as many processes as all others have."""
    return _futures(job, job.workers)


def fixed_one(job: Job) -> Done:
    """`concurrent.futures` with one: the number that is safe for who knows the largest task."""
    return _futures(job, 1)


def _futures(job: Job, workers: int) -> Done:
    numbers = []
    with ProcessPoolExecutor(workers) as pool:
        futures = [
            pool.submit(take, job.book, number, peak_mb) for number, peak_mb in enumerate(peaks_mb(job.tasks, job.seed))
        ]
        for future in futures:
            try:
                numbers.append(future.result())
            except BrokenProcessPool:
                continue
    return Done(numbers)


def parallel(job: Job) -> Done:
    """GNU parallel, which starts nothing while less is free than a large task takes, and tries three times."""
    command = [
        "parallel", "--will-cite", "--jobs", str(job.workers), "--memfree", f"{LARGE_MB}M", "--retries", "3",
        sys.executable, str(Path(__file__).with_name("memory_work.py")), job.book, str(job.seed), "{}", str(job.tasks),
        ":::", *map(str, range(job.tasks)),
    ]  # fmt: skip
    ended = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    numbers = {int(line.split()[3]) for line in Path(job.book).read_text().splitlines() if line.split()[2] == "end"}
    return Done(sorted(numbers), f"exit status {ended.returncode}; {ended.stderr[-300:]}")


def dask_share(job: Job) -> Done:
    """Dask, where each worker may take an equal part: what "auto" is in a container, which the box is not."""
    return _dask(job, f"{job.total_mb / job.workers:.0f}MB")


def dask_all(job: Job) -> Done:
    """The same, where each worker may take all of it."""
    return _dask(job, f"{job.total_mb:.0f}MB")


def _dask(job: Job, memory_limit: str) -> Done:
    import logging

    from distributed import Client, LocalCluster

    logging.disable(logging.CRITICAL)
    numbers, notes = [], []
    with (
        LocalCluster(
            n_workers=job.workers, threads_per_worker=1, memory_limit=memory_limit, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        notes.append(f"limit of a worker {next(iter(cluster.workers.values())).memory_manager.memory_limit}")
        futures = [
            client.submit(take, job.book, number, peak_mb, pure=False)
            for number, peak_mb in enumerate(peaks_mb(job.tasks, job.seed))
        ]
        for future in futures:
            try:
                numbers.append(future.result(timeout=170))
            except Exception as error:
                notes.append(type(error).__name__)
    return Done(numbers, " ".join(sorted(set(notes))))


SIDES: dict[str, Callable[[Job], Done]] = {
    side.__name__: side for side in (ours, ours_declared, fixed, fixed_one, parallel, dask_share, dask_all)
}
