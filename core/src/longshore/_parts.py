"""What a pool is made of, from its settings: plugins, the engine with its bounds, the workers of each executor."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from longshore._engine.config import EngineConfig, ScaleBounds
from longshore._engine.engine import Engine
from longshore._intake import Defaults
from longshore._limits import ResourceLimits
from longshore._loads import HostSize
from longshore._measuring import Measuring, monitor_of
from longshore._processors import Processors
from longshore.errors import PluginError
from longshore.hookspecs import Executor, Journal, Probe, Sink
from longshore.monitor import ResourceMonitor
from longshore.plugins import HookCaller, PluginHost
from longshore.settings import Settings, WorkerConfig

_log = logging.getLogger("longshore.pool")


_SINK_METHODS = ("open", "on_events", "close")


def wanted_sinks(given: Iterable[object]) -> tuple[str | Sink, ...]:
    """Return names and objects that can be sinks; TypeError says of another what a sink needs."""
    if isinstance(given, str):
        raise TypeError(f"sinks={given!r}: give a list of sinks, such as [{given!r}]")
    wanted = tuple(given)
    for place, sink in enumerate(wanted):
        if isinstance(sink, str):
            continue
        if isinstance(sink, type):
            raise TypeError(f"sinks[{place}] is the class {sink.__qualname__}: give an instance of it")
        missing = [name for name in _SINK_METHODS if not callable(getattr(sink, name, None))]
        if missing:
            raise TypeError(
                f"sinks[{place}] is {type(sink).__qualname__!r} and lacks {', '.join(missing)}: a sink is the name of "
                "a plugin, or an object with the methods open(run), on_events(batch) and close(summary)"
            )
    return cast("tuple[str | Sink, ...]", wanted)


class Parts:
    """Makes the parts of one pool, anew for each run."""

    def __init__(self, settings: Settings, config: WorkerConfig) -> None:
        """Make nothing yet; `config` stands in place of the settings' table `workers`."""
        self.settings = settings
        self.config = config
        self.plugins = PluginHost(settings.plugins)
        self.processors = Processors(settings, self.plugins)

    def defaults(self) -> Defaults:
        """Return what holds of tasks that say nothing else."""
        config, breaker = self.config, self.settings.breaker
        return Defaults(
            executor=self.settings.executor,
            timeout_s=config.default_timeout,
            soft_timeout_s=config.default_soft_timeout,
            breaker=breaker.rule() if breaker is not None else None,
            memory_limit_mb=config.task_memory_limit_mb,
            profile=self.settings.profile,
            memory_limit_asked="task_memory_limit_mb" in config.model_fields_set,
        )

    def engine(self, limits: ResourceLimits, learnt: Mapping[str, Any] | None = None) -> Engine:  # Any: JSON-safe
        """Make the engine, with what may be lent of this host; what is measured later counts instead.

        `learnt` is what runs before this one learnt of their tasks.
        """
        host = HostSize.here()
        most = {
            "cpu": host.cores * limits.max_cpu_percent / 100.0,
            "memory": host.memory_mb * limits.max_memory_percent / 100.0,
            "disk_io": limits.get_limit("disk_io"),
            "network_io": limits.get_limit("network_io"),
            "gpu": float(limits.gpu_count),
            "gpu_memory": float(limits.max_gpu_memory_mb or math.inf) if limits.gpu_count else 0.0,
            **limits.custom,
        }
        capacity = {name: amount for name, amount in most.items() if amount < math.inf}
        config = EngineConfig(
            max_queue_size=self.config.max_queue_size,
            priority_queue_size=self.config.priority_queue_size,
            max_concurrent_tasks=self.config.max_concurrent_tasks,
            capacity=capacity,
            scaling={name: ScaleBounds(**one.model_dump()) for name, one in self.config.scaling.items()},
            learnt=learnt or {},
        )
        return Engine(config, random.random)

    def sinks(self, chosen: Sequence[str | Sink]) -> dict[str, Sink]:
        """Return sinks by name: those that are named are made, objects go by their class; PluginError as `create`."""
        sinks: dict[str, Sink] = {}
        for wanted in chosen:
            if isinstance(wanted, str):
                if wanted not in sinks:
                    sinks[wanted] = self.plugins.create("sinks", wanted, self.settings.table("sinks", wanted))
            else:
                name = type(wanted).__name__
                sinks[name if name not in sinks else f"{name}-{len(sinks)}"] = wanted
        return sinks

    def journal(self, wanted: Journal | str | bool | None) -> Journal | None:
        """Return the journal: made where it is named (True: sqlite), None where none is wanted."""
        if wanted is None or wanted is False:
            return None
        if not isinstance(wanted, str | bool):
            return wanted
        name = "sqlite" if wanted is True else str(wanted)
        journal: Journal = self.plugins.create("journals", name, self.settings.table("journals", name))
        return journal

    def measuring(self, given: object | None) -> Measuring:
        """Return what measures for a run: the monitor that was given, or one of settings' limits and probes."""
        limits = self.settings.limits
        own = ResourceMonitor(limits, None, self._probes()) if given is None else None
        return Measuring(own, None) if own is not None else Measuring(*monitor_of(given, limits))

    def _probes(self) -> dict[str, Probe]:
        """Make the probes; one that is only enabled by default may be missing, disabled or broken."""
        if "probes" in self.settings.model_fields_set:
            return {name: self._probe(name) for name in self.settings.probes}
        probes: dict[str, Probe] = {}
        for name in self.settings.probes:
            try:
                probes[name] = self._probe(name)
            except PluginError as error:
                _log.info("the machine is not measured: %s", error)
        return probes

    def _probe(self, name: str) -> Probe:
        probe: Probe = self.plugins.create("probes", name, self.settings.table("probes", name))
        return probe

    def hooks(self) -> HookCaller:
        """Make the hooks that settings list; PluginError for one that is missing or broken."""
        return self.plugins.hooks(self.settings.hooks, self.settings.tables("hooks"))

    def executor(self, name: str) -> Executor:
        """Make an executor; PluginError for one that is missing or broken."""
        executor: Executor = self.plugins.create("executors", name, self.settings.table("executors", name))
        return executor

    def brought_up(self) -> list[str]:
        """Return the executors that are brought up with the pool: those that settings give workers."""
        return [name for name, workers in self._counts().items() if workers]

    def workers(self, name: str) -> int:
        """Return how many workers settings want of an executor; 0 leaves it to the executor."""
        if name == "threads" and not self.config.thread_workers:
            raise ValueError("thread_workers is 0, so plain functions have nowhere to run: name another executor")
        count, bounds = self._counts().get(name, 0), self.config.scaling.get(name)
        return count if bounds is None else max(bounds.min_workers, min(count, bounds.max_workers))

    def _counts(self) -> dict[str, int]:
        config = self.config
        return {"asyncio": config.async_workers, "threads": config.thread_workers, "processes": config.process_workers}
