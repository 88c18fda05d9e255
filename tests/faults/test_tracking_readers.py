"""Snapshots read from another thread while the fold goes on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from longshore._tracking import RunFold
from longshore.events import TaskRetrying, TasksSettled, TasksStarted, TasksSubmitted
from longshore.records import RunInfo, RunSnapshot
from longshore.task import Attempt, Outcome, Task, TaskSpec, TaskState


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let threads interrupt each other as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_a_reader_never_sees_counts_that_do_not_add_up() -> None:
    """Whenever a sink asks, from whatever thread, no count is negative, and they add up in all and by stage."""
    fold, stop = RunFold(0.0), threading.Event()
    writer = threading.Thread(target=_run_forever, args=(fold, stop), daemon=True)
    writer.start()
    info = RunInfo(run_id="r", started=datetime(2024, 1, 1, tzinfo=UTC), snapshot=lambda: _read(fold, info))
    try:
        seen = [_read(fold, info) for _ in range(300)]
    finally:
        stop.set()
        writer.join(5)
    assert not writer.is_alive()
    assert seen[-1].completed > seen[0].completed, "the fold went on while it was read"
    for snapshot in seen:
        for part in (snapshot, *snapshot.stages):
            places = (part.queued, part.running, part.retrying, part.completed, part.failed, part.cancelled)
            assert min(places) >= 0
            assert sum(places) == part.submitted


def _read(fold: RunFold, info: RunInfo) -> RunSnapshot:
    return fold.snapshot(info, 5.0, total=10**6)


def _run_forever(fold: RunFold, stop: threading.Event) -> None:
    specs = [TaskSpec(function=print, name=name, executor="x") for name in "ab"]
    turn = 0
    while not stop.is_set():
        turn += 1
        for spec in specs:
            tasks = [Task(f"{spec.name}{turn}-{i}", spec) for i in range(30)]
            outcomes = [Outcome(task.task_id, None, 0, spec.name, TaskState.COMPLETED) for task in tasks]
            now = turn * 0.004
            fold.fold(TasksSubmitted(spec, tasks), now)
            fold.fold(TasksStarted([Attempt.of(task, 1, now) for task in tasks]), now)
            fold.fold(TaskRetrying(spec, outcomes[0], 0.1), now)
            fold.fold(TasksStarted([Attempt.of(tasks[0], 2, now)]), now)
            fold.fold(TasksSettled(spec, outcomes[: 29 if turn % 7 else 30]), now)
            if turn % 7:
                fold.fold(TasksSettled(spec, outcomes[29:]), now)
