"""One pool over every executor: what each does with progress, time limits, cancelling, failures and retries."""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from longshore import (
    Priority,
    RetryPolicy,
    Settings,
    Submitter,
    TaskCancelled,
    TaskFailed,
    TaskState,
    TaskTimeout,
    WorkerConfig,
    WorkerPool,
    current_task,
)
from longshore.events import AnyEvent
from longshore.testing import RecordingSink

pytestmark = pytest.mark.anyio


DEADLINE_S = 20.0
QUICK = RetryPolicy(attempts=3, backoff=0.01, jitter=0.0)
EXECUTORS = ("asyncio", "threads", "processes")
each = pytest.mark.parametrize("executor", EXECUTORS)
each_and_inline = pytest.mark.parametrize("executor", [*EXECUTORS, "inline"])


class Broken(Exception):
    """An exception of the user's own."""


def hold(folder: Path) -> str:
    """Run until the file `go` appears; say who runs it."""
    (folder / "pid").write_text(str(os.getpid()))
    current_task().progress(0.1, "running")
    give_up = time.monotonic() + 30
    while not (folder / "go").exists() and time.monotonic() < give_up:
        time.sleep(0.005)
    (folder / "returned").touch()
    return "late"


async def hold_async(folder: Path) -> str:
    current_task().progress(0.1, "running")
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        (folder / "cancelled").touch()
        raise
    return "late"


def report() -> str:
    for page in range(1, 6):
        current_task().progress(page / 5, f"page {page} of 5")
    return "read"


async def report_async() -> str:
    return report()


def fail(kept: list[Broken]) -> None:
    kept.append(Broken("the lid is broken", 7))
    raise kept[-1]


async def fail_async(kept: list[Broken]) -> None:
    fail(kept)


def flaky() -> int:
    if current_task().attempt < 3:
        raise Broken(f"attempt {current_task().attempt}")
    return current_task().attempt


async def flaky_async() -> int:
    return flaky()


def leave(name: str) -> None:
    kinds: dict[str, type[BaseException]] = {
        "SystemExit": SystemExit,
        "KeyboardInterrupt": KeyboardInterrupt,
        "CancelledError": asyncio.CancelledError,
    }
    raise kinds[name]("not today")


async def leave_async(name: str) -> None:
    leave(name)


def touch(path: Path) -> str:
    path.touch()
    return path.name


async def touch_async(path: Path) -> str:
    return touch(path)


FORMS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "hold": (hold, hold_async),
    "report": (report, report_async),
    "fail": (fail, fail_async),
    "flaky": (flaky, flaky_async),
    "leave": (leave, leave_async),
    "touch": (touch, touch_async),
}


def form(name: str, executor: str) -> Callable[..., Any]:
    """Return the function in the form that the executor takes."""
    return FORMS[name][executor == "asyncio"]


class Watch:
    """What a subscriber of the pool's bus has been told."""

    def __init__(self, pool: WorkerPool) -> None:
        self.events: list[AnyEvent] = []
        self._changed = asyncio.Event()
        pool.events.subscribe(self._take)

    async def _take(self, event: AnyEvent) -> None:
        self.events.append(event)
        self._changed.set()

    def of(self, task_id: str, *types: str) -> list[AnyEvent]:
        mine = [event for event in self.events if event.data.get("task_id") == task_id]
        return [event for event in mine if not types or event.type in types]

    async def until(self, task_id: str, kind: str) -> AnyEvent:
        while not self.of(task_id, kind):
            self._changed.clear()
            await self._changed.wait()
        return self.of(task_id, kind)[0]


@asynccontextmanager
async def one_worker(executor: str, *sinks: RecordingSink) -> AsyncIterator[tuple[WorkerPool, Submitter, Watch]]:
    """A pool with one worker in each executor, with a deadline over all that happens in it."""
    config = WorkerConfig(async_workers=1, thread_workers=1, process_workers=1)
    async with (
        asyncio.timeout(DEADLINE_S),
        WorkerPool(settings=Settings(probes=(), workers=config), sinks=sinks) as pool,
    ):
        yield pool, pool.options(executor=executor), Watch(pool)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    return True


async def still_serves(on: Submitter, executor: str, folder: Path) -> None:
    assert await (await on.submit(form("touch", executor), folder / "next")) == "next"


