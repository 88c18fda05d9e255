"""What a resource monitor says is left below the limits, and who may have it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from longshore import HostSize, ResourceLimits, ResourceMonitor, ResourceType, required_share
from longshore.records import Usage

pytestmark = pytest.mark.anyio

DEADLINE_S = 10.0
CPU = ResourceType.CPU


# ---- what is left


TABLE = [
    # measured cpu %, required, available, reason
    (50.0, {CPU: 30.0}, True, None),
    (50.0, {CPU: 40.0}, False, "Insufficient cpu: 90.0 > 80.0"),
    (50.0, {"cpu": 40.0}, False, "Insufficient cpu: 90.0 > 80.0"),
    (0.0, {"memory": 75.0}, True, None),
    (0.0, {"memory": 75.5}, False, "Insufficient memory: 75.5 > 75.0"),
    (0.0, {"cpu": 10.0, "memory": 80.0}, False, "Insufficient memory: 80.0 > 75.0"),
    (0.0, {"disk_io": 1e6, "network_io": 1e6, "gpu": 1e6}, True, None),
    (95.0, {}, False, "Insufficient cpu: 95.0 > 80.0"),
    (95.0, {"disk_io": 1.0}, False, "Insufficient cpu: 95.0 > 80.0"),
]


@pytest.mark.allocation
@pytest.mark.parametrize(("used", "required", "available", "reason"), TABLE)
@pytest.mark.requirement("req:G11")
async def test_check_availability_says_what_is_needed_and_the_limit(
    make: Any, used: float, required: dict[str, float], available: bool, reason: str | None, reading: Any
) -> None:
    """The reason names type, what would be used, and the limit; what has no limit passes."""
    watched = make(ResourceLimits(max_cpu_percent=80.0))
    await watched.reads(reading(used))
    assert tuple(watched.monitor.check_availability(required)) == (available, reason)


@pytest.mark.requirement("req:G11")
def test_what_cannot_be_required_is_a_value_error() -> None:
    """A resource that does not exist, or an amount that can't be meant, is named."""
    monitor = ResourceMonitor()
    for required, match in [({"cpus": 1.0}, "cpus"), ({"cpu": -1.0}, "cpu"), ({"cpu": float("nan")}, "cpu")]:
        with pytest.raises(ValueError, match=match):
            monitor.check_availability(required)


@pytest.mark.requirement("req:G12")
async def test_an_answer_cannot_be_taken_for_true_by_mistake(make: Any) -> None:
    """Awaited or not, as a pair or as a truth: a pipeline that loops until there is room gets the same answer."""
    monitor = ResourceMonitor(ResourceLimits(max_cpu_percent=80.0))
    assert await monitor.allocate("other", {CPU: 60.0})
    tries = 0
    while not await monitor.check_availability({CPU: 50.0}):  # how a pipeline may be written
        tries += 1
        await monitor.release("other")
    while not monitor.check_availability({CPU: 50.0}):  # and how it should not, but is
        tries += 1
    assert tries == 1
    available, reason = await monitor.check_availability({CPU: 81.0})
    assert (available, reason) == (False, "Insufficient cpu: 81.0 > 80.0")
    assert not monitor.check_availability({CPU: 81.0})
    assert bool(monitor.check_availability({CPU: 80.0})) is True


@pytest.mark.allocation
@pytest.mark.requirement("req:G13")
async def test_allocations_at_once_never_pass_the_limit() -> None:
    """Of four times 50 % at once under 80 %, one is granted: on one loop, and from four threads."""
    limits = ResourceLimits(max_cpu_percent=80.0)
    monitor = ResourceMonitor(limits)
    assert sum(await asyncio.gather(*(monitor.allocate(f"t{n}", {CPU: 50.0}) for n in range(4)))) == 1
    monitor = ResourceMonitor(limits)
    granted: list[bool] = []
    start = threading.Barrier(4)

    def ask(number: int) -> None:
        start.wait(DEADLINE_S)
        granted.append(asyncio.run(monitor.allocate(f"t{number}", {CPU: 50.0})))

    await asyncio.gather(*(asyncio.to_thread(ask, number) for number in range(4)))
    assert sorted(granted) == [False, False, False, True]
    assert monitor.allocated() == {"cpu": 50.0}


@pytest.mark.allocation
@pytest.mark.requirement("req:G14")
async def test_releasing_twice_or_an_unknown_task_does_nothing() -> None:
    """What was released is free once, and an id nobody knows disturbs nobody."""
    monitor = ResourceMonitor()
    assert await monitor.allocate("a", {CPU: 30.0, "memory": 20.0})
    assert await monitor.allocate("b", {CPU: 30.0})
    await monitor.release("nobody")
    await monitor.release("a")
    await monitor.release("a")
    assert monitor.allocated() == {"cpu": 30.0}
    await monitor.release("b")
    assert monitor.allocated() == {}


@pytest.mark.allocation
@pytest.mark.requirement("req:G15")
async def test_allocating_for_an_id_again_takes_the_place_of_what_it_had() -> None:
    """The new reservation replaces the old one; where it does not fit, the old one stays."""
    monitor = ResourceMonitor(ResourceLimits(max_cpu_percent=80.0))
    assert await monitor.allocate("a", {CPU: 60.0})
    assert await monitor.allocate("a", {CPU: 70.0})
    assert monitor.allocated() == {"cpu": 70.0}
    assert not await monitor.allocate("a", {CPU: 90.0})
    assert monitor.allocated() == {"cpu": 70.0}
    await monitor.release("a")
    assert monitor.allocated() == {}


