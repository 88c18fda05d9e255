"""Whoever waits for futures hears of each exactly once, whenever he begins to wait."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, as_completed, wait
from typing import Any

import pytest
from longshore import PoolExecutor, Settings

DEADLINE_S = 30.0
ROUNDS = 60


@pytest.fixture
def _hasty() -> Iterator[None]:
    """Have threads change places all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def some(number: int) -> int:
    if number % 10 == 7:
        raise ValueError(number)
    return number


def by_wait(futures: list[Future[int]], dice: random.Random) -> None:
    assert wait(futures, DEADLINE_S) == (set(futures), set())


def as_they_come(futures: list[Future[int]], dice: random.Random) -> None:
    assert sorted(map(id, as_completed(futures, DEADLINE_S))) == sorted(map(id, futures))


def cancelling(futures: list[Future[int]], dice: random.Random) -> None:
    cancelled = {future for future in futures if dice.random() < 0.5 and future.cancel()}
    assert not wait(futures, DEADLINE_S).not_done
    assert {future for future in futures if future.cancelled()} == cancelled


def by_callback(futures: list[Future[int]], dice: random.Random) -> None:
    called: list[Future[Any]] = []
    for future in futures:
        future.add_done_callback(called.append)
    deadline = time.monotonic() + DEADLINE_S
    while len(called) < len(futures) and time.monotonic() < deadline:
        time.sleep(0)
    assert sorted(map(id, called)) == sorted(map(id, futures))


def one_by_one(futures: list[Future[int]], dice: random.Random) -> None:
    for number, future in enumerate(futures):
        error = future.exception(DEADLINE_S)
        assert error is None or str(error) == str(number)
        assert error is not None or future.result() == number


WAYS = (by_wait, as_they_come, cancelling, by_callback, one_by_one)


@pytest.mark.slow
@pytest.mark.usefixtures("_hasty")
def test_all_ways_of_waiting_hear_of_every_future() -> None:
    """From several threads, while others submit and cancel, and threads change places at every step."""
    over: list[int] = []

    def rounds(seed: int) -> None:
        dice = random.Random(seed)
        for number in range(ROUNDS):
            futures = [executor.submit(some, index) for index in range(dice.randrange(1, 60))]
            WAYS[(number + seed) % len(WAYS)](futures, dice)
        over.append(seed)

    with PoolExecutor(3, executor="threads", settings=Settings(probes=())) as executor:
        threads = [threading.Thread(target=rounds, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(over) == [0, 1, 2, 3]