@each_and_inline
@pytest.mark.requirement("req:H22")
async def test_matrix_progress(executor: str) -> None:
    """What a task says of its progress reaches subscribers and sinks, the first and the last always."""
    sink = RecordingSink()
    async with one_worker(executor, sink) as (pool, on, watch):
        handle = await on.submit(form("report", executor))
        assert await handle == "read"
        await watch.until(handle.task_id, "task_completed")
        told = watch.of(handle.task_id, "task_progress")
        assert told[0].data["message"] == "page 1 of 5"
        assert told[-1].data["message"] == "page 5 of 5"
        fractions = [event.data["progress"] for event in told]
        assert fractions == sorted(fractions)
        assert (fractions[0], fractions[-1]) == (0.2, 1.0)
        assert pool.get_stats().completed_tasks == 1
    messages = [event.data["message"] for event in sink.of_type("task_progress")]
    assert (messages[0], messages[-1]) == ("page 1 of 5", "page 5 of 5")
    assert sink.wait_closed(0.0).state == "completed"


@pytest.mark.slow
@each
async def test_matrix_timeout(executor: str, tmp_path: Path) -> None:
    """A task past its time is timed out: cancelled, killed or abandoned, and the worker's place is free again."""
    async with one_worker(executor) as (pool, on, watch):
        handle = await on.options(timeout=0.3).submit(form("hold", executor), tmp_path)
        with pytest.raises(TaskTimeout, match=r"0\.3 s"):
            await handle
        outcome = await handle.outcome()
        assert (outcome.state, outcome.attempts) == (TaskState.TIMED_OUT, 1)
        assert handle.state is TaskState.TIMED_OUT
        assert 0.25 < outcome.ran_s < 3.0
        assert outcome.error is not None
        assert outcome.error.reason == "timeout"
        ended = await watch.until(handle.task_id, "task_failed")
        assert ended.data["state"] == "timed_out"
        stats = pool.get_stats()
        assert (stats.failed_tasks, stats.timed_out_tasks) == (1, 1)
        assert ("abandoned" in outcome.error.message) is (executor == "threads")
        if executor == "asyncio":
            assert (tmp_path / "cancelled").exists()
        if executor == "processes":
            assert gone(int((tmp_path / "pid").read_text()))
        await still_serves(on, executor, tmp_path)
        (tmp_path / "go").touch()


@each
@pytest.mark.requirement("req:D14")
async def test_matrix_cancel_queued(executor: str, tmp_path: Path) -> None:
    """A queued task that is cancelled never runs, and those around it do."""
    async with one_worker(executor) as (pool, on, watch):
        first = await on.submit(form("hold", executor), tmp_path)
        await watch.until(first.task_id, "task_progress")
        second = await on.submit(form("touch", executor), tmp_path / "second")
        third = await on.submit(form("touch", executor), tmp_path / "third")
        await watch.until(third.task_id, "task_submitted")
        assert (second.state, third.state) == (TaskState.QUEUED, TaskState.QUEUED)
        second.cancel("not wanted any more")
        with pytest.raises(TaskCancelled, match="not wanted any more"):
            await second
        assert (await second.outcome()).state is TaskState.CANCELLED
        first.cancel()
        assert await third == "third"
        assert not (tmp_path / "second").exists()
        assert [event.type for event in watch.of(second.task_id)] == ["task_submitted", "task_cancelled"]
        assert pool.get_stats().cancelled_tasks == 2
        (tmp_path / "go").touch()


@each
@pytest.mark.requirement("req:D14")
async def test_matrix_cancel_running(executor: str, tmp_path: Path) -> None:
    """A running task that is cancelled is told to its waiter at once; only a thread is left behind, and named so."""
    async with one_worker(executor) as (pool, on, watch):
        handle = await on.submit(form("hold", executor), tmp_path)
        await watch.until(handle.task_id, "task_progress")
        pool.cancel(handle.task_id)
        with pytest.raises(TaskCancelled):
            await handle
        outcome = await handle.outcome()
        assert outcome.state is TaskState.CANCELLED
        assert outcome.error is not None
        assert ("abandoned" in outcome.error.message) is (executor == "threads")
        assert not (tmp_path / "returned").exists()
        if executor == "asyncio":
            assert (tmp_path / "cancelled").exists()
        if executor == "processes":
            assert gone(int((tmp_path / "pid").read_text()))
        await still_serves(on, executor, tmp_path)
        (tmp_path / "go").touch()
        assert pool.get_stats().cancelled_tasks == 1


