"""Tasks that ask for a GPU are told which: by `current_task().gpus`, and in process workers by CUDA's variables."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from longshore import (
    ResourceLimits,
    ResourceMonitor,
    Resources,
    ResourceUnavailable,
    Settings,
    WorkerConfig,
    WorkerPool,
    _measuring,
    current_task,
)
from longshore.records import Reading, Usage
from longshore.testing import ScriptedProbe

pytestmark = pytest.mark.anyio

DEADLINE_S = 20.0
TOTAL_MB = 16_000.0
NAMES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


def gpus(*used_mb: float) -> Reading:
    """Return a reading of as many devices, with so much of the memory of each used."""
    usage = {f"gpu.{n}": Usage(0.0, 100.0) for n in range(len(used_mb))}
    return Reading(datetime.now(UTC), usage | {f"gpu_memory.{n}": Usage(mb, TOTAL_MB) for n, mb in enumerate(used_mb)})


def pool_with(*used_mb: float, **config: Any) -> WorkerPool:
    probe = ScriptedProbe([gpus(*used_mb)], resources=["gpu", "gpu_memory"], period_s=0.005)
    monitor = ResourceMonitor(None, 0.005, [probe])
    return WorkerPool(WorkerConfig(**config), resource_monitor=monitor, settings=Settings(probes=()))


class Together:
    """Functions that say their devices once so many of them run at the same time."""

    def __init__(self, number: int) -> None:
        self._barrier = threading.Barrier(number, timeout=DEADLINE_S)

    def __call__(self, _: int) -> tuple[int, ...]:
        self._barrier.wait()
        return current_task().gpus


def seen(_: int = 0) -> tuple[list[str | None], tuple[int, ...], int]:
    time.sleep(0.02)
    return [os.environ.get(name) for name in NAMES], current_task().gpus, os.getpid()


async def own(_: int) -> tuple[int, ...]:
    await asyncio.sleep(0)
    return current_task().gpus


@pytest.mark.allocation
@pytest.mark.requirement("req:G07")
async def test_whole_devices_go_to_one_thread_each() -> None:
    """Tasks that run at once have different devices, and others none."""
    pool = pool_with(0.0, 0.0, thread_workers=4)
    async with asyncio.timeout(DEADLINE_S), pool:
        both = [gpus async for gpus in pool.options(resources=Resources(gpu=1)).map(Together(2), range(2))]
        assert sorted(both) == [(0,), (1,)]
        assert [gpus async for gpus in pool.map(Together(1), range(1))] == [()]


@pytest.mark.allocation
@pytest.mark.parametrize("executor", ["asyncio", "inline"])
async def test_devices_are_told_wherever_a_task_runs(executor: str) -> None:
    """Coroutines, awaited in the worker or not, and tasks in the caller's thread see theirs as well."""
    function: Callable[[int], Any] = own if executor == "asyncio" else Together(1)
    for isolation in ("task", "shared") if executor == "asyncio" else ("task",):
        options = {"executor": executor, "resources": Resources(gpu=2), "isolation": isolation}
        async with asyncio.timeout(DEADLINE_S), pool_with(0.0, 0.0) as pool:
            assert [gpus async for gpus in pool.options(**options).map(function, [1])] == [(0, 1)]


@pytest.mark.allocation
async def test_parts_share_a_device_as_far_as_its_memory_is_free() -> None:
    """Two halves run on one device where both fit by what is measured, and one after the other where they do not."""
    pool = pool_with(1_000.0, thread_workers=4)
    half = Resources(gpu=0.5, gpu_memory_mb=7_000)
    async with asyncio.timeout(DEADLINE_S), pool:
        assert [gpus async for gpus in pool.options(resources=half).map(Together(2), range(2))] == [(0,), (0,)]
    held, begun = threading.Event(), threading.Event()
    async with asyncio.timeout(DEADLINE_S), pool_with(3_000.0, thread_workers=4) as pool:
        first = await pool.options(resources=half).submit(lambda: begun.set() or held.wait(DEADLINE_S))
        second = await pool.options(resources=half).submit(own_gpus)
        await asyncio.to_thread(begun.wait, DEADLINE_S)
        assert "waits for gpu_memory: needs 7000 MB, 6000 MB free on device 0, which has most" in pool.explain(
            second.task_id
        )
        held.set()
        assert await first is True
        assert await second == (0,)


