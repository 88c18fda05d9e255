"""Pipelines as data: the table `[tool.longshore.pipelines.NAME]`, and the text an installed plugin brings.

In: settings and a name. Out: a `Pipeline`, or an error that says where the table is wrong. Called by pool and command.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longshore._plugins.advice import nearest
from longshore.errors import PluginError, SettingsError
from longshore.pipeline import Pipeline, PipelineLimits, Stage
from longshore.plugins import PluginHost
from longshore.settings import LoadedSettings, Settings
from longshore.task import Resources, RetryPolicy

Name = Annotated[str, Field(min_length=1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ResourcesTable(BaseModel):
    """What an attempt of a stage takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    cpu: Amount = 0.0
    """Cores that each task of the stage uses."""
    memory_mb: Amount = 0.0
    """MB that each takes."""
    gpu: Amount = 0.0
    """GPUs that each has, or the part of one."""
    gpu_memory_mb: Amount = 0.0
    """MB of GPU memory that each takes."""
    disk_mbps: Amount = 0.0
    """MB/s that each reads and writes."""
    network_mbps: Amount = 0.0
    """MB/s that each sends and receives."""
    custom: dict[str, Amount] = {}
    """Of the user's own, by name."""

    def resources(self) -> Resources:
        return Resources(**self.model_dump())


class StageTable(BaseModel):
    """One stage of a pipeline."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Name
    """What it is called in progress, results and statistics."""
    processor: Name
    """What it does: an installed processor, or "module:function"."""
    after: tuple[str, ...] = ()
    """The stages whose results it waits for."""
    executor: str | None = None
    """Where it runs; none is what the processor says, and else as for any task."""
    timeout: float | None = Field(default=None, ge=1, le=3600)
    """Seconds one try may take; none is what the processor says."""
    timeout_multiplier: float = Field(default=1.0, ge=0.1, le=10)
    """What the time limit is multiplied by."""
    soft_timeout: float | None = Field(default=None, gt=0, le=3600)
    """Seconds after which a try is told of as overdue, and goes on."""
    retries: int | None = Field(default=None, ge=0)
    """How often a failed document is tried again here; none is what the processor says."""
    resources: ResourcesTable | None = None
    """What each of its tasks needs, by the keys below."""
    max_parallel: int | None = Field(default=None, ge=1, le=100)
    """Documents in it at once."""
    max_per_second: float | None = Field(default=None, gt=0)
    """Documents a second that begin."""
    critical: bool = True
    """Whether its failure is that of the document; if not, the stages after it go on without its result."""
    condition: str | None = Field(default=None, pattern=r"^[^:]+:[^:]+$")
    """"module:function" that is called with the context, and says whether the document goes through this stage."""

    def stage(self) -> Stage:
        said = self.model_dump(exclude={"name", "processor", "retries", "resources"})
        retry = None if self.retries is None else RetryPolicy(attempts=self.retries + 1)
        resources = None if self.resources is None else self.resources.resources()
        return Stage(self.name, self.processor, retry=retry, resources=resources, **said)


class LimitsTable(BaseModel):
    """What a document may have at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_memory_mb: float = Field(default=8192.0, gt=0)
    """MB that the stages of one document may declare together at any time."""
    max_cpu_cores: float = Field(default=8.0, gt=0)
    """Cores that they may declare together."""
    max_parallel_stages: int = Field(default=4, ge=1, le=20)
    """Stages of one document that run at once."""


class PipelineTable(BaseModel):
    """A pipeline."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    stages: tuple[StageTable, ...]
    """The stages, by the keys below."""
    timeout: float | None = Field(default=None, ge=60)
    """Seconds one document may take from the start of its first stage."""
    limits: LimitsTable = LimitsTable()
    """What the stages of one document may hold together, by the keys below."""

    def pipeline(self, name: str) -> Pipeline:
        limits = PipelineLimits(**self.limits.model_dump())
        return Pipeline(name, [stage.stage() for stage in self.stages], timeout=self.timeout, limits=limits)


def load_pipeline(name: str, loaded: LoadedSettings, host: PluginHost) -> Pipeline:
    """Return the pipeline of this name from the settings, else from an installed plugin.

    Raises SettingsError for what is wrong with its table, with file and line, and PluginError when nobody provides it.
    """

    def refuse(error: ValidationError) -> SettingsError:
        return loaded.refusal(error, PipelineTable, "pipelines", name)

    return find_pipeline(name, loaded.settings, host, refuse)


def find_pipeline(
    name: str,
    settings: Settings,
    host: PluginHost,
    refuse: Callable[[ValidationError], SettingsError] | None = None,
) -> Pipeline:
    """Do what `load_pipeline` does, for settings of which it is not known where they came from."""
    own = settings.pipelines
    if name in own:
        try:
            return PipelineTable.model_validate(own[name]).pipeline(name)
        except ValidationError as error:
            raise (refuse(error) if refuse else SettingsError(f"pipelines.{name}: {error}")) from error
    near = nearest(name, own)
    if near and not any(candidate.name == name for candidate in host.candidates("pipelines")):
        raise SettingsError(f"there is no pipeline named {name!r}; did you mean {near!r}?")
    text = host.create("pipelines", name).toml()
    try:
        return PipelineTable.model_validate(tomllib.loads(text)).pipeline(name)
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise PluginError(
            f"the installed pipeline {name!r} cannot be read: {error}", kind="pipelines", name=name
        ) from error
