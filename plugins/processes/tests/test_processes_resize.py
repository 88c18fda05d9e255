"""The number of workers changes at any time, and no task is lost or run without need."""

from __future__ import annotations

import os
import random
import time
from typing import Any

import pytest
from longshore_processes.executor import ProcessesSettings


def work(x: float) -> float:
    if x:
        time.sleep(x)
    return x


@pytest.mark.slow
@pytest.mark.parametrize("settings", [None, ProcessesSettings(max_tasks_per_worker=5)], ids=["kept", "recycled"])
def test_at_random_under_load(open_yard: Any, settings: ProcessesSettings | None) -> None:
    """Up, down, and to one, again and again during work, long and short: every task gives its result, once."""
    dice = random.Random(3)
    with open_yard(2, settings) as yard:
        items = [dice.choice([0.0, 0.0, 0.0, 0.002, 0.02]) for _ in range(500)]
        ids = yard.submit(work, items)
        for _ in range(15):
            known = len(yard.host.outcomes)
            yard.resize(dice.choice([1, 2, 3, 5]))
            yard.until(lambda known=known: len(yard.host.outcomes) >= min(len(ids), known + 20))
        outcomes = yard.wait(ids, 30.0)
        assert [outcome.value for outcome in outcomes] == items
        assert not [notice for notice in yard.host.notices if notice.type == "worker_error"]


@pytest.mark.slow
def test_down_to_one_in_the_midst(open_yard: Any, eventually: Any) -> None:
    """What runs ends where it runs; afterwards there is one worker, and it does all the rest."""
    with open_yard(4) as yard:
        ids = yard.submit(work, [0.2] * 4)
        assert eventually(lambda: len(yard.executor.pids()) == 4)
        yard.resize(1)
        rest = yard.submit(lambda _: os.getpid(), list(range(20)))
        assert all(outcome.ok for outcome in yard.wait(ids))
        assert eventually(lambda: len(yard.executor.pids()) == 1)
        assert len({outcome.value for outcome in yard.wait(rest)}) <= 4
        assert {outcome.value for outcome in yard.run(lambda _: os.getpid(), [0] * 10)} == set(yard.executor.pids())


def pid(x: float) -> int:
    time.sleep(x)
    return os.getpid()


@pytest.mark.slow
def test_a_limit_leaves_workers_idle_and_keeps_them(open_yard: Any, eventually: Any) -> None:
    """Only so many are given work; the others stay, and get some when they may."""
    with open_yard(3) as yard:
        first = yard.submit(pid, [0.2] * 3)
        assert eventually(lambda: len(yard.executor.pids()) == 3)
        yard.limit(1)
        yard.wait(first)
        assert len({outcome.value for outcome in yard.run(pid, [0.001] * 40)}) == 1
        pids = set(yard.executor.pids())
        yard.limit(0)
        waiting = yard.submit(pid, [0.05] * 12)
        yard.limit(None)
        assert {outcome.value for outcome in yard.wait(waiting)} == pids == set(yard.executor.pids())
