"""What tasks need of Dask's workers."""

from __future__ import annotations

from typing import Final

from longshore.batching.crew import GPU, NOTHING, Crew, Wants
from longshore.batching.words import System
from longshore.task import TaskSpec

DASK: Final = System(
    executor="dask",
    title="Dask",
    given_up="a thread cannot be stopped, so its thread on the Dask worker was abandoned",
    sends_modules="Dask's Client.upload_file",
)


class DaskCrew(Crew):
    """All workers that may be given work."""

    def __init__(self, *, is_local: bool = True) -> None:
        """Have none. What tasks reserve of cores and memory is counted here unless the cluster is of this machine."""
        super().__init__(DASK)
        self._is_local = is_local

    def wants(self, spec: TaskSpec) -> Wants:
        """Return what a task is to have of its worker: what workers declare, GPUs in any case, cores and memory.

        What no worker declares is the pool's own to count, such as licences; so are cores and memory of this machine,
        and those of a task that would do with one thing or another.
        """
        if spec.resources is None:
            return NOTHING
        declared = {name for station in self.stations.values() for name in station.hello.resources}
        amounts = {GPU if name == "gpu" else name: amount for name, amount in spec.resources.amounts().items()}
        needs = {name: amount for name, amount in amounts.items() if name in declared or name == GPU}
        if self._is_local or len(spec.resources.choices()) > 1:
            return Wants(needs)
        return Wants(needs, amounts.get("cpu", 0.0), amounts.get("memory", 0.0))

    def lacks(self, wants: Wants) -> str | None:
        """Return in words what no worker has enough of, None if one has all of it."""
        if not wants or not self.stations or any(one.has(wants) for one in self.stations.values()):
            return None
        asked = ", ".join(f"{name}={amount:g}" for name, amount in wants.needs.items())
        hint = f': start one by `dask worker --resources "{asked}"`' if asked else ""
        return f"no worker of the Dask cluster has {wants}{hint}"
