"""Resources of tasks that are submitted by name: units, waiting in the queue or outside of it, and being refused."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from longshore import (
    PoolNotRunning,
    Priority,
    QueueFull,
    ResourceError,
    ResourceLimits,
    Resources,
    ResourceType,
    ResourceUnavailable,
    WorkerPool,
)
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.allocation]

Opener = Callable[..., Any]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
WHOLE = ResourceLimits(max_cpu_percent=100)
ALL = Resources(cpu=CORES)


def same(value: object) -> object:
    return value


class Holder:
    """Coroutines that hold what they reserve until they are let go, and note the order they began in."""

    def __init__(self) -> None:
        self.began: list[object] = []
        self._go: dict[object, asyncio.Event] = {}

    def go(self, name: object) -> None:
        self._go.setdefault(name, asyncio.Event()).set()

    async def __call__(self, name: object) -> object:
        self.began.append(name)
        await self._go.setdefault(name, asyncio.Event()).wait()
        return name


def lent(pool: WorkerPool) -> dict[str, float]:
    return pool._driver.engine.lent()


async def test_the_specifications_units_are_percent_of_the_machine(open_pool: Opener) -> None:
    """A mapping is percent for cpu, memory and gpu, MB/s for input and output; an unknown name is refused."""
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6
    async with open_pool() as pool:
        given = {"cpu": 25.0, ResourceType.MEMORY: 10.0, "disk_io": 20.0, "network_io": 5.0}
        record = pool.get_task(await pool.submit_task("same", 1, same, resources=given))
        assert record.resources is not None
        assert record.resources.cpu == pytest.approx(CORES / 4)
        assert record.resources.memory_mb == pytest.approx(memory_mb / 10)
        assert (record.resources.disk_mbps, record.resources.network_mbps, record.resources.gpu) == (20.0, 5.0, 0.0)
        with pytest.raises(ValueError, match="there is no 'cpus' but cpu, memory"):
            await pool.submit_task("same", 1, same, resources={"cpus": 1.0})
        with pytest.raises(ValueError, match="cpu"):
            await pool.submit_task("same", 1, same, resources={"cpu": -1.0})


@pytest.mark.requirement("req:D08")
async def test_what_can_not_be_had_now_is_refused_at_once(open_pool: Opener) -> None:
    """With `resource_timeout=0` the error names resource, what is lent and the limit; nothing is queued or reserved."""
    holder = Holder()
    async with open_pool(limits=WHOLE) as pool:
        held = await pool.submit_task("hold", "first", holder, resources=ALL, resource_timeout=0)
        await until(lambda: holder.began == ["first"], "the first to begin")
        stats, reserved, known = pool.get_stats(), lent(pool), len(pool.tasks())
        assert reserved == {"cpu": CORES}
        with pytest.raises(ResourceError, match=rf"cpu: needs 0\.5 cores, 0 cores free of {CORES} ") as caught:
            await pool.submit_task("same", 1, same, resources=Resources(cpu=0.5), resource_timeout=0)
        assert isinstance(caught.value, ResourceUnavailable)
        with pytest.raises(ResourceError, match=r"all there is"):
            await pool.submit_task("same", 1, same, resources=Resources(cpu=CORES + 1), resource_timeout=5.0)
        after = pool.get_stats()
        assert (after.submitted_tasks, after.queued_tasks) == (stats.submitted_tasks, stats.queued_tasks) == (1, 0)
        assert (lent(pool), len(pool.tasks())) == (reserved, known)
        other = await pool.submit_task("same", 1, same, resources=Resources(memory_mb=1), resource_timeout=0)
        assert await pool.get_task_result(other) == 1
        holder.go("first")
        await pool.get_task_result(held)
        free = await pool.submit_task("same", 2, same, resources=ALL, resource_timeout=0)
        assert await pool.get_task_result(free) == 2
        assert lent(pool) == {}


@pytest.mark.requirement("req:D08")
async def test_of_many_that_come_at_once_only_as_many_as_fit_are_taken(open_pool: Opener) -> None:
    """Ten that each want half of the cores, at the same moment: two are taken, eight are refused."""
    holder = Holder()
    async with open_pool(limits=WHOLE, async_workers=20) as pool:
        half = Resources(cpu=CORES / 2)
        came = await asyncio.gather(
            *(pool.submit_task("hold", n, holder, resources=half, resource_timeout=0) for n in range(10)),
            return_exceptions=True,
        )
        assert [isinstance(one, str) for one in came] == [True] * 2 + [False] * 8
        assert all(isinstance(one, ResourceUnavailable) for one in came[2:])
        for n in range(2):
            holder.go(n)


async def test_what_does_not_fit_waits_in_the_queue_by_default(open_pool: Opener) -> None:
    """Without `resource_timeout` it is accepted, and starts when what it wants is free."""
    holder = Holder()
    async with open_pool(limits=WHOLE) as pool:
        ids = [await pool.submit_task("hold", n, holder, resources=ALL) for n in range(3)]
        await until(lambda: holder.began == [0], "the first to begin")
        for n in range(3):
            holder.go(n)
        assert [await pool.get_task_result(task_id) for task_id in ids] == [0, 1, 2]


@pytest.mark.requirement("req:D09")
async def test_those_who_wait_for_resources_are_let_in_in_order(open_pool: Opener) -> None:
    """Each release lets the next in; one that gives up or that wants something else holds nobody up."""
    holder = Holder()
    async with open_pool(limits=WHOLE, async_workers=20) as pool:

        async def ask(name: str, resources: Resources = ALL, timeout: float = 20.0) -> Any:
            return await pool.submit_task("hold", name, holder, resources=resources, resource_timeout=timeout)

        first = await ask("first")
        await until(lambda: holder.began == ["first"], "the first to begin")
        waiting = {name: asyncio.create_task(ask(name)) for name in ("a", "b", "c")}
        await asyncio.sleep(0.01)
        queued, reserved = pool.get_stats().submitted_tasks, lent(pool)
        waiting["hurried"] = asyncio.create_task(ask("hurried", Resources(cpu=0.1), 0.05))
        with pytest.raises(ResourceUnavailable, match=r"for 0\.05 s: cpu: needs "):
            await waiting["hurried"]
        assert (pool.get_stats().submitted_tasks, lent(pool)) == (queued, reserved)
        await ask("memory", Resources(memory_mb=1), 0.0)
        waiting["b"].cancel()
        holder.go("first")
        await pool.get_task_result(first)
        await until(lambda: holder.began == ["first", "memory", "a"], "a to begin")
        with pytest.raises(ResourceUnavailable, match="cpu: needs "):
            await ask("pushing", Resources(cpu=0.1), 0.0)
        assert not waiting["c"].done()
        holder.go("a")
        await waiting["c"]
        await until(lambda: holder.began == ["first", "memory", "a", "c"], "c to begin")
        for name in ("c", "memory"):
            holder.go(name)


@pytest.mark.requirement("req:D09")
async def test_who_comes_later_does_not_take_what_others_wait_for(open_pool: Opener) -> None:
    """Little that is free is not given past one who waits for more of it; what he does not want is."""
    holder = Holder()
    async with open_pool(limits=WHOLE, async_workers=20) as pool:
        half = await pool.submit_task("hold", "half", holder, resources=Resources(cpu=CORES / 2))
        await until(lambda: holder.began == ["half"], "the first to begin")
        all_of_it = asyncio.create_task(pool.submit_task("hold", "all", holder, resources=ALL, resource_timeout=20.0))
        await asyncio.sleep(0.01)
        with pytest.raises(ResourceUnavailable, match="others wait for it"):
            await pool.submit_task("hold", "little", holder, resources=Resources(cpu=0.1), resource_timeout=0)
        holder.go("half")
        await pool.get_task_result(half)
        holder.go("all")
        assert await pool.get_task_result(await all_of_it) == "all"


async def test_room_in_the_queue_is_needed_too(open_pool: Opener) -> None:
    """Who has his resources and finds the queue full is told that; with room again he is let in."""
    holder = Holder()
    async with open_pool(limits=WHOLE, async_workers=1, max_queue_size=10, submit_timeout=0.2) as pool:
        ids = [await pool.submit_task("hold", n, holder) for n in range(5)]
        await until(lambda: holder.began == [0], "the first to begin")
        pool.pause()
        while not pool._driver.crowded(Priority.NORMAL):
            ids.append(await pool.submit_task("hold", len(ids), holder))
        with pytest.raises(QueueFull):
            await pool.submit_task("hold", "x", holder, resources=ALL, resource_timeout=20.0)
        late = asyncio.create_task(pool.submit_task("hold", "y", holder, resources=ALL, resource_timeout=20.0))
        await asyncio.sleep(0.01)
        pool.cancel(ids.pop())
        ids.append(await late)
        pool.unpause()
        for name in (*range(20), "y"):
            holder.go(name)
        assert await pool.get_task_result(ids[-1]) == "y"


async def test_a_stop_turns_those_away_who_wait_for_resources(open_pool: Opener) -> None:
    """They get PoolNotRunning at once, not at the end of their patience."""
    holder = Holder()
    async with open_pool(limits=WHOLE) as pool:
        await pool.submit_task("hold", 0, holder, resources=ALL)
        await until(lambda: holder.began == [0], "the first to begin")
        waiting = asyncio.create_task(pool.submit_task("hold", 1, holder, resources=ALL, resource_timeout=60.0))
        await asyncio.sleep(0.01)
        began = time.monotonic()
        stopping = asyncio.create_task(pool.stop())
        with pytest.raises(PoolNotRunning):
            await waiting
        assert time.monotonic() - began < 10
        holder.go(0)
        await stopping


async def test_a_failure_ends_the_wait_of_those_who_came_at_the_same_moment(open_pool: Opener) -> None:
    """When the pool fails before it has looked at what was just submitted, who waits for that is told."""
    with suppress(PoolNotRunning):  # leaving the pool says so once more
        async with open_pool(limits=WHOLE) as pool:
            loop, driver = asyncio.get_running_loop(), pool._driver
            driver._scheduled = True  # no step comes: the failure is sooner
            await pool.submit_task("same", 1, same)
            waiting = asyncio.create_task(pool.submit_task("same", 1, same, resources=ALL, resource_timeout=5.0))
            loop.call_later(0.01, driver.fail, RuntimeError("the quay is flooded"))
            with pytest.raises(PoolNotRunning, match="flooded"):
                await waiting
            driver._scheduled = False
