"""The pool's edges: what becomes of those who wait when a pool is stopped or fails, and tasks that end oddly."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from longshore import PoolNotRunning, Priority, Settings, TaskFailed, TaskState, WorkerConfig, WorkerPool
from longshore._processing import ProcessorCall
from longshore.errors import JournalError
from longshore.processor import ProcessorContext, ProcessorResult
from longshore.testing import MemoryJournal, RecordingSink
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]

T = TypeVar("T")
DEADLINE_S = 20.0
BARE = Settings(probes=())
SMALL = WorkerConfig(max_queue_size=10, priority_queue_size=10, async_workers=1, thread_workers=1)


def pool_of(config: WorkerConfig | None = None, **arguments: Any) -> WorkerPool:  # Any: as the pool's
    return WorkerPool(config, settings=BARE, **arguments)


def double(number: int) -> int:
    return 2 * number


async def asleep(_: object = None) -> None:
    await asyncio.sleep(60)


async def _read(stream: AsyncIterator[T], given: list[T]) -> None:
    """Add all that the stream gives, also if it raises after that."""
    async for one in stream:
        given.append(one)


# ---- stopping


async def test_a_stop_that_is_cancelled_still_closes_everything() -> None:
    """Cancelled while it waits for tasks, as by Ctrl-C, `stop` cancels them, closes all, and only then ends."""
    sink, journal = RecordingSink(), MemoryJournal()
    pool = pool_of(sinks=[sink], journal=journal)
    await pool.start()
    handle = await pool.submit(asleep)
    stopping = asyncio.create_task(pool.stop())
    await until(lambda: handle.state is TaskState.PROCESSING, "the task to run")
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert (await handle.outcome()).state is TaskState.CANCELLED
    assert sink.summary is not None
    assert sink.summary.state == "stopped"
    assert journal.closed == 1
    assert pool.summary is not None


@pytest.mark.requirement("req:C11")
async def test_who_stops_a_stopping_pool_waits_with_the_others(gate: threading.Event) -> None:
    """A second `stop` meanwhile ends with the first, with the same summary; its own timeout counts too."""
    pool = pool_of()
    await pool.start()
    await pool.submit(gate.wait)
    first = asyncio.create_task(pool.stop())
    await asyncio.sleep(0)
    second = await pool.stop(timeout=0.05)
    assert second is not None
    assert second.state == "stopped"
    assert await first is second
    assert await pool.stop() is None


@pytest.mark.requirement("req:C12")
async def test_a_pool_started_while_it_stops_starts_after_that() -> None:
    """`start` during a `stop` waits for its end."""
    pool = pool_of()
    await pool.start()
    await (await pool.submit(double, 1))
    stopping = asyncio.create_task(pool.stop())
    await asyncio.sleep(0)
    await pool.start()
    assert stopping.done()
    assert await (await pool.submit(double, 4)) == 8
    await pool.stop()


async def test_a_paused_pool_can_be_stopped() -> None:
    """A paused pool goes on to do what it accepted, and stops: nobody waits for ever."""
    pool = pool_of()
    async with pool:
        pool.pause()
        handles = [await pool.submit(double, number) for number in range(5)]
    assert [await handle for handle in handles] == [0, 2, 4, 6, 8]


@pytest.mark.requirement("req:C14")
async def test_who_waits_for_room_is_turned_away_at_the_stop(gate: threading.Event) -> None:
    """`submit` that waits for room when the pool is stopped raises PoolNotRunning at once."""
    pool = pool_of(SMALL)
    await pool.start()
    for _ in range(11):
        await pool.submit(gate.wait)
    waiting = asyncio.create_task(pool.submit(double, 1))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    stopping = asyncio.create_task(pool.stop())
    with pytest.raises(PoolNotRunning, match="stopping"):
        await waiting
    gate.set()
    summary = await stopping
    assert summary is not None
    assert summary.state == "completed"


@pytest.mark.requirement("req:C10")
async def test_stop_does_not_need_the_loops_own_threads(gate: threading.Event) -> None:
    """A pool with sinks and a journal stops though the loop's default executor is taken by hung calls."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as taken:
        loop.set_default_executor(taken)
        hung = loop.run_in_executor(None, gate.wait)
        async with pool_of(sinks=[RecordingSink()], journal=MemoryJournal()) as pool:
            pool.events.subscribe(lambda event: None)
            assert await (await pool.submit(double, 3)) == 6
        assert not hung.done()
        gate.set()
        await hung


