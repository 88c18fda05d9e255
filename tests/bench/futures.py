"""What the sides share that are a `concurrent.futures.Executor`."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor

from single import PIPE_EVERY, Echo, latency
from work import check, noop, warm_up_size


def _all(pool: Executor, n: int) -> list[int]:
    futures = [pool.submit(noop, number) for number in range(n)]
    return [future.result() for future in futures]


def seconds_to_submit(pool: Executor, n: int) -> float:
    """Return the seconds from the first submit to the last result of n tasks that are submitted one by one."""
    _all(pool, warm_up_size(n))
    began = time.perf_counter()
    results = _all(pool, n)
    took = time.perf_counter() - began
    check(results, n)
    return took


def roundtrip(make: Callable[[], Executor], n: int) -> tuple[float, dict[str, float]]:
    """Return the median microseconds from submit to result of n tasks, one at a time, and the pipes' beside it."""
    echo, times, pipe = Echo(), [], []
    with make() as pool:
        for number in range(-max(20, n // 10), n):
            began = time.perf_counter()
            pool.submit(noop, number).result()
            took = time.perf_counter() - began
            if number >= 0:
                times.append(took)
            if number % PIPE_EVERY == 0:
                pipe.append(echo.round_trip_s())
    echo.close()
    return latency(times, pipe)
