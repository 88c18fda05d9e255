"""Pipelines: stages that a document passes one after another, each as a task of the pool.

A `Pipeline` is data, written in Python or as the table `[tool.longshore.pipelines.NAME]`; `load_pipeline` finds it
by name, `prepare` resolves its stages to functions, and `DocumentStream` sends documents through them.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal, cast

from msgspec import Struct
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longshore._plugins.advice import nearest
from longshore._processors import Processors
from longshore._runtime.specs import is_coroutine_function
from longshore.errors import PluginError, SettingsError
from longshore.plugins import PluginHost
from longshore.processor import ProcessorContext
from longshore.settings import LoadedSettings
from longshore.task import Outcome, Resources, RetryPolicy, TaskState

Function = Callable[..., Any]  # Any: the user's function takes and gives what it likes


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a pipeline: an installed processor's name, "module:function", or a function.

    It begins when all stages in `after` have completed. What is None is decided by the processor's metadata, else by
    the pool. A function gets the document's ProcessorContext.
    """

    name: str
    processor: str | Function
    after: Sequence[str] = field(default=(), kw_only=True)
    executor: str | None = field(default=None, kw_only=True)
    timeout: float | None = field(default=None, kw_only=True)
    retry: RetryPolicy | None = field(default=None, kw_only=True)
    resources: Resources | None = field(default=None, kw_only=True)
    max_per_second: float | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages in an order that `after` allows; SettingsError for a name given twice or unknown, and for a cycle."""

    name: str
    stages: Sequence[Stage]

    def __post_init__(self) -> None:
        """Check the graph."""
        if not self.stages:
            raise SettingsError(f"pipeline {self.name} has no stages")
        names = [stage.name for stage in self.stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SettingsError(f"pipeline {self.name}: there are two stages named {twice[0]!r}")
        for stage in self.stages:
            for other in stage.after:
                if other not in names:
                    near = nearest(other, names)
                    hint = f"; did you mean {near!r}?" if near else f" (stages: {', '.join(names)})"
                    raise SettingsError(
                        f"pipeline {self.name}: {stage.name} comes after {other!r}, which is no stage{hint}"
                    )
        self.ordered()

    def ordered(self) -> list[Stage]:
        """Return the stages so that each comes after those it needs; otherwise in the order they were written."""
        sorter = TopologicalSorter({stage.name: stage.after for stage in self.stages})
        try:
            sorter.prepare()
        except CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
            raise SettingsError(f"pipeline {self.name}: its stages wait for each other: {circle}") from None
        order: list[Stage] = []
        while sorter.is_active():
            ready = set(sorter.get_ready())
            order += [stage for stage in self.stages if stage.name in ready]
            sorter.done(*ready)
        return order


class PipelineResult(Struct, frozen=True, kw_only=True):
    """How a document ended: `stages` has an outcome for each stage, `skipped` after one that did not complete.

    `value` is the result of the last stage, the `data` where it is a ProcessorResult; where several stages have none
    after them, their results by name.
    """

    document_id: str
    index: int
    state: TaskState
    stages: Mapping[str, Outcome]
    value: Any = None  # Any: the stages' results

    @property
    def ok(self) -> bool:
        """Tell whether all stages completed."""
        return self.state is TaskState.COMPLETED

    @property
    def failure(self) -> Outcome | None:
        """The outcome that ended the document early, None when it completed or nothing was run."""
        ends = (TaskState.COMPLETED, TaskState.SKIPPED)
        return next((outcome for outcome in self.stages.values() if outcome.state not in ends), None)


class Step(Struct, frozen=True, kw_only=True, eq=False):
    """A stage made ready: what is called, with what, and under which options of the pool."""

    name: str
    function: Function
    options: Mapping[str, Any] = {}  # Any: the keywords of `WorkerPool.options`
    takes: Literal["context", "path"] = "context"
    after: Sequence[str] = ()
    final: bool = True
    """Whether no other stage comes after it."""

    @property
    def coroutine(self) -> bool:
        """Whether calling the function gives a coroutine."""
        return is_coroutine_function(self.function)

    def arguments(self, context: ProcessorContext, results: Mapping[str, Any]) -> tuple[Any, ...]:  # Any: the user's
        """Return what the function is called with, given all results so far; it gets those it comes after."""
        if self.takes == "path":
            return (context.file_path,)
        results = {name: results[name] for name in self.after}
        return (replace(context, previous_results={**context.previous_results, **results}) if results else context,)


class _StageTable(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    processor: str = Field(min_length=1)
    after: tuple[str, ...] = ()
    executor: str | None = None
    timeout: float | None = Field(default=None, gt=0)
    retries: int | None = Field(default=None, ge=0)
    resources: dict[str, float] | None = None
    max_per_second: float | None = Field(default=None, gt=0)

    def stage(self) -> Stage:
        retry = None if self.retries is None else RetryPolicy(attempts=self.retries + 1)
        return Stage(
            self.name,
            self.processor,
            after=self.after,
            executor=self.executor,
            timeout=self.timeout,
            retry=retry,
            resources=None if self.resources is None else _resources(self.resources),
            max_per_second=self.max_per_second,
        )


class _PipelineTable(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    stages: tuple[_StageTable, ...]


def load_pipeline(name: str, loaded: LoadedSettings, host: PluginHost) -> Pipeline:
    """Return the pipeline of this name from the settings, else from an installed plugin.

    Raises SettingsError for what is wrong with its table, and PluginError when nobody provides it.
    """
    own = loaded.settings.pipelines
    if name in own:
        try:
            table = _PipelineTable.model_validate(own[name])
        except ValidationError as error:
            raise loaded.refusal(error, _PipelineTable, "pipelines", name) from error
        return Pipeline(name, [stage.stage() for stage in table.stages])
    near = nearest(name, own)
    if near and not any(candidate.name == name for candidate in host.candidates("pipelines")):
        raise SettingsError(f"there is no pipeline named {name!r}; did you mean {near!r}?")
    text = host.create("pipelines", name).toml()
    try:
        table = _PipelineTable.model_validate(tomllib.loads(text))
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise PluginError(
            f"the installed pipeline {name!r} cannot be read: {error}", kind="pipelines", name=name
        ) from error
    return Pipeline(name, [stage.stage() for stage in table.stages])


def prepare(pipeline: Pipeline, processors: Processors) -> list[Step]:
    """Return the stages in order, each with its function; imports the processors and functions they name.

    An option comes from the stage, else from the processor's metadata; what neither says is left to the pool.
    """
    needed = {name for stage in pipeline.stages for name in stage.after}
    steps = [(_step(stage, processors), stage) for stage in pipeline.ordered()]
    return [replace(step, after=tuple(stage.after), final=step.name not in needed) for step, stage in steps]


def load_function(name: str) -> Function:
    """Return the function "module:function" names; SettingsError, from the cause, where there is none."""
    module_name, _, path = name.partition(":")
    if not module_name:
        raise SettingsError(f"{name}: write it as module:function")
    try:
        found: Any = importlib.import_module(module_name)  # Any: whatever the module holds
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise SettingsError(f"{name}: importing {module_name} failed") from error
        raise SettingsError(f"{name}: there is no module {error.name!r} here or installed") from None
    except (Exception, SystemExit) as error:  # importing runs the user's code, which may raise anything
        raise SettingsError(f"{name}: importing {module_name} failed") from error
    for part in path.split("."):
        if not hasattr(found, part):
            near = nearest(part, [other for other in vars(found) if callable(getattr(found, other, None))])
            hint = f"; did you mean {near!r}?" if near else ""
            raise SettingsError(f"{name}: {module_name} has no {path!r}{hint}")
        found = getattr(found, part)
    if not callable(found):
        raise SettingsError(f"{name} is no function but {type(found).__name__}")
    return cast("Function", found)


def _step(stage: Stage, processors: Processors) -> Step:
    said = {
        "executor": stage.executor,
        "timeout": stage.timeout,
        "retry": stage.retry,
        "resources": stage.resources,
        "max_per_second": stage.max_per_second,
    }
    own = {name: value for name, value in said.items() if value is not None}
    if callable(stage.processor):
        return Step(name=stage.name, function=stage.processor, options=own)
    if ":" in stage.processor:
        return Step(name=stage.name, function=load_function(stage.processor), options=own)
    entry = processors.entry(stage.processor)
    return Step(name=stage.name, function=entry.call, options=entry.options_with(own))


def _resources(table: Mapping[str, float]) -> Resources:
    known = {name: amount for name, amount in table.items() if name in Resources.__struct_fields__ and name != "custom"}
    custom = {name: amount for name, amount in table.items() if name not in known}
    return Resources(**known, custom=custom)
