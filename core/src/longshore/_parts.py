"""What a pool is made of, from its settings: plugins, the engine with its bounds, the workers of each executor."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Sequence

from longshore._engine.engine import Engine, EngineConfig
from longshore._processors import Processors
from longshore.errors import PluginError
from longshore.hookspecs import Executor, Probe, Sink
from longshore.plugins import HookCaller, PluginHost
from longshore.settings import Settings, WorkerConfig

_log = logging.getLogger("longshore.pool")


def host_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def host_memory_mb() -> float:
    """Return the machine's memory; 0 where the system does not say."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6 if hasattr(os, "sysconf") else 0.0


class Parts:
    """Makes the parts of one pool, anew for each run."""

    def __init__(self, settings: Settings, config: WorkerConfig) -> None:
        """Make nothing yet; `config` stands in place of the settings' table `workers`."""
        self.settings = settings
        self.config = config
        self.plugins = PluginHost(settings.plugins)
        self.processors = Processors(settings, self.plugins)

    def engine(self) -> Engine:
        limits, memory_mb = self.settings.limits, host_memory_mb()
        capacity = {"cpu": host_cores() * limits.max_cpu_percent / 100.0, "gpu": 0.0, "gpu_memory": 0.0}
        if memory_mb:
            capacity["memory"] = memory_mb * limits.max_memory_percent / 100.0
        config = EngineConfig(
            max_queue_size=self.config.max_queue_size,
            priority_queue_size=self.config.priority_queue_size,
            max_concurrent_tasks=self.config.max_concurrent_tasks,
            capacity=capacity,
        )
        return Engine(config, random.random)

    def sinks(self, wanted_sinks: Sequence[str | Sink]) -> dict[str, Sink]:
        sinks: dict[str, Sink] = {}
        for wanted in wanted_sinks:
            if isinstance(wanted, str):
                if wanted not in sinks:
                    sinks[wanted] = self.plugins.create("sinks", wanted, self.settings.table("sinks", wanted))
            else:
                name = type(wanted).__name__
                sinks[name if name not in sinks else f"{name}-{len(sinks)}"] = wanted
        return sinks

    def probes(self) -> dict[str, Probe]:
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
        return self.plugins.hooks(self.settings.hooks, self.settings.tables("hooks"))

    def executor(self, name: str) -> Executor:
        executor: Executor = self.plugins.create("executors", name, self.settings.table("executors", name))
        return executor

    def workers(self, name: str) -> int:
        """Return how many workers settings want of an executor; 0 leaves it to the executor."""
        config = self.config
        ours = {"asyncio": config.async_workers, "threads": config.thread_workers, "processes": config.process_workers}
        if name == "threads" and not config.thread_workers:
            raise ValueError("thread_workers is 0, so plain functions have nowhere to run: name another executor")
        return ours.get(name, 0)
