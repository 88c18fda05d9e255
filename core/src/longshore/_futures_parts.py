"""From what an executor is asked to be to the pool that it gets, which is its own."""

from __future__ import annotations

import sys
from typing import Any

from longshore._cpus import usable_cpus
from longshore._futures_desk import Broken, Desk
from longshore.plugins import PluginHost
from longshore.pool import WorkerPool
from longshore.settings import Settings, WorkerConfig, load_settings

_RECYCLES = "max_tasks_per_worker"  # the setting of executors that can
_COUNTS = {"asyncio": "async_workers", "threads": "thread_workers", "processes": "process_workers"}


def make_desk(
    broken: Broken,
    settings: Settings | None,
    executor: str | None,
    max_workers: int | None,
    max_tasks_per_child: int | None,
) -> tuple[Desk, str, int]:
    """Return the desk of a new pool, the name of its executor, and how many workers that has."""
    settings = settings if settings is not None else load_settings().settings
    name = executor or settings.executor or "threads"
    plugin = PluginHost(settings.plugins).load("executors", name) if name != "inline" else None
    if max_tasks_per_child is not None:
        settings = _recycling(settings, name, plugin, max_tasks_per_child)
    workers = _workers(name, max_workers, settings.workers)
    return Desk(WorkerPool(_config(name, workers, settings.workers), settings=settings), broken), name, workers


def _recycling(settings: Settings, name: str, plugin: type[Any] | None, tasks: int) -> Settings:
    """Return the settings with workers that end after so many tasks. Any: a plugin's class, of whatever executor."""
    if not isinstance(tasks, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if tasks < 1:
        raise ValueError("max_tasks_per_child must be >= 1")
    if _RECYCLES not in getattr(getattr(plugin, "Settings", None), "model_fields", ()):
        raise ValueError(
            f"executor {name!r} cannot replace its workers after some calls: leave max_tasks_per_child out"
        )
    table = {**settings.table("executors", name), _RECYCLES: tasks}
    return settings.model_copy(update={"executors": {**settings.executors, name: table}})


def _workers(name: str, wanted: int | None, config: WorkerConfig) -> int:
    """Return how many workers there will be; ValueError for a number that can't be, TypeError for what is none."""
    if wanted is not None and (isinstance(wanted, bool) or not isinstance(wanted, int)):
        raise TypeError(f"max_workers must be an integer, not {wanted!r}")
    if wanted is not None and wanted < 1:
        raise ValueError(f"max_workers must be greater than 0, not {wanted}")
    if name == "inline":
        return 1  # whatever is wanted: a program that is to be debugged changes nothing but the executor
    if name not in _COUNTS:
        if wanted is not None:
            raise ValueError(f"executor {name!r} goes by its own settings: leave max_workers out")
        return usable_cpus()
    workers = wanted or int(getattr(config, _COUNTS[name])) or (usable_cpus() if name == "processes" else 0)
    if not workers:
        raise ValueError("thread_workers is 0, so there are no threads to call functions in: give max_workers")
    return workers


def _config(name: str, workers: int, base: WorkerConfig) -> WorkerConfig:
    """Return the settings' config for a pool that brings up this executor, and whose queue takes whatever comes."""
    changes: dict[str, Any] = {  # Any: each field's own type
        "thread_workers": 0,
        "process_workers": 0,
        "max_queue_size": sys.maxsize,
        "priority_queue_size": sys.maxsize,
        "max_concurrent_tasks": max(workers, base.max_concurrent_tasks),
    }
    if name in _COUNTS:
        changes[_COUNTS[name]] = workers
    return base.model_validate({**base.model_dump(exclude_unset=True), **changes})  # a default stays nobody's wish
