"""What the machines have that a pool's workers are on, as one worker of each tells; and the processes on this one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import psutil
from longshore.records import Bound, Usage

SURVEY_S: Final = 5.0
"""How long a worker may take to say what its machine has."""


class Machine(NamedTuple):
    """What one machine has, and what is used of it by all that it runs."""

    used_cores: float
    cores: float
    used_mb: float
    memory_mb: float


def this_machine() -> Machine:
    """Return what this machine has; the cores in use are those since it was last asked."""
    memory, cores = psutil.virtual_memory(), float(psutil.cpu_count() or 1)
    return Machine(
        psutil.cpu_percent(None) / 100.0 * cores, cores, (memory.total - memory.available) / 1e6, memory.total / 1e6
    )


def outlived(pids: Iterable[int], within_s: float) -> None:
    """Wait until these processes have ended, and kill those that have not in time."""
    processes = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            processes.append(psutil.Process(pid))
    for process in psutil.wait_procs(processes, timeout=within_s)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def use_of(machines: Mapping[str, Machine]) -> dict[str, Usage]:
    """Return what the machines have together, by the id of each node; nothing of none."""
    if not machines:
        return {}
    return {
        "cpu": Usage.across([Bound(node, one.used_cores, one.cores) for node, one in machines.items()]),
        "memory": Usage.across([Bound(node, one.used_mb, one.memory_mb) for node, one in machines.items()]),
    }
