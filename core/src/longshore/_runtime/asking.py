"""What the driver asks executors for beside running attempts; whatever a plugin raises here costs the answer only."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from longshore._engine.engine import Engine
from longshore._engine.messages import RunsFor
from longshore.hookspecs import CancelRequest, Executor

_log = logging.getLogger("longshore.pool")


def running_for(name: str, executor: Executor, task_ids: Sequence[str]) -> RunsFor:
    """Return on which worker each of these tasks runs, and for how long; none, and 0 s, if it has not begun there.

    Of an executor that does not say for how long, or says nothing of its workers, they run since they were given to it.
    """
    try:
        rows = executor.workers()
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        _log.warning("executor %s could not say what its workers do: %r", name, error)
        rows = ()
    at_work = {row.current_task: row for row in rows}
    runs: dict[str, tuple[str | None, float | None]] = {}
    for task_id in task_ids:
        row = at_work.get(task_id)
        runs[task_id] = (row.worker_id, row.running_s) if row is not None else (None, 0.0 if rows else None)
    return RunsFor(runs)


def not_begun(engine: Engine, executors: Mapping[str, Executor], task_ids: Iterable[str]) -> set[str]:
    """Return which of these tasks are with executors that have begun no attempt at them.

    They wait there for a worker, or for one that is getting ready and may never be.
    """
    given: dict[str, list[str]] = {}
    for task_id in task_ids:
        attempt = engine.find(task_id) if engine.is_running(task_id) else None
        if attempt is not None and attempt.number == 1:
            given.setdefault(attempt.spec.executor, []).append(task_id)
    answers = [running_for(name, executors[name], ids) for name, ids in given.items()]
    return {task_id for answer in answers for task_id, (_, running_s) in answer.runs.items() if running_s == 0.0}


def cancel_running(engine: Engine, executors: Mapping[str, Executor], message: str) -> None:
    """Ask executors to end all that they run, whatever state they are in."""
    running: dict[str, list[str]] = {}
    for attempt in engine.live():
        if engine.is_running(attempt.task_id):
            running.setdefault(attempt.spec.executor, []).append(attempt.task_id)
    for name, ids in running.items():
        try:
            executors[name].cancel(CancelRequest(ids, message))
        except Exception as broken:  # noqa: BLE001 - it may be the very executor that broke
            _log.warning("executor %s could not cancel: %r", name, broken)
