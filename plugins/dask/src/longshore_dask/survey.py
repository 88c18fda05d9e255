"""What the workers of a cluster have, and use of it, as the scheduler tells: a probe of machines that are not this one.

The scheduler hears from each worker about once a second; no worker is asked anything for this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from longshore.hookspecs import hookimpl
from longshore.records import Bound, Reading, ReadRequest, Usage

PERIOD_S: Final = 1.0
_FOR_EACH_S: Final = 0.02  # the answer grows with the cluster, by some KB a worker


class ClusterProbe:
    """Reads cores and memory of the workers of a cluster that the pool uses; `ask` tells of each, by address."""

    resources = ("cpu", "memory")

    def __init__(self, ask: Callable[[], Mapping[str, Any]]) -> None:  # Any: what Dask's scheduler says of a worker
        """Have read nothing."""
        self._ask = ask
        self._known = 0

    @property
    def period_s(self) -> float:
        """About a second; of more than 50 workers they are read less often."""
        return max(PERIOD_S, _FOR_EACH_S * self._known)

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        """Return what the scheduler heard last; raises where it does not answer."""
        workers = self._ask()
        self._known = len(workers)
        return reading_of(workers)


def reading_of(workers: Mapping[str, Any]) -> Reading:  # Any: as above
    """Return what workers have: threads as cores, and memory where each of them has a limit."""
    usage: dict[str, Usage] = {}
    if workers:
        usage["cpu"] = Usage.across([_cores(told) for told in workers.values()])
        if all(told.get("memory_limit") for told in workers.values()):
            usage["memory"] = Usage.across([_memory(told) for told in workers.values()])
    return Reading(datetime.now(UTC), usage)


def _cores(told: Mapping[str, Any]) -> Bound:  # Any: as above
    return Bound(str(told["name"]), told["metrics"].get("cpu", 0.0) / 100.0, float(told["nthreads"]))


def _memory(told: Mapping[str, Any]) -> Bound:  # Any: as above
    return Bound(str(told["name"]), told["metrics"].get("memory", 0) / 1e6, told["memory_limit"] / 1e6)
