"""A coroutine that blocks the loop is found, named and told of; nobody else is."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import pytest

pytestmark = pytest.mark.anyio


def watchdogs() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "longshore-asyncio-watchdog"]


async def blocks(seconds: float) -> None:
    await asyncio.sleep(0)
    time.sleep(seconds)


async def blocks_at_once(seconds: float) -> None:
    time.sleep(seconds)


async def naps(seconds: float) -> None:
    await asyncio.sleep(seconds)


@pytest.mark.parametrize(("function", "isolation"), [(blocks, "task"), (blocks_at_once, "task"), (blocks, "shared")])
@pytest.mark.requirement("req:E14")
async def test_asyncio_names_who_blocks_the_loop(
    start: Any, isolation: str, function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The log is told at once, the pool as soon as the loop turns: worker, task, for how long and at which line."""
    rig = await start(3)
    beside = rig.submit(naps, 0.01, isolation=isolation)
    task_id = rig.submit(function, 0.4, isolation=isolation)
    with caplog.at_level(logging.WARNING):
        outcome = await rig.outcome(task_id)
        assert caplog.records, "the log was to be told while the loop was blocked"
    await rig.host.until(lambda: rig.host.notices)
    (notice,) = rig.host.notices
    assert notice.type == "worker_blocked"
    assert notice.data["task_id"] == task_id
    assert notice.data["worker_id"] == outcome.worker
    assert 0.1 <= notice.data["blocked_s"] <= 0.4 + 0.1
    assert "test_asyncio_blocked.py:" in notice.data["where"]
    assert task_id in caplog.text
    assert outcome.ok
    assert (await rig.outcome(beside)).ok


@pytest.mark.requirement("req:E14")
async def test_asyncio_a_worker_is_in_error_while_it_blocks(start: Any) -> None:
    """Seen from another thread, the blocking worker is in error, the others are not; when the loop turns it is over."""
    rig = await start(2)
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            seen.update(f"{row.worker_id} {row.status}" for row in rig.executor.workers())

    watcher = threading.Thread(target=watch)
    watcher.start()
    other = rig.submit(naps, 0.6)
    outcome = await rig.run(blocks, 0.5)
    over.set()
    watcher.join(5)
    await rig.outcome(other)
    assert {line for line in seen if "error" in line} == {f"{outcome.worker} error"}
    await rig.host.until(lambda: [row.status for row in rig.executor.workers()] == ["idle", "idle"])


async def test_asyncio_who_awaits_is_not_accused(start: Any) -> None:
    """Neither a coroutine that only waits is told of, nor one beside which something else blocks the loop."""
    rig = await start(1)
    task_id = rig.submit(naps, 0.4)
    await asyncio.sleep(0)
    time.sleep(0.35)
    assert (await rig.outcome(task_id)).ok
    assert rig.host.notices == []


async def test_asyncio_the_watchdog_comes_with_work_and_ends_with_the_executor(start: Any) -> None:
    """No thread before the first attempt, one for all of them, none after the end."""
    rig = await start(2)
    assert watchdogs() == []
    for _ in range(3):
        await rig.run(naps, 0.0)
    assert len(watchdogs()) == 1
    await rig.stop()
    await rig.host.until(lambda: not watchdogs())


async def test_asyncio_the_watchdog_rests_and_wakes(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing has run for a while it sleeps until the next attempt, and then watches again."""
    monkeypatch.setattr("longshore_asyncio._watchdog._RESTS_AFTER", 1)
    monkeypatch.setattr("longshore_asyncio._watchdog._LOOK_S", 0.02)
    rig = await start(1)
    await rig.run(naps, 0.0)
    await rig.host.until(lambda: rig.executor._watchdog.resting)
    assert (await rig.run(blocks, 0.2)).ok
    await rig.host.until(lambda: rig.host.notices)
