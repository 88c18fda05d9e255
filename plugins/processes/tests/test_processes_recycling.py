"""Workers that have done enough, or have grown too much, are replaced, and no task notices."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from longshore.worker import current_task
from longshore_processes import executor
from longshore_processes.executor import ProcessesSettings
from longshore_processes.timing import Patience
from pydantic import ValidationError

LEAK: list[bytes] = []


def pid_of(_: int) -> int:
    return os.getpid()


def fail_if_odd(x: int) -> int:
    if x % 2:
        raise ValueError(os.getpid())
    return os.getpid()


def note_times(path: str) -> None:
    begun = time.monotonic()
    time.sleep(0.005)
    with open(path, "a") as file:
        file.write(f"{begun} {time.monotonic()}\n")


def leak(size: int) -> int:
    LEAK.append(b"x" * size)
    return os.getpid()


def at_end(path: str) -> None:
    def tell() -> None:
        with open(path, "a") as file:
            file.write(f"{os.getpid()}\n")

    if not current_task().worker_state.setdefault("asked", False):
        current_task().worker_state["asked"] = True
        current_task().at_worker_end(tell)


def hang_at_end(_: int) -> int:
    current_task().at_worker_end(lambda: time.sleep(1000))
    return os.getpid()


@pytest.mark.slow
@pytest.mark.parametrize(("most", "method", "count"), [(2, "auto", 100), (1, "auto", 20), (3, "interpreter", 12)])
def test_no_worker_runs_more_than_it_may(open_yard: Any, most: int, method: Any, count: int) -> None:
    """fault:M8 Each worker runs at most so many tasks, in whatever batches they come; all give their result."""
    with open_yard(2, ProcessesSettings(max_tasks_per_worker=most, start_method=method)) as yard:
        outcomes = yard.run(pid_of, list(range(count)))
        assert all(outcome.ok for outcome in outcomes)
        per_worker = Counter(outcome.value for outcome in outcomes)
        assert max(per_worker.values()) <= most
        assert not [notice for notice in yard.host.notices if notice.type == "worker_error"]


def test_failures_count_as_well(open_yard: Any) -> None:
    """A task that fails is one that the worker has run."""
    with open_yard(1, ProcessesSettings(max_tasks_per_worker=3)) as yard:
        outcomes = yard.run(fail_if_odd, list(range(30)))
        pids = [outcome.value if outcome.ok else outcome.exception.args[0] for outcome in outcomes]
        assert max(Counter(pids).values()) <= 3


@pytest.mark.slow
def test_the_next_one_waits_its_turn(open_yard: Any, tmp_path: Path) -> None:
    """A worker that is ready to take another's place runs nothing before that has ended what it holds."""
    path = tmp_path / "times"
    with open_yard(1, ProcessesSettings(max_tasks_per_worker=1)) as yard:
        assert all(outcome.ok for outcome in yard.run(note_times, [str(path)] * 30))
    spans = sorted(tuple(map(float, line.split())) for line in path.read_text().splitlines())
    assert len(spans) == 30
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


@pytest.mark.slow
def test_the_next_one_is_not_told_of(open_yard: Any, eventually: Any) -> None:
    """While the last task of a worker runs, statistics have that worker, busy, and not the one that waits as well."""
    with open_yard(2, ProcessesSettings(max_tasks_per_worker=1)) as yard:
        ids = yard.submit(time.sleep, [1.0, 1.0])
        assert eventually(lambda: len(yard.executor.pids()) == 3)
        rows = yard.executor.workers()
        assert [(row.status, row.current_task) for row in rows] == [("busy", task_id) for task_id in ids]
        yard.wait(ids)
        assert eventually(lambda: [row.status for row in yard.executor.workers()] == ["idle", "idle"])


@pytest.mark.slow
def test_one_that_grows_is_replaced(open_yard: Any) -> None:
    """fault:M8 A worker that has more memory of its own than it may after a task is replaced, and no task is lost."""
    with open_yard(1, ProcessesSettings(max_worker_memory_mb=100.0)) as yard:
        outcomes = yard.run(leak, [20_000_000] * 20)
        assert all(outcome.ok for outcome in outcomes)
        per_worker = Counter(outcome.value for outcome in outcomes)
        assert len(per_worker) >= 3
        assert max(per_worker.values()) <= 7
        assert len({outcome.value for outcome in yard.run(pid_of, list(range(20)))}) == 1


def test_it_cleans_up_before_it_leaves(open_yard: Any, tmp_path: Path, eventually: Any) -> None:
    """What was to be called at a worker's end is called when it is replaced."""
    path = tmp_path / "ended"
    path.touch()
    with open_yard(1, ProcessesSettings(max_tasks_per_worker=2)) as yard:
        yard.run(at_end, [str(path)] * 10)
        assert eventually(lambda: len(path.read_text().split()) >= 5)


@pytest.mark.slow
def test_one_that_does_not_leave_is_killed(open_yard: Any, monkeypatch: Any, eventually: Any) -> None:
    """A worker that hangs as it cleans up is killed, told of, and nobody waits for it."""
    monkeypatch.setattr(executor, "Patience", partial(Patience, leave_s=0.2))
    with open_yard(1, ProcessesSettings(max_tasks_per_worker=1)) as yard:
        pids = [outcome.value for outcome in yard.run(hang_at_end, [0, 1, 2])]
        assert eventually(lambda: not set(pids) & set(yard.executor.pids()), 5.0)
        yard.until(lambda: yard.host.notices, what="notice")
        assert {notice.data["killed_for"] for notice in yard.host.notices} == {"stuck"}


@pytest.mark.slow
def test_replaced_and_killed_at_the_same_time(open_yard: Any) -> None:
    """Under random kills and constant replacing every task still has exactly one outcome."""
    dice = random.Random(7)
    with open_yard(2, ProcessesSettings(max_tasks_per_worker=2)) as yard:
        ids = yard.submit(pid_of, list(range(200)))
        for _ in range(10):
            known = len(yard.host.outcomes)
            for pid in yard.executor.pids():
                if dice.random() < 0.5:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
            yard.until(lambda known=known: len(yard.host.outcomes) >= min(200, known + 10))
        outcomes = yard.wait(ids)
        assert all(outcome.ok or outcome.error.reason == "signal 9" for outcome in outcomes)
        assert not yard.host.errors


@pytest.mark.long
@pytest.mark.slow
def test_ten_thousand_with_two_each(open_yard: Any) -> None:
    """fault:M8 Ten thousand tasks, workers replaced every two: ten thousand results."""
    with open_yard(2, ProcessesSettings(max_tasks_per_worker=2)) as yard:
        outcomes = yard.wait(yard.submit(pid_of, list(range(10_000))), 100.0)
        assert sum(outcome.ok for outcome in outcomes) == 10_000
        assert max(Counter(outcome.value for outcome in outcomes).values()) <= 2


@pytest.mark.parametrize("wrong", [{"max_tasks_per_worker": 0}, {"max_worker_memory_mb": 0}])
def test_senseless_settings_are_refused(wrong: Any) -> None:
    """A worker that may run nothing is no worker."""
    with pytest.raises(ValidationError):
        ProcessesSettings(**wrong)
