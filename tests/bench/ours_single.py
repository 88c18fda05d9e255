"""Our sides with one task at a time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from longshore import WorkerPool
from ours import make_pool, submitted, with_all_on
from single import DEADLINE_S, OTHERS, PIPE_EVERY, WAIT_S, Echo, Trial, deadline, latency, payload, spin_first, touch
from work import noop


def roundtrip(n: int) -> tuple[float, dict[str, float]]:
    """Return the median microseconds from submit to result of n tasks, one at a time, and the pipes' beside it."""
    echo = Echo()
    try:
        return asyncio.run(_roundtrip(n, echo))
    finally:
        echo.close()


async def _roundtrip(n: int, echo: Echo) -> tuple[float, dict[str, float]]:
    times, pipe = [], []
    async with make_pool() as pool:
        fast = with_all_on(pool, "processes")
        for number in range(-max(20, n // 10), n):
            began = time.perf_counter()
            await (await fast.submit(noop, number))
            took = time.perf_counter() - began
            if number >= 0:
                times.append(took)
            if number % PIPE_EVERY == 0:
                pipe.append(echo.round_trip_s())
    return latency(times, pipe)


def deadlines(n: int) -> tuple[float, dict[str, float]]:
    """Return the median ms from deadline to error over n trials, and how many others were lost."""
    return deadline(n, lambda trial: asyncio.run(_trial(trial)))


async def _trial(trial: Trial) -> tuple[BaseException | None, float, list[int], float]:
    async with make_pool(processes=1) as pool, asyncio.timeout(WAIT_S):
        fast = with_all_on(pool, "processes", timeout=DEADLINE_S, retry=None)
        await submitted(pool, noop, 20, "processes")
        spinning = await fast.submit(spin_first, 0, trial.mark)
        others = [await fast.submit(spin_first, number, trial.mark) for number in range(1, OTHERS + 1)]
        error: BaseException | None = None
        try:
            await spinning
        except Exception as raised:
            error = raised
        came = time.monotonic()
        results = [outcome.value for outcome in [await other.outcome() for other in others] if outcome.ok]
        return error, came, results, time.monotonic()


def payloads(n: int) -> float:
    """Return the median ms of n calls with an array of 20 MB."""
    with asyncio.Runner() as runner:
        pool = make_pool()
        runner.run(pool.start())
        try:
            return payload(n, lambda array: runner.run(_call(pool, array)))
        finally:
            runner.run(pool.stop())


async def _call(pool: WorkerPool, array: Any) -> float:  # Any: an array, whose package may be missing
    return float(await (await with_all_on(pool, "processes").submit(touch, array)))
