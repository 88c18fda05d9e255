"""`health`: whether a pool is well, and if not, why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from longshore import (
    Health,
    PoolNotRunning,
    ResourceMonitor,
    Settings,
    WorkerConfig,
    WorkerPool,
    WorkerStats,
    WorkerStatus,
    _health,
)
from longshore._runtime import probing
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import READY_CHECKS, Reading, ReadRequest, RunInfo, RunSummary
from support.waiting import until

pytestmark = pytest.mark.anyio

Opener = Callable[..., Any]
CHECKS = {
    "running",
    "loop",
    "scheduler",
    "executors",
    "workers",
    "queue",
    "progress",
    "probes",
    "sinks",
    "handlers",
}


def pool_of(health: Mapping[str, float] | None = None, **more: Any) -> WorkerPool:
    workers = WorkerConfig(thread_workers=1, max_queue_size=10, priority_queue_size=10)
    cadence = {"history": {"fine_every_s": 0.1}, "health": health or {}}
    return WorkerPool(settings=Settings(probes=(), workers=workers, **cadence), **more)


@pytest.mark.requirement("req:L04")
async def test_an_idle_and_a_busy_pool_are_healthy(open_pool: Opener, gate: Any) -> None:
    """Having nothing to do is no fault, nor is having all workers busy."""
    async with open_pool() as pool:
        assert pool.health() == Health(healthy=True, reasons=(), checks=dict.fromkeys(CHECKS, True))
        await gate.hold(pool)
        await pool.options(executor="processes").submit(abs, -1)
        assert pool.health().healthy
        gate.set()
        assert await pool.wait_for_completion(20)
        pool.pause()
        assert pool.health().healthy


async def test_a_pool_that_takes_no_work_is_not(gate: Any) -> None:
    """Before its start, while it stops and after that it says so; started anew it is well again."""
    pool = pool_of()
    assert pool.health() == Health(healthy=False, reasons=("the pool was not started",), checks={"running": False})
    await pool.start()
    await gate.hold(pool)
    stopping = asyncio.create_task(pool.stop())
    await asyncio.sleep(0)
    assert not pool.health().checks["running"]
    gate.set()
    await stopping
    assert "stopped" in pool.health().reasons[0]
    async with pool:
        assert pool.health().healthy


@pytest.mark.requirement("req:L04")
async def test_a_queue_that_stays_full_is_a_reason(gate: Any) -> None:
    """Each of the two queues is looked at, and named when no task has ended for long; with room again all is well."""
    async with asyncio.timeout(20), pool_of({"saturated_after_s": 0.05}) as pool:
        await gate.hold(pool)
        for _ in range(10):
            await pool.submit_task("wait", 0, time.sleep)
        await until(lambda: not pool.health().checks["queue"], "the queue to have been full for long")
        for _ in range(10):
            await pool.submit_task("wait", 0, time.sleep, 0)
        await until(lambda: len(pool.health().reasons) == 2, "the other queue to have been, too")
        found = pool.health()
        assert [reason.partition(",")[0] for reason in found.reasons] == [
            "the queue is full",
            "the queue of CRITICAL tasks is full",
        ]
        assert (found.live, found.ready) == (True, False)
        gate.set()
        assert await pool.wait_for_completion(20)
        assert pool.health().healthy


@pytest.mark.requirement("req:L04")
async def test_a_full_queue_alone_is_no_fault(open_pool: Opener, gate: Any) -> None:
    """It is what holds back who submits: a stream keeps it full all the time."""
    async with open_pool(max_queue_size=10) as pool:
        await gate.hold(pool)
        for _ in range(10):
            await pool.submit_task("wait", 0, time.sleep)
        assert pool.health().healthy
        gate.set()
        assert await pool.wait_for_completion(20)


class BadSink:
    """A sink that raises whenever it is called."""

    @hookimpl
    def open(self, run: RunInfo) -> None:
        raise RuntimeError("no paper")

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Take nothing."""

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """End."""


@pytest.mark.requirement("req:L04")
async def test_a_quarantined_sink_and_a_raising_handler_are_reasons() -> None:
    """Work goes on, but who was to be told is not, and that is named."""

    def bad(_: AnyEvent) -> None:
        raise ValueError

    async with asyncio.timeout(20), pool_of(sinks=[BadSink()]) as pool:
        await until(lambda: not pool.health().checks["sinks"], "the sink to be quarantined")
        assert pool.health().reasons == ("sink BadSink is quarantined",)
        pool.events.subscribe(bad)
        assert await (await pool.submit(abs, -1)) == 1
        await until(lambda: not pool.health().checks["handlers"], "the handler to have raised")
        assert len(pool.health().reasons) == 2