@pytest.mark.allocation
@pytest.mark.parametrize("own", [None, 40.0])
@pytest.mark.requirement("req:G16")
async def test_what_a_task_reserves_and_uses_counts_once(make: Any, own: float | None, reading: Any) -> None:
    """A task that reserves 40 and uses 40 leaves 40 of 80, before it uses it and while it does."""
    watched = make(ResourceLimits(max_cpu_percent=80.0))
    await watched.reads(reading(0.0, own=None if own is None else 0.0))
    assert await watched.monitor.allocate("a", {CPU: 40.0})
    assert (watched.check(cpu=40.0)[0], watched.check(cpu=40.1)[0]) == (True, False)
    await watched.reads(reading(40.0, own=own))
    assert (watched.check(cpu=40.0)[0], watched.check(cpu=40.1)[0]) == (True, False)
    await watched.monitor.release("a")
    await watched.reads(reading(0.0, own=None if own is None else 0.0))
    assert watched.check(cpu=80.0)[0]


@pytest.mark.requirement("req:G16")
async def test_what_others_use_counts_beside_what_is_reserved(make: Any, reading: Any) -> None:
    """Memory: 20 used before, 30 reserved of which 10 are used so far, 25 left of 75; more than reserved counts too."""
    watched = make(ResourceLimits())
    await watched.reads(reading(memory=20.0))
    assert await watched.monitor.allocate("a", {"memory": 30.0})
    for used, left in ((20.0, 25.0), (30.0, 25.0), (50.0, 25.0), (60.0, 15.0)):
        await watched.reads(reading(memory=used))
        assert (watched.check(memory=left)[0], watched.check(memory=left + 0.1)[0]) == (True, False), used


@pytest.mark.allocation
@pytest.mark.requirement("req:A15", "req:A16")
async def test_limits_that_are_set_are_enforced_where_something_is_measured(make: Any, reading: Any) -> None:
    """Network and GPU over their limit refuse; a GPU that nobody sees is unavailable to those that ask for it only."""
    watched = make(ResourceLimits(max_network_io_mbps=1.0, max_gpu_percent=90.0, max_gpu_memory_mb=1000))
    await watched.reads(reading())
    assert watched.check(cpu=1.0) == (True, None)
    assert watched.check(gpu=1.0) == (False, "gpu is unavailable: no probe sees a GPU")
    await watched.reads(reading(gpu__0=Usage(95.0, 100.0), gpu_memory__0=Usage(100.0, 8000.0)))
    assert watched.check(gpu=1.0) == (False, "Insufficient gpu: 96.0 > 90.0")
    assert watched.check(cpu=1.0) == (True, None)
    assert watched.check(gpu_memory=900.0) == (True, None)
    assert watched.check(gpu_memory=901.0) == (False, "Insufficient gpu_memory: 1001.0 > 1000.0")
    await watched.reads(reading(network_io__sent=Usage(0.7), network_io__received=Usage(0.5)))
    assert watched.check() == (False, "Insufficient network_io: 1.2 > 1.0")


@pytest.mark.allocation
async def test_ten_thousand_reservations_cost_no_more_than_ten() -> None:
    """Allocating and releasing looks at no other reservation: running sums, not sums over all."""
    looked = 0

    class Amounts(dict[str, float]):
        def items(self) -> Any:
            nonlocal looked
            looked += 1
            return super().items()

    monitor = ResourceMonitor(ResourceLimits(max_disk_io_mbps=1e6))
    for number in range(10_000):
        assert await monitor.allocate(f"t{number}", {"disk_io": 1.0})
    looked = 0
    assert await monitor.allocate("one", Amounts(disk_io=1.0))
    few = looked
    for number in range(9_990):
        await monitor.release(f"t{number}")
    looked = 0
    assert await monitor.allocate("other", Amounts(disk_io=1.0))
    assert looked == few
    assert monitor.allocated() == {"disk_io": 12.0}


# ---- a pipeline's needs


@pytest.mark.allocation
@pytest.mark.requirement("req:G22")
def test_a_pipelines_needs_are_shares_of_the_host() -> None:
    """One core of four is 25 %, 1024 MB of 8192 are 12.5 %, exactly; a GPU has to be there."""
    host = HostSize(cores=4, memory_mb=8192)
    assert required_share(cpu_cores=1, memory_mb=1024, host=host) == {"cpu": 25.0, "memory": 12.5}
    assert required_share(host=host) == {}
    assert required_share(gpu_required=True, gpu_memory_mb=512, host=host) == {"gpu": 0.0, "gpu_memory": 512.0}
    assert required_share(cpu_cores=0.1, host=HostSize(cores=16, memory_mb=1.0)) == {"cpu": pytest.approx(0.625)}
    here = HostSize.here()
    assert required_share(cpu_cores=here.cores)["cpu"] == 100.0
    monitor = ResourceMonitor(ResourceLimits(max_cpu_percent=80.0, max_gpu_percent=90.0))
    assert monitor.check_availability(required_share(cpu_cores=3.2, host=host))
    assert not monitor.check_availability(required_share(cpu_cores=3.3, host=host))


BOUNDS = [("cpu_cores", 0.1, 16.0), ("memory_mb", 128.0, 65536.0), ("gpu_memory_mb", 512.0, None)]


@pytest.mark.parametrize(("name", "least", "most"), BOUNDS)
@pytest.mark.requirement("req:G22")
def test_needs_out_of_bounds_are_named(name: str, least: float, most: float | None) -> None:
    """The bounds themselves are in; what is beyond is a ValueError that names field and bounds."""
    ask: Callable[..., object] = required_share
    for value in (least, most or 1e6):
        ask(**{name: value})
    for value in (least * 0.99, (most or float("inf")) * 1.01, -1.0, float("nan"), True):
        with pytest.raises(ValueError, match=name):
            ask(**{name: value})
