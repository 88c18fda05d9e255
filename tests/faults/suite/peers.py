"""Twenty tasks, two workers, one bad: `python peers.py POOL FAULT` prints how many others gave their result."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

TASKS, BAD = 20, 3


class TwoArgumentsError(Exception):
    """Can't be made again from its `args`."""

    def __init__(self, one: str, two: str) -> None:
        """Take two."""
        super().__init__(f"{one} and {two}")


class Unreadable:
    """Raises as it is read."""

    def __reduce__(self) -> Any:
        """Have whoever reads this raise."""
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("it is not to be read")


def work(item: int) -> Any:
    """Do a little; one of the items goes wrong."""
    if item % 100 == BAD:
        fault = ("kill", "exception", "result")[item // 100]
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "exception":
            raise TwoArgumentsError("one", "two")
        return Unreadable()
    time.sleep(0.01)
    return item


def _each(calls: list[Callable[[], Any]]) -> int:
    found = 0
    for call in calls:
        with suppress(Exception):
            found += isinstance(call(), int)
    return found


def _items(fault: str) -> Iterator[int]:
    number = ("kill", "exception", "result").index(fault)
    return (item + 100 * number for item in range(TASKS))


def longshore(fault: str, method: str) -> int:
    """Try ours."""
    import longshore

    settings = longshore.Settings(probes=(), executors={"processes": {"start_method": method}})
    stream = longshore.outcomes(work, _items(fault), executor="processes", workers=2, settings=settings)
    return sum(outcome.ok for outcome in stream)


def concurrent_futures(fault: str) -> int:
    """Try the standard library's executor."""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(work, item) for item in _items(fault)]
        return _each([future.result for future in futures])


def multiprocessing_pool(fault: str) -> int:
    """Try the standard library's pool."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = [pool.apply_async(work, (item,)) for item in _items(fault)]
        return _each([result.get for result in results])


def loky(fault: str) -> int:
    """Try loky."""
    from loky import get_reusable_executor  # type: ignore[import-not-found]

    pool = get_reusable_executor(max_workers=2)
    futures = [pool.submit(work, item) for item in _items(fault)]
    return _each([future.result for future in futures])


def pebble(fault: str) -> int:
    """Try pebble."""
    from pebble import ProcessPool  # type: ignore[import-not-found]

    with ProcessPool(max_workers=2, context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.schedule(work, args=[item]) for item in _items(fault)]
        return _each([future.result for future in futures])


def mpire(fault: str) -> int:
    """Try mpire, which gives all results or an error."""
    from mpire import WorkerPool  # type: ignore[import-not-found]

    with WorkerPool(2, start_method="spawn") as pool:
        return sum(isinstance(value, int) for value in pool.map(work, list(_items(fault)), chunk_size=1))


POOLS: dict[str, Callable[[str], int]] = {
    "longshore (zygote)": lambda fault: longshore(fault, "zygote"),
    "longshore (interpreter)": lambda fault: longshore(fault, "interpreter"),
    "concurrent.futures": concurrent_futures,
    "multiprocessing.Pool": multiprocessing_pool,
    "loky": loky,
    "pebble": pebble,
    "mpire": mpire,
}

if __name__ == "__main__":
    print("good", POOLS[sys.argv[1]](sys.argv[2]))
