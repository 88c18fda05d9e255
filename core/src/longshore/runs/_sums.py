"""Sums over all tasks of a run: by stage, by worker, by time."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from math import ceil

from longshore.runs._stages import OTHERS, StageSum
from longshore.runs._views import StageView, Throughput

_RANKED = (
    "SELECT run_s FROM tasks WHERE name = ? AND executor = ? AND state = 'completed' AND run_s IS NOT NULL "
    "ORDER BY run_s LIMIT 1 OFFSET ?"
)
_COUNTED = (
    "SELECT count(run_s) FROM tasks WHERE name = ? AND executor = ? AND state = 'completed' AND run_s IS NOT NULL"
)
_ENDED = (
    "SELECT name, CAST((ended - ?) / ? AS INTEGER) AS step, count(*), sum(state IN ('failed', 'timed_out')) "
    "FROM tasks INDEXED BY tasks_ended WHERE ended IS NOT NULL AND ended >= ? AND ended <= ? GROUP BY name, step"
)


def stages(reader: sqlite3.Connection, sums: Sequence[StageSum]) -> list[StageView]:
    """Return the stages with their quantiles, by nearest rank over the completed tasks that have rows."""
    return [stage.view(**_quantiles(reader, stage)) for stage in sums]


def _quantiles(reader: sqlite3.Connection, stage: StageSum) -> dict[str, float]:
    if not stage.counts["completed"]:
        return {}
    of_it = (stage.name, stage.executor)
    [[count]] = reader.execute(_COUNTED, of_it)
    quantiles = {}
    for field, share in (("p50_s", 0.5), ("p95_s", 0.95), ("p99_s", 0.99)):
        for (run_s,) in reader.execute(_RANKED, (*of_it, ceil(share * count) - 1)):
            quantiles[field] = run_s
    return quantiles


def throughput(reader: sqlite3.Connection, start: float, end: float, steps: int) -> Throughput:
    """Return how many tasks ended in each step, by name; those of rarer names under OTHERS."""
    step_s = (end - start) / steps
    counts: dict[str, list[int]] = {}
    failed = [0] * steps
    for name, step, count, bad in reader.execute(_ENDED, (start, step_s, start, end)):
        at = min(step, steps - 1)
        counts.setdefault(name, [0] * steps)[at] += count
        failed[at] += bad
    named = sorted(counts, key=lambda name: (-sum(counts[name]), name))
    kept, rest = named[:12], named[12:]
    if rest:
        counts[OTHERS] = [sum(counts[name][at] for name in rest) for at in range(steps)]
        kept.append(OTHERS)
    return Throughput(start=start, step_s=step_s, names=kept, counts=[counts[name] for name in kept], failures=failed)
