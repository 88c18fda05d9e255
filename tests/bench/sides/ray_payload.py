"""Ray: a large array as the argument of a remote function, on this machine alone."""

from __future__ import annotations

import ray
from single import payload, touch
from work import WORKERS


def measure(n: int) -> float:
    """Return the median ms of n calls."""
    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        remote = ray.remote(touch)
        return payload(n, lambda array: float(ray.get(remote.remote(array))))
    finally:
        ray.shutdown()
