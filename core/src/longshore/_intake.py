"""The way in: from a call and its options to a task in the queue. Made by the pool with each start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from longshore._calling import BY_IDENTITY, NamedCall
from longshore._carrying import is_tracing, plain
from longshore._engine.messages import Remembered
from longshore._inputs import examine, veto, vetoed
from longshore._processing import ProcessorCall
from longshore._processors import Processors
from longshore._profiles import Profiles
from longshore._runtime.driver import Driver
from longshore._runtime.executors import Executors
from longshore._runtime.handles import Handle, HandleTable
from longshore._runtime.recalling import Recalling
from longshore._runtime.specs import is_coroutine_function, make_spec, merged, name_of, task_ids
from longshore.errors import ResourceUnavailable
from longshore.plugins import HookCaller
from longshore.records import RunSnapshot, TaskSpans
from longshore.task import Attempt, CircuitBreaker, Outcome, Task, TaskOptions, TaskSpec

_log = logging.getLogger("longshore.pool")
_COMPARED_BY_IDENTITY = (*BY_IDENTITY, NamedCall)
_SPECS_MOST = 256  # specs of single submissions that are kept for their next use


class Defaults(NamedTuple):
    """What holds for tasks that say nothing else."""

    executor: str | None
    timeout_s: float
    soft_timeout_s: float | None
    breaker: CircuitBreaker | None
    memory_limit_mb: float
    profile: bool
    memory_limit_asked: bool
    """Whether that limit is no default: where an executor takes it for advice, that is logged."""


class Intake:
    """Routes, checks and accepts what is submitted to one started pool; for its loop's thread."""

    def __init__(
        self,
        driver: Driver,
        executors: Executors,
        hooks: HookCaller,
        snapshot: Callable[[], RunSnapshot],
        processors: Processors,
        *,
        token: str,
        defaults: Defaults,
        profiles: Profiles,
        recalling: Recalling | None = None,
        spans: TaskSpans | None = None,
    ) -> None:
        """Take what the pool is made of; `token` begins the ids of its tasks, `spans` tells where their spans are."""
        self.driver = driver
        self.recalling = recalling
        self.processors = processors
        self.profiles = profiles
        self.loop = asyncio.get_running_loop()
        self.token = token
        self.ids: Iterator[str] = task_ids(token)
        self._executors = executors
        self._hooks = hooks
        self._snapshot = snapshot
        self._defaults = defaults
        self._spans = spans
        self._advised: set[str] = set()
        self._specs: dict[tuple[object, TaskOptions], TaskSpec] = {}  # each keeps its function, whose id may be the key
        self._last: tuple[object, object, TaskSpec | None] = (None, None, None)  # a function, options, and their spec
        self._traced = is_tracing()
        self._handles = driver.others = HandleTable()
        self._tasks: dict[str, Task] = {}  # kept only while a hook wants to be told of settled tasks

    def shared_spec(self, function: Any, options: TaskOptions) -> TaskSpec:  # Any: the user's function
        """Return the spec for single submissions, the same for the same function and options."""
        self.driver.check()
        of, under, spec = self._last
        if spec is not None and of is function and under is options and self._is_good(spec):
            return spec
        if self._hooks.route_wanted:  # asked for each task: the answer may change
            options = merged(options, {"executor": self._route(function, options)})
        # Objects that can be called may be equal and yet different; of a method there is a new object each time.
        memo = (function if isinstance(function, _COMPARED_BY_IDENTITY) else id(function), options)
        try:
            spec = self._specs.get(memo)
        except TypeError:  # a function or an option that has no hash
            return self.new_spec(function, options)
        if spec is not None and not (spec.carries or self._traced) and is_tracing():
            self._traced, spec = True, None  # it would leave the trace behind, and so would others
            self._specs.clear()
        if spec is None:
            spec = self.new_spec(function, options)
            if isinstance(function, partial) and plain(spec.function) is not function:
                return spec  # nothing would keep the function, and its id may become another's
            if len(self._specs) >= _SPECS_MOST:
                self._specs.clear()
            self._specs[memo] = spec
        self._last = function, options, spec
        return spec

    def _is_good(self, spec: TaskSpec) -> bool:
        """Tell whether a spec that was right for the last task is so for the next."""
        return not self._hooks.route_wanted and (spec.carries or self._traced or not is_tracing())

    def new_spec(self, function: Any, options: TaskOptions) -> TaskSpec:  # Any: the user's function
        """Return a spec; what can never work is refused: ValueError, PayloadError, PluginError, ResourceUnavailable."""
        self.driver.check()
        name = self._route(function, options)
        limit = options.concurrent_limit
        if limit is not None and limit >= self.driver.engine.config.max_concurrent_tasks:
            options = merged(options, {"concurrent_limit": None})  # it never binds, and what is counted costs more
        capabilities = self._executors.get(name).capabilities
        if self._defaults.memory_limit_asked and not capabilities.limits_memory:
            self._advise(name)
        profile = self._defaults.profile if options.profile is None else options.profile
        spec = make_spec(
            function,
            options,
            name,
            capabilities,
            default_timeout_s=self._defaults.timeout_s,
            default_soft_timeout_s=self._defaults.soft_timeout_s,
            default_breaker=self._defaults.breaker,
            memory_limit_mb=self._defaults.memory_limit_mb,
            profiles=self.profiles.folder() if profile else None,
            spans=self._spans,
        )
        never = self.driver.engine.never_fits(spec.resources, name)
        if never is not None:
            short = self.driver.engine.shortage(spec.resources, name)
            facts = short._asdict() if short is not None else {}
            raise ResourceUnavailable(
                f"{spec.name} asks for more than there can ever be: {never}", reason=never, **facts
            )
        return spec

    def _advise(self, executor: str) -> None:
        """Say once that an executor holds nobody to the limit of memory."""
        if executor not in self._advised:
            self._advised.add(executor)
            _log.warning(
                "executor %s takes workers.task_memory_limit_mb (%g) for advice: nobody can tell or take back what a "
                "task uses there; tasks that are to be held to it belong on executor 'processes', on Linux",
                executor,
                self._defaults.memory_limit_mb,
            )

    def prepare(self, executor: str) -> None:
        """See to it that an executor that a spec names is there; PluginError if it can't be."""
        self._executors.get(executor)

    def stays(self, spec: TaskSpec) -> bool:
        """Tell whether the tasks of a spec run in this process, so that what is shared is the object itself."""
        return not self._executors.get(spec.executor).capabilities.pickles

    def in_columns(self, spec: TaskSpec) -> bool:
        """Tell whether the executor of a spec's tasks reads attempts in columns."""
        return self._executors.get(spec.executor).capabilities.columns

    def knows(self, task_id: str) -> bool:
        """Tell whether a task that was submitted by itself has not ended, though the engine may not have it yet."""
        return task_id in self._handles

    def accept(
        self,
        task: Attempt,
        handle: Handle[Any] | None = None,  # Any: the user's result
        *,
        hurry: bool = False,
        key: str | None = None,
        recorded: bool = False,
    ) -> Handle[Any]:
        """Queue a task for which there is room, under its `handle` if it has one; PluginError if a hook refuses it.

        With `recorded` one that a hook refuses is accepted, and ends at once as failed. `hurry` is as in
        `Driver.submit`. Where there is a journal, `key` says which work it is, else its arguments do; what is recorded
        of that is its outcome then.
        """
        reason = self._admit(task) if self._hooks.admit_wanted or self._hooks.settled_wanted else None
        if reason is not None and not recorded:
            raise veto(task.spec, reason)
        end = None
        if self.recalling is not None:
            task, end, past = self.recalling.one(task, key, fixed=handle is not None)
            if past is not None:
                self.driver.stimulate(Remembered({task.task_id: past}))
        if end is None and reason is not None:
            end = vetoed(task, reason)
        handle = handle or Handle(task.task_id, self.driver)
        self._handles.add(handle)
        if end is None and task.spec.processor is not None:
            end = examine(task)
        if end is None:
            self.driver.submit(task.spec, (task,), hurry=hurry)
        else:
            self.driver.dismiss((task,), (end,))
        return handle

    @property
    def admit(self) -> Callable[[Task], str | None] | None:
        """How the hooks are asked about a task; None where none wants to be asked or told."""
        return self._admit if self._hooks.admit_wanted or self._hooks.settled_wanted else None

    def examiner(self, spec: TaskSpec) -> Callable[[Attempt], Outcome | None] | None:
        """Return what says how a task of a spec ends that may not be run; None where nobody is to be asked."""
        admit, document = self.admit, examine if spec.processor is not None else None
        if admit is None:
            return document

        def look(attempt: Attempt) -> Outcome | None:
            reason = admit(attempt)
            if reason is not None:
                return vetoed(attempt, reason)
            return document(attempt) if document is not None else None

        return look

    def settled(self, outcomes: Sequence[Outcome]) -> None:
        """Tell the hooks that want to know of tasks that reached their end."""
        for outcome in outcomes if self._tasks else ():
            task = self._tasks.pop(outcome.task_id, None)
            if task is not None:
                self._hooks.task_settled(task, outcome)

    def _admit(self, task: Task) -> str | None:
        if self._hooks.admit_wanted:
            reason = self._hooks.admit(task, self._snapshot())
            if reason is not None:
                return reason
        if self._hooks.settled_wanted:
            self._tasks[task.task_id] = task
        return None

    def _route(self, function: Any, options: TaskOptions) -> str:  # Any: the user's function
        """Return the executor: the one named, else a hook's choice, the processor's, settings', or what suits."""
        if options.executor is not None:
            return options.executor
        declared = function.executor if isinstance(function, ProcessorCall) else None
        suits = declared or ("asyncio" if is_coroutine_function(function) else "threads")
        if self._hooks.route_wanted:
            name = options.name or name_of(function)
            spec = TaskSpec(function=function, name=name, executor=suits, priority=options.priority)
            chosen = self._hooks.route(Task("", spec, key=options.key))
            if chosen is not None:
                return chosen
        if declared is not None:
            return declared
        named = self._defaults.executor
        if named is not None and (suits == "threads" or "coroutine" in self._executors.get(named).capabilities.runs):
            return named
        return suits
