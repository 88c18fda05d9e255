"""From a function and options to a spec: where it runs and with which limits; what cannot be honoured is refused."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from itertools import chain, count
from typing import Any

from longshore._calling import NamedCall
from longshore._carrying import TracedCall, TracedCoroutine, carrying
from longshore._packing import message_of
from longshore._processing import ProcessorCall
from longshore._profiling import Profiled, ProfiledCoroutine
from longshore.errors import PayloadError
from longshore.hookspecs import Capabilities
from longshore.records import TaskSpans
from longshore.shared import Shared, opened_partial
from longshore.task import CircuitBreaker, Priority, Resources, RetryPolicy, TaskOptions, TaskSpec
from longshore.worker import running_task


def is_coroutine_function(function: Callable[..., Any]) -> bool:  # Any: the user's function
    """Tell whether calling `function` gives a coroutine: async functions, methods, partials and callable objects."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004 - the method is wanted, not whether there is one
    )


def name_of(function: Callable[..., Any]) -> str:  # Any: the user's function
    """Return the name a function goes by in events and statistics."""
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, ProcessorCall | NamedCall):
        return function.name
    return getattr(function, "__qualname__", type(function).__qualname__)


def check_options(options: TaskOptions) -> None:
    """Raise ValueError for values that can't be meant."""
    for field in ("timeout", "soft_timeout", "deadline", "max_per_second"):
        value = getattr(options, field)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and value > 0):
            raise ValueError(f"{field} must be a number greater than 0, not {value!r}; leave it out for the default")
    if options.timeout is not None and options.soft_timeout is not None and options.soft_timeout >= options.timeout:
        raise ValueError(f"soft_timeout must be less than timeout, {options.timeout:g}, not {options.soft_timeout:g}")
    given: object = options.context  # whatever it is said to be
    if not isinstance(given, tuple) or not all(isinstance(one, ContextVar) for one in given):
        raise ValueError(f"context is a list of context variables, not {given!r}")
    for field, kind in _KINDS.items():
        value = getattr(options, field)
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"{field} must be of the type {kind.__name__}, not {value!r}")
    if options.concurrent_limit is not None and options.concurrent_limit < 1:
        raise ValueError(f"concurrent_limit must be at least 1, not {options.concurrent_limit!r}")
    if not isinstance(options.priority, Priority):
        raise ValueError(f"priority must be one of {', '.join(f'Priority.{p.name}' for p in Priority)}")
    if options.initializer is not None and not callable(options.initializer):
        raise ValueError(f"initializer must be callable, not {options.initializer!r}")
    if options.on_crash not in ("retry", "unknown"):
        raise ValueError(f'on_crash is "retry" or "unknown", not {options.on_crash!r}')
    if options.isolation not in ("task", "shared"):
        raise ValueError(f'isolation is "task" or "shared", not {options.isolation!r}')


_KINDS: Mapping[str, type] = {
    "executor": str,
    "retry": RetryPolicy,
    "breaker": CircuitBreaker,
    "resources": Resources,
    "key": str,
    "profile": bool,
    "name": str,
    "concurrent_limit": int,
    "parent": str,
    "version": str,
    "group": str,
    "rank": int,
}


_KEPT = (
    "priority",
    "resources",
    "max_per_second",
    "concurrent_limit",
    "isolation",
    "parent",
    "group",
    "rank",
    "version",
    "on_crash",
)
"""Options that a spec has under the same name."""


def make_spec(
    function: Callable[..., Any],  # Any: the user's function
    options: TaskOptions,
    executor: str,
    capabilities: Capabilities,
    *,
    default_timeout_s: float,
    default_soft_timeout_s: float | None = None,
    default_breaker: CircuitBreaker | None = None,
    memory_limit_mb: float | None = None,
    profiles: str | None = None,
    spans: TaskSpans | None = None,
) -> TaskSpec:
    """Return the spec of `function` on an executor; ValueError names an option that it cannot honour.

    Who declares more memory than `memory_limit_mb` may take what is declared. Profiles go to the folder `profiles`.
    With `spans` its tasks have spans.
    """
    function = _fitted(function, capabilities)
    name = options.name or name_of(function)
    _check_honoured(function, name, options, executor, capabilities)
    timeout_s = default_timeout_s if options.timeout is None and capabilities.timeout != "none" else options.timeout
    spec = TaskSpec(
        function=_carried(_profiled(function, profiles), options, capabilities, spans),
        name=name,
        executor=executor,
        timeout_s=timeout_s,
        soft_timeout_s=_soft_timeout_s(name, options.soft_timeout, default_soft_timeout_s, timeout_s),
        deadline_s=options.deadline,
        breaker=options.breaker or default_breaker,
        retry=options.retry or RetryPolicy(),
        processor=function.name if isinstance(function, ProcessorCall | NamedCall) else None,
        initializer=_initializer(function, options, capabilities),
        memory_limit_mb=_may_take(memory_limit_mb, options.resources),
        carries=options.isolation == "task" and not capabilities.pickles,
        **{name: getattr(options, name) for name in _KEPT},
    )
    if capabilities.pickles:
        _check_payload(spec)
    return spec


