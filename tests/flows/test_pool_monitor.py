"""Pools on a machine that runs short: running work goes on, new work waits, and everybody is told why."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from longshore import (
    Event,
    ResourceLimits,
    ResourceMonitor,
    Resources,
    ResourceUnavailable,
    Settings,
    WorkerConfig,
    WorkerPool,
)
from longshore.records import Reading, Usage
from longshore.testing import ScriptedProbe
from support.waiting import until

pytestmark = pytest.mark.anyio

DEADLINE_S = 20.0


def reading(memory: float = 10.0, **more: Usage) -> Reading:
    """Return a reading of a machine with 10 GB, in percent of it, all of it used by others."""
    named = {name.replace("__", "."): usage for name, usage in more.items()}
    return Reading(datetime.now(UTC), {"memory": Usage(memory * 100.0, 10_000.0, 0.0), **named})


class Rig:
    """A pool with a probe that reads what it is told to."""

    def __init__(self, pool: WorkerPool, probe: ScriptedProbe) -> None:
        self.pool = pool
        self.probe = probe
        self.warnings: list[dict[str, Any]] = []
        pool.events.subscribe(self._told, types=["resource_warning"])

    def _told(self, event: Event) -> None:
        self.warnings.append(event.data)

    async def reads(self, what: Reading) -> None:
        """Have the machine be like this, and wait until the pool knows."""
        self.probe.then(what)
        before = len(self.probe.requests)
        await until(lambda: len(self.probe.requests) > before + 2, "the pool to know")


@asynccontextmanager
async def rigged(limits: ResourceLimits | None = None, **config: Any) -> AsyncIterator[Rig]:
    """A pool of four threads and a deadline over all that happens in it."""
    probe = ScriptedProbe([reading()], period_s=0.005)
    monitor = ResourceMonitor(limits, 0.005, [probe])
    workers = WorkerConfig(**{"thread_workers": 4, **config})
    pool = WorkerPool(workers, None, monitor, settings=Settings(probes=()))
    async with asyncio.timeout(DEADLINE_S), pool:
        yield Rig(pool, probe)


@pytest.mark.slow
@pytest.mark.throttling
@pytest.mark.requirement("req:G17", "req:G18", "req:G08")
async def test_above_the_limit_nothing_new_starts_and_below_it_work_resumes(gate: threading.Event) -> None:
    """Running work goes on to its end, what comes waits, is counted and told why, and later all is done."""
    async with rigged() as rig:
        pool = rig.pool
        running = [await pool.submit(gate.wait, DEADLINE_S) for _ in range(2)]
        await until(lambda: pool.get_stats().running_tasks == 2, "two tasks to run")
        await rig.reads(reading(memory=91.0))
        waiting = [await pool.submit(int, str(number)) for number in range(10)]
        await until(lambda: pool.snapshot().throttled is not None, "a reason")
        assert pool.snapshot().throttled == "memory 91 % is over the limit of 75 %: nothing new starts"
        assert "memory 91 % is over the limit of 75 %: nothing new starts" in pool.explain(waiting[0].task_id)
        gate.set()
        assert await asyncio.gather(*running) == [True, True]
        await rig.reads(reading(memory=91.0))
        stats = pool.get_stats()
        assert (stats.queued_tasks, stats.running_tasks, stats.completed_tasks) == (10, 0, 2)
        await rig.reads(reading(memory=20.0))
        assert await asyncio.gather(*waiting) == list(range(10))
        await until(lambda: len(rig.warnings) == 4, "the ends of the warnings")
    assert [(one["level"], one["state"]) for one in rig.warnings] == [
        ("soft", "crossed"),
        ("hard", "crossed"),
        ("soft", "cleared"),
        ("hard", "cleared"),
    ]
    assert json.loads(json.dumps(rig.warnings[1])) == {
        "resource": "memory",
        "usage": 91.0,
        "threshold": 75.0,
        "limit": 75.0,
        "state": "crossed",
        "level": "hard",
        "message": "memory 91 % is over the limit of 75 %",
    }


@pytest.mark.requirement("req:G08")
async def test_a_snapshot_of_the_monitor_counts_the_tasks_of_the_pool(gate: threading.Event) -> None:
    """With one running and ten queued it says 1 and 10, live and in its history; after the pool, 0 and 0."""
    probe = ScriptedProbe([reading()])
    monitor = ResourceMonitor(None, 0.005, [probe])
    await monitor.start()
    pool = WorkerPool(WorkerConfig(thread_workers=1), resource_monitor=monitor, settings=Settings(probes=()))
    async with asyncio.timeout(DEADLINE_S), pool:
        handles = [await pool.submit(gate.wait, DEADLINE_S) for _ in range(11)]

        def counts() -> tuple[int, int]:
            snapshot = monitor.snapshot()
            return snapshot.active_tasks, snapshot.queued_tasks

        await until(lambda: counts() == (1, 10), "the counts")
        await until(lambda: monitor.history()[-1].queued_tasks == 10, "a sample that has them")
        gate.set()
        await asyncio.gather(*handles)
    assert monitor.running, "the pool stops only what it started"
    assert counts() == (0, 0)
    await monitor.stop()


@pytest.mark.lifecycle
async def test_a_pool_starts_and_stops_a_monitor_that_does_not_run() -> None:
    """One that is given is started with the pool and stopped with it, and again with the next run."""
    monitor = ResourceMonitor(None, 0.005, [ScriptedProbe([reading()])])
    pool = WorkerPool(resource_monitor=monitor, settings=Settings(probes=()))
    for _ in range(2):
        async with asyncio.timeout(DEADLINE_S), pool:
            assert monitor.running
            assert await (await pool.submit(abs, -1)) == 1
        assert not monitor.running


@pytest.mark.requirement("req:B08")
async def test_resource_utilization_is_in_the_units_of_the_limits() -> None:
    """String keys, percent and MB/s, JSON-safe; of a pool without a probe it is empty."""
    async with rigged() as rig:
        await rig.reads(reading(memory=30.0, disk_io__read=Usage(1.0), disk_io__write=Usage(2.5)))
        utilization = rig.pool.get_stats().resource_utilization
        assert json.loads(json.dumps(utilization)) == {"memory": 30.0, "disk_io": 3.5}
        assert all(type(name) is str for name in utilization)
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=Settings(probes=())) as bare:
        assert bare.get_stats().resource_utilization == {}


@pytest.mark.utilisation
@pytest.mark.requirement("req:B08")
async def test_a_pool_of_the_defaults_measures_the_machine() -> None:
    """With nothing said, the probe psutil is read and its figures are in the statistics."""
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=Settings()) as pool:
        await until(lambda: "memory" in pool.get_stats().resource_utilization, "a reading")
        assert 0 < pool.get_stats().resource_utilization["memory"] <= 100
        assert await (await pool.submit(abs, -2)) == 2


@pytest.mark.slow
@pytest.mark.throttling
@pytest.mark.requirement("req:A15")
async def test_a_network_limit_of_1_mb_a_second_is_enforced() -> None:
    """While some 10 MB/s go over the loopback interface, as psutil sees them, nothing starts; after it, all does."""
    limits = ResourceLimits(max_network_io_mbps=1.0, max_memory_percent=100.0, max_cpu_percent=100.0)
    monitor = ResourceMonitor(limits, 0.1)
    done = threading.Event()
    pushing = threading.Thread(target=push, args=(done,))
    pool = WorkerPool(resource_monitor=monitor, settings=Settings(probes=()))
    async with asyncio.timeout(DEADLINE_S), pool:
        pushing.start()
        try:
            await until(lambda: monitor.current_usage.get("network_io", 0.0) > 1.0, "traffic to be seen")
            assert "network_io" in str(monitor.check_availability({"cpu": 0.0}).reason)
            handle = await pool.submit(abs, -1)
            await until(lambda: pool.snapshot().throttled is not None, "the pool to hold the task")
            assert "network_io" in str(pool.snapshot().throttled)
            assert "over the limit of 1 MB/s: nothing new starts" in str(pool.snapshot().throttled)
            assert pool.get_stats().running_tasks == 0
        finally:
            done.set()
            pushing.join(DEADLINE_S)
        assert await handle == 1


def push(done: threading.Event) -> None:
    """Send to ourselves until told to stop."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE_S)
        with socket.create_connection(server.getsockname(), timeout=DEADLINE_S) as near, server.accept()[0] as far:
            while not done.wait(0.005):
                near.sendall(b"x" * 50_000)
                far.recv(50_000, socket.MSG_WAITALL)