@each_and_inline
@pytest.mark.requirement("req:F07")
async def test_matrix_raise(executor: str) -> None:
    """The waiter gets the task's own exception: type, arguments, and the place in the user's code."""
    kept: list[Broken] = []
    async with one_worker(executor) as (pool, on, watch):
        handle = await on.submit(form("fail", executor), kept)
        with pytest.raises(Broken, match="the lid is broken") as caught:
            await handle
        error = caught.value
        assert error.args == ("the lid is broken", 7)
        if executor == "processes":
            assert "raise kept[-1]" in str(error.__cause__)
        else:
            assert error is kept[0]
            assert traceback.extract_tb(error.__traceback__)[-1].line == "raise kept[-1]"
        record = (await handle.outcome()).error
        assert record is not None
        assert record.type.endswith("Broken")
        assert "raise kept[-1]" in record.traceback
        ended = await watch.until(handle.task_id, "task_failed")
        assert (ended.data["state"], ended.data["attempt"]) == ("failed", 1)
        assert pool.get_stats().failed_tasks == 1


@each_and_inline
@pytest.mark.requirement("req:F03")
async def test_matrix_retry(executor: str) -> None:
    """Failing twice, then succeeding, is one completed task of three attempts; the last failure stands."""
    async with one_worker(executor) as (pool, on, watch):
        handle = await on.options(retry=QUICK).submit(form("flaky", executor))
        assert await handle == 3
        assert (await handle.outcome()).attempts == 3
        await watch.until(handle.task_id, "task_completed")
        retried = watch.of(handle.task_id, "task_retried")
        assert [(event.data["attempt"], event.data["message"]) for event in retried] == [
            (1, "attempt 1"),
            (2, "attempt 2"),
        ]
        assert [event.data["attempt"] for event in watch.of(handle.task_id, "task_started")] == [1, 2, 3]
        two = RetryPolicy(attempts=2, backoff=0.01, jitter=0.0)
        failing = await on.options(retry=two).submit(form("flaky", executor))
        with pytest.raises(Broken, match="attempt 2"):
            await failing
        stats = pool.get_stats()
        assert (stats.submitted_tasks, stats.completed_tasks, stats.failed_tasks) == (2, 1, 1)


@each_and_inline
@pytest.mark.requirement("req:E12", "req:E13")
async def test_matrix_base_exceptions(executor: str, tmp_path: Path) -> None:
    """What asks a program to end, raised inside a task, costs that task only."""
    async with one_worker(executor) as (pool, on, _):
        for name in ("SystemExit", "KeyboardInterrupt", "CancelledError"):
            handle = await on.submit(form("leave", executor), name)
            with pytest.raises(TaskFailed, match=name):
                await handle
            assert handle.state is TaskState.FAILED
            await still_serves(on, executor, tmp_path)
        stats = pool.get_stats()
        assert (stats.completed_tasks, stats.failed_tasks) == (3, 3)


@pytest.mark.parametrize("option", ["timeout", "deadline"])
async def test_matrix_inline_refuses_limits(option: str) -> None:
    """Inline cannot end anything, so a limit of time is refused at submit, and nothing is counted."""
    async with one_worker("inline") as (pool, on, _):
        with pytest.raises(ValueError, match=option):
            await on.options(**{option: 5.0}).submit(report)
        assert pool.get_stats().submitted_tasks == 0


def remaining() -> float | None:
    return current_task().time_remaining()


async def remaining_async() -> float | None:
    return remaining()


@pytest.mark.parametrize("executor", ["asyncio", "threads", "inline"])
@pytest.mark.requirement("req:A06")
async def test_matrix_default_timeout(executor: str) -> None:
    """`default_timeout` holds where nothing is said, but not inline."""
    config = WorkerConfig(default_timeout=40.0)
    async with asyncio.timeout(DEADLINE_S), WorkerPool(config, settings=Settings(probes=())) as pool:
        on = pool.options(executor=executor, priority=Priority.HIGH)
        left = await (await on.submit(remaining_async if executor == "asyncio" else remaining))
        if executor == "inline":
            assert left is None
        else:
            assert left is not None
            assert 20.0 < left <= 40.0
        own = on.options(timeout=5.0)
        if executor != "inline":
            assert await (await own.submit(remaining_async if executor == "asyncio" else remaining)) <= 5.0