async def test_streams_of_a_stopped_pool() -> None:
    """A stopped pool's streams give what was begun, then PoolNotRunning if there was more; `ordered` makes no odds."""
    for ordered in (False, True):
        pool = pool_of()
        await pool.start()
        stream = pool.outcomes(double, iter(int, 1), ordered=ordered)
        given = [await anext(stream) for _ in range(100)]
        unread = pool.outcomes(double, [1, 2, 3])
        await pool.stop()
        with pytest.raises(PoolNotRunning, match="before the stream had given all"):
            await _read(stream, given)
        assert all(outcome.ok for outcome in given)
        assert pool.summary is not None
        assert len(given) == pool.summary.snapshot.submitted
        with pytest.raises(PoolNotRunning, match="has stopped"):
            await anext(unread)


async def test_a_stream_whose_items_were_all_pulled_ends_normally_after_the_stop() -> None:
    """What a stream had still to give when its pool stopped is there to be read."""
    pool = pool_of()
    await pool.start()
    stream = pool.outcomes(double, range(50))
    first = await anext(stream)
    await pool.stop()
    assert len([first, *[outcome async for outcome in stream]]) == 50


async def test_the_handles_of_a_stopped_pool() -> None:
    """A handle keeps its outcome after the end of the pool."""
    pool = pool_of()
    await pool.start()
    done, cut = await pool.submit(double, 2), await pool.submit(asleep)
    await done
    await pool.stop(0.0)
    assert await done == 4
    assert (await cut.outcome()).state is TaskState.CANCELLED
    cut.cancel()  # is ignored


@pytest.mark.slow
@pytest.mark.requirement("req:C16")
async def test_twenty_runs_leave_nothing(tmp_path: Path) -> None:
    """After twenty starts and stops there is no thread, task or file descriptor more than after the first."""

    async def cycle() -> None:
        pool = pool_of(sinks=[RecordingSink()], journal=MemoryJournal())
        pool.events.subscribe(lambda event: None)
        async with pool:
            await (await pool.submit(double, 1))
            await (await pool.submit(asyncio.sleep, 0))
            pool.outcomes(double, range(10))
            async for _ in pool.outcomes(double, range(100_000)):
                break

    def left() -> tuple[set[str], int, int]:
        gc.collect()
        threads = {thread.name for thread in threading.enumerate()}
        return threads, len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else 0

    await cycle()
    before = left()
    for _ in range(20):
        await cycle()
    await until(lambda: left() == before, f"the same as {before}, not {left()}")


# ---- failing


async def test_leaving_a_pool_that_failed_says_so() -> None:
    """Work that nobody awaits is not lost in silence: leaving the block of a failed pool raises, with the cause."""
    with pytest.raises(PoolNotRunning, match="told to fail") as raised:
        async with pool_of(journal=MemoryJournal(fail_after=0)) as pool:
            pool.submit_nowait(double, 1)
    assert isinstance(raised.value.__cause__, JournalError)
    assert pool.summary is not None
    assert pool.summary.state == "failed"


