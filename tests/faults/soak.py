"""E8: a pool that works for hours while its workers die, its tasks fail and its sinks are slow: does anything grow?

    uv run python tests/faults/soak.py                # an hour
    uv run python tests/faults/soak.py --minutes 480 --json soak.json

Every few seconds the controller's memory, open files and threads, and the number of its processes, are counted. After a
quarter of the time, in which all warm up, each is to have no slope: the 95 % interval of the slope, taken over means of
blocks since readings that follow one another are alike, is to include 0. Ends with 1 where one does not, or a task was
lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import NamedTuple

from longshore import RetryPolicy, Settings, WorkerConfig, WorkerPool
from longshore.settings import HistorySettings
from suite import leaks
from suite.tasks import fragile

BLOCKS = 12
T_95 = 2.228  # Student's t for 95 %, two-sided, with BLOCKS - 2 degrees of freedom
WARM_UP = 0.25
_BATCH = 500
_EVERY_S = 5.0


class Slope(NamedTuple):
    """How fast something grows, an hour, and the half width of its 95 % interval."""

    per_hour: float
    within: float
    mean: float

    @property
    def grows(self) -> bool:
        """Whether it grows, as far as can be told."""
        return self.per_hour - self.within > 0.0


def slope(at_s: Sequence[float], values: Sequence[float], blocks: int = BLOCKS) -> Slope:
    """Return the least-squares slope over the means of blocks of equal length; ValueError for too few readings."""
    size = len(values) // blocks
    if size < 1:
        raise ValueError(f"{len(values)} readings are too few for {blocks} blocks")
    x = [sum(at_s[n * size : (n + 1) * size]) / size / 3600.0 for n in range(blocks)]
    y = [sum(values[n * size : (n + 1) * size]) / size for n in range(blocks)]
    mean_x, mean_y = sum(x) / blocks, sum(y) / blocks
    spread = sum((one - mean_x) ** 2 for one in x)
    per_hour = sum((one - mean_x) * (other - mean_y) for one, other in zip(x, y, strict=True)) / spread
    left = sum((other - mean_y - per_hour * (one - mean_x)) ** 2 for one, other in zip(x, y, strict=True))
    return Slope(per_hour, T_95 * sqrt(left / (blocks - 2) / spread), mean_y)


def reading() -> dict[str, float]:
    """Count what could grow."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "memory_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "files": float(len(os.listdir("/proc/self/fd"))),
        "threads": float(threading.active_count()),
        "workers": float(len(leaks.workers(os.getpid()))),
    }


async def soak(seconds: float, folder: Path, say: bool = True) -> tuple[dict[str, list[float]], Counter[str]]:
    """Work for so long; return the readings by name, and how tasks ended."""
    settings = Settings(
        sinks={"jsonl": {"path": str(folder / "events.jsonl"), "rotate_mb": 8, "keep": 2}},
        executors={"processes": {"max_tasks_per_worker": 20_000}},
        workers=WorkerConfig(process_workers=2, thread_workers=2),
        history=HistorySettings(
            most=5, fine_most=30, happenings_most=20
        ),  # which else fills up for a day, and is bounded
    )
    dice, counts, readings = random.Random(8), Counter[str](), dict[str, list[float]]()
    began = look_at = time.monotonic()
    retry = RetryPolicy(attempts=4, backoff=0.0, jitter=0.0, poison_after=5, retry_on=(Exception,))
    async with WorkerPool(settings=settings) as pool:
        while (now := time.monotonic()) < began + seconds:
            executor = dice.choices(["processes", "threads"], [3, 1])[0]
            function = fragile if executor == "processes" else _echo
            on = pool.options(executor=executor, retry=retry, name=executor)
            async with on.outcomes(function, range(_BATCH)) as stream:
                ended = [outcome.state.value async for outcome in stream]
            counts.update(ended)
            counts["lost"] += _BATCH - len(ended)
            if now >= look_at:
                look_at = now + _EVERY_S
                for name, value in {"at_s": now - began, **reading()}.items():
                    readings.setdefault(name, []).append(value)
                if say and len(readings["at_s"]) % 12 == 0:
                    last = {name: round(values[-1], 1) for name, values in readings.items()}
                    print(f"{last}: {sum(counts.values()):,} tasks", file=sys.stderr, flush=True)
    return readings, counts


def _echo(item: int) -> int:
    return item


def judge(readings: dict[str, list[float]]) -> dict[str, Slope]:
    """Return the slope of each kind of reading once all are warm."""
    from_ = int(len(readings["at_s"]) * WARM_UP)
    at_s = readings["at_s"][from_:]
    return {name: slope(at_s, values[from_:]) for name, values in readings.items() if name != "at_s"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, and say what grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", type=Path, help="write readings and slopes to this file")
    given = parser.parse_args(arguments)
    if given.minutes < 1.5:
        parser.error("--minutes: it takes one and a half to tell anything")
    with tempfile.TemporaryDirectory() as folder:
        readings, counts = asyncio.run(soak(given.minutes * 60.0, Path(folder)))
    slopes = judge(readings)
    print(f"{sum(counts.values()):,} tasks in {given.minutes:g} minutes: {dict(counts)}")
    for name, found in slopes.items():
        verdict = "grows" if found.grows else "does not grow"
        print(
            f"{name:10} {found.mean:10.1f}  {found.per_hour:+.2f} an hour, give or take {found.within:.2f}: {verdict}"
        )
    if given.json:
        told = {"readings": readings, "slopes": {name: one._asdict() for name, one in slopes.items()}, "ends": counts}
        given.json.write_text(json.dumps(told), encoding="utf-8")
    return int(counts["lost"] > 0 or any(one.grows for one in slopes.values()))


if __name__ == "__main__":
    sys.exit(main())
