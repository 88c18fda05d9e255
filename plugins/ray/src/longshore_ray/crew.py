"""What tasks need of Ray: each combination of resources is a shape, and a worker is of one shape. No clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import floor
from typing import Any

from longshore.batching.crew import GPU, Crew, Station
from longshore.batching.kinds import Kind
from longshore.task import Resources, TaskSpec

from longshore_ray.words import RAY

CPU = "CPU"
MEMORY = "memory"


class RayCrew(Crew):
    """The workers of a pool; `wish` is called for a shape that no worker with room is of."""

    def __init__(self) -> None:
        """Have none."""
        super().__init__(RAY)
        self.nodes: Sequence[Mapping[str, float]] = ()
        """What each machine of the cluster has in all."""
        self.wish: Callable[[Mapping[str, float]], None] = lambda needs: None

    def fits(self, station: Station, needs: Mapping[str, float]) -> bool:
        """Tell whether a worker is of this very shape: Ray holds for it what it was made with, and no more."""
        return station.hello.resources == needs

    def freest(self, kind: Kind, needs: Mapping[str, float]) -> Station | None:
        """Return the worker with the least to do that may be given a batch of this kind, None if none may."""
        station = super().freest(kind, needs)
        if station is None and needs:
            self.wish(needs)
        return station

    def needs(self, spec: TaskSpec) -> dict[str, float]:
        """Return what Ray is to hold for a worker of such tasks; what its machines don't declare is the pool's own."""
        return (
            {} if spec.resources is None else shape_of(spec.resources, {name for node in self.nodes for name in node})
        )

    def lacks(self, needs: Mapping[str, float]) -> str | None:
        """Return in words what no machine has enough of, None if one has."""
        if not needs or not self.nodes or self.most(needs):
            return None
        asked = ", ".join(f"{name}={amount:g}" for name, amount in needs.items())
        return f"no machine of the Ray cluster has {asked}: start one that has, such as by `ray start --resources`"

    def most(self, needs: Mapping[str, float]) -> int:
        """Return how many workers of this shape the whole cluster could hold."""
        each = (
            min(floor(node.get(name, 0.0) / amount + 1e-9) for name, amount in needs.items()) for node in self.nodes
        )
        return sum(each)


def shape_of(resources: Resources, declared: set[str]) -> dict[str, float]:
    """Return what is asked of Ray by its names; one core or less is what any worker has."""
    shape = {CPU: resources.cpu, GPU: resources.gpu, MEMORY: resources.memory_mb * 1e6}
    shape.update((name, amount) for name, amount in resources.custom.items() if name in declared)
    asked = {name: amount for name, amount in shape.items() if amount > 0}
    return {} if set(asked) <= {CPU} and asked.get(CPU, 0.0) <= 1 else asked


def actor_options(needs: Mapping[str, float], cpus: float) -> dict[str, Any]:  # Any: options as Ray has them
    """Return by what options Ray holds this shape; `cpus` for one like all others."""
    own = {CPU, GPU, MEMORY}
    options: dict[str, Any] = {
        "num_cpus": needs.get(CPU, 0.0) if needs else cpus,
        "num_gpus": needs.get(GPU, 0.0),
        "resources": {name: amount for name, amount in needs.items() if name not in own},
    }
    if MEMORY in needs:
        options["memory"] = needs[MEMORY]
    return options
