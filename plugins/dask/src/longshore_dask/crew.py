"""What tasks need of Dask's workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from longshore.batching.crew import GPU, Crew
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

    def __init__(self) -> None:
        """Have none."""
        super().__init__(DASK)

    def needs(self, spec: TaskSpec) -> dict[str, float]:
        """Return what a task needs of resources that workers declare: those of these names, and GPUs in any case.

        What no worker declares is the pool's own to count, such as licences.
        """
        if spec.resources is None:
            return {}
        declared = {name for station in self.stations.values() for name in station.hello.resources}
        amounts = {GPU if name == "gpu" else name: amount for name, amount in spec.resources.amounts().items()}
        return {name: amount for name, amount in amounts.items() if name in declared or name == GPU}

    def lacks(self, needs: Mapping[str, float]) -> str | None:
        """Return in words what no worker has enough of, None if one has all of it."""
        if not needs or not self.stations or any(self.fits(one, needs) for one in self.stations.values()):
            return None
        asked = ", ".join(f"{name}={amount:g}" for name, amount in needs.items())
        return f'no worker of the Dask cluster declares {asked}: start one by `dask worker --resources "{asked}"`'
