"""What a slow subscriber costs by itself: goes with and without one in turn, in one process and one pool.

    uv run python tests/bench/turns.py [--n 10000] [--goes 60]

Prints microseconds a task, of the loop's CPU and of the clock. There is no probe: on a busy machine a pool with one
holds itself back, which is no subscriber's doing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from statistics import median
from threading import Event
from time import perf_counter, thread_time

from longshore import Settings, WorkerConfig, WorkerPool
from ours import values
from work import CONCURRENCY, async_noop

SOME = 500
"""Tasks before each go, so that the subscriber is in its call when the go begins."""


async def go(pool: WorkerPool, n: int) -> tuple[float, float]:
    """Run n tasks; return the microseconds a task took of this thread's CPU, and of the clock."""
    await values(pool, async_noop, SOME, "asyncio", "task")
    gc.collect()
    began, before = perf_counter(), thread_time()
    await values(pool, async_noop, n, "asyncio", "task")
    cpu_s, took_s = thread_time() - before, perf_counter() - began
    return 1e6 * cpu_s / n, 1e6 * took_s / n


async def measure(n: int, goes: int) -> dict[str, list[tuple[float, float]]]:
    """Return the figures of the goes without a subscriber and of those beside one that does not come back."""
    config = WorkerConfig(async_workers=CONCURRENCY, max_concurrent_tasks=2 * CONCURRENCY)
    taken: dict[str, list[tuple[float, float]]] = {"nobody": [], "a slow subscriber": []}
    async with WorkerPool(config, settings=Settings(probes=())) as pool:
        for _ in range(goes // 2):
            taken["nobody"].append(await go(pool, n))
            over = Event()
            leave = pool.events.subscribe(lambda _, over=over: over.wait(60.0))  # type: ignore[misc]
            taken["a slow subscriber"].append(await go(pool, n))
            leave()
            over.set()
    return taken


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Measure what a slow subscriber costs.")
    parser.add_argument("--n", type=int, default=10_000, help="tasks a go")
    parser.add_argument("--goes", type=int, default=60, help="how many goes, half of them beside the subscriber")
    options = parser.parse_args(arguments)
    taken = asyncio.run(measure(options.n, options.goes))
    print("| told of every event | CPU least | CPU median | clock least | clock median |\n|---|---|---|---|---|")
    for who, figures in taken.items():
        cpu, clock = zip(*figures, strict=True)
        print(f"| {who} | {min(cpu):.2f} | {median(cpu):.2f} | {min(clock):.2f} | {median(clock):.2f} |")


if __name__ == "__main__":
    main()
