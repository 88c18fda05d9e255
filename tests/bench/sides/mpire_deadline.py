"""mpire: a function that spins past its time limit in the only process, others waiting behind it."""

from __future__ import annotations

import time
from contextlib import suppress

from mpire.pool import WorkerPool
from single import DEADLINE_S, OTHERS, WAIT_S, Trial, deadline, spin_first
from work import noop


def _trial(trial: Trial) -> tuple[BaseException | None, float, list[int], float]:
    with WorkerPool(n_jobs=1) as pool:
        for asked in [pool.apply_async(noop, (number,)) for number in range(20)]:
            asked.get(WAIT_S)
        spinning, *others = [
            pool.apply_async(spin_first, (number, trial.mark), task_timeout=DEADLINE_S) for number in range(OTHERS + 1)
        ]
        error: BaseException | None = None
        try:
            spinning.get(WAIT_S)
        except Exception as raised:
            error = raised
        came = time.monotonic()
        results = []
        for other in others:
            with suppress(Exception):  # lost, and counted as such
                results.append(other.get(WAIT_S))
        return error, came, results, time.monotonic()


def measure(n: int) -> tuple[float, dict[str, float]]:
    """Return the median ms from deadline to error over n trials, and how many others were lost."""
    return deadline(n, _trial)
