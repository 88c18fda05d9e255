"""`get_task`: what is known of a task in each of its states, and of a failure."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from longshore import (
    Priority,
    Resources,
    RetryPolicy,
    TaskCancelled,
    TaskState,
    current_task,
)
from longshore.events import AnyEvent
from support.waiting import until

pytestmark = pytest.mark.anyio

Opener = Callable[..., Any]


class Broken(Exception):
    """An exception of the user's own."""


def same(value: object) -> object:
    return value


def fail(_: object) -> None:
    raise Broken("the lid is broken", 7)


@pytest.mark.requirement("req:B11")
async def test_the_record_of_a_task_in_each_of_its_states(open_pool: Opener, gate: Any) -> None:
    """Every field follows the task: no start and no wait before it began, a worker while it runs, stamps in order."""
    before = datetime.now(UTC)
    async with open_pool() as pool:
        (held,) = await gate.hold(pool)
        task_id = await pool.submit_task("same", {"a": 1}, same, Priority.HIGH, 9.0, Resources(cpu=0.5), key="doc")
        failing = await pool.submit_task("fail", None, fail)
        running, queued = pool.get_task(held), pool.get_task(task_id)
        assert (running.state, running.attempts, running.worker_id) == (TaskState.PROCESSING, 1, "thread-0")
        assert running.started_at is not None
        assert running.completed_at is None
        assert (queued.task_id, queued.processor_name, queued.context) == (task_id, "same", {"a": 1})
        assert queued.processor_func is same
        assert (queued.priority, queued.timeout, queued.executor) == (Priority.HIGH, 9.0, "threads")
        assert (queued.resources, queued.key, queued.retry_of) == (Resources(cpu=0.5), "doc", None)
        assert queued.state in (TaskState.PENDING, TaskState.QUEUED)
        assert (queued.started_at, queued.completed_at, queued.wait_time, queued.duration_s) == (None,) * 4
        assert (queued.result, queued.error, queued.worker_id, queued.attempts) == (None, None, None, 0)
        gate.set()
        await pool.wait_for_completion()
        done, failed = pool.get_task(task_id), pool.get_task(failing)
        assert (done.state, done.result, done.worker_id, done.attempts) == (
            TaskState.COMPLETED, {"a": 1}, "thread-0", 1,
        )  # fmt: skip
        assert done.started_at is not None
        assert done.completed_at is not None
        assert before <= done.submitted_at <= done.started_at <= done.completed_at <= datetime.now(UTC)
        assert done.wait_time == pytest.approx((done.started_at - done.submitted_at).total_seconds(), abs=1e-5)
        assert done.duration_s is not None
        assert (failed.state, failed.result, failed.duration_s is not None) == (TaskState.FAILED, None, True)
        assert failed.error is not None
        assert failed.error.type.endswith("Broken")
        assert {record.task_id for record in pool.tasks()} == {held, task_id, failing}
        assert len(pool.tasks(2)) == 2


@pytest.mark.requirement("req:B11")
async def test_the_record_of_a_task_that_is_retried(open_pool: Opener) -> None:
    """While it waits for its retry one attempt has begun; in the end all have, and the wait is that of the first."""
    policy = RetryPolicy(attempts=2, backoff=0.2, jitter=0.0)

    def flaky(_: object) -> int:
        if current_task().attempt < 2:
            raise Broken
        return 2

    async with open_pool() as pool:
        task_id = await pool.submit_task("flaky", None, flaky, retry=policy)
        await until(lambda: pool.get_stats().retrying_tasks == 1, "the first attempt to fail")
        waiting = pool.get_task(task_id)
        assert (waiting.state, waiting.attempts) == (TaskState.PENDING, 1)
        assert waiting.started_at is not None
        assert await pool.get_task_result(task_id) == 2
        done = pool.get_task(task_id)
        assert (done.attempts, done.started_at) == (2, waiting.started_at)
        assert done.completed_at is not None
        assert (done.completed_at - done.started_at).total_seconds() >= 0.2


async def test_a_task_that_never_began_has_no_start(open_pool: Opener, gate: Any) -> None:
    """Cancelled in the queue, it has an end, and neither a start nor a wait."""
    async with open_pool() as pool:
        await gate.hold(pool)
        task_id = await pool.submit_task("same", 1, same)
        pool.cancel(task_id)
        with pytest.raises(TaskCancelled):
            await pool.get_task_result(task_id)
        record = pool.get_task(task_id)
        assert (record.state, record.started_at, record.wait_time, record.attempts) == (
            TaskState.CANCELLED, None, None, 0,
        )  # fmt: skip
        assert record.completed_at is not None
        gate.set()


def broken_in(folder: Path) -> None:
    raise Broken(folder.name)


async def broken_in_async(folder: Path) -> None:
    broken_in(folder)


@pytest.mark.parametrize("executor", ["asyncio", "threads", "processes"])
@pytest.mark.requirement("req:F07")
async def test_all_that_is_known_of_a_failure(open_pool: Opener, executor: str, tmp_path: Path) -> None:
    """Record and event have type, message, traceback, attempt, worker, executor, times and resources, JSON-safe."""
    told: list[AnyEvent] = []
    function = broken_in_async if executor == "asyncio" else broken_in
    retry = RetryPolicy(attempts=2, backoff=0.0)
    async with open_pool() as pool:
        pool.events.subscribe(told.append, {"task_failed"})
        task_id = await pool.submit_task(
            "broken", tmp_path, function, resources=Resources(cpu=0.25), executor=executor, retry=retry
        )
        with pytest.raises(Broken):
            await pool.get_task_result(task_id)
        report = pool.get_task(task_id).error_report()
        assert pool.get_task(await pool.submit_task("same", 1, same)).error_report() is None
    assert report is not None
    assert json.loads(json.dumps(report)) == report
    assert report["type"].endswith("Broken")
    assert "raise Broken(folder.name)" in report["traceback"]
    assert report["worker"].startswith({"asyncio": "async", "threads": "thread", "processes": "process"}[executor])
    assert (report["message"], report["attempt"], report["attempts"]) == (tmp_path.name, 2, 2)
    assert (report["task_id"], report["processor"], report["executor"]) == (task_id, "broken", executor)
    assert (report["state"], report["resources"]) == ("failed", {"cpu": 0.25})
    assert report["duration_s"] >= 0
    assert report["wait_s"] >= 0
    (event,) = told
    assert json.loads(json.dumps(event.data)) == event.data
    assert "raise Broken(folder.name)" in event.data["traceback"]
    assert event.data["duration_s"] >= 0
    for name, known in (("error", "type"), ("message", "message"), ("worker_id", "worker"), ("attempt", "attempt")):
        assert event.data[name] == report[known]
