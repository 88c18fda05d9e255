"""`health`: whether a pool is well, and if not, why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from longshore import Health, ResourceMonitor, Settings, WorkerConfig, WorkerPool
from longshore._runtime import probing
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import Reading, ReadRequest, RunInfo, RunSummary

pytestmark = pytest.mark.anyio

Opener = Callable[..., Any]
CHECKS = {"running", "loop", "executors", "queue", "probes", "sinks", "handlers"}


def pool_of(**more: Any) -> WorkerPool:
    return WorkerPool(settings=Settings(probes=(), workers=WorkerConfig(thread_workers=1, max_queue_size=10)), **more)


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


async def test_a_full_queue_is_a_reason(open_pool: Opener, gate: Any) -> None:
    """Each of the two queues is looked at; with room again the pool is well."""
    async with open_pool(max_queue_size=10, priority_queue_size=10) as pool:
        await gate.hold(pool)
        for _ in range(10):
            await pool.submit_task("wait", 0, time.sleep)
        assert pool.health().reasons == ("the queue is full",)
        for _ in range(10):
            await pool.submit_task("wait", 0, time.sleep, 0)
        assert pool.health().reasons == ("the queue is full", "the queue of CRITICAL tasks is full")
        gate.set()
        assert await pool.wait_for_completion(20)
        assert pool.health().healthy


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


async def test_a_quarantined_sink_and_a_raising_handler_are_reasons(eventually: Any) -> None:
    """Work goes on, but who was to be told is not, and that is named."""

    def bad(_: AnyEvent) -> None:
        raise ValueError

    async with asyncio.timeout(20), pool_of(sinks=[BadSink()]) as pool:
        await eventually(lambda: not pool.health().checks["sinks"], "the sink to be quarantined")
        assert pool.health().reasons == ("sink BadSink is quarantined",)
        pool.events.subscribe(bad)
        assert await (await pool.submit(abs, -1)) == 1
        await eventually(lambda: not pool.health().checks["handlers"], "the handler to have raised")
        assert len(pool.health().reasons) == 2


class Mute:
    """A probe that never comes back with anything."""

    resources = ("cpu",)
    period_s = 0.01

    def read(self, request: ReadRequest) -> Reading:
        raise OSError("no such device")


async def test_a_probe_that_gives_nothing_is_a_reason(
    open_pool: Opener, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose readings have been missing for long is named."""
    monkeypatch.setattr(probing, "_SILENT_S", 0.05)
    async with open_pool() as pool:
        silent = ResourceMonitor(None, 0.01, {"mute": Mute()})
        monkeypatch.setattr(pool._measuring, "monitor", silent)
        await silent.start()
        await eventually(lambda: not pool.health().checks["probes"], "the probe to be missed")
        assert pool.health().reasons == ("probe mute gives no readings",)
        await silent.stop()


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


async def test_a_blocked_loop_is_seen_from_another_thread(open_pool: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked from elsewhere, health waits a moment for the loop, and says when it does not answer."""
    from longshore import _health

    monkeypatch.setattr(_health, "_ANSWER_S", 0.05)
    async with open_pool() as pool:
        loop = asyncio.get_running_loop()
        assert (await loop.run_in_executor(None, pool.health)).healthy
        asked = loop.run_in_executor(None, pool.health)
        time.sleep(0.2)
        assert (await asked).reasons == ("the pool's loop did not answer within 0.05 s",)


def test_a_closed_loop_is_a_reason() -> None:
    """The loop may be gone from under a pool that nobody stopped: health still answers."""
    pool = pool_of()

    async def leave() -> None:
        await pool.start()
        await pool.stop()

    asyncio.run(leave())
    assert "the pool's loop is closed" in pool.health().reasons
