"""What the sides share that have one task at a time: the work, and what is made of the times it took."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

OTHERS = 20
PIPE_EVERY = 10
"""Tasks between two round trips through the pipes."""
DEADLINE_S = 0.3
"""The time limit of the task that spins."""
WAIT_S = 30.0
"""How long a side waits for what may never come."""
_PAGE = 4096


def at(times: list[float], fraction: float) -> float:
    """Return the time below which this fraction of them lie."""
    return sorted(times)[min(len(times) - 1, int(fraction * len(times)))]


# ---- a round trip through pipes


class Echo:
    """A forked child that sends each byte back: what two pipes cost, and the waking of who reads them."""

    def __init__(self) -> None:
        """Fork; to be done before there are threads."""
        there_read, self._write = os.pipe()
        self._read, there_write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._write)
            os.close(self._read)
            while data := os.read(there_read, 1):
                os.write(there_write, data)
            os._exit(0)
        os.close(there_read)
        os.close(there_write)

    def round_trip_s(self) -> float:
        """Return the seconds one byte took there and back."""
        began = time.perf_counter()
        os.write(self._write, b".")
        os.read(self._read, 1)
        return time.perf_counter() - began

    def close(self) -> None:
        """End the child."""
        os.close(self._write)
        os.close(self._read)
        os.waitpid(self._pid, 0)


def latency(times_s: list[float], pipe_s: list[float]) -> tuple[float, dict[str, float]]:
    """Return the median in microseconds, and beside it the p99, that of the pipes, and how many of those it is."""
    middle, pipe = 1e6 * median(times_s), 1e6 * median(pipe_s)
    return middle, {"p99": 1e6 * at(times_s, 0.99), "pipe": pipe, "of_pipe": middle / pipe}


# ---- a deadline


def spin_first(order: int, mark: str) -> int:
    """Spin for ever if it is the first, after noting when; else give the number back."""
    if order == 0:
        Path(mark).write_text(repr(time.monotonic()), encoding="ascii")
        while True:
            pass
    return order


class Trial:
    """One task that spins past its deadline before others: when its error came, and what became of the others."""

    def __init__(self) -> None:
        """Have a file of its own for the moment it begins."""
        handle, self.mark = tempfile.mkstemp()
        os.close(handle)

    def ended(self, error: BaseException | None, at_monotonic: float) -> float:
        """Return the ms from the deadline to the error, and forget the file; raises where there was none."""
        if error is None:
            raise AssertionError("the task that spins gave a result")
        began = float(Path(self.mark).read_text(encoding="ascii"))
        with suppress(OSError):
            os.unlink(self.mark)
        return 1000.0 * (at_monotonic - began - DEADLINE_S)


def deadline(
    n: int, trial: Callable[[Trial], tuple[BaseException | None, float, list[int], float]]
) -> tuple[float, dict[str, float]]:
    """Return the median ms from deadline to error over n trials, and beside it how many others were lost at most.

    A trial gives the error and when it came, the results of the others that came, and when the last of them did.
    """
    late, lost, done = [], [], []
    for _ in range(n):
        one = Trial()
        error, came, results, last = trial(one)
        late.append(one.ended(error, came))
        lost.append(OTHERS - len(set(results) & set(range(1, OTHERS + 1))))
        done.append(1000.0 * (last - came))
    return median(late), {"lost": max(lost), "others_done": median(done)}


# ---- a large argument


def arrays(n: int) -> list[np.ndarray]:
    """Return n different arrays of 20 MB: one that was sent before must not be known again."""
    import numpy as np

    return [np.full(2_500_000, float(number)) for number in range(n)]


def touch(array: np.ndarray) -> float:
    """Read a number from each page of the array, and return their mean."""
    return float(array[:: _PAGE // array.itemsize].mean())


def payload(n: int, call: Callable[[np.ndarray], float]) -> float:
    """Return the median ms of n calls with an array each, after two to warm up."""
    taken = []
    for number, array in enumerate(arrays(n + 2)):
        began = time.perf_counter()
        result = call(array)
        taken.append(time.perf_counter() - began)
        if result != number:
            raise AssertionError(f"array {number} arrived as {result}")
    return 1000.0 * median(taken[2:])
