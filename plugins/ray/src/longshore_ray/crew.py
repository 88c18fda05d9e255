"""What tasks need of Ray: each combination of resources is a shape, and a worker is of one shape. No clock."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from math import floor
from typing import Any

from longshore.batching.crew import GPU, NOTHING, Crew, Station, Wants
from longshore.batching.kinds import Kind
from longshore.task import Resources, TaskSpec

from longshore_ray.words import RAY

CPU = "CPU"
MEMORY = "memory"


class Shaped(Station):
    """A worker of one shape."""

    def has(self, wants: Wants) -> bool:
        """Tell whether it is of this very shape: Ray holds for it what it was made with, and no more."""
        return self.hello.resources == wants.needs


class RayCrew(Crew):
    """The workers of a pool; `wish` is called for a shape that no worker with room is of."""

    def __init__(self) -> None:
        """Have none."""
        super().__init__(RAY)
        self.nodes: Sequence[Mapping[str, float]] = ()
        """What each machine of the cluster has in all."""
        self.wish: Callable[[Mapping[str, float]], None] = lambda needs: None

    def freest(self, kind: Kind, wants: Wants) -> Station | None:
        """Return the worker with the least to do that may be given a batch of this kind, None if none may."""
        station = super().freest(kind, wants)
        if station is None and wants.needs:
            self.wish(wants.needs)
        return station

    def wants(self, spec: TaskSpec) -> Wants:
        """Return what Ray is to hold for a worker of such tasks; what its machines don't declare is the pool's own.

        Of a task that would do with one thing or another it is the first that a machine has.
        """
        if spec.resources is None:
            return NOTHING
        declared = {name for node in self.nodes for name in node}
        shapes = [shape_of(one, declared) for one in spec.resources.choices()]
        shape = next((one for one in shapes if not one or self.most(one)), shapes[0])
        return Wants(shape) if shape else NOTHING

    def lacks(self, wants: Wants) -> str | None:
        """Return in words what no machine has enough of, None if one has."""
        if not wants.needs or not self.nodes or self.most(wants.needs):
            return None
        asked, options = in_words(wants.needs)
        return f"no machine of the Ray cluster has {asked}: start one that has, such as by `ray start {options}`"

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


def in_words(needs: Mapping[str, float]) -> tuple[str, str]:
    """Return what a shape has, for people, and the options of `ray start` that give a machine as much."""
    own = {
        CPU: ("CPU={:g}", "--num-cpus={:g}", 1.0),
        GPU: ("GPU={:g}", "--num-gpus={:g}", 1.0),
        MEMORY: ("{:.0f} MB of memory", "--memory={:.0f}000000", 1e-6),
    }
    asked, options = [], []
    for name, (words, option, unit) in own.items():
        if name in needs:
            asked.append(words.format(needs[name] * unit))
            options.append(option.format(needs[name] * unit))
    custom = {name: amount for name, amount in needs.items() if name not in own}
    if custom:
        asked += [f"{name}={amount:g}" for name, amount in custom.items()]
        options.append(f"--resources={shlex.quote(json.dumps(custom))}")
    return " and ".join(asked), " ".join(options)


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