def own_gpus() -> tuple[int, ...]:
    return current_task().gpus


def held() -> tuple[str | None, tuple[int, ...]]:
    """Return what CUDA sees, and hold it long enough for another to need something else."""
    time.sleep(0.3)
    return os.environ.get(NAMES[0]), current_task().gpus


@pytest.mark.allocation
async def test_what_no_device_ever_has_is_refused() -> None:
    """Memory that no single device has is unavailable at once, though all have as much together."""
    async with asyncio.timeout(DEADLINE_S), pool_with(0.0, 0.0) as pool:
        with pytest.raises(ResourceUnavailable, match="needs 20000 MB, 16000 MB are all there is"):
            await pool.options(resources=Resources(gpu=0.5, gpu_memory_mb=20_000)).submit(own_gpus)


@pytest.mark.slow
@pytest.mark.allocation
async def test_process_workers_see_their_devices_only() -> None:
    """CUDA's variables name the devices of the task while it runs, in the order of their numbers, and none after it."""
    pool = pool_with(0.0, 0.0, 0.0, process_workers=2)
    async with asyncio.timeout(DEADLINE_S), pool:
        on_gpu = pool.options(executor="processes", resources=Resources(gpu=1))
        told = [one async for one in on_gpu.map(seen, range(8))]
        assert all(names == [str(gpu), "PCI_BUS_ID"] for names, (gpu,), _ in told)
        pair = await pool.options(executor="processes", resources=Resources(gpu=2)).submit(seen)
        names, indices, _ = await pair
        assert names == [",".join(map(str, indices)), "PCI_BUS_ID"]
        assert len(set(indices)) == 2
        names, indices, _ = await (await pool.options(executor="processes").submit(seen))
        assert (names, indices) == ([os.environ.get(name) for name in NAMES], ())


@pytest.mark.slow
@pytest.mark.allocation
async def test_who_took_what_does_without_a_device_sees_none() -> None:
    """A task that would have a GPU or else cores, and got cores, is not to find a GPU that others have."""
    async with asyncio.timeout(DEADLINE_S), pool_with(0.0, process_workers=2) as pool:
        either = pool.options(executor="processes", resources=Resources(gpu=1) | Resources(cpu=0.1))
        told = [await handle for handle in [await either.submit(held) for _ in range(2)]]
        assert sorted(told) == [("", ()), ("0", (0,))]


@pytest.mark.allocation
async def test_devices_are_counted_by_settings_where_no_probe_does() -> None:
    """Without a probe `limits.gpu_count` says how many there are, and what is declared counts; without it, none."""
    limits = ResourceLimits(gpu_count=2)
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=Settings(probes=(), limits=limits)) as pool:
        pair = Resources(gpu=2, gpu_memory_mb=50_000)
        assert await (await pool.options(resources=pair).submit(own_gpus)) == (0, 1)
        with pytest.raises(ResourceUnavailable, match="needs 3 GPUs, 2 GPUs are all there is"):
            await pool.options(resources=Resources(gpu=3)).submit(own_gpus)


async def test_a_probe_without_a_driver_keeps_no_pool_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that starts waits for the first reading of GPUs, not for one that has some."""
    monkeypatch.setattr(_measuring, "_FIRST_S", 10 * DEADLINE_S)
    probe = ScriptedProbe([Reading(datetime.now(UTC), {})], resources=["gpu"], period_s=60.0)
    monitor = ResourceMonitor(None, None, [probe])
    async with asyncio.timeout(DEADLINE_S), WorkerPool(resource_monitor=monitor, settings=Settings(probes=())) as pool:
        assert (monitor.has_read("gpu"), monitor.has_read("cpu"), len(probe.requests)) == (True, False, 1)
        with pytest.raises(ResourceUnavailable, match="unavailable"):
            await pool.options(resources=Resources(gpu=1)).submit(own_gpus)


@pytest.mark.parametrize("amount", [1.5, 2.25])
def test_a_part_is_of_one_device(amount: float) -> None:
    """More than one device is a whole number of them."""
    with pytest.raises(ValueError, match="a part of one device or a whole number"):
        Resources(gpu=amount)
