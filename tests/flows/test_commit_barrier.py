"""The commit barrier: with a journal, nobody is told of an outcome before the journal has it."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from longshore import (
    Handle,
    QueueFull,
    RetryPolicy,
    Settings,
    TaskState,
    WorkerConfig,
    WorkerPool,
)
from longshore.events import TERMINAL_TYPES, AnyEvent
from longshore.runs import RecordedRun
from longshore.testing import MemoryJournal, RecordingSink
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]

DEADLINE_S = 10.0


HOOK = """
from longshore.hookspecs import hookimpl

TOLD = []

class Watching:
    @hookimpl
    def task_settled(self, task, outcome):
        TOLD.append(task.task_id)
"""


@pytest.fixture
def hook_told(fake_distributions: Any) -> list[str]:  # Any: the class of another conftest
    """Install the hook `watching`; return the ids of the tasks that it is told of."""
    module = fake_distributions.add("watching", HOOK, hooks={"watching": "Watching"})
    told: list[str] = importlib.import_module(module).TOLD
    return told


def make_pool(journal: Any, *, sinks: Sequence[Any] = (), hooks: Sequence[str] = (), **config: int) -> WorkerPool:
    """Return a pool with this journal that nothing of the user's settings plays into."""
    settings = Settings(probes=(), hooks=tuple(hooks))
    return WorkerPool(WorkerConfig(**config), settings=settings, journal=journal, sinks=sinks)


async def until_started(sink: RecordingSink, handle: Handle[Any]) -> None:
    """Wait until the sink has been told of the start of a task, and so of all that was told before it."""

    def started(events: Sequence[AnyEvent]) -> bool:
        return any(event.type == "task_started" and event.data["task_id"] == handle.task_id for event in events)

    await asyncio.to_thread(sink.wait_for, started, DEADLINE_S)


async def echo(value: Any) -> Any:
    return value


async def _all(stream: Any) -> list[Any]:
    return [given async for given in stream]


# ---- nobody before the commit


async def test_nobody_is_told_before_the_commit_returns(hook_told: list[str], gated_journal: Any) -> None:
    """Handle, stream, subscriber, sink, hook and counts: none hears of an end while its commit has not returned."""
    journal, sink = gated_journal(), RecordingSink()
    heard: list[AnyEvent] = []
    pool = make_pool(journal, sinks=[sink], hooks=["watching"])
    pool.events.subscribe(heard.append, TERMINAL_TYPES)
    async with pool:
        reading = asyncio.ensure_future(_all(pool.outcomes(echo, range(3))))
        handle = await pool.submit(echo, "mine")
        await until(lambda: journal.held, "a commit")
        later = await pool.submit(echo, "later")  # what is told of it comes after anything told too early
        await until_started(sink, later)
        assert await pool.events.drain(DEADLINE_S)
        assert not handle.done
        assert not reading.done()
        assert not heard
        assert not hook_told
        assert not sink.of_type(*TERMINAL_TYPES)
        assert pool.snapshot().completed == 0
        assert not await pool.wait_for_completion(0.01)

        journal.let(5)
        assert await handle == "mine"
        assert await later == "later"
        assert len(await reading) == 3
    assert {outcome.task_id for outcome in journal.committed} == set(hook_told)
    assert len(hook_told) == len(heard) == len(sink.of_type(*TERMINAL_TYPES)) == 5


async def test_failures_and_cancellations_wait_for_their_commit_too(gated_journal: Any) -> None:
    """A failure, and a task cancelled while it was queued, are ends like any: recorded first, told then."""

    def fails() -> None:
        raise ZeroDivisionError

    journal = gated_journal()
    async with make_pool(journal) as pool:
        failing = await pool.submit(fails)
        await until(lambda: journal.held, "a commit")
        pool.pause()
        waiting = await pool.submit(echo, 1)
        waiting.cancel()
        journal.let()
        with pytest.raises(ZeroDivisionError):
            await failing
        await until(lambda: journal.held, "the commit of the cancelled one")
        assert not waiting.done
        journal.let()
        assert (await waiting.outcome()).state is TaskState.CANCELLED
    assert [outcome.state for outcome in journal.committed] == [TaskState.FAILED, TaskState.CANCELLED]


