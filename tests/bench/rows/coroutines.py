"""Coroutines that do nothing: what the pool itself costs beside asyncio."""

from __future__ import annotations

from kinds import Peer, Row

_GATHER = "Semaphore + gather"
_SMALL = 2_000

COROUTINES = (
    Row(
        "1",
        "async no-ops, a Task each",
        ("ours_async", "ours_async_sink"),
        (Peer("semaphore_gather", _GATHER, 1.8, 2.8, 3.5),),
        small_n=_SMALL,
    ),
    Row(
        "1b",
        "async no-ops, shared",
        ("ours_shared", "ours_shared_sink"),
        (Peer("semaphore_gather", _GATHER, 3.0, 5.0, 3.2),),
        small_n=_SMALL,
    ),
    Row(
        "2",
        "async no-ops, shared",
        ("ours_shared", "ours_shared_sink"),
        (Peer("queue_timeout", "queue workers + asyncio.timeout", 1.0, 1.5),),
        small_n=_SMALL,
    ),
    Row(
        "3",
        "async no-ops, a Task each",
        ("ours_async",),
        (
            Peer("aiometer_amap", "aiometer", 5.0, 10.0, package="aiometer"),
            Peer("taskiq_memory", "taskiq, in memory", 10.0, 20.0, package="taskiq"),
            Peer("anyio_limiter", "anyio CapacityLimiter", 15.0, 30.0, package="anyio"),
        ),
        small_n=_SMALL,
    ),
)
