"""Pipelines: stages that a document passes as a graph, each stage as a task of the pool.

A `Pipeline` is data, written in Python or as the table `[tool.longshore.pipelines.NAME]` (`_pipeline_tables`);
`prepare` resolves its stages to functions, and `pool.start_pipeline` and `pool.run_pipeline` send documents through.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal, cast

from msgspec import Struct
from msgspec.structs import replace

from longshore._plugins.advice import nearest
from longshore._processing import ProcessorCall
from longshore._processors import Processors
from longshore._runtime.specs import is_coroutine_function, name_of
from longshore.errors import SettingsError
from longshore.processor import ProcessorContext
from longshore.task import Outcome, Resources, RetryPolicy, TaskState

Function = Callable[..., Any]  # Any: the user's function takes and gives what it likes
Condition = Callable[[ProcessorContext], object]


def _check(who: str, name: str, value: Any, least: float, most: float | None = None) -> None:  # Any: unchecked
    """Raise ValueError for a value out of its range; None is none."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= (most or value):
        told = f"from {least:g} to {most:g}" if most else f"at least {least:g}"
        raise ValueError(f"{who}: {name} must be {told}, not {value!r}")


def _must_be(who: str, name: str, value: object, kind: type, what: str) -> None:
    """Raise TypeError for a value of another type; `what` says what is wanted. None is none."""
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{who}: {name} must be {what}, not {value!r}")


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError(f"the name of a {what} must be a text that is not empty, not {name!r}")


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a pipeline: an installed processor's name, "module:function", or a function.

    It begins when all stages in `after` have ended, and gets the results of those that completed. What is None is
    decided by the processor's metadata, else by the pool. A function gets the document's ProcessorContext.
    """

    name: str
    processor: str | Function
    after: Sequence[str] = field(default=(), kw_only=True)
    executor: str | None = field(default=None, kw_only=True)
    timeout: float | None = field(default=None, kw_only=True)
    """Seconds an attempt may take, 1 to 3600."""
    timeout_multiplier: float = field(default=1.0, kw_only=True)
    """0.1 to 10, times `timeout`, or its stand-in, and `soft_timeout`: for documents that are larger than usual."""
    soft_timeout: float | None = field(default=None, kw_only=True)
    """Seconds after which an attempt is told of as overdue, and goes on; less than `timeout`."""
    retry: RetryPolicy | None = field(default=None, kw_only=True)
    resources: Resources | None = field(default=None, kw_only=True)
    max_parallel: int | None = field(default=None, kw_only=True)
    """How many of its tasks may be under way at once, 1 to 100, over all documents of a call."""
    max_per_second: float | None = field(default=None, kw_only=True)
    """How many of its attempts may start a second, over all documents of a call."""
    critical: bool = field(default=True, kw_only=True)
    """Whether the document has failed when this stage does; else it goes on without the result."""
    condition: str | Condition | None = field(default=None, kw_only=True)
    """Called with the context, on the pool's loop, or "module:function" that is: false skips the stage."""

    def __post_init__(self) -> None:
        """Refuse what can't be meant."""
        _check_name("stage", self.name)
        who = f"stage {self.name}"
        self._check_types(who)
        _check(who, "timeout", self.timeout, 1, 3600)
        _check(who, "timeout_multiplier", self.timeout_multiplier, 0.1, 10)
        _check(who, "soft_timeout", self.soft_timeout, 0.001, 3600)
        _check(who, "max_parallel", self.max_parallel, 1, 100)
        if self.max_parallel is not None and not isinstance(self.max_parallel, int):
            raise ValueError(f"{who}: max_parallel must be a whole number, not {self.max_parallel!r}")
        if self.max_per_second is not None and not self.max_per_second > 0:
            raise ValueError(f"{who}: max_per_second must be greater than 0, not {self.max_per_second!r}")
        if self.condition is not None and not (isinstance(self.condition, str) and ":" in self.condition):
            _check_condition(who, self.condition)

    def _check_types(self, who: str) -> None:
        processor: object = self.processor  # whatever it is said to be
        if not callable(processor) and not (isinstance(processor, str) and processor):
            raise TypeError(
                f'{who}: processor must be a function, "module:function" or the name of an installed processor,'
                f" not {processor!r}"
            )
        if isinstance(self.after, str):
            raise TypeError(f"{who}: after must be a list of the names of stages: after=[{self.after!r}]")
        object.__setattr__(self, "after", tuple(self.after))  # also what can be iterated only once
        _must_be(who, "executor", self.executor, str, "the name of an executor")
        _must_be(who, "retry", self.retry, RetryPolicy, "a RetryPolicy(...)")
        _must_be(who, "resources", self.resources, Resources, "Resources(...)")
        if not isinstance(self.critical, bool):
            raise TypeError(f"{who}: critical must be True or False, not {self.critical!r}")


