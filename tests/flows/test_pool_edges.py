"""The pool's edges: starts that fail, those who wait and give up, totals, streams."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, TypeVar

import longshore
import pytest
from longshore import PoolNotRunning, Settings, TaskFailed, TaskState, WorkerConfig, WorkerPool
from longshore._runtime.turnstile import Turnstile
from longshore._runtime.waiting import OpenWaits
from longshore.errors import PayloadError, PluginError
from longshore.records import PoolStats
from longshore.testing import MemoryJournal
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


# ---- starting


@pytest.mark.requirement("req:C03")
async def test_a_start_given_up_on_leaves_nothing(gated_journal: Any) -> None:
    """Cancelled while the journal opens, `start` leaves a journal that is closed as soon as it can be."""
    journal = gated_journal("open")
    pool = pool_of(journal=journal)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pool.start(), 0.05)
    journal.let(1000)
    await until(lambda: journal.closed == 1, "the journal to be closed")
    assert await pool.stop() is None
    with pytest.raises(PoolNotRunning):
        await pool.submit(double, 1)


@pytest.mark.requirement("req:I01")
async def test_a_bus_that_is_none_stops_the_start() -> None:
    """Something that is no event bus is a TypeError from `start`, before the journal is opened."""
    journal = MemoryJournal()
    pool = pool_of(event_bus=object(), journal=journal)
    with pytest.raises(TypeError, match="emit or publish"):
        await pool.start()
    assert not journal.opened


async def test_a_pool_that_was_never_started_can_be_asked() -> None:
    """Statistics of a pool that was not started are zeros; what makes no sense there raises PoolNotRunning."""
    pool = pool_of()
    assert pool.get_stats() == PoolStats()
    assert pool.get_worker_stats() == []
    assert await pool.wait_for_completion() is True
    calls: list[Callable[[], object]] = [
        pool.snapshot,
        pool.pause,
        pool.unpause,
        pool.cancel_all,
        lambda: pool.cancel("none"),
        lambda: pool.resize("threads", 2),
        lambda: pool.run_id,
        lambda: pool.submit_threadsafe(double, 1),
    ]
    for call in calls:
        with pytest.raises(PoolNotRunning):
            call()


async def test_a_default_probe_that_cannot_be_used_does_not_matter() -> None:
    """The probe that is only there by default may be missing, disabled or broken; one asked for may not."""
    for policy in ({"disable": ["psutil"]}, {"allow": ["longshore-threads"]}):
        async with WorkerPool(settings=Settings.model_validate({"plugins": policy})) as pool:
            assert await (await pool.submit(double, 1)) == 2
    with pytest.raises(PluginError):
        await WorkerPool(settings=Settings.model_validate({"plugins": policy, "probes": ["psutil"]})).start()


BROKEN = """
from longshore.hookspecs import Capabilities, hookimpl

class Broken:
    capabilities = Capabilities(worker_type="broken", runs=frozenset({"function"}), timeout="none")
    @hookimpl
    async def start(self, host): raise SystemExit(3)
    @hookimpl
    def submit(self, attempts): pass
    @hookimpl
    def cancel(self, request): pass
    @hookimpl
    def resize(self, request): raise OSError("no")
    @hookimpl
    def workers(self): return ()
    @hookimpl
    def pids(self): return ()
    @hookimpl
    async def stop(self, deadline): pass

class Stubborn(Broken):
    @hookimpl
    async def start(self, host): host.resized(1)

class SpeechlessError(Exception):
    def __str__(self): raise RuntimeError("nothing to say")

class Lost(Broken):
    @hookimpl
    async def start(self, host):
        host.resized(1)
        host.failed(SpeechlessError())
