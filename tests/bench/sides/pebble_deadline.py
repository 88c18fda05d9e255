"""pebble: a function that spins past its time limit in the only process, others waiting behind it."""

from __future__ import annotations

import time

from pebble import ProcessPool
from single import DEADLINE_S, OTHERS, WAIT_S, Trial, deadline, spin_first
from work import noop


def _trial(trial: Trial) -> tuple[BaseException | None, float, list[int], float]:
    with ProcessPool(max_workers=1) as pool:
        for future in [pool.schedule(noop, args=[number]) for number in range(20)]:
            future.result(WAIT_S)
        spinning, *others = (
            pool.schedule(spin_first, args=[number, trial.mark], timeout=DEADLINE_S) for number in range(OTHERS + 1)
        )
        error = spinning.exception(WAIT_S)
        came = time.monotonic()
        results = [future.result() for future in others if future.exception(WAIT_S) is None]
        return error, came, results, time.monotonic()


def measure(n: int) -> tuple[float, dict[str, float]]:
    """Return the median ms from deadline to error over n trials, and how many others were lost."""
    return deadline(n, _trial)