@pytest.mark.slow
@pytest.mark.throttling
@pytest.mark.requirement("req:A16", "req:G07")
async def test_a_gpu_limit_holds_the_tasks_that_want_a_gpu() -> None:
    """With a fake probe: over the limit they wait, others run; without one they are refused, and a note says so."""
    wanted = Resources(gpu=1)
    limits = ResourceLimits(max_gpu_percent=90.0)
    probe = ScriptedProbe([reading(gpu__0=Usage(95.0, 100.0))], resources=["gpu"], period_s=0.005)
    pool = WorkerPool(resource_monitor=ResourceMonitor(limits, 0.005, [probe]), settings=Settings(probes=()))
    async with asyncio.timeout(DEADLINE_S), pool:
        held = await pool.options(resources=wanted).submit(abs, -1)  # at once: the pool waited for the first reading
        assert await (await pool.submit(abs, -2)) == 2
        assert pool.snapshot().throttled == "waits for gpu: 95 % is over the limit of 90 %"
        probe.then(reading(gpu__0=Usage(5.0, 100.0)))
        assert await held == 1
    without = ResourceMonitor(limits, 0.005, [ScriptedProbe([reading()])])
    pool = WorkerPool(resource_monitor=without, settings=Settings(probes=()))
    async with asyncio.timeout(DEADLINE_S), pool:
        with pytest.raises(ResourceUnavailable, match="unavailable"):
            await pool.options(resources=wanted).submit(abs, -1)
        assert await (await pool.submit(abs, -3)) == 3
        await until(lambda: without.current_usage, "a reading")
    assert pool.summary is not None
    assert pool.summary.notes == ["gpu is unavailable: nothing measures it, so its limit did nothing"]


