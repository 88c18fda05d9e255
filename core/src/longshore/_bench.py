"""Measuring a pool on this machine: what it costs a task, and how much of some work gets done, by executor and workers.

`measure_costs` and `measure_work` do it, round by round; what follows from the figures is `_bench_advice`'s.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Protocol

from longshore import _bench_work as built_in
from longshore._bench_advice import Cell, Cost, pays, spread, worker_counts
from longshore._cpus import usable_cpus
from longshore._runtime.specs import is_coroutine_function
from longshore._submit import Submitter
from longshore.errors import LongshoreError, PayloadError, PluginError, WorkerDied
from longshore.pool import WorkerPool
from longshore.records import WorkerStats
from longshore.settings import Settings
from longshore.task import Outcome, TaskState

EXECUTORS = ("asyncio", "threads", "processes")
_FIELDS = {"asyncio": "async_workers", "threads": "thread_workers", "processes": "process_workers"}
_TASKS_MOST = 100_000
_WARM_UP = 20  # tasks before those whose latency is measured
_TRIED_MOST = {"asyncio": 256, "threads": 64}
_PROCESSES_PER_CPU = 4
_LOOK_S = 0.02  # between two looks at whether anything is held back
_COST_WORKERS = {"asyncio": 100}  # at once: a loop that has only a few in hand turns once for each few

Function = Callable[..., Any]  # Any: the user's function


class Teller(Protocol):
    """Who is told how it goes."""

    def doing(self, text: str, executor: str | None = None) -> None:
        """Hear what is being measured now, and in which executor, if it is work."""

    def problem(self, text: str) -> None:
        """Hear what could not be measured, and why."""


@dataclass(frozen=True)
class Work:
    """What is measured: a name, the function for each executor that can run it, and what it is called with."""

    name: str
    functions: Mapping[str, Function]
    items: Sequence[Any]  # Any: the user's own

    @classmethod
    def of(cls, name: str, function: Function, items: Sequence[Any], executors: Sequence[str] = ()) -> Work:
        """Return the work that a function of the user's is, in those of the executors that can run it."""
        able = ("asyncio",) if is_coroutine_function(function) else ("threads", "processes")
        wanted = [executor for executor in able if not executors or executor in executors]
        return cls(name, dict.fromkeys(wanted, function), items)


def built_in_work(executors: Sequence[str] = ()) -> list[Work]:
    """Return work to measure with where the user gives none."""
    kinds = {
        "nothing": (built_in.nothing_async, built_in.nothing),
        "1 ms of CPU": (built_in.compute_async, built_in.compute),
        "5 ms of waiting": (built_in.wait_async, built_in.wait),
    }
    wanted = [name for name in EXECUTORS if not executors or name in executors]
    return [Work(kind, {name: pair[name != "asyncio"] for name in wanted}, (0,)) for kind, pair in kinds.items()]


@dataclass(frozen=True)
class Plan:
    """How long and how often is measured."""

    settings: Settings
    rounds: int = 3
    cell_s: float = 0.3
    """What one measurement takes, if a task takes no longer."""
    latencies: int = 500
    workers: int | None = None
    """The most workers to try; None is the usable CPUs, and more while they do more."""


@dataclass
class _Trials:
    """What the rounds of one cell gave."""

    rates: list[float] = field(default_factory=list)
    ran_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    looks: list[str | None] = field(default_factory=list)
    """Why nothing was started, as seen every now and then; None where that was not so."""
    tasks: int = 0
    failed: int = 0
    error: str | None = None

    def cell(self, executor: str, workers: int) -> Cell:
        held = [why for why in self.looks if why is not None]
        return Cell(
            executor=executor,
            workers=workers,
            per_s=spread(self.rates),
            ran_s=median(self.ran_s),
            cpu_s=median(self.cpu_s) if self.cpu_s else None,
            sent_at_once=median(self.sent),
            tasks=self.tasks,
            failed=self.failed,
            error=self.error,
            held=len(held) / len(self.looks) if held else 0.0,
            held_because=held[-1] if held else None,
        )


async def measure_costs(executors: Sequence[str], plan: Plan, teller: Teller) -> dict[str, Cost]:
    """Return what longshore itself costs a task, for each executor that works here."""
    streams: dict[str, list[float]] = defaultdict(list)
    waits: dict[str, list[float]] = defaultdict(list)
    works = {
        name: Work("nothing", {name: built_in.nothing_async if name == "asyncio" else built_in.nothing}, (0,))
        for name in executors
    }
    for number in range(plan.rounds):
        for name, work in works.items():
            if number and name not in streams:
                continue  # it did not work the first time
            teller.doing(f"what a task costs in {name}, round {number + 1} of {plan.rounds}")
            try:
                workers = _COST_WORKERS.get(name, usable_cpus())
                async with _pool(plan.settings, name, workers) as pool:
                    trials = _Trials()
                    await _trial(pool, work, name, workers, plan.cell_s, trials)
                    streams[name].append(1 / trials.rates[-1])
                    waits[name] += await _latencies(pool, work, name, plan.latencies)
            except (PluginError, WorkerDied, RuntimeError) as error:
                teller.problem(f"{name} can't be used here: {error}")
    return {name: _cost(name, streams[name], sorted(waits[name])) for name in streams}


def _cost(name: str, stream: Sequence[float], waits: Sequence[float]) -> Cost:
    last = waits[min(len(waits) - 1, int(0.99 * len(waits)))]
    return Cost(executor=name, stream_s=median(stream), p50_s=median(waits), p99_s=last)


