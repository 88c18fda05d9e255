"""One task at a time: how soon its result, or its deadline, comes back; and what a large argument costs."""

from __future__ import annotations

from kinds import Figure, Limit, Peer, Row

_MICROSECONDS = Figure("us")
_MILLISECONDS = Figure("ms")

SINGLE = (
    Row(
        "10",
        "one process no-op at a time, median",
        ("ours_roundtrip",),
        (Peer("ppe_roundtrip", "ProcessPoolExecutor", 1.0, 1.43),),
        (Limit("times a round trip through two pipes, in the same run", Figure("x", "of_pipe"), 2.5, 1.6),),
        figure=_MICROSECONDS,
        n=2_000,
        small_n=50,
        beside=(Figure("us", "p99"), Figure("us", "pipe")),
    ),
    Row(
        "11",
        "from its deadline to its error, a task that spins before 20 others in one process",
        ("ours_deadline",),
        (
            Peer("pebble_deadline", "pebble, schedule", 3.0, 5.0, package="pebble"),
            Peer("mpire_deadline", "mpire apply_async", 3.0, 5.0, package="mpire"),
        ),
        (Limit("of the 20 others lost", Figure("tasks", "lost"), 0.0, 0.0),),
        figure=_MILLISECONDS,
        n=5,
        small_n=1,
        counted=False,
        beside=(Figure("tasks", "lost"), Figure("ms", "others_done")),
    ),
    Row(
        "12",
        "a numpy array of 20 MB as the argument, one at a time, median",
        ("ours_payload",),
        (
            Peer("ppe_payload", "ProcessPoolExecutor", 2.0, 20.0, package="numpy"),
            Peer("joblib_payload", "joblib, memory mapped", None, 4.0, package="joblib"),
            Peer("ray_payload", "Ray", None, 4.0, package="ray"),
        ),
        figure=_MILLISECONDS,
        n=10,
        small_n=2,
        counted=False,
    ),
)
