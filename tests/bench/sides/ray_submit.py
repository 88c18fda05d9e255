"""Ray on this machine alone, two CPUs: each function by `remote`, or so many in each task, batched by hand."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import ray
from work import WORKERS, check, noop, warm_up_size


def batch(numbers: range) -> list[int]:
    """Do what one task does with many numbers."""
    return [noop(number) for number in numbers]


def run(remote: Any, n: int, size: int) -> list[int]:  # Any: Ray's remote function
    """Return the results of n calls, `size` in each task."""
    parts = [range(at, min(at + size, n)) for at in range(0, n, size)]
    return [result for results in ray.get([remote.remote(part) for part in parts]) for result in results]


def measure(n: int, in_each: str) -> float:
    """Return the seconds for n calls, so many in each task."""
    size = int(in_each)
    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        remote = ray.remote(batch)
        run(remote, warm_up_size(n), size)
        began = perf_counter()
        results = run(remote, n, size)
        took = perf_counter() - began
    finally:
        ray.shutdown()
    check(results, n)
    return took
