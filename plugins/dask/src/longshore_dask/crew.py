"""What tasks need of Dask's workers."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

from longshore.batching.crew import GPU, Crew, Station
from longshore.batching.words import System
from longshore.task import TaskSpec

DASK: Final = System(
    executor="dask",
    title="Dask",
    given_up="a thread cannot be stopped, so its thread on the Dask worker was abandoned",
    sends_modules="Dask's Client.upload_file",
)


CORES: Final = "threads"
MEMORY: Final = "MB of memory"
OF_WORKERS: Final = (CORES, MEMORY)
"""What any worker has, whatever it declares: counted here, for Dask knows nothing of it."""


class DaskCrew(Crew):
    """All workers that may be given work."""

    def __init__(self, *, is_local: bool = True) -> None:
        """Have none. What tasks reserve of cores and memory is counted here unless the cluster is of this machine."""
        super().__init__(DASK)
        self._is_local = is_local

    def fits(self, station: Station, needs: Mapping[str, float]) -> bool:
        """Tell whether a worker has what is needed, and of threads and memory so much beside what its batches have."""
        return _has(station, needs) and all(
            needs[name] + sum(held.needs.get(name, 0.0) for held in station.batches.values()) <= _there(station, name)
            for name in OF_WORKERS
            if name in needs
        )

    def needs(self, spec: TaskSpec) -> dict[str, float]:
        """Return what a task needs of its worker: what workers declare, GPUs in any case, threads and memory.

        What no worker declares is the pool's own to count, such as licences; so are cores and memory of this machine,
        and those of a task that would do with one thing or another.
        """
        if spec.resources is None:
            return {}
        declared = {name for station in self.stations.values() for name in station.hello.resources}
        amounts = {GPU if name == "gpu" else name: amount for name, amount in spec.resources.amounts().items()}
        needs = {name: amount for name, amount in amounts.items() if name in declared or name == GPU}
        if not self._is_local and len(spec.resources.choices()) == 1:
            own = {CORES: amounts.get("cpu", 0.0), MEMORY: amounts.get("memory", 0.0)}
            needs |= {name: amount for name, amount in own.items() if amount}
        return needs

    def lacks(self, needs: Mapping[str, float]) -> str | None:
        """Return in words what no worker has enough of, None if one has all of it."""
        if not needs or not self.stations or any(_has(one, needs) for one in self.stations.values()):
            return None
        named = declared(needs)
        asked = ", ".join(f"{name}={amount:g}" for name, amount in named.items())
        own = [f"{needs[name]:g} {name}" for name in OF_WORKERS if name in needs]
        hint = f': start one by `dask worker --resources "{asked}"`' if named else ""
        return f"no worker of the Dask cluster has {' and '.join([asked, *own] if named else own)}{hint}"


def declared(needs: Mapping[str, float]) -> dict[str, float]:
    """Return what of this Dask knows: what workers declare."""
    return {name: amount for name, amount in needs.items() if name not in OF_WORKERS}


def _has(station: Station, needs: Mapping[str, float]) -> bool:
    return all(amount <= _there(station, name) for name, amount in needs.items())


def _there(station: Station, name: str) -> float:
    """Return how much of this a worker has in all."""
    hello = station.hello
    if name == MEMORY:
        return inf if hello.memory_mb is None else hello.memory_mb
    return float(hello.threads) if name == CORES else hello.resources.get(name, 0.0)
