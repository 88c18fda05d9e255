"""The words of a computed run: what is to be done, what is lost, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from msgspec import Struct

from longshore._sketch import Sketch
from longshore.task import Resources


class Work(Struct, frozen=True, kw_only=True):
    """A task to be done."""

    stage: str
    executor: str
    ran_s: float
    peak_memory_mb: float | None = None
    """What it takes at most; None where nobody knows, and then nothing is set aside for it."""
    resources: Resources | None = None
    then: Work | None = None
    """What follows when it has ended: the next stage of its document."""


class Loss(Struct, frozen=True):
    """A machine with some workers of each executor is gone, and back after a while."""

    at: float
    """Seconds into the run."""
    share: float
    """Of all workers."""
    back_after_s: float = inf


class Waits(Struct, frozen=True):
    """How long something was waited for, in seconds; quantiles within 1 %."""

    mean_s: float = 0.0
    median_s: float = 0.0
    p95_s: float = 0.0
    p99_s: float = 0.0

    @classmethod
    def of(cls, waits: Sketch) -> Waits:
        """Return what is known of these waits."""
        ranked = waits.ranked()
        return cls(waits.mean, *(ranked.quantile(share) or 0.0 for share in (0.5, 0.95, 0.99)))


class Simulated(Struct, frozen=True, kw_only=True):
    """What came of it; times in seconds of the simulated clock."""

    makespan_s: float
    completed: int
    starts: int
    busy_s: Mapping[str, float]
    """Work done, by executor; what was lost with a machine or ended for memory is not in it."""
    lost_s: float
    """Work that was begun in vain: on machines that were lost, or ended for memory."""
    shed: int
    peak_memory_mb: float
    """What all tasks together took at most, at a reading."""
    queued: Waits
    """How long tasks waited in the queue, for a worker and for what they ask for."""
    idle: Waits
    """How long workers stood free between two tasks."""
    given_up: int
    """Tasks under which so many machines were lost that the pool takes them for the cause: see PoisonTask."""
    refused: int
    """Tasks that no such fleet can ever run: they need more than there is."""
    decisions: str
    """A digest of all decisions in their order: the same for the same works, fleet and dice."""
    decide_cpu_s: float
    """Processor time that the engine took for all its decisions: of this machine, not simulated."""

    def utilization(self, workers: Mapping[str, int]) -> dict[str, float]:
        """Return for each executor which share of its workers' time was work, from 0 to 1."""
        return {
            name: busy_s / (workers[name] * self.makespan_s) if self.makespan_s and workers.get(name) else 0.0
            for name, busy_s in self.busy_s.items()
        }