"""


@pytest.mark.requirement("req:C03")
async def test_an_executor_that_cannot_start(fake_distributions: Any) -> None:  # Any: another conftest's class
    """An executor whose start raises, SystemExit included, fails the pool with the reason; nobody hangs."""
    fake_distributions.add("broken-executor", BROKEN, executors={"broken": "Broken"})
    pool = pool_of()
    await pool.start()
    with pytest.raises(PoolNotRunning, match="broken could not start: SystemExit"):
        await (await pool.options(executor="broken").submit(double, 1))
    summary = await pool.stop()
    assert summary is not None
    assert summary.state == "failed"
    async with pool:
        assert await (await pool.submit(double, 1)) == 2


@pytest.mark.requirement("req:C03")
async def test_an_executor_that_is_lost_for_a_reason_that_cannot_be_written(
    fake_distributions: Any,  # Any: another conftest's class
) -> None:
    """The pool fails, and whoever waits is told so, though the exception raises when it is asked what it says."""
    fake_distributions.add("lost-executor", BROKEN, executors={"lost": "Lost"})
    pool = pool_of()
    await pool.start()
    with pytest.raises(PoolNotRunning, match="the pool has failed: <the message could not be made"):
        async with asyncio.timeout(20):
            await (await pool.options(executor="lost").submit(double, 1))
    summary = await pool.stop()
    assert summary is not None
    assert summary.state == "failed"


class Unsendable:
    """Can't be pickled, for a reason that can't be written."""

    class SpeechlessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("nothing to say")

    def __reduce__(self) -> str:
        raise self.SpeechlessError


async def test_what_cannot_be_sent_for_a_reason_that_cannot_be_written_is_refused() -> None:
    """It is a PayloadError all the same, whether the function holds it or an object that the pool shares."""
    async with pool_of() as pool:
        far = pool.options(executor="processes")
        with pytest.raises(PayloadError, match="the message could not be made"):
            await far.submit(partial(double, Unsendable()))
        outcome = await (await far.submit(id, pool.share(Unsendable()))).outcome()
        assert isinstance(outcome.exception, PayloadError)


@pytest.mark.slow
@pytest.mark.requirement("req:C09")
async def test_an_executor_that_reports_nothing(
    fake_distributions: Any,  # Any: as above
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An executor that never reports an attempt can't hang `stop(timeout)`; the summary names the fault."""
    monkeypatch.setattr("longshore.pool._CLOSE_S", 0.1)
    fake_distributions.add("stubborn-executor", BROKEN, executors={"stubborn": "Stubborn"})
    pool = pool_of()
    await pool.start()
    handle = await pool.options(executor="stubborn").submit(double, 1)
    pool.resize("stubborn", 3)
    summary = await pool.stop(0.05)
    assert summary is not None
    assert (summary.state, summary.error) == ("failed", "an executor did not report all its attempts")
    with pytest.raises(PoolNotRunning):
        await handle


async def test_resizing_what_is_not_there() -> None:
    """An executor that is unknown, or that settings give no workers, is refused where `resize` is called."""
    async with pool_of(WorkerConfig(thread_workers=0)) as pool:
        with pytest.raises(PluginError):
            pool.resize("nosuch", 2)
        for _ in range(2):
            with pytest.raises(ValueError, match="thread_workers is 0"):
                await pool.submit(double, 1)
        with pytest.raises(ValueError, match="thread_workers is 0"):
            pool.resize("threads", 2)
        assert await (await pool.options(executor="inline").submit(double, 2)) == 4


# ---- waiting


@pytest.mark.requirement("req:D09")
async def test_a_waiter_that_gives_up_leaves_its_place_to_the_next(gate: threading.Event) -> None:
    """Who waits for room comes in in the order of asking, also when one before gives up."""
    pool = pool_of(SMALL)
    came: list[int] = []

    async def ask(number: int) -> None:
        await pool.submit(came.append, number)

    async with pool:
        for _ in range(11):
            await pool.submit(gate.wait)
        waiting = [asyncio.create_task(ask(number)) for number in range(6)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        waiting[3].cancel()
        gate.set()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert came == [1, 2, 4, 5]


async def test_a_turnstile_takes_back_the_place_of_who_was_cancelled_on_the_way() -> None:
    """A place given to somebody who is cancelled before he comes is free again, and the pool is told."""
    changes: list[int] = []
    waits = OpenWaits(lambda stimulus: None, lambda task_id: False)
    turnstile = Turnstile(lambda: changes.append(turnstile.granted), waits)
    one, two = (asyncio.create_task(turnstile.wait()) for _ in range(2))
    await asyncio.sleep(0)
    turnstile.let_in(1)
    assert turnstile.granted == 1
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    assert (turnstile.granted, changes, bool(turnstile)) == (0, [0], True)
    two.cancel()
    with pytest.raises(asyncio.CancelledError):
        await two
    assert not turnstile


async def test_a_handle_forgets_those_who_no_longer_wait() -> None:
    """Asking a handle a thousand times with a time limit of one's own leaves nothing behind in it."""
    async with pool_of() as pool:
        handle = await pool.submit(asleep)
        for _ in range(100):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(handle.outcome(), 0.0001)
        assert not handle._waiters
        handle.cancel()
        assert (await handle.outcome()).state is TaskState.CANCELLED


async def test_a_consumer_that_gives_up_on_an_item_keeps_its_stream() -> None:
    """Waiting for the next item with a time limit closes nothing: the stream can be read on."""
    go = asyncio.Event()

    async def held(number: int) -> int:
        await go.wait()
        return number

    async with pool_of() as pool, pool.map(held, range(3)) as stream:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.02)
        go.set()
        assert [value async for value in stream] == [0, 1, 2]


