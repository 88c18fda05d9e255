"""The figures the specification names, rows M01 to M13, on this machine: as it asks, and as we want them.

    uv run python tests/bench/figures.py [--only M01,M07] [--rounds 5] [--json FILE] [--write docs/benchmarks.md]

Each round measures every figure once, in a pool of its own. Prints a Markdown table; nothing fails on a figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

import documents
from longshore import (
    Priority,
    ProcessorContext,
    ProgressTracker,
    ResourceLimits,
    ResourceMonitor,
    Settings,
    TaskState,
    WorkerConfig,
    WorkerPool,
)
from marks import Part
from surroundings import machine

DOCUMENT = ProcessorContext(document_id="document")
MB = 1e6


@dataclass(frozen=True)
class Figure:
    """A number with its unit: what the specification asks for and what we want; `least`: more is better."""

    row: str
    what: str
    unit: str
    asked: float | None
    wanted: float | None
    least: bool = True

    def verdict(self, value: float) -> str:
        """Return which of the two numbers is met."""

        def met(bound: float | None) -> bool:
            return bound is None or (value >= bound if self.least else value <= bound)

        return ("as wanted" if met(self.wanted) else "as asked") if met(self.asked) else "missed"


FIGURES = (
    Figure("M01", "submitting 100 tasks of 10 ms to 8 workers", "/s", 500, None),
    Figure("M01", "those tasks, from the first submit to the last result", "/s", 30, 640),
    Figure("M02", "latency of a 50 ms task on an idle pool, mean", "ms", 200, None, least=False),
    Figure("M02", "the same, p99 beyond the 50 ms", "ms", 450, 5, least=False),
    Figure("M03", "submitting 20 tasks behind 200 of 20 ms", "ms", 100, None, least=False),
    Figure("M03", "those 220 tasks on 8 workers", "/s", 20, 320),
    Figure("M04", "growth of resident memory over 200 tasks", "MB", 100, 20, least=False),
    Figure("M05", "submitting at all five priorities in turn", "/s", 100, None),
    Figure("M06", "allocations", "/s", 1000, None),
    Figure("M06", "releases", "/s", 2000, None),
    Figure("M06", "allocations beside 10,000 live ones", "/s", None, 1000),
    Figure("M07", "progress updates", "/s", 1000, 10_000),
    Figure("M07", "completions told to the tracker", "/s", 500, None),
    Figure("M07", "statistics over 5,000 completed tasks", "/s", 10, None),
    Figure("M08", "200 tasks of 20 to 65 ms on 6 workers", "/s", 10, 0.8 * 6 / 0.0425),
    Figure("M09", "8 workers against 1, tasks that sleep 10 ms", "x", 1, 7),
    Figure("M09", "processes on all cores against one, tasks of 20 ms CPU", "x per core", 0.5, 0.8),
    Figure("M10", "tasks that do nothing, one loop", "/s", None, 10_000),
    Figure("M11", "100 real documents at once: done after, mean", "s", 30, None, least=False),
    Figure("M11", "the same, p95", "s", 60, None, least=False),
    Figure("M11", "those documents", "/s", 1, None),
    Figure("M11", "those of them that have a text, and failed", "%", 5, 0.1, least=False),
    Figure("M12", "real documents under the preset `throughput`", "/s", 5, None),
    Figure("M12", "their chunks", "/min", 1000, None),
    Figure(
        "M13",
        "most CPU that a pool uses while it reads 50 of them, each in a core of its own",
        "%",
        80,
        None,
        least=False,
    ),
    Figure("M13", "most memory in use meanwhile, of the machine", "%", 70, None, least=False),
)


async def nap(context: ProcessorContext) -> str:
    """Sleep as long as the document says."""
    await asyncio.sleep(float(context.metadata.get("seconds", 0.0)))
    return context.document_id


def burn(seconds: float) -> float:
    """Use CPU for so long."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return seconds


async def nothing(number: int) -> int:
    """Do nothing."""
    return number


def pool_of(**workers: int) -> WorkerPool:
    """Return a pool with so many workers, no settings read from files, and nothing to hold it back."""
    limits = ResourceLimits(max_cpu_percent=100, max_memory_percent=100)
    return WorkerPool(WorkerConfig(**workers), settings=Settings(limits=limits))


def lasting(seconds: float) -> ProcessorContext:
    """Return a document that takes so long."""
    return ProcessorContext(document_id="document", metadata={"seconds": seconds})