def _initializer(
    function: Callable[..., Any],  # Any: as above
    options: TaskOptions,
    capabilities: Capabilities,
) -> Callable[[], object] | None:
    if options.initializer is None and isinstance(function, ProcessorCall) and capabilities.initializer:
        return function.ready
    return options.initializer


def _profiled(function: Callable[..., Any], folder: str | None) -> Callable[..., Any]:  # Any: as above
    if folder is None:
        return function
    return (ProfiledCoroutine if is_coroutine_function(function) else Profiled)(folder, function)


def _soft_timeout_s(name: str, own_s: float | None, default_s: float | None, timeout_s: float | None) -> float | None:
    """Return after how long a task is overdue; ValueError for one that would have been ended before."""
    soft_s = default_s if own_s is None else own_s
    if soft_s is None or timeout_s is None or soft_s < timeout_s:
        return soft_s
    if own_s is not None:
        raise ValueError(f"{name} is ended after {timeout_s:g} s: its soft_timeout must be less, not {own_s:g}")
    return None


def _carried(
    function: Callable[..., Any],  # Any: the user's function
    options: TaskOptions,
    capabilities: Capabilities,
    spans: TaskSpans | None,
) -> Callable[..., Any]:
    """Return what is called in place of `function`, so that it finds there what is to be there of its context."""
    if capabilities.pickles:
        return carrying(function, options.context, spans)
    if spans is None or options.isolation == "shared":  # which shares its context as well
        return function
    return TracedCoroutine(function, spans) if is_coroutine_function(function) else TracedCall(function, spans)


def _fitted(function: Callable[..., Any], capabilities: Capabilities) -> Callable[..., Any]:  # Any: as above
    """Return what is to be called there: a processor in the form that runs there, a partial with what it shares."""
    if isinstance(function, ProcessorCall):
        return function.fitting("coroutine" in capabilities.runs)
    return opened_partial(function) if Shared.used and not capabilities.pickles else function


def _may_take(memory_limit_mb: float | None, declared: Resources | None) -> float | None:
    if memory_limit_mb is None or declared is None:
        return memory_limit_mb
    return max(memory_limit_mb, *(choice.memory_mb for choice in declared.choices()))


def _check_honoured(
    function: Callable[..., Any],  # Any: the user's function
    name: str,
    options: TaskOptions,
    executor: str,
    capabilities: Capabilities,
) -> None:
    kind = "coroutine" if is_coroutine_function(function) else "function"
    if kind not in capabilities.runs:
        instead = "'asyncio', or leave it out" if kind == "coroutine" else _FOR_PLAIN
        raise ValueError(f"executor {executor!r} cannot run the {kind} {name}: name {instead}")
    for field in ("timeout", "deadline"):
        if getattr(options, field) is not None and capabilities.timeout == "none":
            raise ValueError(
                f"executor {executor!r} cannot end a task that takes too long: leave {field} out for {name}"
            )
    if options.isolation not in capabilities.isolation:
        raise ValueError(f"executor {executor!r} has no isolation={options.isolation!r}, asked for by {name}")
    if options.initializer is not None and not capabilities.initializer:
        raise ValueError(f"executor {executor!r} cannot call an initializer in its workers, asked for by {name}")


_FOR_PLAIN = (
    "'threads' or 'processes', or leave it out; "
    "if it returns a coroutine, submit `async def call(*args): return await f(*args)` in its place"
)


def _check_payload(spec: TaskSpec) -> None:
    """Raise PayloadError if the function can't leave the process."""
    from longshore.pickling import dump_by_value  # only work that leaves the process needs it

    for what, thing in (("function", spec.function), ("initializer", spec.initializer)):
        try:
            dump_by_value(thing)
        except BaseException as error:  # a reducer is user code and may raise anything
            raise PayloadError(
                f"the {what} of {spec.name} cannot be sent to executor {spec.executor!r}: {message_of(error)}; "
                "what it refers to must be picklable, or use executor='threads'"
            ) from error


def merged(options: TaskOptions, changes: Mapping[str, Any]) -> TaskOptions:  # Any: each option's own type
    """Return `options` with changes; TypeError names an unknown one."""
    known = {field: getattr(options, field) for field in TaskOptions.__struct_fields__}
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}; there are {', '.join(known)}")
    if isinstance(changes.get("priority"), int) and changes["priority"] in list(Priority):
        changes = {**changes, "priority": Priority(changes["priority"])}  # its number does as well
    if isinstance(changes.get("context"), list):
        changes = {**changes, "context": tuple(changes["context"])}  # options are keys: they need a hash
    made = TaskOptions(**{**known, **changes})
    check_options(made)
    return made


def from_here(options: TaskOptions) -> TaskOptions:
    """Return the options, with the task that this code runs in for a parent, if it runs in one."""
    task = running_task() if options.parent is None else None
    return options if task is None else merged(options, {"parent": task.task_id})


def task_ids(token: str) -> Iterator[str]:
    """Yield ids that are unique within a pool and, by its token, among pools; quicker than to format each."""
    return chain.from_iterable(map(functools.partial(_block, token), count()))  # no generator: threads may meet in this


def _block(token: str, number: int) -> list[str]:
    prefix = f"{token}-{number:x}"
    return [prefix + digits for digits in _LAST_DIGITS]


_LAST_DIGITS = tuple(f"{number:02x}" for number in range(0x100))
