"""Rows M11 to M13: real documents, all at once, through the pipeline `documents`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from longshore import Pipeline, ResourceMonitor, Resources, Settings, Stage, WorkerPool

MANY = 100
FEW = 50
_LOOK_S = 0.25
TEXTLESS = frozenset({"empty", "encrypted", "no-text"})
"""Reasons of documents in which nobody finds a text."""
_SUFFIXES = frozenset(
    [".csv", ".docx", ".eml", ".epub", ".html", ".json", ".odt", ".pdf", ".pptx", ".rtf", ".txt", ".xlsx"]
)


class Run(NamedTuple):
    """What came of some documents: when each was done, how many failed that have a text, and how many chunks came."""

    done_s: Sequence[float]
    failed: int
    chunks: int


def corpus() -> Path:
    """Return the folder of real documents, beside the checkout; FileNotFoundError where it is not there."""
    beside = [parent / "shared" / "corpus" for parent in Path(__file__).resolve().parents]
    found = next((path for path in beside if path.is_dir()), None)
    if found is None:
        raise FileNotFoundError("rows M11 to M13 want real documents in ../shared/corpus, beside the checkout")
    return found


def chosen(count: int) -> list[str]:
    """Return so many documents of the corpus, of all kinds."""
    paths = sorted(path for path in corpus().rglob("*") if path.is_file() and path.suffix in _SUFFIXES)
    return [str(paths[number * len(paths) // count]) for number in range(count)]


async def read(preset: str, count: int = MANY) -> Run:
    """Send documents through the pipeline, all at once, in a pool that is as a user's is."""
    done_s: list[float] = []
    failed = chunks = 0
    async with WorkerPool(settings=Settings(preset=preset)) as pool:
        began = time.perf_counter()
        async with pool.run_pipeline("documents", chosen(count), in_flight=count) as results:
            async for result in results:
                done_s.append(time.perf_counter() - began)
                if result.ok:
                    chunks += len(result.value["chunks"])
                else:
                    error = result.failure.error if result.failure is not None else None
                    failed += error is None or error.reason not in TEXTLESS
    return Run(sorted(done_s), failed, chunks)


async def at_once() -> list[float]:
    """M11: when documents are done that all came at once, and how many are not."""
    run = await read("default")
    mean_s, whole_s = sum(run.done_s) / MANY, run.done_s[-1]
    return [mean_s, run.done_s[95 * MANY // 100], MANY / whole_s, 100.0 * run.failed / MANY]


async def throughput() -> list[float]:
    """M12: documents a second, and chunks a minute, under the preset `throughput`."""
    run = await read("throughput")
    return [MANY / run.done_s[-1], 60.0 * run.chunks / run.done_s[-1]]


async def within_limits() -> list[float]:
    """M13: the most that is used under the default limits, of CPU by the pool, of memory in all; in percent.

    Each task reserves a core, so that as many run as fit below the limit: what nobody reserves is not held back.
    """
    core = Resources(cpu=1)
    stages = [
        Stage("extract", "extract", executor="processes", resources=core),
        Stage("chunk", "chunk", after=("extract",), executor="processes", resources=core),
    ]
    monitor, peaks = ResourceMonitor(None, _LOOK_S), [0.0, 0.0]
    async with WorkerPool(resource_monitor=monitor, settings=Settings()) as pool:
        looking = asyncio.create_task(_look(monitor, peaks))
        async with pool.run_pipeline(Pipeline("documents", stages), chosen(FEW), in_flight=FEW) as results:
            done = [result.state async for result in results]
        looking.cancel()
    if len(done) != FEW:
        raise AssertionError(f"{FEW - len(done)} of {FEW} documents have no end")
    return peaks


async def _look(monitor: ResourceMonitor, peaks: list[float]) -> None:
    """Keep the highest that is read."""
    while True:
        loads = monitor.loads
        if "cpu" in loads and "memory" in loads:
            peaks[:] = max(peaks[0], loads["cpu"].own or 0.0), max(peaks[1], loads["memory"].usage)
        await asyncio.sleep(_LOOK_S)