async def test_two_consumers_of_one_stream_are_refused() -> None:
    """A stream has one consumer; a second one that would wait beside it is told so, and the first goes on."""
    go = asyncio.Event()

    async def held(number: int) -> int:
        await go.wait()
        return number

    async with pool_of() as pool, pool.map(held, range(2)) as stream:
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="one task only"):
            await anext(stream)
        go.set()
        assert await first == 0
        assert await anext(stream) == 1


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
async def test_a_task_that_raises_the_end_of_an_iterator_has_failed(kind: type[Exception]) -> None:
    """A task's StopIteration is not taken for the end of anything: TaskFailed names the task, and is raised from it."""

    def stops(number: int) -> int:
        if number == 2:
            raise kind("mine")
        return number

    async with pool_of() as pool:
        given: list[int] = []
        with pytest.raises(TaskFailed, match=f"stops.*{kind.__name__}: mine") as of_map:
            await _read(pool.map(stops, range(5)), given)
        with pytest.raises(TaskFailed) as of_handle:
            await (await pool.submit(stops, 2))
        future = await asyncio.to_thread(pool.submit_threadsafe, stops, 2)
        with pytest.raises(TaskFailed) as of_future:
            await asyncio.wrap_future(future)
        with pytest.raises(TaskFailed) as of_sync:
            await asyncio.to_thread(lambda: list(longshore.map(stops, range(5), settings=Settings(probes=()))))
    assert given == [0, 1]
    assert [type(raised.value.__cause__) for raised in (of_map, of_handle, of_future, of_sync)] == [kind] * 4


async def test_an_async_source_that_raises_what_is_no_exception() -> None:
    """An async iterable that raises CancelledError of its own ends the stream with it, after what came before."""

    async def source() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError("the source's own")

    async with pool_of() as pool:
        given: list[int] = []
        with pytest.raises(asyncio.CancelledError, match="the source's own"):
            await _read(pool.map(double, source()), given)
    assert given == [2]


@pytest.mark.requirement("req:C15")
async def test_completion_waits_for_what_a_stream_is_about_to_pull() -> None:
    """Nothing is complete while a stream that is read has more to give."""
    async with pool_of() as pool:
        stream = pool.outcomes(double, range(1000))
        first = await anext(stream)
        given = [first]
        reading = asyncio.ensure_future(_read(stream, given))
        assert await pool.wait_for_completion(timeout=10)
        await reading
        assert len(given) == 1000
        assert pool.get_stats().completed_tasks == 1000


async def test_the_expected_total_follows_the_streams() -> None:
    """`total` is known while every stream that goes on can say its own, and is right once they have ended."""
    async with pool_of() as pool:
        sized, endless = pool.outcomes(double, range(500)), pool.outcomes(double, iter(int, 1))
        pool.outcomes(double, range(10_000))  # never iterated: it counts for nothing
        assert pool.snapshot().total is None
        await anext(sized)
        assert pool.snapshot().total == 500
        await anext(endless)
        assert pool.snapshot().total is None
        endless.close()
        pulled = endless._feed._index
        assert pool.snapshot().total == 500 + pulled
        sized.close()
        assert pool.snapshot().total == sized._feed._index + pulled
        wrong = [outcome async for outcome in pool.outcomes(double, iter(range(30)), total=80)]
        assert pool.snapshot().total == sized._feed._index + pulled + len(wrong)
