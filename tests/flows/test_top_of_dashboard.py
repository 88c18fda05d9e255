"""`longshore top` and the dashboard understand each other: what one asks, the other answers."""

from __future__ import annotations

import asyncio
from math import inf

import pytest
from longshore import Settings, WorkerPool
from longshore.cli.watched import WebRun
from longshore.runs import TaskFilter
from longshore_dashboard import DashboardSink

pytestmark = pytest.mark.anyio


def refuse(number: int) -> int:
    if number == 1:
        raise ValueError("no")
    return number


async def test_a_run_is_watched_and_steered_by_its_link() -> None:
    """By the printed link all that is shown comes as records, and orders reach the pool."""
    sink = DashboardSink(DashboardSink.Settings(announce=False, control=True))
    async with asyncio.timeout(30), WorkerPool(settings=Settings(), sinks=[sink]) as pool:
        on = pool.options(executor="threads")
        async for _ in on.outcomes(refuse, range(3)):
            pass
        web = await asyncio.to_thread(WebRun, await asyncio.to_thread(sink.link))
        picture = await asyncio.to_thread(web.picture)
        while sum(stage.completed + stage.failed for stage in picture.stages) < 3 or not picture.snapshot.loads:
            await asyncio.sleep(0.05)  # the sink is told a moment later, and the machine is measured once a second
            picture = await asyncio.to_thread(web.picture)
        assert (picture.snapshot.run_id, picture.state, picture.live, picture.control) == (
            pool.run_id,
            "running",
            True,
            True,
        )
        assert picture.snapshot.started.tzinfo is not None
        assert picture.snapshot.loads["disk_io"].limit == inf  # which JSON has no word for
        assert [(stage.name, stage.completed, stage.failed) for stage in picture.stages] == [("refuse", 2, 1)]
        assert [(failure.type, failure.count) for failure in picture.failures] == [("ValueError", 1)]
        assert picture.workers
        page = await asyncio.to_thread(web.tasks, TaskFilter(states=("failed",)), "run_s", True)
        [row] = page.rows
        detail = await asyncio.to_thread(web.task, row.task_id)
        assert detail is not None
        assert detail.message == "no"
        assert await asyncio.to_thread(web.task, "nobody/at all") is None
        await asyncio.to_thread(web.order, "pause", {})
        waiting = await on.submit(refuse, 5)
        with pytest.raises(ConnectionError, match="no such task"):
            await asyncio.to_thread(web.order, "cancel", {"task_id": "nobody"})
        await asyncio.to_thread(web.order, "unpause", {})
        assert await waiting == 5