async def test_retried_attempts_are_not_recorded() -> None:
    """Only how a task ended is recorded: of one that failed once and was tried again, the outcome that stands."""
    tries = []

    def once() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError
        return "second"

    journal = MemoryJournal()
    async with make_pool(journal) as pool:
        handle = await pool.options(retry=RetryPolicy(attempts=3, backoff=0.001)).submit(once)
        assert await handle == "second"
    assert [(outcome.state, outcome.attempts) for outcome in journal.outcomes] == [(TaskState.COMPLETED, 2)]


async def test_at_most_one_outcome_a_task() -> None:
    """Every task of a stream is recorded exactly once, and what is recorded is what was given."""
    journal = MemoryJournal()
    async with make_pool(journal) as pool:
        given = await _all(pool.outcomes(echo, range(5000)))
    recorded = [outcome for batch in journal.batches for outcome in batch.outcomes]
    assert journal.refused == 0
    assert len(recorded) == len(given) == 5000
    assert {outcome.task_id for outcome in recorded} == {outcome.task_id for outcome in given}
    assert {batch.run_id for batch in journal.batches} == {pool.run_id}
    assert journal.closed == len(journal.opened) == 1


async def test_many_outcomes_go_into_one_commit(gated_journal: Any) -> None:
    """While one commit is held, everything that ends meanwhile gathers and goes into the next one (group commit)."""
    journal = gated_journal()
    ran: list[int] = []

    def note(number: int) -> int:
        ran.append(number)
        return number

    async with make_pool(journal) as pool:
        one_by_one = pool.options(executor="inline")  # it reports each end by itself
        first = await one_by_one.submit(note, 0)
        await until(lambda: journal.held, "the first commit")
        others = [await one_by_one.submit(note, number) for number in range(200)]
        await until(lambda: len(ran) == 201, "all to run")
        assert not any(handle.done for handle in others)
        journal.let(200)
        assert [await handle for handle in (first, *others)] == [0, *range(200)]
    assert len(journal.batches[0].outcomes) == 1
    assert len(journal.batches) <= 5
    assert sum(len(batch.outcomes) for batch in journal.batches) == 201


async def test_the_order_is_kept() -> None:
    """Outcomes are told in the order in which they were recorded, and recorded in the order in which they ended."""
    journal = MemoryJournal()
    heard: list[str] = []
    pool = make_pool(journal)
    pool.events.subscribe(lambda event: heard.append(event.data["task_id"]), TERMINAL_TYPES)
    async with pool:
        given = await _all(pool.outcomes(echo, range(3000)))
        assert await pool.events.drain(DEADLINE_S)
    recorded = [outcome.task_id for outcome in journal.outcomes]
    assert recorded == [outcome.task_id for outcome in given] == heard


async def test_the_journal_is_called_on_one_thread_of_its_own(gated_journal: Any) -> None:
    """`open`, every `commit` and `close` come from one thread, and not from the loop's."""
    journal = gated_journal()
    journal.let(1000)
    async with make_pool(journal) as pool:
        await _all(pool.outcomes(echo, range(500)))
    assert len(journal.threads) == 1
    assert threading.get_ident() not in journal.threads
    assert journal.closed == 1


async def test_a_slow_journal_holds_up_no_task(gated_journal: Any) -> None:
    """Tasks go on running while a commit is held; only telling waits."""
    journal = gated_journal()
    ran: list[int] = []
    async with make_pool(journal) as pool:
        handles = [await pool.submit(ran.append, number) for number in range(100)]
        await until(lambda: len(ran) == 100, "all tasks to run behind a held commit")
        assert not any(handle.done for handle in handles)
        journal.let(100)


