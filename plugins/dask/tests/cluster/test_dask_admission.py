"""A pool's tasks on a cluster are held against the cluster, and not against the machine that the pool is on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from longshore import ResourceMonitor, Resources, ResourceUnavailable, Settings, WorkerPool
from longshore.records import Reading, Usage
from longshore.testing import ScriptedProbe

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DEADLINE_S = 50.0
FULL = Reading(datetime.now(UTC), {"memory": Usage(990.0, 1000.0, 0.0), "cpu": Usage(0.0, 1.0, 0.0)})


def square(number: int) -> int:
    return number * number


def hold(path: Path) -> str:
    """Run until the file PATH.go appears."""
    path.touch()
    give_up = time.monotonic() + DEADLINE_S
    while not path.with_suffix(".go").exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    return path.name


def fill(path: Path, size: int) -> str:
    """Hold so many bytes meanwhile."""
    held = bytearray(size)
    held[::4096] = b"x" * len(held[::4096])
    return hold(path)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def pool_on(address: str) -> WorkerPool:
    """A pool on a machine with 1 core and 1 GB, of which others use 99 %, with executors on the cluster."""
    settings = Settings(executors={"dask": {"address": address}})
    return WorkerPool(settings=settings, resource_monitor=ResourceMonitor(None, None, {"full": ScriptedProbe([FULL])}))


async def test_dask_cluster_is_what_its_tasks_are_held_against(theirs: Any, tmp_path: Path) -> None:
    """What is short here holds back nothing there; cores and memory of the workers are lent, each on one of them."""
    theirs.add_worker(memory="3GB")
    theirs.add_worker(memory="2GB")
    async with asyncio.timeout(DEADLINE_S), pool_on(theirs.address) as pool:
        on = pool.options(executor="dask")
        early = await on.options(resources=Resources(memory_mb=9000)).submit(square, 1)
        with pytest.raises(ResourceUnavailable, match=r"than there can ever be|has 9000 MB of memory"):
            await early
        assert await (await on.submit(square, 3)) == 9
        await until(lambda: "dask.memory" in pool.snapshot().usage)
        await until(lambda: len(pool.snapshot().usage["dask.memory"].parts) == 2)
        usage = pool.snapshot().usage
        assert usage["dask.cpu"].capacity == 4.0
        assert usage["dask.memory"].capacity == pytest.approx(5000.0)
        assert "memory" in usage
        with pytest.raises(ResourceUnavailable, match="3000 MB are all that the largest worker of the cluster of dask"):
            await on.options(resources=Resources(memory_mb=4000)).submit(square, 1)
        large = on.options(resources=Resources(memory_mb=1500, cpu=2))
        held = [await large.submit(hold, tmp_path / f"held-{number}") for number in range(2)]
        await until(lambda: all((tmp_path / f"held-{number}").exists() for number in range(2)))
        rows = {row.current_task for row in pool.get_worker_stats() if row.worker_type == "dask"}
        assert rows == {one.task_id for one in held}, "one on each worker, for it takes both its threads"
        third = await large.submit(square, 5)
        said = "waits for cpu of the cluster of dask: needs 2 cores, 0 cores free of 4 cores"
        await until(lambda: said in pool.explain(third.task_id))
        here = await pool.options(executor="threads").submit(square, 2)
        await until(lambda: "memory 99 % is over the limit" in pool.explain(here.task_id))
        for number in range(2):
            (tmp_path / f"held-{number}.go").touch()
        assert await third == 25
        here.cancel()


async def test_dask_cluster_whose_memory_is_used_up_is_given_less(theirs: Any, tmp_path: Path) -> None:
    """Over the limit of its memory a cluster is given nothing beside what runs, which is told, and goes on then."""
    theirs.add_worker(memory="600MB")
    async with asyncio.timeout(DEADLINE_S), pool_on(theirs.address) as pool:
        on = pool.options(executor="dask")
        moved: list[tuple[str, str]] = []
        pool.events.subscribe(
            lambda event: moved.append((event.data["resource"], event.data["state"])), types=["resource_warning"]
        )
        filled = await on.submit(fill, tmp_path / "fill", 550_000_000)
        await until(lambda: moved.count(("dask.memory", "crossed")) == 2)
        waits = await on.submit(square, 3)
        await until(lambda: "dask.memory 100 % is over the limit of 90 %" in pool.explain(waits.task_id))
        (tmp_path / "fill.go").touch()
        assert await filled == "fill"
        assert await waits == 9
        await until(lambda: moved.count(("dask.memory", "cleared")) == 2)
