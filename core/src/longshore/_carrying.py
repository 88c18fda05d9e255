"""What of its submitter's context a task sees: all of it in this process, what was chosen in others.

A task in a thread or an asyncio task of its own runs in a copy of the context of whoever submitted it, or opened its
stream. Context variables can't be pickled, so to a worker process go the values of those that the option `context`
names, each by the module that holds it, and where OpenTelemetry is in use its trace context.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterable
from contextvars import Context, ContextVar, copy_context
from functools import lru_cache
from importlib import import_module
from typing import Any

from msgspec.structs import replace

from longshore._profiling import Profiled
from longshore.records import SpanPlace, SpanRules, TaskSpans
from longshore.shared import opened_partial
from longshore.task import TaskSpec
from longshore.worker import running_task

_UNSET: Any = object()  # Any: stands in for a value of any type
BAGGAGE = "longshore: baggage"  # no name that a parameter could have
_TRACING = "opentelemetry.trace"  # the module that whoever makes spans has imported

Place = tuple[str, str]
"""Where a context variable is to be found: the name of a module, and its name there."""
Baggage = tuple[tuple[tuple[Place, Any], ...], dict[str, str] | None]  # Any: the values of context variables
"""What travels: values by place, and the headers of the trace."""


def is_tracing() -> bool:
    """Tell whether anything of this process may make spans; never imports OpenTelemetry."""
    return _TRACING in sys.modules


class CarriedCall:
    """A function that is called, in another process, in a context with what was carried there.

    Without `baggage` of its own, which it has for a stream, each call brings that among its keyword arguments.
    """

    __slots__ = ("_variables", "baggage", "function", "spans")

    def __init__(
        self,
        function: Callable[..., Any],  # Any: the user's function
        variables: Iterable[tuple[Place, ContextVar[Any]]] = (),
        baggage: Baggage | None = None,
        spans: TaskSpans | None = None,
    ) -> None:
        """Call `function`; `variables` are those whose values are to be carried. With `spans`, in the task's span."""
        self.function = function
        self.spans = spans
        self._variables = tuple(variables)
        self.baggage = baggage

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel without the variables themselves."""
        return CarriedCall, (self.function, (), self.baggage, self.spans)

    def packed(self) -> Baggage:
        """Return what is to be carried from the context of the caller."""
        values = [(place, variable.get(_UNSET)) for place, variable in self._variables]
        return tuple((place, value) for place, value in values if value is not _UNSET), _trace()

    def bound(self) -> CarriedCall:
        """Return the same for calls that all carry what is to be carried from the context of the caller."""
        return CarriedCall(self.function, self._variables, self.packed(), self.spans)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:  # Any: the user's arguments and result
        """Call the function in a copy of the worker's context, with what was carried."""
        baggage = self.baggage if self.baggage is not None else kwargs.pop(BAGGAGE)
        return copy_context().run(self._call, baggage, args, kwargs)

    def _call(self, baggage: Baggage, args: Any, kwargs: Any) -> Any:  # Any: as above
        values, trace = baggage
        for (module, name), value in values:
            getattr(import_module(module), name).set(value)
        if trace is not None:
            _attach(trace)
        if self.spans is not None:
            _enter(self.spans)
        return opened_partial(self.function)(*args, **kwargs)


class TracedCall:
    """A function that is called, in this process, in its task's span."""

    __slots__ = ("_spans", "function")

    def __init__(self, function: Callable[..., Any], spans: TaskSpans) -> None:  # Any: the user's function
        """Call `function`."""
        self.function = function
        self._spans = spans

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:  # Any: the user's arguments and result
        """Call the function."""
        leave = _enter(self._spans)
        try:
            return self.function(*args, **kwargs)
        finally:
            leave()


class TracedCoroutine(TracedCall):
    """A coroutine function that is awaited, in this process, in its task's span."""

    __slots__ = ()

    async def __call__(self, /, *args: Any, **kwargs: Any) -> Any:  # Any: as above
        """Await what the function gives."""
        leave = _enter(self._spans)
        try:
            return await self.function(*args, **kwargs)
        finally:
            leave()


def _trace() -> dict[str, str] | None:
    """Return the headers of the trace that the caller is in; None outside of one, and where nobody traces."""
    if not is_tracing():
        return None
    from opentelemetry.propagate import inject

    headers: dict[str, str] = {}
    inject(headers)
    return headers or None


