"""A journal that fails: the pool fails with it, and nobody is told what was not recorded."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from longshore import (
    JournalError,
    Outcome,
    PluginError,
    PoolNotRunning,
    RunSummary,
    Settings,
    WorkerConfig,
    WorkerPool,
)
from longshore.events import TERMINAL_TYPES, AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import Recalled, RunOpening
from longshore.testing import MemoryJournal, RecordingSink
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]

DEADLINE_S = 10.0


class FailingJournal(MemoryJournal):
    """A journal whose `open` or `close` raises."""

    def __init__(self, act: str) -> None:
        super().__init__()
        self._act = act

    @hookimpl
    def open(self, run: RunOpening) -> Recalled:
        """Raise, or begin."""
        if self._act == "open":
            raise OSError("no space left")
        return super().open(run)

    @hookimpl
    def close(self) -> None:
        """Raise, or end."""
        super().close()
        if self._act == "close":
            raise OSError("no space left")


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


async def echo(value: Any) -> Any:
    return value


async def _all(stream: Any) -> list[Any]:
    return [given async for given in stream]


async def collect(stream: AsyncIterator[Any], kept: list[Any]) -> None:
    """Read a stream to its end; what was given before an exception is kept."""
    async for given in stream:
        kept.append(given)


async def _stop(pool: WorkerPool) -> RunSummary:
    async with asyncio.timeout(DEADLINE_S):
        summary = await pool.stop()
    assert summary is not None
    return summary


# ---- a journal that fails


async def test_a_commit_that_raises_fails_the_pool(hook_told: list[str], gated_journal: Any) -> None:
    """Nothing of the batch is told; everybody who waits gets PoolNotRunning with the JournalError as its cause."""
    journal, sink = gated_journal(), RecordingSink()
    heard: list[AnyEvent] = []
    pool = make_pool(journal, sinks=[sink], hooks=["watching"])
    pool.events.subscribe(heard.append, TERMINAL_TYPES)
    await pool.start()
    waiting = [
        asyncio.ensure_future(_all(pool.outcomes(echo, range(50)))),
        asyncio.ensure_future((await pool.submit(echo, 1)).outcome()),
        asyncio.ensure_future((await pool.submit(asyncio.sleep, 300)).outcome()),
        asyncio.ensure_future(pool.wait_for_completion()),
    ]
    await until(lambda: journal.held, "a commit")
    full = OSError("no space left")
    journal.let(1, error=full)
    journal.let(100)  # later commits would succeed: the pool must not ask for them
    done = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), DEADLINE_S)
    for error in done:
        assert isinstance(error, PoolNotRunning), error
        assert isinstance(error.__cause__, JournalError)
        assert error.__cause__.__cause__ is full
    for submit in (pool.submit_nowait, pool.outcomes, pool.map):
        with pytest.raises(PoolNotRunning) as raised:
            submit(echo, [1])
        assert isinstance(raised.value.__cause__, JournalError)
    with pytest.raises(PoolNotRunning):
        await pool.submit(echo, 1)

    summary = await _stop(pool)
    assert summary.state == "failed"
    assert "no space left" in str(summary.error)
    assert pool.summary is summary
    assert journal.committed == []
    assert journal.closed == 1
    assert not heard
    assert not hook_told
    assert not sink.of_type(*TERMINAL_TYPES)
    assert sink.summary is not None
    assert sink.summary.state == "failed"


async def test_what_was_recorded_before_the_failure_is_told() -> None:
    """A journal that fails after some commits: what was told is exactly what is recorded."""
    journal = MemoryJournal(fail_after=3)
    pool = make_pool(journal)
    await pool.start()
    given: list[Outcome] = []
    with pytest.raises(PoolNotRunning) as raised:
        await asyncio.wait_for(collect(pool.outcomes(echo, range(100_000)), given), DEADLINE_S)
    assert isinstance(raised.value.__cause__, JournalError)
    summary = await _stop(pool)
    assert summary.state == "failed"
    assert {outcome.task_id for outcome in given} == {outcome.task_id for outcome in journal.outcomes}
    assert summary.snapshot.completed == len(given) > 0


async def test_whoever_waits_for_room_is_told_of_the_failure(gated_journal: Any) -> None:
    """A submitter that waits for room when the journal fails gets PoolNotRunning, and does not hang."""
    journal = gated_journal()
    pool = make_pool(journal, max_queue_size=10)
    await pool.start()

    async def submit_many() -> None:
        for number in range(10_000):
            await pool.submit(echo, number)

    submitting = asyncio.ensure_future(submit_many())
    await until(lambda: journal.held, "a commit")
    journal.let(1, error=OSError("gone"))
    with pytest.raises(PoolNotRunning):
        await asyncio.wait_for(submitting, DEADLINE_S)
    assert (await _stop(pool)).state == "failed"


async def test_a_failed_pool_does_not_hang_its_block() -> None:
    """Leaving `async with` after the journal failed stops the pool, with what failed still to be read."""
    pool = make_pool(MemoryJournal(fail_after=0))
    with pytest.raises(PoolNotRunning):
        async with asyncio.timeout(DEADLINE_S), pool:
            await (await pool.submit(echo, 1))
    assert pool.summary is not None
    assert pool.summary.state == "failed"


async def test_a_failed_pool_may_be_started_again(gated_journal: Any) -> None:
    """After the failure was seen to, the same pool starts anew with its journal."""
    journal = gated_journal()
    pool = make_pool(journal)
    await pool.start()
    handle = await pool.submit(echo, 1)
    journal.let(1, error=OSError("for a moment"))
    with pytest.raises(PoolNotRunning):
        await handle
    assert (await _stop(pool)).state == "failed"
    journal.let(1)
    async with asyncio.timeout(DEADLINE_S), pool:
        assert await (await pool.submit(echo, 2)) == 2
    assert pool.summary is not None
    assert pool.summary.state == "completed"


async def test_a_journal_that_cannot_open_stops_the_start() -> None:
    """`start` raises JournalError with the reason, and nothing is left open: no thread, no sink, no running pool."""
    sink = RecordingSink()
    before = set(threading.enumerate())
    pool = make_pool(FailingJournal("open"), sinks=[sink])
    with pytest.raises(JournalError, match="no space left") as raised:
        await asyncio.wait_for(pool.start(), DEADLINE_S)
    assert isinstance(raised.value.__cause__, OSError)
    await until(lambda: set(threading.enumerate()) <= before, "threads that were left open")
    assert sink.run is None
    assert await pool.stop() is None
    with pytest.raises(PoolNotRunning):
        await pool.submit(echo, 1)


async def test_a_journal_that_is_not_there_stops_the_start() -> None:
    """A journal named that is not installed is a PluginError from `start`, and nothing is left open."""
    before = set(threading.enumerate())
    pool = make_pool("nosuchjournal")
    with pytest.raises(PluginError, match="nosuchjournal"):
        await asyncio.wait_for(pool.start(), DEADLINE_S)
    assert set(threading.enumerate()) <= before
    assert await pool.stop() is None


async def test_a_journal_that_cannot_close_is_seen_in_the_summary() -> None:
    """What was told stays told; the run is summed up as failed, with the reason."""
    pool = make_pool(FailingJournal("close"))
    await pool.start()
    assert await (await pool.submit(echo, 1)) == 1
    summary = await _stop(pool)
    assert summary.state == "failed"
    assert "no space left" in str(summary.error)


@pytest.mark.slow
@pytest.mark.long
async def test_a_journal_that_hangs_does_not_hang_stop(gated_journal: Any) -> None:
    """A commit that never returns: `stop` with a limit gives up on it within the closing time, and says so."""
    journal = gated_journal()
    pool = make_pool(journal)
    await pool.start()
    handle = await pool.submit(echo, 1)
    await until(lambda: journal.held, "a commit")
    async with asyncio.timeout(15):
        summary = await pool.stop(0.0)
    assert summary is not None
    assert summary.state == "failed"
    with pytest.raises(PoolNotRunning):
        await asyncio.wait_for(handle.outcome(), 5)
    journal.let(10)


async def test_without_a_journal_nothing_waits() -> None:
    """`journal=False` overrides settings: there is no journal's thread, and outcomes are told at once."""
    settings = Settings(probes=(), journal="nosuchjournal")
    before = set(threading.enumerate())
    async with WorkerPool(settings=settings, journal=False) as pool:
        assert await (await pool.submit(echo, 1)) == 1
        assert not [thread for thread in set(threading.enumerate()) - before if "journal" in thread.name]
