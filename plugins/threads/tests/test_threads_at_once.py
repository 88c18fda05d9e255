"""How many threads may be at work at once: fewer than there are, for a while."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from longshore.records import WorkerStatus
from longshore.task import TaskState

pytestmark = pytest.mark.anyio


def value(x: int = 1) -> int:
    return x


class Watched:
    """A function that takes a moment, and how many of it run at once; held until it is let go, if so wanted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.gate = threading.Event()
        self.running = self.peak = 0

    def __call__(self, x: int) -> int:
        with self._lock:
            self.running += 1
            self.peak = max(self.peak, self.running)
        assert self.gate.wait(30)
        time.sleep(0.001)
        with self._lock:
            self.running -= 1
        return x


@pytest.fixture
def held() -> Iterator[Watched]:
    """One that is let go at the end, whatever happens."""
    made = Watched()
    yield made
    made.gate.set()


async def test_threads_limit_keeps_the_others_and_what_they_have(start: Any) -> None:
    """So many take attempts and no more; the rest wait, loaded as they are, and go on when they may."""
    watched = Watched()
    rig = await start(4)
    ids = rig.many(watched, range(300))
    await rig.host.until(lambda: watched.running == 4)
    workers = {row.worker_id for row in rig.executor.workers()}
    rig.limit(2)
    watched.gate.set()
    await rig.host.until(lambda: len(rig.host.outcomes) > 20 and watched.running <= 2)
    watched.peak = 0
    await rig.host.until(lambda: len(rig.host.outcomes) > 100)
    assert watched.peak <= 2
    rig.limit(None)
    await rig.host.until(lambda: watched.peak == 4)
    assert [outcome.value for outcome in await rig.all_of(ids)] == list(range(300))
    assert {row.worker_id for row in rig.executor.workers()} == workers
    assert rig.host.sizes == [4]


async def test_threads_that_wait_under_a_limit_are_not_busy(start: Any, held: Watched) -> None:
    """A thread whose attempt has ended, and that may not take another yet, says that it does nothing."""
    rig = await start(3)
    ids = rig.many(held, range(20))
    await rig.host.until(lambda: held.running == 3)
    rig.limit(0)
    held.gate.set()
    await rig.host.until(lambda: len(rig.host.outcomes) == 3)
    rows = rig.executor.workers()
    assert [(row.status, row.current_task, row.running_s) for row in rows] == [(WorkerStatus.IDLE, None, None)] * 3
    rig.limit(None)
    assert [outcome.value for outcome in await rig.all_of(ids)] == list(range(20))


async def test_threads_begin_nothing_under_a_limit_of_none(start: Any) -> None:
    """With 0 what waits stays where it is, until more may run; an idle executor is limited as well."""
    rig = await start(2)
    rig.limit(0)
    ids = rig.many(value, range(50))
    await rig.host.until(lambda: rig.executor._at_work() == 0)
    rig.limit(1)
    assert [outcome.value for outcome in await rig.all_of(ids)] == list(range(50))
    assert len({rig.of(task_id)[0].worker for task_id in ids}) == 1


async def test_threads_limit_at_random_loses_nothing(start: Any) -> None:
    """Whatever limits and sizes come, each attempt is run once, and the last limit holds."""
    dice, watched = random.Random(5), Watched()
    watched.gate.set()
    rig = await start(4)
    ids = rig.many(watched, range(400))
    for _ in range(40):
        rig.limit(dice.choice([0, 1, 2, 3, None]))
        if dice.random() < 0.3:
            rig.resize(dice.choice([1, 2, 4, 6]))
        await asyncio.sleep(0.001)
    rig.limit(3)
    assert [outcome.value for outcome in await rig.all_of(ids)] == list(range(400))


async def test_threads_an_abandoned_thread_under_a_limit_is_made_good(start: Any, held: Watched) -> None:
    """When the one that may run is given up, another takes what waits, also where no new thread is started."""
    rig = await start(2)
    rig.limit(1)
    late = rig.submit(held, 1, timeout_s=0.05)
    ids = rig.many(value, range(10))
    assert (await rig.outcome(late)).state is TaskState.TIMED_OUT
    assert all(outcome.ok for outcome in (await rig.all_of([late, *ids]))[1:])
