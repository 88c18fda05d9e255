"""Dask on a local cluster with two workers: each function by `submit`, or so many in each task, batched by hand."""

from __future__ import annotations

from time import perf_counter

from distributed import Client, LocalCluster
from work import WORKERS, check, noop, warm_up_size


def batch(numbers: range) -> list[int]:
    """Do what one task does with many numbers."""
    return [noop(number) for number in numbers]


def run(client: Client, n: int, size: int) -> list[int]:
    """Return the results of n calls, `size` in each task."""
    parts = [range(at, min(at + size, n)) for at in range(0, n, size)]
    futures = [client.submit(batch, part, pure=False) for part in parts]
    return [result for results in client.gather(futures) for result in results]


def measure(n: int, in_each: str) -> float:
    """Return the seconds for n calls, so many in each task."""
    size = int(in_each)
    options = {"n_workers": WORKERS, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with LocalCluster(host="127.0.0.1", **options) as cluster, Client(cluster) as client:
        run(client, warm_up_size(n), size)
        began = perf_counter()
        results = run(client, n, size)
        took = perf_counter() - began
    check(results, n)
    return took
