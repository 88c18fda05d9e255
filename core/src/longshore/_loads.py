"""Between units: what probes read becomes loads in the units of the limits; what a pipeline needs, shares of a host."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from longshore._cpus import usable_cores
from longshore._limits import ResourceLimits, ResourceType
from longshore.cgroups import usable_memory_bytes
from longshore.records import Bound, Device, Load, ResourceUse, Usage
from longshore.task import Resources

GPU_MEMORY = "gpu_memory"
KNOWN = (*map(str, ResourceType), GPU_MEMORY)
_CORES = (0.1, 16.0)
_MEMORY_MB = (128.0, 65536.0)
_GPU_MEMORY_LEAST_MB = 512.0
_PRESSURE = "pressure."
_OTHERS = ("pressure", "gpu_temperature", "gpu_power")
"""What is read beside the known resources, and nothing is reserved of."""
_PRESSURE_LEVELS = {"memory.some": (10.0, math.inf), "memory.full": (math.inf, 20.0)}
"""Percent of ten seconds to brake at and to stop at, where tasks wait for memory; chosen with oomd's rules in view.

There is none for cpu and io: a pool that uses what it has makes tasks wait for both.
"""
_CLUSTER_LEVELS = {"cpu": (math.inf, math.inf), "memory": (80.0, 90.0)}
"""Percent of all the memory of a cluster's workers to brake at and to stop at."""


def limit_of(limits: ResourceLimits, name: str) -> float:
    """Return the limit of a resource in its own unit, infinity where there is none."""
    if name != GPU_MEMORY:
        return limits.get_limit(name)
    return math.inf if limits.max_gpu_memory_mb is None else float(limits.max_gpu_memory_mb)


def warning_of(limits: ResourceLimits, name: str) -> float:
    """Return the level to warn at."""
    return limits.get_warning_threshold(name) if name != GPU_MEMORY else limit_of(limits, name) * 0.8


def amounts_of(required: Mapping[ResourceType | str, float]) -> dict[str, float]:
    """Return what is required by plain names; ValueError for one that has no limits, or an amount below 0."""
    for name, amount in required.items():
        if str(name) not in KNOWN:
            raise ValueError(f"unknown resource {str(name)!r}; there are {', '.join(KNOWN)}")
        if not 0 <= amount < math.inf:
            raise ValueError(f"{name} is a finite amount of at least 0, not {amount!r}")
    return {str(name): amount for name, amount in required.items()}


def loads_of(usage: Mapping[str, Usage], limits: ResourceLimits) -> dict[str, Load]:
    """Return the load of each resource that was read: percent of cpu, memory and gpu, MB/s of I/O, MB of GPU memory.

    And that of each pressure, by the key of the reading, in percent of time; nothing of that can be reserved. What is
    none of these is a pool of the user's own, such as the seats of a licence: as many may be reserved as there are.
    """
    loads: dict[str, Load] = {}
    for name in ("cpu", "memory"):
        one = usage.get(name)
        if one is not None and one.capacity:
            loads[name] = _percent(name, one, [*one.bounds] or [Bound("host", one.used, one.capacity)], limits)
    for name in ("disk_io", "network_io"):
        both = [one for key, one in usage.items() if key.startswith(f"{name}.")]
        if both:
            loads[name] = _load(name, both, limits, "MB/s")
    devices = _devices_of(usage)
    if devices:
        busy = [one.used for key, one in usage.items() if key.startswith("gpu.")]
        mean = sum(busy) / len(busy) if busy else 0.0  # a device may say nothing but its memory
        limit, warning = limit_of(limits, "gpu"), warning_of(limits, "gpu")
        loads["gpu"] = Load(mean, limit, warning, lendable=float(len(devices)), per_unit=0.0, devices=devices)
    memories = [one for key, one in usage.items() if key.startswith(f"{GPU_MEMORY}.")]
    if memories:
        there = sum(one.capacity or math.inf for one in memories)
        load = _load(GPU_MEMORY, memories, limits, "MB", there)
        # Without a limit to all together, what is free is a matter of each device.
        loads[GPU_MEMORY] = load if load.limit < math.inf else replace(load, per_unit=0.0)
    loads |= {key: _pressure(key, one) for key, one in usage.items() if key.startswith(_PRESSURE)}
    own = {key: one.capacity for key, one in usage.items() if key.partition(".")[0] not in (*KNOWN, *_OTHERS)}
    return loads | {
        key: Load(usage[key].used, own=usage[key].own, unit="", lendable=there)
        for key, there in own.items()
        if there is not None
    }