@pytest.mark.slow
@pytest.mark.throttling
@pytest.mark.requirement("req:A16")
async def test_gpu_memory_over_its_limit_holds_the_tasks_that_want_a_gpu() -> None:
    """Whether they say how much of it they need or not; others run, and below the limit they start."""
    probe = ScriptedProbe(
        [reading(gpu__0=Usage(5.0, 100.0), gpu_memory__0=Usage(2000.0, 4000.0))], resources=["gpu"], period_s=0.005
    )
    monitor = ResourceMonitor(ResourceLimits(max_gpu_memory_mb=1000), 0.005, [probe])
    pool = WorkerPool(resource_monitor=monitor, settings=Settings(probes=()))
    async with asyncio.timeout(DEADLINE_S), pool:
        held = [
            await pool.options(resources=wanted).submit(abs, -1)
            for wanted in (Resources(gpu=1), Resources(gpu_memory_mb=100))
        ]
        assert await (await pool.submit(abs, -2)) == 2
        assert not any(handle.done for handle in held)
        assert "gpu_memory 2e+03 MB is over the limit of 1000 MB" in pool.explain(held[0].task_id)
        probe.then(reading(gpu__0=Usage(5.0, 100.0), gpu_memory__0=Usage(200.0, 4000.0)))
        assert [await handle for handle in held] == [1, 1]


@pytest.mark.throttling
@pytest.mark.requirement("req:D08")
async def test_over_a_limit_what_may_not_wait_is_refused() -> None:
    """With `resource_timeout=0`, and nothing reserved, it is refused with the numbers; queued is what may wait."""
    async with rigged() as rig:
        await rig.reads(reading(memory=95.0))
        await until(lambda: rig.pool.health() and rig.warnings, "the pool to know")
        for resources in (None, Resources(disk_mbps=1)):
            with pytest.raises(ResourceUnavailable, match="memory 95 % is over the limit of 75 %") as refused:
                await rig.pool.submit_task("abs", -1, abs, resources=resources, resource_timeout=0)
            facts = {name: refused.value.facts[name] for name in ("resource", "needed", "limit")}
            assert facts == {"resource": "memory", "needed": pytest.approx(95.0), "limit": 75.0}
        assert rig.pool.get_stats().submitted_tasks == 0
        waits = asyncio.create_task(rig.pool.submit_task("abs", -1, abs, resource_timeout=DEADLINE_S))
        queued = await rig.pool.submit_task("abs", -2, abs)
        await rig.reads(reading(memory=10.0))
        assert await rig.pool.get_task_result(queued) == 2
        assert await rig.pool.get_task_result(await waits) == 1


@pytest.mark.allocation
@pytest.mark.requirement("req:D08")
async def test_what_can_never_fit_is_refused_with_the_numbers() -> None:
    """The error names resource, need and limit, for people and for programs; no count and no reservation changes."""
    async with rigged() as rig:
        await rig.reads(reading())
        before = rig.pool.get_stats()
        with pytest.raises(ResourceUnavailable, match="memory: needs 7501 MB, 7500 MB are all there is") as refused:
            await rig.pool.options(resources=Resources(memory_mb=7501)).submit(abs, -1)
        facts = {name: refused.value.facts[name] for name in ("resource", "needed", "limit")}
        assert facts == {"resource": "memory", "needed": 7501, "limit": 7500.0}
        after = rig.pool.get_stats()
        assert (after.submitted_tasks, after.queued_tasks) == (before.submitted_tasks, before.queued_tasks) == (0, 0)


@pytest.mark.allocation
@pytest.mark.requirement("req:D09")
async def test_what_does_not_fit_now_waits_for_what_is_given_back(gate: threading.Event) -> None:
    """A task that reserves what another has starts when that ends, in the order of asking."""
    async with rigged() as rig:
        await rig.reads(reading(memory=10.0))
        done: list[int] = []
        big = rig.pool.options(resources=Resources(memory_mb=4000))
        first = await big.submit(gate.wait, DEADLINE_S)
        later = [await big.submit(done.append, number) for number in range(3)]
        await until(lambda: "waits for memory: needs " in str(rig.pool.snapshot().throttled), "the reason")
        assert done == []
        gate.set()
        await asyncio.gather(first, *later)
        assert done == [0, 1, 2]
