"""Sums over all tasks of a run: by stage, by worker, by time."""

from __future__ import annotations

import sqlite3
from math import ceil
from typing import Final

from longshore.runs._views import StageView, Throughput, WorkerView

NAMES_MOST: Final = 200
"""Stages that are told apart; the tasks of others come under OTHERS."""
OTHERS: Final = "(others)"
_WORKERS_MOST: Final = 1000
_STAGES = (
    "SELECT name, executor, state, count(*), coalesce(sum(wait_s), 0), coalesce(sum(run_s), 0), "
    "coalesce(sum(cpu_s), 0), min(started), max(ended), min(id) FROM tasks GROUP BY name, executor, state"
)
_RETRIED = (
    "SELECT name, executor, count(*) FROM attempts JOIN tasks USING (task_id) GROUP BY name, executor"  # few, by nature
)
_RANKED = (
    "SELECT run_s FROM tasks WHERE name = ? AND executor = ? AND state = 'completed' AND run_s IS NOT NULL "
    "ORDER BY run_s LIMIT 1 OFFSET ?"
)
_COUNTED = (
    "SELECT count(run_s), sum(run_s) FROM tasks WHERE name = ? AND executor = ? AND state = 'completed' "
    "AND run_s IS NOT NULL"
)
_WORKED = (
    "SELECT worker, executor, count(*), sum(state IN ('failed', 'timed_out')), coalesce(sum(run_s), 0), "
    "coalesce(sum(cpu_s), 0), max(peak_memory_mb), min(started), max(ended), "
    "max(CASE WHEN state = 'processing' THEN task_id END) "
    "FROM tasks WHERE worker IS NOT NULL GROUP BY worker ORDER BY executor, worker LIMIT ?"
)
_ENDED = (
    "SELECT name, CAST((ended - ?) / ? AS INTEGER) AS step, count(*), sum(state IN ('failed', 'timed_out')) "
    "FROM tasks WHERE ended >= ? AND ended <= ? GROUP BY name, step"
)
_STATES = frozenset(("pending", "processing", "retrying", "completed", "failed", "timed_out", "cancelled"))


def stages(reader: sqlite3.Connection) -> list[StageView]:
    """Return the tasks by name and executor; beyond NAMES_MOST of them the rarer ones as one."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for name, executor, state, count, wait_s, run_s, cpu_s, started, ended, place in reader.execute(_STAGES):
        sums = found.setdefault((name, executor), {})
        sums[state] = sums.get(state, 0) + count
        for field, value in (("wait_s", wait_s), ("run_s", run_s), ("cpu_s", cpu_s), ("count", count)):
            sums[field] = sums.get(field, 0) + value
        for field, value, better in (("first", started, min), ("last", ended, max), ("place", place, min)):
            if value is not None:
                sums[field] = better(sums.get(field, value), value)
    for name, executor, count in reader.execute(_RETRIED):
        found.setdefault((name, executor), {})["retried"] = count
    named = sorted(found, key=lambda key: (-found[key].get("count", 0), key))[:NAMES_MOST]
    views = [_stage(reader, *key, found[key]) for key in sorted(named, key=lambda key: found[key].get("place", 0))]
    rest = [found[key] for key in found.keys() - set(named)]
    return [*views, _others(rest)] if rest else views


def _stage(reader: sqlite3.Connection, name: str, executor: str, sums: dict[str, float]) -> StageView:
    [[count, total]] = reader.execute(_COUNTED, (name, executor))
    quantiles = {}
    if count:
        for field, share in (("p50_s", 0.5), ("p95_s", 0.95), ("p99_s", 0.99)):
            rank = ceil(share * count) - 1  # nearest rank
            [[quantiles[field]]] = reader.execute(_RANKED, (name, executor, rank))
    return _view(name, executor, sums, mean_s=total / count if count else None, **quantiles)


def _view(name: str, executor: str, sums: dict[str, float], **more: float | None) -> StageView:
    return StageView(
        name=name,
        executor=executor,
        retried=int(sums.get("retried", 0)),
        wait_s=sums.get("wait_s", 0.0),
        run_s=sums.get("run_s", 0.0),
        cpu_s=sums.get("cpu_s", 0.0),
        first_started=sums.get("first"),
        last_ended=sums.get("last"),
        **{state: int(sums.get(state, 0)) for state in _STATES},
        **more,  # type: ignore[arg-type]  # mean and quantiles
    )


def _others(rest: list[dict[str, float]]) -> StageView:
    sums: dict[str, float] = {}
    for one in rest:
        for field, value in one.items():
            if field in ("first", "last"):
                sums[field] = (min if field == "first" else max)(sums.get(field, value), value)
            else:
                sums[field] = sums.get(field, 0) + value
    return _view(OTHERS, "", sums)


def workers(reader: sqlite3.Connection) -> list[WorkerView]:
    """Return what each worker did."""
    fields = WorkerView.__struct_fields__
    return [WorkerView(**dict(zip(fields, row, strict=True))) for row in reader.execute(_WORKED, (_WORKERS_MOST,))]


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