def cluster_loads_of(usage: Mapping[str, Usage]) -> dict[str, Load]:
    """Return the loads of a cluster, in percent of what its workers have; those of CPU brake nothing.

    What it has is there for tasks, all of it: nobody else is to be left something, as on one's own machine. Memory that
    runs short brakes where the workers of most clusters begin to write to disk, or are paused. Whose it is nobody can
    say, so it counts as ours: over the limit one task at a time goes on.
    """
    loads: dict[str, Load] = {}
    for name, (warning, limit) in _CLUSTER_LEVELS.items():
        one = usage.get(name)
        if one is not None and one.capacity:
            per_unit, used = one.capacity / 100.0, min(100.0, 100.0 * one.used / one.capacity)
            each = max((part.capacity for part in one.parts), default=None)
            loads[name] = Load(used, limit, warning, used, "%", one.capacity, per_unit, each=each)
    return loads


def is_pressure(name: str) -> bool:
    """Tell whether a load is a pressure, and so no resource."""
    return name.startswith(_PRESSURE)


def uses_of(loads: Mapping[str, Load]) -> dict[str, ResourceUse]:
    """Return how far each resource is used, in percent of what there is; pressures left out."""
    return {name: _use(name, load, loads) for name, load in loads.items() if not is_pressure(name)}


def strained(loads: Mapping[str, Load], *, gpu_lent: bool) -> dict[str, float]:
    """Return the percent of each resource that people are alerted by.

    A pool that uses its cores and GPUs does what it is for: of those only what others use counts.
    """
    percents = {name: use.percent for name, use in uses_of(loads).items() if use.percent is not None}
    percents = {name: percent for name, percent in percents.items() if not name.endswith(".cpu")}  # a cluster's
    if "cpu" in percents:
        percents["cpu"] = loads["cpu"].foreign
    if gpu_lent:
        percents.pop("gpu", None)
    return percents


def _use(name: str, load: Load, loads: Mapping[str, Load]) -> ResourceUse:
    there: float | None = 100.0 if load.unit == "%" else load.limit if load.limit < math.inf else None
    if name == GPU_MEMORY:
        devices = loads["gpu"].devices.values() if "gpu" in loads else ()
        there = sum(device.memory_mb or 0.0 for device in devices) or None
    percent = None if there is None else 100.0 * load.usage / there
    limit = None if there is None or load.limit == math.inf else 100.0 * load.limit / there
    return ResourceUse(percent, limit, load.usage, load.unit)


def _pressure(key: str, one: Usage) -> Load:
    warning, limit = _PRESSURE_LEVELS.get(key.removeprefix(_PRESSURE), (math.inf, math.inf))
    return Load(one.used, limit, warning, per_unit=0.0)


def _devices_of(usage: Mapping[str, Usage]) -> dict[int, Device]:
    """Return the GPUs that were read, by number, with their memory as far as that is known."""
    devices: dict[int, Device] = {}
    for key, one in usage.items():
        kind, _, number = key.partition(".")
        if kind in ("gpu", GPU_MEMORY) and number.isdecimal():
            known = kind == GPU_MEMORY
            devices[int(number)] = Device(one.used, one.capacity) if known else devices.get(int(number), Device())
    return devices


def _percent(name: str, one: Usage, bounds: Sequence[Bound], limits: ResourceLimits) -> Load:
    """Return the load at the level that leaves least below the limit, which is a share of each level's capacity."""
    limit, own_part = limit_of(limits, name), one.own or 0.0

    def left(bound: Bound) -> float:
        counted = max(0.0, bound.used - own_part) if name == "cpu" else bound.used  # of CPU our own use never counts
        return bound.capacity * limit / 100.0 - counted

    tight = min(bounds, key=left)
    per_unit = tight.capacity / 100.0
    own = None if one.own is None else one.own / per_unit
    used = min(100.0, tight.used / per_unit)  # over a short time the clocks of kernel and probe differ a little
    most = limit / 100.0 * min(bound.capacity for bound in bounds)
    return Load(used, limit, warning_of(limits, name), own, "%", limit * per_unit, per_unit, most)