async def test_a_slow_journal_bounds_what_is_accepted(gated_journal: Any) -> None:
    """What waits for its commit takes room like what is queued: a slow journal holds back the input."""
    journal = gated_journal()
    ran: list[int] = []

    async def run(number: int) -> None:
        ran.append(number)

    async def fill(pool: WorkerPool) -> None:
        for _ in range(1000):  # whatever could run and make room meanwhile, does
            with suppress(QueueFull):
                handles.append(pool.submit_nowait(run, -1))
            await asyncio.sleep(0)

    handles: list[Handle[None]] = []
    async with make_pool(journal, max_queue_size=20) as pool:
        waiting = asyncio.ensure_future(_all(pool.outcomes(run, range(3000))))
        await until(lambda: len(ran) >= 20, "the tasks to get as far as the queue is long")
        await asyncio.wait_for(fill(pool), DEADLINE_S)
        with pytest.raises(QueueFull):
            pool.submit_nowait(run, -1)
        assert len(ran) + len(handles) <= 20 + 100  # the queue, and what the workers were given ahead
        journal.let(100_000)
        assert len(await waiting) == 3000


async def test_room_comes_back_with_the_commit(gated_journal: Any) -> None:
    """Whoever waits for room behind a held commit is let in once it returns."""
    journal = gated_journal()
    async with make_pool(journal, max_queue_size=10) as pool:
        handles: list[Handle[Any]] = []

        async def submit_all() -> None:
            for number in range(500):
                handles.append(await pool.submit(echo, number))

        submitting = asyncio.ensure_future(submit_all())
        await until(lambda: journal.held, "a commit")
        journal.let(1000)
        async with asyncio.timeout(DEADLINE_S):
            await submitting
            assert [await handle for handle in handles] == list(range(500))


async def test_stop_waits_for_the_last_commit(gated_journal: Any) -> None:
    """`stop` returns only once everything accepted is recorded, told, and the journal closed."""
    journal = gated_journal()
    pool = make_pool(journal)
    await pool.start()
    handle = await pool.submit(echo, 1)
    stopping = asyncio.ensure_future(pool.stop())
    await until(lambda: journal.held, "the commit")
    assert not stopping.done()
    assert not handle.done
    journal.let(10)
    summary = await stopping
    assert summary is not None
    assert (summary.state, summary.snapshot.completed, journal.closed) == ("completed", 1, 1)
    assert await handle == 1


async def test_what_is_cancelled_at_the_end_is_recorded() -> None:
    """What a stop without patience cancels is recorded as cancelled before it is told."""
    journal = MemoryJournal()
    pool = make_pool(journal)
    await pool.start()
    handles = [await pool.submit(asyncio.sleep, 300) for _ in range(10)]
    async with asyncio.timeout(DEADLINE_S):
        summary = await pool.stop(0.0)
        outcomes = [await handle.outcome() for handle in handles]
    assert summary is not None
    assert summary.state == "stopped"
    assert {outcome.state for outcome in outcomes} == {TaskState.CANCELLED}
    assert {outcome.task_id for outcome in journal.outcomes} == {handle.task_id for handle in handles}


@pytest.mark.parametrize(
    ("left_by", "state"), [(KeyError("mine"), "failed"), (asyncio.CancelledError(), "stopped"), (None, "completed")]
)
async def test_the_journal_has_by_what_the_block_was_left(left_by: BaseException | None, state: str) -> None:
    """A run whose block an exception leaves is not recorded as completed, though all its tasks have ended."""
    journal = MemoryJournal()
    pool = make_pool(journal)
    with suppress(KeyError, asyncio.CancelledError):
        async with asyncio.timeout(DEADLINE_S), pool:
            assert await (await pool.submit(echo, 1)) == 1
            if left_by is not None:
                raise left_by
    assert pool.summary is not None
    recorded = RecordedRun(journal.archive(), pool.summary.snapshot.run_id)
    assert (recorded.state, pool.summary.state) == (state, state)
    assert recorded.summary().error == pool.summary.error == ("KeyError: 'mine'" if state == "failed" else None)
