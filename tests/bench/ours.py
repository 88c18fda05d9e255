"""What the sides that are ours have in common: a pool as a user has it, from submit to the last outcome.

Everything is on: priority, time limit, retry, and three events a task. Without a sink nobody listens, as in a
program that asks for no view; with one, events are delivered to it beside the work, as many as it keeps up with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any

from busy import burn, calibrated, check_burnt, share_of_ideal
from longshore import RetryPolicy, Settings, Submitter, WorkerConfig, WorkerPool
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, RunSummary
from work import CONCURRENCY, WORKERS, check, warm_up_size

TIMEOUT_S = 300.0
RETRY = RetryPolicy(attempts=3)
EVENTS_A_TASK = 3
"""Submitted, started, completed."""
FIRST_IN_WORKERS: Callable[[], None] | None = None
"""What each process worker calls before its first task; for the profile."""


class CountingSink:
    """A sink that only counts what it is told."""

    def __init__(self) -> None:
        """Start at none."""
        self.events = 0

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Nothing to get ready."""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Count."""
        self.events += len(batch)

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Nothing to let go of."""


def make_pool(
    sinks: Sequence[CountingSink] = (), *, processes: int = WORKERS, journal: str | None = None
) -> WorkerPool:
    """Return a pool of the stated width, every other limit as it comes, no settings read from files.

    `journal` is the folder of its journal, if it is to have one.
    """
    config = WorkerConfig(
        async_workers=CONCURRENCY,
        thread_workers=WORKERS,
        process_workers=processes,
        max_concurrent_tasks=2 * CONCURRENCY,
    )
    if journal is None:
        return WorkerPool(config, settings=Settings(), sinks=list(sinks))
    settings = Settings(journal="sqlite", journals={"sqlite": {"path": journal}})
    return WorkerPool(config, settings=settings, sinks=list(sinks))


def with_all_on(pool: WorkerPool, executor: str, **more: Any) -> Submitter:
    """Return a submitter with time limit and retry on. (Any: each option's own type.)"""
    first = FIRST_IN_WORKERS if executor == "processes" else None
    return pool.options(executor=executor, **{"timeout": TIMEOUT_S, "retry": RETRY, "initializer": first, **more})


async def values(pool: WorkerPool, function: Callable[[int], Any], n: int, executor: str, isolation: str) -> list[int]:
    """Run the tasks 0 to n-1 and return their values. (Any: a coroutine function or a plain one.)"""
    fast = with_all_on(pool, executor, isolation=isolation, version="1")
    results: list[int] = []
    async for outcome in fast.outcomes(function, range(n)):
        results.append(outcome.value)
    return results


async def submitted(pool: WorkerPool, function: Callable[[int], Any], n: int, executor: str) -> list[int]:
    """Submit the tasks 0 to n-1 one by one, then await each handle. (Any: as above.)"""
    fast = with_all_on(pool, executor)
    handles = [await fast.submit(function, number) for number in range(n)]
    return [await handle for handle in handles]


def seconds_to_submit(n: int, function: Callable[[int], Any], executor: str) -> float:
    """Return the seconds from the first submit to the last result of n tasks that are submitted one by one."""
    return asyncio.run(_seconds_to_submit(n, function, executor))


async def _seconds_to_submit(n: int, function: Callable[[int], Any], executor: str) -> float:
    async with make_pool() as pool:
        await submitted(pool, function, warm_up_size(n), executor)
        began = perf_counter()
        results = await submitted(pool, function, n, executor)
        took = perf_counter() - began
    check(results, n)
    return took


def share_burnt(n: int, us: float, *, one_by_one: bool = False) -> float:
    """Return the share of the ideal, in percent, that n tasks of so many microseconds CPU reach in processes."""
    return asyncio.run(_share_burnt(n, us, calibrated(us), one_by_one))


async def _share_burnt(n: int, us: float, loops: int, one_by_one: bool) -> float:
    async with make_pool() as pool:
        fast = with_all_on(pool, "processes")

        async def burnt(count: int) -> list[int]:
            if one_by_one:
                handles = [await fast.submit(burn, loops) for _ in range(count)]
                return [await handle for handle in handles]
            return [outcome.value async for outcome in fast.outcomes(burn, [loops] * count)]

        await burnt(warm_up_size(n))
        began = perf_counter()
        results = await burnt(n)
        took = perf_counter() - began
    check_burnt(results, n, loops)
    return share_of_ideal(n, us, took)


def seconds(n: int, function: Callable[[int], Any], executor: str, *, isolation: str = "task") -> float:
    """Return the seconds from submit to the last outcome of n tasks, after a warm-up in the same pool."""
    return asyncio.run(_seconds(n, function, executor, isolation, []))


def seconds_and_told(
    n: int, function: Callable[[int], Any], executor: str, *, isolation: str = "task"
) -> tuple[float, dict[str, float]]:
    """Do the same with a sink attached; say also what part of the events it was told of in the end."""
    sink = CountingSink()
    took = asyncio.run(_seconds(n, function, executor, isolation, [sink]))
    return took, {"told": sink.events / (EVENTS_A_TASK * (n + warm_up_size(n)))}


def seconds_beside_a_slow_subscriber(n: int, function: Callable[[int], Any], executor: str) -> float:
    """Return the seconds for n tasks while somebody is told of every event and takes a second for each."""
    return asyncio.run(_seconds(n, function, executor, "task", [], slow=True))


def seconds_with_a_journal(n: int, function: Callable[[int], Any], executor: str) -> float:
    """Return the seconds for n tasks whose outcomes are in the journal `sqlite` before anybody is told of them."""
    with TemporaryDirectory(prefix="longshore-bench-") as folder:
        return asyncio.run(_seconds(n, function, executor, "task", [], journal=folder))


async def _seconds(
    n: int,
    function: Callable[[int], Any],
    executor: str,
    isolation: str,
    sinks: list[CountingSink],
    *,
    slow: bool = False,
    journal: str | None = None,
) -> float:
    async with make_pool(sinks, journal=journal) as pool:
        if slow:
            pool.events.subscribe(lambda _: sleep(1.0))
        await values(pool, function, warm_up_size(n), executor, isolation)
        began = perf_counter()
        results = await values(pool, function, n, executor, isolation)
        took = perf_counter() - began
    check(results, n)
    return took
