"""The pool as a whole: its memory, its journal, its listeners, and what it costs while nothing is asked of it."""

from __future__ import annotations

from kinds import Figure, Limit, Peer, Row

POOLS = (
    Row(
        "13",
        "growth of the controller over a million lazy no-ops",
        ("ours_memory_shared", "ours_memory_threads"),
        limits=(Limit("growth", Figure("MB"), 64.0, 16.0),),
        figure=Figure("MB"),
        n=1_000_000,
        small_n=20_000,
        counted=False,
    ),
    Row(
        "14",
        "async no-ops with a journal",
        ("ours_async_journal",),
        (Peer("ours_async", "the same without one", 0.33, 0.67),),
    ),
    Row(
        "15",
        "async no-ops beside a slow subscriber",
        ("ours_async_slow",),
        (Peer("ours_async", "the same without one", 0.95, 0.99),),
        n=10_000,
    ),
    Row(
        "16",
        "idle pool, all executors up",
        ("ours_idle",),
        limits=(Limit("CPU of an idle pool", Figure("% of a core"), 0.5, 0.1),),
        figure=Figure("% of a core"),
        n=10,
        small_n=1,
        counted=False,
    ),
    Row(
        "17",
        "no-ops on a Dask cluster, nothing tuned",
        ("ours_dask",),
        (
            Peer("dask_submit:1", "Dask, submit", 10.0, 30.0, package="distributed"),
            Peer("dask_submit:100", "Dask, batches of 100 by hand", 0.5, 1.0, package="distributed"),
        ),
        n=10_000,
        small_n=200,
    ),
    Row(
        "18",
        "no-ops on a Ray cluster, nothing tuned",
        ("ours_ray",),
        (
            Peer("ray_submit:1", "Ray, remote", 10.0, 30.0, package="ray"),
            Peer("ray_submit:100", "Ray, batches of 100 by hand", 0.5, 1.0, package="ray"),
        ),
        n=10_000,
        small_n=200,
    ),
)