def _load(name: str, parts: Iterable[Usage], limits: ResourceLimits, unit: str, there: float = math.inf) -> Load:
    limit, owns = limit_of(limits, name), [part.own for part in parts]
    own = None if None in owns else sum(own for own in owns if own is not None)
    lendable = min(limit, there)
    return Load(
        sum(part.used for part in parts),
        limit,
        warning_of(limits, name),
        own,
        unit,
        lendable if lendable < math.inf else None,
    )


def _usable_memory_mb() -> float:
    """Return the memory this process may use: the machine's, or a control group's limit; 0 where nobody can say."""
    return (usable_memory_bytes() or 0) / 1e6


class HostSize(NamedTuple):
    """How many cores a host has, and how much memory in MB (10**6 bytes)."""

    cores: float
    memory_mb: float

    @classmethod
    def here(cls) -> HostSize:
        """Return what this process may use of this machine; memory is infinite where nobody can say."""
        return cls(usable_cores(), _usable_memory_mb() or math.inf)


def required_share(
    *,
    cpu_cores: float | None = None,
    memory_mb: float | None = None,
    gpu_required: bool = False,
    gpu_memory_mb: float | None = None,
    host: HostSize | None = None,
) -> dict[str, float]:
    """Return what a pipeline needs in the units of the limits, as `ResourceMonitor.check_availability` takes it.

    One core of four is 25 % of cpu. `cpu_cores` is 0.1 to 16, `memory_mb` 128 to 65536, `gpu_memory_mb` at least 512;
    ValueError names what is not. A GPU that is required has to be there and below its limit, whatever share of it will
    be used. `host` is the machine to measure against, None this one.
    """
    size = host or HostSize.here()
    share: dict[str, float] = {}
    if cpu_cores is not None:
        share["cpu"] = _bounded("cpu_cores", cpu_cores, *_CORES) / size.cores * 100.0
    if memory_mb is not None:
        share["memory"] = _bounded("memory_mb", memory_mb, *_MEMORY_MB) / size.memory_mb * 100.0
    if gpu_required or gpu_memory_mb is not None:
        share["gpu"] = 0.0
    if gpu_memory_mb is not None:
        share[GPU_MEMORY] = _bounded("gpu_memory_mb", gpu_memory_mb, _GPU_MEMORY_LEAST_MB, math.inf)
    return share


def demands_of(resources: Resources) -> dict[str, float]:
    """Return what a task reserves in the units of the limits; what is no resource of theirs is left out."""
    host = HostSize.here()
    demands = {
        "cpu": resources.cpu / host.cores * 100.0,
        "memory": resources.memory_mb / host.memory_mb * 100.0,
        "gpu": resources.gpu * 100.0,
        GPU_MEMORY: resources.gpu_memory_mb,
        "disk_io": resources.disk_mbps,
        "network_io": resources.network_mbps,
    }
    return {name: round(amount, 9) for name, amount in demands.items() if amount}


def resources_of(demands: Mapping[str, float]) -> Resources:
    """Return what demands in the units of the limits are as reservations; ValueError names what can't be meant."""
    for name, amount in demands.items():
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            raise ValueError(f"resources: {name} is a number, not {amount!r}")
        if name not in list(ResourceType):
            raise ValueError(f"resources: there is no {name!r} but {', '.join(ResourceType)}; others as Resources(…)")
    amounts = {str(name): amount for name, amount in demands.items()}
    return Resources(
        cpu=usable_cores() * amounts["cpu"] / 100.0 if amounts.get("cpu") else 0.0,
        memory_mb=_usable_memory_mb() * amounts["memory"] / 100.0 if amounts.get("memory") else 0.0,
        gpu=amounts.get("gpu", 0.0) / 100.0,
        disk_mbps=amounts.get("disk_io", 0.0),
        network_mbps=amounts.get("network_io", 0.0),
    )


def _bounded(name: str, value: float, least: float, most: float) -> float:
    if isinstance(value, bool) or not (least <= value <= most and value < math.inf):
        bounds = f"{least:g} to {most:g}" if most < math.inf else f"at least {least:g}"
        raise ValueError(f"{name} is {bounds}, not {value!r}")
    return float(value)


__all__ = ["HostSize", "required_share"]