async def results(pool: WorkerPool, ids: Sequence[str]) -> None:
    """Wait for all results; raises what a task raised."""
    for task_id in ids:
        await pool.get_task_result(task_id)


async def submitting() -> list[float]:
    """M01: the rate of submitting, and of the whole."""
    async with pool_of(async_workers=8) as pool:
        began = time.perf_counter()
        ids = [await pool.submit_task("nap", lasting(0.01), nap) for _ in range(100)]
        submitted = time.perf_counter()
        await results(pool, ids)
        return [100 / (submitted - began), 100 / (time.perf_counter() - began)]


async def latency() -> list[float]:
    """M02: the time from submit to result of a task of 50 ms."""
    taken = []
    async with pool_of(async_workers=8) as pool:
        for _ in range(100):
            began = time.perf_counter()
            await results(pool, [await pool.submit_task("nap", lasting(0.05), nap)])
            taken.append(1000 * (time.perf_counter() - began))
    return [sum(taken) / len(taken), sorted(taken)[98] - 50]


async def batch() -> list[float]:
    """M03: submitting to a queue that is long already."""
    async with pool_of(async_workers=8) as pool:
        began = time.perf_counter()
        ids = [await pool.submit_task("nap", lasting(0.02), nap) for _ in range(200)]
        queued = time.perf_counter()
        ids += [await pool.submit_task("nap", lasting(0.02), nap) for _ in range(20)]
        submitted = time.perf_counter()
        await results(pool, ids)
        return [1000 * (submitted - queued), 220 / (time.perf_counter() - began)]


async def memory() -> list[float]:
    """M04: what 200 tasks leave in memory."""
    async with pool_of(async_workers=8) as pool:
        await results(pool, [await pool.submit_task("nap", DOCUMENT, nap) for _ in range(50)])
        before = resident_mb()
        await results(pool, [await pool.submit_task("nap", DOCUMENT, nap) for _ in range(200)])
        return [max(0.0, resident_mb() - before)]


def resident_mb() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


async def priorities() -> list[float]:
    """M05: submitting at mixed priorities."""
    async with pool_of(async_workers=8) as pool:
        levels = [list(Priority)[number % 5] for number in range(500)]
        began = time.perf_counter()
        ids = [await pool.submit_task("nap", DOCUMENT, nap, priority=level) for level in levels]
        took = time.perf_counter() - began
        await results(pool, ids)
        return [500 / took]


async def allocating() -> list[float]:
    """M06: the ledger of the monitor, empty and with 10,000 in it."""
    monitor = ResourceMonitor(ResourceLimits(max_cpu_percent=100), probes=())
    rates = [*await allocate_and_release(monitor, 2000)]
    for number in range(10_000):
        await monitor.allocate(f"live-{number}", {"cpu": 0.001})
    return [*rates, (await allocate_and_release(monitor, 2000))[0]]


async def allocate_and_release(monitor: ResourceMonitor, count: int) -> tuple[float, float]:
    """Return both rates."""
    began = time.perf_counter()
    granted = [await monitor.allocate(f"task-{number}", {"cpu": 0.01}) for number in range(count)]
    allocated = time.perf_counter()
    for number in range(count):
        await monitor.release(f"task-{number}")
    if not all(granted):
        raise AssertionError("an allocation within the limits was refused")
    return count / (allocated - began), count / (time.perf_counter() - allocated)


async def tracking() -> list[float]:
    """M07: a tracker by itself."""
    tracker = ProgressTracker()
    for number in range(5000):
        await tracker.start_task(f"task-{number}", "nap", "document")
    began = time.perf_counter()
    for number in range(20_000):
        await tracker.update_task(f"task-{number % 5000}", number / 20_000, "on the way")
    updated = time.perf_counter()
    for number in range(5000):
        await tracker.complete_task(f"task-{number}")
    completed = time.perf_counter()
    for _ in range(50):
        tracker.get_statistics()
    told = time.perf_counter()
    return [20_000 / (updated - began), 5000 / (completed - updated), 50 / (told - completed)]


async def end_to_end() -> list[float]:
    """M08: 200 tasks of 20 to 65 ms, none of which may fail."""
    async with pool_of(async_workers=6) as pool:
        began = time.perf_counter()
        ids = [await pool.submit_task("nap", lasting(0.02 + 0.045 * (n % 10) / 9), nap) for n in range(200)]
        await results(pool, ids)
        return [200 / (time.perf_counter() - began)]


