"""What of this machine a pool may use, by which limit of which level, and what the probes read now; for `doctor`.

Limits come from the system's files and from the settings, without any plugin. Probes are plugins: they are made and
read in a process of their own, which this file is when it is run, so that a broken one costs a line of a report.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from math import inf

import msgspec

from longshore._loads import is_pressure, limit_of, loads_of
from longshore.cgroups import ControlGroups
from longshore.errors import LongshoreError
from longshore.plugins import PluginHost
from longshore.records import Bound, Load, ReadRequest, Usage
from longshore.settings import LoadedSettings, load_settings

_MB = 10**6
_HOST = "host"
_READ_S = 10.0
_BETWEEN_S = 0.25  # rates are over the time between two readings
_UNITS = {"cpu": "cores", "memory": "MB", "disk_io": "MB/s", "network_io": "MB/s", "gpu": "%", "gpu_memory": "MB"}


class Finding(msgspec.Struct, frozen=True):
    """One thing found; `note` says what it means for a pool where that is not plain."""

    name: str
    value: str
    note: str = ""


class Read(msgspec.Struct, frozen=True):
    """What the probes of the settings read, and by probe why it could not be read."""

    usage: Mapping[str, Usage] = {}
    failed: Mapping[str, str] = {}


def limits(loaded: LoadedSettings) -> Iterator[Finding]:
    """Tell what tasks may use together and one by one, which level sets that, and which setting."""
    given = loaded.settings.limits
    for name, levels in (("cpu", _cpu_levels()), ("memory", _memory_levels())):
        if levels:
            tight, key = min(levels, key=lambda bound: bound.capacity), f"max_{name}_percent"
            percent = limit_of(given, name)
            most, unit = tight.capacity * percent / 100.0, _UNITS[name]
            value = f"{_number(most)} of {_number(tight.capacity)} {unit}"
            yield Finding(
                f"limit of {name}", value, f"{percent:g} % ({_set_by(loaded, f'limits.{key}')}) of {tight.name}"
            )
    for name in ("disk_io", "network_io", "gpu", "gpu_memory"):
        limit = limit_of(given, name)
        if limit < inf:
            key = {"gpu": "max_gpu_percent", "gpu_memory": "max_gpu_memory_mb"}.get(name, f"max_{name}_mbps")
            yield Finding(f"limit of {name}", f"{limit:g} {_UNITS[name]}", _set_by(loaded, f"limits.{key}"))
    one_mb = loaded.settings.workers.task_memory_limit_mb
    value = f"{one_mb:g} MB of memory" if one_mb else "no limit of its own"
    yield Finding("limit of one task", value, _set_by(loaded, "workers.task_memory_limit_mb"))


def _set_by(loaded: LoadedSettings, key: str) -> str:
    return f"{key}: {loaded.origins.get(key, 'default')}"


def _cpu_levels() -> list[Bound]:
    host = float(os.cpu_count() or 1)
    levels = [Bound(_HOST, 0.0, host)]
    if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < host:
        levels.append(Bound("the CPUs of this process (affinity)", 0.0, float(len(os.sched_getaffinity(0)))))
    quotas = [(group, quota) for group in ControlGroups().levels("cpu") if (quota := group.cpu_quota()) is not None]
    return [*levels, *(Bound(f"cgroup {group.name} (v{group.version})", 0.0, quota) for group, quota in quotas)]


def _memory_levels() -> list[Bound]:
    levels = []
    if hasattr(os, "sysconf"):
        levels.append(Bound(_HOST, 0.0, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _MB))
    for group in ControlGroups().levels("memory"):
        limit = group.memory_limit_bytes()
        if limit is not None:
            levels.append(Bound(f"cgroup {group.name} (v{group.version})", 0.0, limit / _MB))
    return levels


def readings(loaded: LoadedSettings) -> Iterator[Finding]:
    """Tell what the probes of the settings read now, in a process of its own; a line for each that could not."""
    try:
        command = [sys.executable, "-P", "-m", "longshore.cli.machine"]
        ran = subprocess.run(command, capture_output=True, timeout=_READ_S, check=True, stdin=subprocess.DEVNULL)
        found = msgspec.json.decode(ran.stdout, type=Read)
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
        yield Finding("reads now", "nothing", f"the probes could not be read: {error}")
        return
    for name, load in sorted(loads_of(found.usage, loaded.settings.limits).items()):
        if not is_pressure(name) or min(load.limit, load.warning) < inf:
            yield _read(name, load, found.usage.get(name))
    for name, why in sorted(found.failed.items()):
        yield Finding(f"probe {name}", "reads nothing", why)


def _read(name: str, load: Load, usage: Usage | None) -> Finding:
    value = f"{load.usage:.3g} {load.unit}"
    for word, level in (("limit", load.limit), ("warning level", load.warning)):
        if level < inf:
            value += f", the {word} is {level:g} {load.unit}"
    unit = _UNITS.get(name, "")
    levels = (usage.bounds if usage is not None else None) or []
    shares = [f"{_number(one.used)} of {_number(one.capacity)} {unit} of {one.name}" for one in levels]
    return Finding(f"{name} now", value, "; ".join(shares))


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Make the probes of the settings, read each twice, and print what they read as JSON; ends the process."""
    loaded = load_settings()
    settings, usage, failed = loaded.settings, dict[str, Usage](), dict[str, str]()
    host = PluginHost(settings.plugins)
    for name in settings.probes:
        try:
            probe = host.create("probes", name, settings.table("probes", name))
            probe.read(ReadRequest(()))
            time.sleep(_BETWEEN_S)
            usage |= probe.read(ReadRequest(())).usage
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            failed[name] = str(error) if isinstance(error, LongshoreError) else f"{type(error).__name__}: {error}"
    os.write(1, msgspec.json.encode(Read(usage, failed)))
    os._exit(0)  # a thread that a probe has started must not keep this process


if __name__ == "__main__":
    main()