def _check_condition(who: str, condition: object) -> None:
    if not callable(condition) or is_coroutine_function(condition):
        raise ValueError(f'{who}: condition must be a plain function or "module:function", not {condition!r}')


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineLimits:
    """What the stages of one document may hold together at any time, of what they declare.

    The bounds are those of one document's way; several documents have them each. How much the pool runs at once, and
    what the machine has, bounds all of them.
    """

    max_memory_mb: float = 8192.0
    max_cpu_cores: float = 8.0
    max_parallel_stages: int = 4

    def __post_init__(self) -> None:
        """Refuse what can't be meant."""
        _check("limits", "max_parallel_stages", self.max_parallel_stages, 1, 20)
        for name in ("max_memory_mb", "max_cpu_cores"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"limits: {name} must be greater than 0, not {value!r}")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages in an order that `after` allows; SettingsError for a name given twice or unknown, and for a cycle.

    `timeout`, at least 60 s, bounds what one document may take from the start of its first stage, pauses aside; what
    runs then is cancelled, and the document has timed out.
    """

    name: str
    stages: Sequence[Stage]
    timeout: float | None = field(default=None, kw_only=True)
    limits: PipelineLimits = field(default=PipelineLimits(), kw_only=True)

    def __post_init__(self) -> None:
        """Check the graph."""
        _check_name("pipeline", self.name)
        _must_be(f"pipeline {self.name}", "limits", self.limits, PipelineLimits, "PipelineLimits(...)")
        object.__setattr__(self, "stages", tuple(self.stages))  # also what can be iterated only once
        for stage in self.stages:
            if not isinstance(stage, Stage):
                raise TypeError(f"pipeline {self.name}: its stages must be Stage(...), not {stage!r}")
        _check(f"pipeline {self.name}", "timeout", self.timeout, 60)
        if not self.stages:
            raise SettingsError(f"pipeline {self.name} has no stages")
        names = [stage.name for stage in self.stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SettingsError(f"pipeline {self.name}: there are two stages named {twice[0]!r}")
        for stage in self.stages:
            for other in stage.after:
                if other not in names:
                    others = [name for name in names if name != stage.name]
                    near = nearest(other, others)
                    hint = f"; did you mean {near!r}?" if near else f" (other stages: {', '.join(others) or 'none'})"
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
    """How a document ended: completed, failed, timed_out or cancelled, with an outcome for each of its stages.

    A stage that was not run is skipped (its condition said so, or it depends on what ended the document) or cancelled.
    A stage that is not critical may have failed in a document that completed. `value` is the result of the last stage,
    the `data` where it is a ProcessorResult; where several stages have none after them, the results by name of those
    that completed.
    """

    document_id: str
    index: int
    state: TaskState
    stages: Mapping[str, Outcome]
    value: Any = None  # Any: the stages' results
    ended_by: str | None = None
    """The critical stage that ended the document early, if one did."""

    @property
    def ok(self) -> bool:
        """Tell whether the document completed."""
        return self.state is TaskState.COMPLETED

    @property
    def failure(self) -> Outcome | None:
        """The outcome that ended the document early, else the first that was cancelled; None when it completed."""
        if self.ok:
            return None
        if self.ended_by is not None:
            return self.stages[self.ended_by]
        return next((outcome for outcome in self.stages.values() if outcome.state is TaskState.CANCELLED), None)


class Step(Struct, frozen=True, kw_only=True, eq=False):
    """A stage made ready: what is called, with what, and under which options of the pool."""

    name: str
    function: Function
    options: Mapping[str, Any] = {}  # Any: the keywords of `WorkerPool.options`
    takes: Literal["context", "path"] = "context"
    after: Sequence[str] = ()
    final: bool = True
    """Whether no other stage comes after it."""
    max_parallel: int | None = None
    critical: bool = True
    condition: Condition | None = None

    @property
    def coroutine(self) -> bool:
        """Whether calling the function gives a coroutine."""
        return is_coroutine_function(self.function)

    def executor(self, default: str) -> str:
        """Return where it will run, hooks aside; `default` is for functions of which nobody says."""
        declared = self.function.executor if isinstance(self.function, ProcessorCall) else None
        return self.options.get("executor") or declared or ("asyncio" if self.coroutine else default)

    @property
    def resources(self) -> Resources:
        """What it reserves."""
        return self.options.get("resources") or Resources()

    def context(self, context: ProcessorContext, results: Mapping[str, Any]) -> ProcessorContext:  # Any: the user's
        """Return the document's context with the results, of those there are, that this stage comes after."""
        mine = {name: results[name] for name in self.after if name in results}
        return replace(context, previous_results={**context.previous_results, **mine}) if mine else context

    def arguments(self, context: ProcessorContext) -> tuple[Any, ...]:  # Any: the user's
        """Return what the function is called with."""
        return (context.file_path,) if self.takes == "path" else (context,)


