"""What the workers of a cluster have, and use of it, as the scheduler tells.

The scheduler hears from each worker about once a second; no worker is asked anything for this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longshore.records import Bound, Usage


def use_of(workers: Mapping[str, Any]) -> dict[str, Usage]:  # Any: what Dask's scheduler says of a worker
    """Return what workers have: threads as cores, and memory where each of them has a limit."""
    usage: dict[str, Usage] = {}
    if workers:
        usage["cpu"] = Usage.across([_cores(told) for told in workers.values()])
        if all(told.get("memory_limit") for told in workers.values()):
            usage["memory"] = Usage.across([_memory(told) for told in workers.values()])
    return usage


def _cores(told: Mapping[str, Any]) -> Bound:  # Any: as above
    return Bound(str(told["name"]), told["metrics"].get("cpu", 0.0) / 100.0, float(told["nthreads"]))


def _memory(told: Mapping[str, Any]) -> Bound:  # Any: as above
    return Bound(str(told["name"]), told["metrics"].get("memory", 0) / 1e6, told["memory_limit"] / 1e6)
