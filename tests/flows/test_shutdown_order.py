"""The order in which a whole system ends: one `stop` does all of it, and an order log says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from longshore import PoolNotRunning, ResourceMonitor, Settings, WorkerPool
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import HISTORY_STATE, CommitBatch, Reading, ReadRequest, RunInfo, RunSummary, Usage
from longshore.testing import MemoryJournal

pytestmark = pytest.mark.anyio
DEADLINE_S = 20.0


class Log(list[str]):
    """What ended, in order; each thing once."""

    def note(self, what: str) -> None:
        if what not in self:
            self.append(what)

    def then(self, what: str, act: Callable[[float], Any]) -> Callable[[float], Any]:
        """Return what notes that, and does what it did."""

        def noted(deadline: float) -> Any:
            self.note(what)
            return act(deadline)

        return noted


class Probe:
    """Says when it is read no more."""

    resources = ("memory",)
    period_s = 0.005

    def __init__(self, log: Log) -> None:
        self.log = log

    def read(self, request: ReadRequest) -> Reading:
        return Reading(datetime.now(UTC), {"memory": Usage(10.0, 100.0)})

    def close(self) -> None:
        self.log.note("monitor")


class Journal(MemoryJournal):
    """Says when it has the last outcome, the run's history, and when it is closed."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self.log = log
        self.kept = set[str]()

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        super().commit(batch)
        self.kept.update(batch.states)
        if batch.ended is not None:
            self.log.note(f"{'history, ' if HISTORY_STATE in self.kept else ''}{batch.ended} recorded")

    @hookimpl
    def close(self) -> None:
        super().close()
        self.log.note("journal")


class Sink:
    """Says when it is closed."""

    def __init__(self, log: Log) -> None:
        self.log = log

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Begin."""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Take nothing."""

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        self.log.note(f"sink: {summary.snapshot.completed} completed")


@pytest.mark.requirement("req:L11")
async def test_a_system_is_shut_down_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """`stop(60)`: no more is taken, what was is waited for; then executors, monitor, journal, and who is told."""
    log = Log()
    monitor = ResourceMonitor(None, None, [Probe(log)])
    pool = WorkerPool(None, None, monitor, settings=Settings(probes=()), journal=Journal(log), sinks=[Sink(log)])
    go = asyncio.Event()

    async def work(name: str) -> None:
        await go.wait()
        log.note(f"task {name}")

    async with asyncio.timeout(DEADLINE_S):
        await pool.start()
        monkeypatch.setattr(pool._executors, "stop", log.then("executors", pool._executors.stop))
        tasks = [await pool.options(executor="asyncio").submit(work, name) for name in ("a", "b")]
        stopping = asyncio.create_task(pool.stop(60))
        await asyncio.sleep(0)
        with pytest.raises(PoolNotRunning):
            await pool.submit(work, "c")
        log.note("intake")
        go.set()
        summary = await stopping
        await asyncio.gather(*tasks)
    assert summary is not None
    assert summary.state == "completed"
    assert log == [
        "intake",
        "task a",
        "task b",
        "executors",
        "monitor",
        "history, completed recorded",
        "journal",
        "sink: 2 completed",
    ]
    assert not monitor.running


@pytest.mark.requirement("req:L11")
async def test_a_monitor_that_does_not_stop_keeps_no_journal_open() -> None:
    """What fails on the way costs itself: what is to last is recorded and closed all the same."""
    log = Log()

    class Bad(ResourceMonitor):
        async def stop(self) -> None:
            await super().stop()
            raise RuntimeError("no")

    monitor = Bad(None, None, [Probe(log)])
    pool = WorkerPool(None, None, monitor, settings=Settings(probes=()), journal=Journal(log))
    async with asyncio.timeout(DEADLINE_S), pool:
        await (await pool.submit(abs, -1))
    assert log == ["monitor", "history, completed recorded", "journal"]
