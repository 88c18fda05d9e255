"""Functions in two processes: those that do nothing, and those with real work to do."""

from __future__ import annotations

from kinds import Figure, Limit, Peer, Row

_IDEAL = Figure("% of the ideal", more_is_better=True)

PROCESSES = (
    Row(
        "6",
        "process no-ops, nothing tuned",
        ("ours_processes", "ours_processes_sink"),
        (
            Peer("mpire_auto", "mpire map_unordered", 2.0, 4.0, package="mpire"),
            Peer("joblib_auto", "joblib, auto batch", 1.5, 3.5, package="joblib"),
        ),
    ),
    Row(
        "7",
        "process no-ops, submitted one by one",
        ("ours_submit:processes", "ours_executor:processes"),
        (
            Peer("ppe_submit", "ProcessPoolExecutor.submit", 3.0, 8.0),
            Peer("pebble_submit", "pebble, schedule", 2.0, 6.0, package="pebble"),
            Peer("loky_submit", "loky, submit", 4.0, 10.0, package="loky"),
        ),
        n=20_000,
        small_n=200,
    ),
    Row(
        "8",
        "tasks of 100 us CPU, two processes",
        ("ours_burn:100", "ours_burn_submit:100"),
        (Peer("ppe_burn:100", "ProcessPoolExecutor.submit", 1.8, 2.0),),
        (Limit("of the ideal", _IDEAL, 85.0, 92.0),),
        figure=_IDEAL,
        n=20_000,
        small_n=200,
    ),
    Row(
        "9",
        "tasks of 1 ms CPU, two processes",
        ("ours_burn:1000",),
        (
            Peer("joblib_burn:1000", "joblib, auto batch", 0.95, 1.0, package="joblib"),
            Peer("mpire_burn:1000", "mpire map_unordered", 0.95, 1.0, package="mpire"),
        ),
        figure=_IDEAL,
        n=4_000,
        small_n=100,
    ),
)
