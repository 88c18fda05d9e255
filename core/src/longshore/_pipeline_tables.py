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
    """Cores."""
    memory_mb: Amount = 0.0
    """MB of memory."""
    gpu: Amount = 0.0
    """GPUs, or a part of one."""
    gpu_memory_mb: Amount = 0.0
    """MB of a GPU's memory."""
    disk_mbps: Amount = 0.0
    """MB/s to and from disks."""
    network_mbps: Amount = 0.0
    """MB/s to and from the network."""
    custom: dict[str, Amount] = {}
    """Of the user's own, by name."""

    def resources(self) -> Resources:
        return Resources(**self.model_dump())


class StageTable(BaseModel):
    """One stage of a pipeline."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Name
    """What the stage is called in its pipeline."""
    processor: Name
    """An installed processor, or `module:function`."""
    after: tuple[str, ...] = ()
    """The stages whose results it gets; it begins when they have ended."""
    executor: str | None = None
    """Where it runs; left out: as its processor says."""
    timeout: float | None = Field(default=None, ge=1, le=3600)
    """Seconds one attempt may run."""
    timeout_multiplier: float = Field(default=1.0, ge=0.1, le=10)
    """By what the time limit is multiplied."""
    soft_timeout: float | None = Field(default=None, gt=0, le=3600)
    """Seconds after which an attempt is told of as overdue."""
    retries: int | None = Field(default=None, ge=0)
    """How often a failed attempt is tried again."""
    resources: ResourcesTable | None = None
    """What an attempt takes of the machine."""
    max_parallel: int | None = Field(default=None, ge=1, le=100)
    """How many documents may be in it at once."""
    max_per_second: float | None = Field(default=None, gt=0)
    """How many may begin in a second."""
    critical: bool = True
    """Whether a document whose stage failed is failed as a whole."""
    condition: str | None = Field(default=None, pattern=r"^[^:]+:[^:]+$")
    """`module:function` that tells whether a document needs the stage."""

    def stage(self) -> Stage:
        said = self.model_dump(exclude={"name", "processor", "retries", "resources"})
        retry = None if self.retries is None else RetryPolicy(attempts=self.retries + 1)
        resources = None if self.resources is None else self.resources.resources()
        return Stage(self.name, self.processor, retry=retry, resources=resources, **said)


class LimitsTable(BaseModel):
    """What a document may have at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_memory_mb: float = Field(default=8192.0, gt=0)
    """MB that one document's stages may reserve together."""
    max_cpu_cores: float = Field(default=8.0, gt=0)
    """Cores that one document's stages may reserve together."""
    max_parallel_stages: int = Field(default=4, ge=1, le=20)
    """How many stages of one document may run at once."""


class PipelineTable(BaseModel):
    """A pipeline."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    stages: tuple[StageTable, ...]
    """The stages, a graph by what each comes after."""
    timeout: float | None = Field(default=None, ge=60)
    """Seconds a document may take in all."""
    limits: LimitsTable = LimitsTable()
    """What one document may have of the machine at once."""

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
