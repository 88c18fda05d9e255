"""What one `longshore run` is to do: arguments and settings in, steps and settings for a pool out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from msgspec.structs import replace as struct_replace

from longshore._calling import JsonCall, JsonCoroutine
from longshore._fetching import FetchingCall, FetchingCoroutine
from longshore._objects import ObjectFacts, is_url
from longshore._pipeline_tables import load_pipeline
from longshore._processing import ProcessorCall
from longshore._processors import Processors
from longshore._profiles import check_profiler
from longshore._runtime.inline import InlineExecutor
from longshore._runtime.specs import make_spec, merged, name_of
from longshore.cli.console import UsageError, say
from longshore.cli.durations import Forecast
from longshore.cli.inputs import import_from_here
from longshore.cli.options import Progress, RunOptions
from longshore.cli.recorded import CommandJournal
from longshore.pipeline import Function, PreparedPipeline, Step, load_function, prepare
from longshore.plugins import PluginHost, PluginState
from longshore.processor import ProcessorContext
from longshore.settings import LoadedSettings, Settings, WorkerConfig, load_settings
from longshore.task import RetryPolicy, TaskOptions

_FIELDS = {"asyncio": "async_workers", "threads": "thread_workers", "processes": "process_workers"}


@dataclass(frozen=True, slots=True)
class Limit:
    """How many inputs may fail before the run stops."""

    failures: float

    @classmethod
    def parse(cls, text: str, inputs: int) -> Self:
        """Return the limit that "10" or "5%" of so many inputs means."""
        number = text.strip().removesuffix("%")
        try:
            value = float(number) if text.strip().endswith("%") else int(number)
        except ValueError:
            value = 0
        if not value > 0 or (text.strip().endswith("%") and value > 100):
            raise UsageError(f"--max-failures {text}: give a number above 0, or a part such as 5%")
        return cls(value * inputs / 100 if text.strip().endswith("%") else value)


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a run is recorded."""

    journal: CommandJournal
    asked: bool
    """Whether somebody asked for it: else a run goes without where the journal can't be opened."""
    option: str = ""
    """What the command that goes on with the run has to be told of the journal's place."""
    resume: str | None = None
    """The recorded run to go on with."""
    failed: bool = False
    """Whether what failed in it is to be run again."""


@dataclass(frozen=True, slots=True)
class Job:
    """All that a run needs."""

    name: str
    paths: Sequence[str]
    pipeline: PreparedPipeline
    settings: Settings
    loaded: LoadedSettings
    """The settings as they were before the command line changed them."""
    host: PluginHost
    progress: Progress
    limit: Limit | None = None
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Names from stdin that are no files, and why; the last of `paths`."""
    grace_s: float | None = None
    """How long what runs may go on after the first signal; None: as the signal says."""
    keeping: Keeping | None = None
    """None where nothing is recorded."""
    forecast: Forecast = field(default_factory=Forecast)
    """How long the inputs will likely take."""
    objects: Mapping[str, ObjectFacts] = field(default_factory=dict)
    """What the stores say of those of `paths` that are URLs."""

    @property
    def usable(self) -> Sequence[str]:
        """The inputs there is something to be done with."""
        return self.paths[: len(self.paths) - len(self.unusable)]

    def documents(self) -> Iterator[ProcessorContext]:
        """Yield each usable input as a document."""
        return (ProcessorContext(document_id=path, file_path=path) for path in self.usable)

    def expected_s(self) -> Mapping[str, Mapping[str, float]]:
        """Return how long the stages of usable inputs will likely take, in seconds by input and stage."""
        seconds = self.forecast.seconds
        return {path: seconds[path] for path in self.usable if path in seconds}

    def without(self, names: Collection[str]) -> Job:
        """Return the job without these inputs."""
        unusable = {name: reason for name, reason in self.unusable.items() if name not in names}
        return replace(self, paths=[path for path in self.paths if path not in names], unusable=unusable)


def make_job(target: str, paths: Sequence[str], options: RunOptions, loaded: LoadedSettings | None = None) -> Job:
    """Return the job, of settings read from their sources unless they are given.

    UsageError, SettingsError or PluginError say what cannot be meant or is not there.
    """
    own = _own(options)
    limit = None if options.max_failures is None else Limit.parse(options.max_failures, len(paths))
    import_from_here()
    loaded = loaded or load_settings(overrides=options.set_)
    for warning in loaded.warnings:
        say(f"note: {warning}")
    host = PluginHost(loaded.settings.plugins)
    if ":" in target:
        pipeline = PreparedPipeline(
            name=target, steps=[Step(name=target, function=load_function(target), takes="path")]
        )
    else:
        processors, default_s = Processors(loaded.settings, host), loaded.settings.workers.default_timeout
        pipeline = prepare(load_pipeline(target, loaded, host), processors, default_s)
    call = _fetching if any(map(is_url, paths)) else _json_call
    steps = [struct_replace(step, options={**step.options, **own}, function=call(step)) for step in pipeline.steps]
    changed: dict[str, Any] = {  # Any: as the settings
        "executor": loaded.settings.executor or "processes",
        "sinks": _sinks(loaded, host, options.sinks, options.progress),
    }
    if options.profile:
        changed["profile"] = True
    if options.workers is not None:
        executors = {step.executor(changed["executor"]) for step in steps}
        changed["workers"] = _more(loaded.settings.workers, options.workers, executors)
    settings = loaded.settings.model_copy(update=changed)
    if settings.profile:
        _check_profiler()
    _refuse_what_cannot_start(settings, steps)
    prepared = struct_replace(pipeline, steps=steps)
    return Job(target, paths, prepared, settings, loaded, host, options.progress, limit, grace_s=options.grace)


def _json_call(step: Step) -> Function:
    """Return the step's function, which fails where its result is to be written and is not JSON."""
    if not step.final or isinstance(step.function, ProcessorCall):  # a processor's data are JSON by contract
        return step.function
    return (JsonCoroutine if step.coroutine else JsonCall)(step.function, name_of(step.function))


