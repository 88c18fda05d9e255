"""The plugins that settings name: whether each is there and may be used, found out without importing one."""

from __future__ import annotations

from collections.abc import Iterator

from longshore._plugins.advice import unknown_plugin
from longshore.errors import SettingsError
from longshore.pipeline import Pipeline, PipelineLimits, Stage
from longshore.plugins import PluginHost, PluginState
from longshore.settings import LoadedSettings

_USABLE = (PluginState.AVAILABLE, PluginState.LOADED)


class Named:
    """Looks the names up that settings, and pipelines in them, have for plugins."""

    def __init__(self, loaded: LoadedSettings, host: PluginHost) -> None:
        """Look in what the host finds."""
        self._loaded = loaded
        self._candidates = host.candidates()

    def problems(self) -> Iterator[SettingsError]:
        """Yield an error for each name, outside of pipelines, that no plugin can be used by."""
        settings = self._loaded.settings
        named = {"sinks": settings.sinks, "hooks": settings.hooks}
        if "probes" in settings.model_fields_set:  # those that nobody asked for may be missing
            named["probes"] = settings.probes
        for kind, names in named.items():
            for name in names:
                yield from self._missing(kind, name, kind, name)
        if settings.executor is not None:
            yield from self._missing("executors", settings.executor, "executor")
        if settings.journal:
            yield from self._missing("journals", settings.journal, "journal")

    def problems_of(self, pipeline: Pipeline) -> Iterator[SettingsError]:
        """Yield an error for each stage of a pipeline of the settings that can never run."""
        for number, stage in enumerate(pipeline.stages):
            key = ("pipelines", pipeline.name, "stages", str(number))
            if isinstance(stage.processor, str) and ":" not in stage.processor:
                yield from self._missing("processors", stage.processor, *key, "processor")
            if stage.executor is not None:
                yield from self._missing("executors", stage.executor, *key, "executor")
            for text in _above(stage, pipeline.limits):
                yield self._loaded.problem(text, *key, "resources")

    def _missing(self, kind: str, name: str, *key: str) -> Iterator[SettingsError]:
        if (kind, name) == ("executors", "inline"):
            return
        found = [candidate for candidate in self._candidates if (candidate.kind, candidate.name) == (kind, name)]
        if not found:
            installed = [(candidate.kind, candidate.name) for candidate in self._candidates]
            yield self._loaded.problem(unknown_plugin(kind, name, installed), *key)
        elif not any(candidate.state in _USABLE for candidate in found):
            told = "; ".join(f"{candidate.state.value}: {candidate.reason}" for candidate in found)
            yield self._loaded.problem(f"{kind.removesuffix('s')} {name} cannot be used, it is {told}", *key)


def _above(stage: Stage, limits: PipelineLimits) -> Iterator[str]:
    """Yield what a stage reserves above the limits of its pipeline."""
    if stage.resources is None:
        return
    for name, most in (("memory_mb", limits.max_memory_mb), ("cpu", limits.max_cpu_cores)):
        amount = getattr(stage.resources, name)
        if amount > most:
            yield f"{stage.name} asks for {name} {amount:g}, and the limit is {most:g}"
