"""What probes read, as loads in the units of the limits: where there are several levels, and of pressure."""

from __future__ import annotations

import math

import pytest
from longshore import ResourceLimits
from longshore._loads import loads_of, strained, uses_of
from longshore.records import Bound, Load, ResourceUse, Usage

LIMITS = ResourceLimits(max_memory_percent=75.0, warning_memory_percent=65.0, max_cpu_percent=80.0)


def load(name: str, *bounds: Bound, own: float | None = None) -> Load:
    return loads_of({name: Usage.within(bounds, own)}, LIMITS)[name]


def test_a_usage_is_that_of_the_level_that_leaves_least() -> None:
    """With its own capacity; and `most` is the lowest capacity of all."""
    usage = Usage.within([Bound("host", 6000, 16000), Bound("cgroup /a", 100, 1000), Bound("cgroup /", 2900, 3000)], 50)
    assert (usage.used, usage.capacity, usage.own, usage.most) == (2900, 3000, 50, 1000)
    assert Usage(1.0, 2.0).most == 2.0
    assert Usage(1.0).most is None


@pytest.mark.requirement("req:G04")
def test_memory_counts_at_the_level_that_leaves_least_below_its_limit() -> None:
    """The limit is a share of each level: 90 of 100 GB are over 75 %, though 10 GB are more than the other has left."""
    measured = load("memory", Bound("host", 90_000, 100_000), Bound("cgroup /a", 800, 8_000))
    assert (measured.usage, measured.limit) == (90.0, 75.0)
    assert measured.lendable == 75_000
    assert measured.most == 6_000, "a task of more than three quarters of the group never fits"


@pytest.mark.requirement("req:G04")
def test_use_limit_and_what_may_be_lent_are_of_one_level() -> None:
    """Of a group that has 0.5 GB left below its limit, on a machine that has more."""
    measured = load("memory", Bound("host", 6_000, 16_000), Bound("cgroup /a", 1_000, 2_000), own=400)
    assert (measured.usage, measured.own, measured.per_unit) == (50.0, 20.0, 20.0)
    assert measured.lendable == measured.most == 1_500


@pytest.mark.requirement("req:G03")
def test_of_cpu_what_others_use_decides_which_level_counts() -> None:
    """Our own use is everywhere: a quota of 2 cores that we fill is no reason, 3.5 of 4 cores taken by others is."""
    measured = load("cpu", Bound("host", 5.5, 4.0 + 2.0), Bound("cgroup /a", 2.0, 2.0), own=2.0)
    assert measured.per_unit == 0.06
    assert measured.foreign == pytest.approx(3.5 / 6.0 * 100)
    measured = load("cpu", Bound("host", 2.0, 6.0), Bound("cgroup /a", 2.0, 2.0), own=2.0)
    assert (measured.usage, measured.foreign, measured.lendable) == (100.0, 0.0, 1.6)


def test_pressure_is_a_load_that_nothing_can_be_lent_of() -> None:
    """fault:M3 Percent of time; waiting for memory brakes at 10 %, and stops at 20 % when nothing gets on."""
    keys = ["memory.some", "memory.full", "memory.some.now", "cpu.some", "io.full"]
    loads = loads_of({f"pressure.{key}": Usage(12.0, 100.0) for key in keys}, LIMITS)
    assert set(loads) == {f"pressure.{key}" for key in keys}
    assert {(one.usage, one.unit, one.lendable, one.per_unit) for one in loads.values()} == {(12.0, "%", None, 0.0)}
    levels = {key.removeprefix("pressure."): (one.warning, one.limit) for key, one in loads.items()}
    assert levels.pop("memory.some") == (10.0, math.inf)
    assert levels.pop("memory.full") == (math.inf, 20.0)
    assert set(levels.values()) == {(math.inf, math.inf)}


def test_use_is_told_in_percent_of_what_there_is_beside_its_limit() -> None:
    """Of I/O, whose bound nobody knows, of its limit; without one in MB/s alone. Pressures are no resources."""
    usage = {
        "memory": Usage(6_000.0, 8_000.0),
        "gpu.0": Usage(40.0, 100.0),
        "gpu_memory.0": Usage(6_000.0, 10_000.0),
        "gpu_memory.1": Usage(2_000.0, 10_000.0),
        "disk_io.read": Usage(30.0),
        "disk_io.write": Usage(10.0),
        "network_io.sent": Usage(5.0),
        "pressure.memory.some": Usage(50.0),
    }
    limits = ResourceLimits(max_disk_io_mbps=50.0, max_gpu_memory_mb=15_000)
    assert uses_of(loads_of(usage, limits)) == {
        "memory": ResourceUse(75.0, 75.0, 75.0, "%"),
        "gpu": ResourceUse(40.0, None, 40.0, "%"),
        "gpu_memory": ResourceUse(40.0, 75.0, 8_000.0, "MB"),
        "disk_io": ResourceUse(80.0, 100.0, 40.0, "MB/s"),
        "network_io": ResourceUse(None, None, 5.0, "MB/s"),
    }


@pytest.mark.requirement("req:L10")
def test_nobody_is_alerted_of_a_pool_that_uses_what_it_is_for() -> None:
    """Of CPU what others use counts, of a GPU nothing while tasks have one; memory is memory, whoever holds it."""
    usage = {"cpu": Usage(2.0, 2.0, 1.5), "gpu.0": Usage(99.0, 100.0), "memory": Usage(95.0, 100.0, 90.0)}
    loads = loads_of(usage, ResourceLimits())
    assert strained(loads, gpu_lent=True) == {"cpu": 25.0, "memory": 95.0}
    assert strained(loads, gpu_lent=False) == {"cpu": 25.0, "gpu": 99.0, "memory": 95.0}


def test_a_pool_of_the_users_own_is_lent_as_it_is_measured() -> None:
    """Its unit is what tasks reserve of it; one without a capacity bounds nothing, nor do temperatures and the like."""
    usage = {"licence.cad": Usage(3, 10, 1), "licence.fem": Usage(3), "gpu_power.0": Usage(90, 300)}
    loads = loads_of(usage, LIMITS)
    assert loads == {"licence.cad": Load(3, own=1, unit="", lendable=10)}
    assert uses_of(loads) == {"licence.cad": ResourceUse(None, None, 3, "")}
    assert strained(loads, gpu_lent=False) == {}