async def test_a_failed_pool_lets_go_of_what_runs() -> None:
    """When the journal fails, what runs is cancelled at once: its outcome would be told to nobody."""
    cancelled = asyncio.Event()

    async def held() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    pool = pool_of(journal=MemoryJournal(fail_after=0))
    await pool.start()
    handle = await pool.submit(held)
    await until(lambda: handle.state is TaskState.PROCESSING, "the task to run")
    await asyncio.sleep(0.01)
    with pytest.raises(PoolNotRunning):
        await (await pool.submit(double, 1))
    await cancelled.wait()
    with pytest.raises(PoolNotRunning):
        await handle
    for refused in (pool.submit(double, 1), pool.wait_for_completion()):
        with pytest.raises(PoolNotRunning):
            await refused
    with pytest.raises(PoolNotRunning):
        pool.submit_nowait(double, 1)
    summary = await pool.stop()
    assert summary is not None
    assert summary.state == "failed"


@pytest.mark.slow
async def test_a_journal_that_hangs_is_named(monkeypatch: pytest.MonkeyPatch, gated_journal: Any) -> None:
    """A commit that never returns costs `stop(timeout)` its closing time, and the summary says who it was."""
    monkeypatch.setattr("longshore.pool._CLOSE_S", 0.1)
    journal = gated_journal("commit")
    pool = pool_of(journal=journal)
    await pool.start()
    handle = await pool.submit(double, 1)
    await until(lambda: journal.held is not None, "the commit to begin")
    stopping = asyncio.create_task(pool.stop(0.0))
    with pytest.raises(PoolNotRunning, match="journal did not commit in time"):
        await handle
    journal.let(1000)
    summary = await stopping
    assert summary is not None
    assert summary.state == "failed"


@pytest.mark.requirement("req:A05")
async def test_uncommitted_work_leaves_room_for_critical_tasks(gated_journal: Any) -> None:
    """With ordinary outcomes waiting for a slow journal up to the bound, CRITICAL tasks are still accepted."""
    journal = gated_journal("commit")
    async with pool_of(SMALL, journal=journal) as pool:
        handles = [await pool.submit(double, number) for number in range(10)]
        await until(lambda: pool._driver.room(Priority.NORMAL) == 0 and pool._driver.engine.idle, "all to be done")
        urgent = pool.options(priority=Priority.CRITICAL).submit_nowait(double, 100)
        journal.let(1000)
        assert await urgent == 200
        assert [await handle for handle in handles] == [2 * number for number in range(10)]


# ---- tasks


class Polite:
    """An async processor."""

    def initialize(self) -> None:
        pass

    async def process(self, context: ProcessorContext) -> ProcessorResult:
        await asyncio.sleep(0)
        return ProcessorResult(data={"id": context.document_id})


@pytest.mark.parametrize("executor", ["threads", "processes"])
@pytest.mark.requirement("req:K06")
async def test_an_async_processor(executor: str) -> None:
    """A processor whose `process` is a coroutine function runs in threads and processes like a plain one."""
    async with pool_of() as pool:
        call = ProcessorCall(Polite, "polite")
        result = await (await pool.options(executor=executor).submit(call, ProcessorContext(document_id="d1")))
    assert result.data == {"id": "d1"}


@pytest.mark.requirement("req:E05")
async def test_coroutines_inline_are_refused_with_advice() -> None:
    """What gives a coroutine in `inline` fails with what to name instead; no coroutine is ever a result."""
    async with pool_of() as pool:
        inline = pool.options(executor="inline")
        with pytest.raises(TypeError, match="executor='threads'"):
            await (await inline.submit(ProcessorCall(Polite, "polite"), ProcessorContext(document_id="d1")))
        with pytest.raises(TypeError, match="async def"):
            await (await inline.submit(lambda: asleep()))


@pytest.mark.requirement("req:E13")
async def test_what_is_no_exception_is_told_of_by_ours() -> None:
    """SystemExit in a task is TaskFailed for who awaits it, from the SystemExit itself."""

    def leaves() -> None:
        raise SystemExit(3)

    async with pool_of() as pool:
        with pytest.raises(TaskFailed, match="SystemExit: 3") as raised:
            await (await pool.submit(leaves))
    assert isinstance(raised.value.__cause__, SystemExit)