async def scaling() -> list[float]:
    """M09: more workers for tasks that sleep, and more cores for tasks that don't."""
    cores = len(os.sched_getaffinity(0))
    naps = {workers: await napping(workers) for workers in (1, 8)}
    burns = {workers: await burning(workers) for workers in (1, cores)}
    return [naps[1] / naps[8], burns[1] / burns[cores] / cores]


async def napping(workers: int) -> float:
    """Return the seconds that 160 tasks of 10 ms take."""
    async with pool_of(async_workers=workers) as pool:
        began = time.perf_counter()
        await results(pool, [await pool.submit_task("nap", lasting(0.01), nap) for _ in range(160)])
        return time.perf_counter() - began


async def burning(workers: int) -> float:
    """Return the seconds that 100 tasks of 20 ms of CPU take in processes."""
    async with pool_of(process_workers=workers) as pool:
        fast = pool.options(executor="processes")
        async with fast.outcomes(burn, [0.001] * 20 * workers) as warm:
            await consume(warm)
        began = time.perf_counter()
        async with fast.outcomes(burn, [0.02] * 100) as stream:
            await consume(stream)
        return time.perf_counter() - began


async def no_ops() -> list[float]:
    """M10: what one loop gets through."""
    async with pool_of(async_workers=50) as pool:
        began = time.perf_counter()
        async with pool.outcomes(nothing, range(50_000)) as stream:
            await consume(stream)
        return [50_000 / (time.perf_counter() - began)]


async def consume(stream: object) -> None:
    """Look at every outcome; raises if one is no result."""
    async for outcome in stream:  # type: ignore[attr-defined]  # a stream of outcomes
        if outcome.state is not TaskState.COMPLETED:
            raise AssertionError(f"a task ended as {outcome.state}")


MEASURES: dict[str, Callable[[], Awaitable[list[float]]]] = {
    "M01": submitting,
    "M02": latency,
    "M03": batch,
    "M04": memory,
    "M05": priorities,
    "M06": allocating,
    "M07": tracking,
    "M08": end_to_end,
    "M09": scaling,
    "M10": no_ops,
    "M11": documents.at_once,
    "M12": documents.throughput,
    "M13": documents.within_limits,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description="Measure the figures the specification names.")
    parser.add_argument("--only", help="some rows, such as M01,M07")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, dest="json_file")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="the page whose part `figures` is the table")
    options = parser.parse_args(arguments)
    wanted = options.only.split(",") if options.only else list(MEASURES)
    if unknown := sorted(set(wanted) - set(MEASURES)):
        print(f"no such row: {', '.join(unknown)}; there are {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    taken: dict[str, list[list[float]]] = {row: [] for row in wanted}
    for number in range(1, options.rounds + 1):
        for row in wanted:
            print(f"round {number} of {options.rounds}: {row}", file=sys.stderr)
            taken[row].append(asyncio.run(measured(row)))
    head = ["| row | what | asked | wanted | median (lowest to highest) | verdict |", "|---|---|---|---|---|---|"]
    text = "\n".join([*head, *table(taken)])
    print(text)
    if options.write is not None:
        facts = f"{machine()}, Python {platform.python_version()}, {options.rounds} rounds, {date.today():%Y-%m-%d}"
        Part(options.write, "figures").write(f"{facts}:\n\n{text}")
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(taken), encoding="utf-8")
    return 0


async def measured(row: str) -> list[float]:
    """Return the figures of one row."""
    return await MEASURES[row]()


def table(taken: dict[str, list[list[float]]]) -> list[str]:
    """Return a line for each figure."""
    lines = []
    for row, rounds in taken.items():
        figures = [figure for figure in FIGURES if figure.row == row]
        for figure, values in zip(figures, zip(*rounds, strict=True), strict=True):
            sign = "at least" if figure.least else "at most"
            asked, wanted = (
                "" if bound is None else f"{sign} {bound:,.3g} {figure.unit}" for bound in (figure.asked, figure.wanted)
            )
            spread = f"{median(values):,.3g} ({min(values):,.3g} to {max(values):,.3g}) {figure.unit}"
            verdict = figure.verdict(median(values))
            lines.append(f"| {figure.row} | {figure.what} | {asked} | {wanted} | {spread} | {verdict} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