class PreparedPipeline(Struct, frozen=True, kw_only=True, eq=False):
    """A pipeline of which every stage is a step: in an order that `after` allows."""

    name: str
    steps: Sequence[Step]
    limits: PipelineLimits = PipelineLimits()
    timeout_s: float | None = None


class PlannedStage(Struct, frozen=True, kw_only=True):
    """What a stage would be run with: as far as can be told without running, so hooks that route aside."""

    name: str
    processor: str
    executor: str
    after: Sequence[str]
    timeout_s: float
    """Of one attempt; executors that cannot end a task have none."""
    attempts: int
    resources: Mapping[str, float]
    max_parallel: int | None
    max_per_second: float | None
    critical: bool
    condition: str | None


def prepare(pipeline: Pipeline, processors: Processors, default_timeout_s: float) -> PreparedPipeline:
    """Return the pipeline with the function of each stage; imports the processors and functions they name.

    An option comes from the stage, else from the processor's metadata; what neither says is left to the pool. Raises
    SettingsError for a stage that asks for more than the pipeline's limits.
    """
    needed = {name for stage in pipeline.stages for name in stage.after}
    steps = [
        replace(
            _bounded(_step(stage, processors), stage, pipeline, default_timeout_s),
            after=tuple(stage.after),
            final=stage.name not in needed,
            max_parallel=stage.max_parallel,
            critical=stage.critical,
            condition=_condition(stage),
        )
        for stage in pipeline.ordered()
    ]
    return PreparedPipeline(name=pipeline.name, steps=steps, limits=pipeline.limits, timeout_s=pipeline.timeout)


def plan(prepared: PreparedPipeline, default_executor: str, default_timeout_s: float) -> list[PlannedStage]:
    """Return what each stage would be run with."""
    return [_planned(step, default_executor, default_timeout_s) for step in prepared.steps]


def _planned(step: Step, default_executor: str, default_timeout_s: float) -> PlannedStage:
    options = step.options
    return PlannedStage(
        name=step.name,
        processor=name_of(step.function),
        executor=step.executor(default_executor),
        after=step.after,
        timeout_s=options.get("timeout", default_timeout_s),
        attempts=options.get("retry", RetryPolicy()).attempts,
        resources=step.resources.amounts(),
        max_parallel=step.max_parallel,
        max_per_second=options.get("max_per_second"),
        critical=step.critical,
        condition=None if step.condition is None else name_of(step.condition),
    )


def _bounded(step: Step, stage: Stage, pipeline: Pipeline, default_s: float) -> Step:
    """Return the step with the timeout that multiplier and pipeline leave it; refuse what the limits never allow."""
    for name, most in (("memory_mb", pipeline.limits.max_memory_mb), ("cpu", pipeline.limits.max_cpu_cores)):
        amount = getattr(step.resources, name)
        if amount > most:
            raise SettingsError(
                f"pipeline {pipeline.name}: {stage.name} asks for {name} {amount:g}, and the limit is {most:g}"
            )
    said: float | None = step.options.get("timeout")
    if said is None and pipeline.timeout is None and stage.timeout_multiplier == 1.0:
        return step
    timeout = (default_s if said is None else said) * stage.timeout_multiplier
    if pipeline.timeout is not None:
        timeout = min(timeout, pipeline.timeout)
    options = {**step.options, "timeout": timeout}
    if "soft_timeout" in options:
        options["soft_timeout"] *= stage.timeout_multiplier
    return replace(step, options=options)


def _condition(stage: Stage) -> Condition | None:
    if not isinstance(stage.condition, str):
        return stage.condition
    function = load_function(stage.condition)
    _check_condition(f"stage {stage.name}", function)
    return function


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
        "soft_timeout": stage.soft_timeout,
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


__all__ = [
    "Condition",
    "Function",
    "Pipeline",
    "PipelineLimits",
    "PipelineResult",
    "PlannedStage",
    "PreparedPipeline",
    "Stage",
    "Step",
    "load_function",
    "plan",
    "prepare",
]