def _enter(spans: TaskSpans) -> Callable[[], None]:
    """Be in the running task's span, until what is returned is called; where OpenTelemetry is not installed, in none.

    Whose trace that is says the span that is current: the submitter's, as it came with the context.
    """
    task = running_task()
    try:
        from opentelemetry.context import attach, detach
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span, set_span_in_context
    except ImportError:
        return _nothing
    if task is None:
        return _nothing
    outer = get_current_span().get_span_context()
    submitter = SpanPlace(outer.trace_id, outer.span_id, outer.trace_flags.sampled) if outer.is_valid else None
    own = spans.of(task.task_id, submitter)
    state = outer.trace_state if submitter is not None else None
    span = NonRecordingSpan(SpanContext(own.trace_id, own.span_id, True, TraceFlags(own.sampled), state))
    token = attach(set_span_in_context(span))
    return lambda: detach(token)


def _nothing() -> None:
    """There is nothing to leave."""


def traceparent() -> str | None:
    """Return the span that the caller is in; None outside of one, and where nobody traces."""
    place = _here()
    return place.traceparent if place is not None else None


def _here() -> SpanPlace | None:
    if not is_tracing():
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return SpanPlace(context.trace_id, context.span_id, context.trace_flags.sampled) if context.is_valid else None


def task_spans(sinks: Iterable[object]) -> TaskSpans | None:
    """Return where the spans of a run are, by the rules of the first sink that makes them; None where none does."""
    rules = [rules for rules in (getattr(sink, "span_rules", None) for sink in sinks) if isinstance(rules, SpanRules)]
    return TaskSpans.begin(rules[0], _here(), secrets.token_bytes(24)) if rules else None


def _attach(headers: dict[str, str]) -> None:
    """Be in this trace until the context is left; where OpenTelemetry is not installed, in none."""
    try:
        from opentelemetry.context import attach
        from opentelemetry.propagate import extract
    except ImportError:
        return
    attach(extract(headers))


def carrying(
    function: Callable[..., Any], variables: Iterable[ContextVar[Any]], spans: TaskSpans | None = None
) -> Callable[..., Any]:
    """Return what is called in another process in place of `function`; itself where nothing is to be carried.

    ValueError for a variable that no module holds. Any: the user's function.
    """
    found = [(place_of(variable), variable) for variable in variables]
    return CarriedCall(function, found, None, spans) if found or spans or is_tracing() else function


@lru_cache(256)
def place_of(variable: ContextVar[Any]) -> Place:  # Any: of whatever type it is
    """Return where other processes find a context variable; ValueError for one that they can't."""
    held = [
        (module_name, name)
        for module_name, module in list(sys.modules.items())
        for name, value in list(getattr(module, "__dict__", {}).items())
        if value is variable
    ]
    held = [place for place in held if place[0] != "__main__"]
    if not held:
        raise ValueError(
            f"the context variable {variable.name!r} cannot be carried to another process: it must be a global of a "
            "module that can be imported there, which the script itself is not"
        )
    return held[0]


def plain(function: Callable[..., Any]) -> Callable[..., Any]:  # Any: the user's function
    """Return the function itself, whatever carries its context, has a span for it, or profiles it."""
    function = function.function if isinstance(function, CarriedCall | TracedCall) else function
    return function.function if isinstance(function, Profiled) else function


def in_this_context(spec: TaskSpec) -> TaskSpec:
    """Return a stream's spec with the context of the caller for all its tasks."""
    if isinstance(spec.function, CarriedCall):
        return replace(spec, function=spec.function.bound(), traceparent=traceparent())
    _, context, trace = one_call(spec, None)
    return spec if context is None and trace is None else replace(spec, context=context, traceparent=trace)


def one_call(
    spec: TaskSpec,
    kwargs: dict[str, Any] | None,  # Any: the user's arguments
) -> tuple[dict[str, Any] | None, Context | None, str | None]:
    """Return the keyword arguments, the context and the traceparent of one task, submitted by the caller."""
    trace = traceparent() if _TRACING in sys.modules else None
    if spec.carries:
        context = copy_context()
        return kwargs, context if len(context) else None, trace  # where nothing is set, tasks are to pay nothing
    if isinstance(spec.function, CarriedCall) and spec.function.baggage is None:
        return {**(kwargs or {}), BAGGAGE: spec.function.packed()}, None, trace
    return kwargs, None, trace


__all__ = [
    "CarriedCall",
    "TracedCall",
    "TracedCoroutine",
    "carrying",
    "in_this_context",
    "is_tracing",
    "one_call",
    "place_of",
    "plain",
    "task_spans",
    "traceparent",
]
