"""How soon an idle pool starts a task: from the call of `submit` to the function's first line, in each executor.

    uv run --group bench python tests/bench/latency.py [--n 1000] [--apart-s 0.05] [--json FILE]

One pool, all executors in turn, the dispatches of one executor `--apart-s` seconds apart. Prints a Markdown table in
milliseconds. The clock is the system's monotonic one, which all processes of a machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path

from longshore import Settings, WorkerConfig, WorkerPool

EXECUTORS = ("asyncio", "threads", "processes", "inline")
WARM_UP = 20


async def begun_async() -> float:
    """Return when the coroutine began."""
    return time.monotonic()


def begun() -> float:
    """Return when the function began."""
    return time.monotonic()


async def dispatch(pool: WorkerPool, executor: str) -> float:
    """Return the seconds from the call of submit to the function's first line."""
    function = begun_async if executor == "asyncio" else begun
    asked = time.monotonic()
    handle = await pool.options(executor=executor).submit(function)
    return float(await handle) - asked


async def measure(n: int, apart_s: float) -> dict[str, list[float]]:
    """Return the latencies of `n` dispatches for each executor, sorted, in seconds."""
    taken: dict[str, list[float]] = {executor: [] for executor in EXECUTORS}
    config = WorkerConfig(async_workers=2, thread_workers=2, process_workers=2)
    async with WorkerPool(config, settings=Settings()) as pool:
        for number in range(-WARM_UP, n):
            for executor in EXECUTORS:
                latency_s = await dispatch(pool, executor)
                if number >= 0:
                    taken[executor].append(latency_s)
                await asyncio.sleep(apart_s / len(EXECUTORS))
    return {executor: sorted(latencies) for executor, latencies in taken.items()}


def at(latencies: list[float], fraction: float) -> float:
    """Return the latency below which `fraction` of them lie, in milliseconds."""
    return 1000.0 * latencies[min(len(latencies) - 1, int(fraction * len(latencies)))]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Measure how soon an idle pool starts a task.")
    parser.add_argument("--n", type=int, default=1000, help="dispatches for each executor")
    parser.add_argument("--apart-s", type=float, default=0.05, help="seconds between two of one executor")
    parser.add_argument("--json", type=Path, dest="json_file")
    arguments = parser.parse_args()
    taken = asyncio.run(measure(arguments.n, arguments.apart_s))
    print("| executor | p50 ms | p99 ms | max ms |\n|---|---|---|---|")
    for executor, latencies in taken.items():
        print(f"| {executor} | {at(latencies, 0.5):.3f} | {at(latencies, 0.99):.3f} | {at(latencies, 1.0):.3f} |")
    if arguments.json_file is not None:
        arguments.json_file.write_text(json.dumps(taken), encoding="utf-8")


if __name__ == "__main__":
    main()