def _fetching(step: Step) -> Function:
    """Return the step's function, which is given files for objects; processors see to that themselves."""
    function = _json_call(step)
    if isinstance(function, ProcessorCall):
        return function
    return (FetchingCoroutine if step.coroutine else FetchingCall)(function, name_of(function))


def _refuse_what_cannot_start(settings: Settings, steps: Sequence[Step]) -> None:
    """Raise what the pool would raise for a plugin, or for a step that cannot run where it is to run."""
    from longshore._parts import Parts  # as the pool, whose parts these are: for a run only

    parts = Parts(settings, settings.workers)
    named = {"sinks": settings.sinks, "hooks": settings.hooks}
    if "probes" in settings.model_fields_set:  # those that nobody asked for may be missing
        named["probes"] = settings.probes
    if settings.journal:
        named["journals"] = (settings.journal,)
    for kind, names in named.items():
        for name in names:
            parts.plugins.load(kind, name)
    for step in steps:
        where = step.executor(str(settings.executor))
        executor = InlineExecutor() if where == "inline" else parts.executor(where)
        if settings.hooks and "executor" not in step.options:
            continue  # a hook may route it elsewhere
        options = merged(TaskOptions(), {"name": step.name, **step.options})
        try:
            parts.workers(where)
            make_spec(step.function, options, where, executor.capabilities, default_timeout_s=1.0)
        except ValueError as error:
            raise UsageError(str(error)) from error


def _check_profiler() -> None:
    try:
        check_profiler()
    except ValueError as error:
        raise UsageError(str(error)) from error


def _own(options: RunOptions) -> dict[str, Any]:  # Any: the pool's options
    """Return what the command line says of each task."""
    if options.workers is not None and options.workers < 1:
        raise UsageError(f"--workers {options.workers}: at least one is needed")
    if options.timeout is not None and not options.timeout > 0:
        raise UsageError(f"--timeout {options.timeout:g}: it is seconds, and more than 0")
    if options.grace is not None and not 0 <= options.grace < math.inf:
        raise UsageError(f"--grace {options.grace:g}: it is seconds, and not less than 0")
    soft_s = options.soft_timeout
    if soft_s is not None and not 0 < soft_s < (options.timeout or math.inf):
        raise UsageError(f"--soft-timeout {soft_s:g}: it is seconds, more than 0 and less than --timeout")
    if options.retries is not None and options.retries < 0:
        raise UsageError(f"--retries {options.retries}: it cannot be less than 0")
    retry = None if options.retries is None else RetryPolicy(attempts=options.retries + 1)
    given = {"executor": options.executor, "timeout": options.timeout, "soft_timeout": soft_s, "retry": retry}
    return {name: value for name, value in given.items() if value is not None}


def _sinks(loaded: LoadedSettings, host: PluginHost, more: Sequence[str], progress: Progress) -> tuple[str, ...]:
    """Return which sinks are told: those of the settings and of the command line, and the terminal.

    The terminal's goes only where a list of sinks, or its own table, leaves it out and no view is asked for.
    """
    names = dict.fromkeys(loaded.settings.sinks)
    left_out = loaded.is_list("sinks") or "rich" in loaded.settings.tables("sinks")
    if progress == "none":
        names.pop("rich", None)
    elif "rich" not in names and not (left_out and progress == "auto"):
        states = [c.state for c in host.candidates("sinks") if c.name == "rich"]
        if any(state in (PluginState.AVAILABLE, PluginState.LOADED) for state in states):
            names["rich"] = None
        else:
            say("note: no progress is shown: the sink rich is not installed or not usable: pip install longshore-rich")
    return tuple(dict.fromkeys((*names, *more)))


def _more(config: WorkerConfig, workers: int, executors: set[str]) -> WorkerConfig:
    """Return the configuration with so many workers in each executor that is used."""
    counts = {_FIELDS[name]: workers for name in executors if name in _FIELDS}
    at_once = max(config.max_concurrent_tasks, workers * len(executors))
    return config.model_copy(update={**counts, "max_concurrent_tasks": at_once})