class MoodySink(BadSink):
    """Raises for as long as it is in a bad mood."""

    bad = True

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Begin."""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        if self.bad:
            raise OSError("no paper")


@pytest.mark.requirement("req:L04")
async def test_a_sink_that_works_again_is_no_reason_any_more() -> None:
    """Of one that raises now and then, only the last call counts."""
    sink = MoodySink()
    async with asyncio.timeout(20), pool_of(sinks=[sink]) as pool:
        await until(lambda: pool.health().reasons == ("sink MoodySink is failing",), "the sink to raise")
        sink.bad = False
        await (await pool.submit(abs, -1))
        await until(lambda: pool.health().healthy, "the sink to be told of that")
    assert pool.summary is not None
    assert pool.summary.snapshot.sinks[0].errors == 1


class Mute:
    """A probe that never comes back with anything."""

    resources = ("cpu",)
    period_s = 0.01

    def read(self, request: ReadRequest) -> Reading:
        raise OSError("no such device")


@pytest.mark.requirement("req:L04")
async def test_a_probe_that_gives_nothing_is_a_reason(open_pool: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose readings have been missing for long is named."""
    monkeypatch.setattr(probing, "_SILENT_S", 0.05)
    async with open_pool() as pool:
        silent = ResourceMonitor(None, 0.01, {"mute": Mute()})
        monkeypatch.setattr(pool._measuring, "monitor", silent)
        await silent.start()
        await until(lambda: not pool.health().checks["probes"], "the probe to be missed")
        assert pool.health().reasons == ("probe mute gives no readings",)
        monkeypatch.setattr(probing, "_VALID_S", 0.01)
        await until(lambda: not pool.health().checks["monitor"], "what was measured to be too old")
        assert pool.health().found["monitor"][0].startswith("no probe has given a reading for ")
        assert not pool.health().ready
        await silent.stop()
        assert pool.health().found["monitor"] == ("the resource monitor was stopped: nothing is measured",)


@pytest.mark.requirement("req:L04")
async def test_an_executor_without_workers_is_a_reason(open_pool: Opener) -> None:
    """One that has started and says that it has no workers can run nothing."""
    async with open_pool() as pool:
        assert await (await pool.submit(abs, -1)) == 1
        from longshore._engine.messages import ExecutorUp

        pool._driver.stimulate(ExecutorUp("threads", 0))
        await asyncio.sleep(0.01)
        assert pool.health().reasons == ("executor threads has no workers",)
        pool._driver.stimulate(ExecutorUp("threads", 1))
        await asyncio.sleep(0.01)
        assert pool.health().healthy


@pytest.mark.requirement("req:L04")
async def test_a_blocked_loop_is_seen_from_another_thread(open_pool: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked from elsewhere, health waits a moment for the loop, and says when it does not answer."""
    monkeypatch.setattr(_health, "_ANSWER_S", 0.05)
    async with open_pool() as pool:
        loop = asyncio.get_running_loop()
        assert (await loop.run_in_executor(None, pool.health)).healthy
        asked = loop.run_in_executor(None, pool.health)
        time.sleep(0.2)
        found = await asked
        assert found.reasons == ("the pool's loop did not answer within 0.05 s",)
        assert not found.live
        monkeypatch.setattr(_health, "_LATE_S", 0.01)
        pool._watching._due -= 9.0  # as after a longer time
        asked = loop.run_in_executor(None, pool.health)
        time.sleep(0.2)
        assert set((await asked).found) == {"loop", "scheduler"}


def test_a_closed_loop_is_a_reason() -> None:
    """The loop may be gone from under a pool that nobody stopped: health still answers."""
    pool = pool_of()

    async def leave() -> None:
        await pool.start()
        await pool.stop()

    asyncio.run(leave())
    assert "the pool's loop is closed" in pool.health().reasons


@pytest.mark.requirement("req:L04")
async def test_a_worker_that_does_not_answer_is_a_reason(open_pool: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named; the pool goes on, and so is not to be restarted, nor to get less work."""
    async with open_pool() as pool:
        rows = [WorkerStats(worker_id="threads-1", worker_type="thread", status=WorkerStatus.ERROR)]
        monkeypatch.setattr(pool._roster, "workers", lambda: rows)
        found = pool.health()
        assert found.reasons == ("worker threads-1 is dead, or does not answer",)
        assert (found.live, found.ready) == (True, True)


@pytest.mark.requirement("req:L04")
async def test_a_journal_that_fails_or_hangs_is_a_reason(monkeypatch: pytest.MonkeyPatch, gated_journal: Any) -> None:
    """A commit that takes long is told of; when one fails the pool does, and says that it was the journal."""
    monkeypatch.setattr(_health, "_COMMIT_S", 0.02)
    journal = gated_journal()
    pool = pool_of(journal=journal)
    async with asyncio.timeout(20):
        await pool.start()
        assert pool.health().checks["journal"]
        handle = await pool.submit(abs, -1)
        await until(lambda: not pool.health().checks["journal"], "the commit to take long")
        assert pool.health().reasons[0].startswith("the journal has been at a commit for ")
        journal.let(9, OSError("no space left"))
        with pytest.raises(PoolNotRunning):
            await handle
        found = pool.health()
        assert "no space left" in found.found["journal"][0]
        assert not found.ready
        await pool.stop()


@pytest.mark.requirement("req:L04")
async def test_a_sink_can_serve_the_health_of_its_run() -> None:
    """What it is opened with answers on any thread, and tells nobody of it."""
    heard: list[AnyEvent] = []
    answers: list[Health] = []

    class Server(BadSink):
        @hookimpl
        def open(self, run: RunInfo) -> None:
            self.run = run

        @hookimpl
        def on_events(self, batch: Sequence[AnyEvent]) -> None:
            heard.extend(batch)
            answers.append(self.run.health())

    async with asyncio.timeout(20), pool_of(sinks=[Server()]) as pool:
        await (await pool.submit(abs, -1))
        await until(lambda: answers, "an answer")
    assert answers[0].healthy
    assert answers[0].lines(READY_CHECKS)[:2] == ["[+]running ok", "[+]loop ok"]
    assert "health_check" not in {event.type for event in heard}