async def measure_work(work: Work, plan: Plan, teller: Teller) -> list[Cell]:
    """Return what was measured of the work, by executor and then by workers.

    The first round finds how many workers are worth measuring, the others repeat that, one cell after the other, so
    that what disturbs the machine meanwhile disturbs all of them. An executor in which nothing ends well is left out
    from then on.
    """
    trials: dict[tuple[str, int], _Trials] = {}
    for name in work.functions:
        for workers in _counts(name, plan, trials):
            teller.doing(f"{work.name}: {name} x {workers}", name)
            if not await _attempt(work, name, workers, plan, trials.setdefault((name, workers), _Trials()), teller):
                break
    trials = {place: trial for place, trial in trials.items() if trial.rates}
    for number in range(1, plan.rounds):
        for (name, workers), trial in trials.items():
            if trial.failed < trial.tasks:
                teller.doing(f"{work.name}: {name} x {workers}, round {number + 1} of {plan.rounds}", name)
                await _attempt(work, name, workers, plan, trial, teller)
    return [trial.cell(*place) for place, trial in trials.items()]


def _counts(name: str, plan: Plan, trials: Mapping[tuple[str, int], _Trials]) -> Iterator[int]:
    """Yield the worker counts to try: those up to the CPUs, and then more while the last were worth it."""
    counts = worker_counts(usable_cpus(), plan.workers)
    yield from counts
    most = _TRIED_MOST.get(name, _PROCESSES_PER_CPU * usable_cpus()) if plan.workers is None else counts[-1]
    while counts[-1] * 2 <= most and pays([trials[name, count].cell(name, count) for count in counts]):
        counts.append(counts[-1] * 2)
        yield counts[-1]


async def _attempt(work: Work, name: str, workers: int, plan: Plan, trial: _Trials, teller: Teller) -> bool:
    """Measure one cell once more; False if the executor is of no use for this work, as was said then."""
    try:
        async with _pool(plan.settings, name, workers) as pool:
            await _trial(pool, work, name, workers, plan.cell_s, trial)
    except (LongshoreError, ValueError, RuntimeError) as error:
        if isinstance(error, LongshoreError) and not isinstance(error, PluginError | PayloadError | WorkerDied):
            raise
        teller.problem(f"{work.name} can't be run in {name}: {error}")
        return False
    if trial.failed == trial.tasks:
        teller.problem(f"{work.name}: every task failed in {name}: {trial.error}")
        return False
    return True


def _pool(settings: Settings, executor: str, workers: int) -> WorkerPool:
    """Return a pool with so many workers in this executor, and none beside it that need not be."""
    config = settings.workers.model_copy(
        update={
            "process_workers": 0,
            _FIELDS[executor]: workers,
            "max_concurrent_tasks": max(settings.workers.max_concurrent_tasks, workers),
        }
    )
    return WorkerPool(config, settings=settings.model_copy(update={"sinks": (), "journal": False}))


async def _trial(pool: WorkerPool, work: Work, name: str, workers: int, cell_s: float, trial: _Trials) -> None:
    """Warm up with a task for each worker, then run as many as take about `cell_s`, and note how that went."""
    count = workers
    took_s, _ = await _run(pool, work, name, count)
    while True:
        count = min(_TASKS_MOST, max(workers, int(count * min(20.0, cell_s / max(took_s, 1e-6)))))
        before = _batches(pool.get_worker_stats())
        async with _watched(pool, trial.looks):
            took_s, outcomes = await _run(pool, work, name, count)
        if took_s >= cell_s / 2 or count >= _TASKS_MOST:
            break
    failed = [outcome for outcome in outcomes if outcome.state is not TaskState.COMPLETED]
    batches = _batches(pool.get_worker_stats()) - before
    trial.rates.append(count / took_s)
    trial.ran_s.append(median(outcome.ran_s for outcome in outcomes))
    measured = [outcome.cpu_s for outcome in outcomes if outcome.cpu_s is not None]
    if len(measured) * 2 > len(outcomes):  # of short tasks in threads only those that took unusually long
        trial.cpu_s.append(fmean(measured))
    trial.sent.append(count / batches if batches else 1.0)
    trial.tasks += count
    trial.failed += len(failed)
    if failed and trial.error is None and failed[0].error is not None:
        trial.error = f"{failed[0].error.type}: {failed[0].error.message}"


async def _run(pool: WorkerPool, work: Work, name: str, count: int) -> tuple[float, list[Outcome]]:
    """Return the seconds that so many tasks took, and how each ended."""
    items = itertools.islice(itertools.cycle(work.items), count)
    began = time.perf_counter()
    async with _options(pool, name).outcomes(work.functions[name], items) as stream:
        outcomes = [outcome async for outcome in stream]
    return time.perf_counter() - began, outcomes


@asynccontextmanager
async def _watched(pool: WorkerPool, looks: list[str | None]) -> AsyncIterator[None]:
    """Look now and then whether limits hold tasks back."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            looks.append(pool.snapshot().throttled)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


async def _latencies(pool: WorkerPool, work: Work, name: str, count: int) -> list[float]:
    """Return the seconds from submit to result of so many tasks, one at a time."""
    taken: list[float] = []
    submitter, function = _options(pool, name), work.functions[name]
    for _ in range(count + _WARM_UP):
        began = time.perf_counter()
        await (await submitter.submit(function, work.items[0]))
        taken.append(time.perf_counter() - began)
    return taken[_WARM_UP:]


def _options(pool: WorkerPool, name: str) -> Submitter:
    return pool.options(executor=name)


def _batches(stats: Sequence[WorkerStats]) -> int:
    return sum(worker.batches for worker in stats)
