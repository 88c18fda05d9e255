"""What of its submitter's context a task sees: all of it in this process, what was chosen in others.

A task in a thread or an asyncio task of its own runs in a copy of the context of whoever submitted it, or opened its
stream. Context variables can't be pickled, so to a worker process go the values of those that the option `context`
names, each by the module that holds it, and where OpenTelemetry is in use its trace context.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextvars import Context, ContextVar, copy_context
from functools import lru_cache
from importlib import import_module
from typing import Any

from msgspec.structs import replace

from longshore._profiling import Profiled
from longshore.shared import opened_partial
from longshore.task import TaskSpec

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

    __slots__ = ("_variables", "baggage", "function")

    def __init__(
        self,
        function: Callable[..., Any],  # Any: the user's function
        variables: Iterable[tuple[Place, ContextVar[Any]]] = (),
        baggage: Baggage | None = None,
    ) -> None:
        """Call `function`; `variables` are those whose values are to be carried."""
        self.function = function
        self._variables = tuple(variables)
        self.baggage = baggage

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel without the variables themselves."""
        return CarriedCall, (self.function, (), self.baggage)

    def packed(self) -> Baggage:
        """Return what is to be carried from the context of the caller."""
        values = [(place, variable.get(_UNSET)) for place, variable in self._variables]
        return tuple((place, value) for place, value in values if value is not _UNSET), _trace()

    def bound(self) -> CarriedCall:
        """Return the same for calls that all carry what is to be carried from the context of the caller."""
        return CarriedCall(self.function, self._variables, self.packed())

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:  # Any: the user's arguments and result
        """Call the function in a copy of the worker's context, with what was carried."""
        baggage = self.baggage if self.baggage is not None else kwargs.pop(BAGGAGE)
        return copy_context().run(_call, baggage, self.function, args, kwargs)


def _call(baggage: Baggage, function: Any, args: Any, kwargs: Any) -> Any:  # Any: as above
    values, trace = baggage
    for (module, name), value in values:
        getattr(import_module(module), name).set(value)
    if trace is not None:
        _attach(trace)
    return opened_partial(function)(*args, **kwargs)


def _trace() -> dict[str, str] | None:
    """Return the headers of the trace that the caller is in; None outside of one, and where nobody traces."""
    if not is_tracing():
        return None
    from opentelemetry.propagate import inject

    headers: dict[str, str] = {}
    inject(headers)
    return headers or None


def _attach(headers: dict[str, str]) -> None:
    """Be in this trace until the context is left; where OpenTelemetry is not installed, in none."""
    try:
        from opentelemetry.context import attach
        from opentelemetry.propagate import extract
    except ImportError:
        return
    attach(extract(headers))


def carrying(function: Callable[..., Any], variables: Iterable[ContextVar[Any]]) -> Callable[..., Any]:
    """Return what is called in another process in place of `function`; itself where nothing is to be carried.

    ValueError for a variable that no module holds. Any: the user's function.
    """
    found = [(place_of(variable), variable) for variable in variables]
    return CarriedCall(function, found) if found or is_tracing() else function


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
    """Return the function itself, whatever carries its context or profiles it."""
    function = function.function if isinstance(function, CarriedCall) else function
    return function.function if isinstance(function, Profiled) else function


def in_this_context(spec: TaskSpec) -> TaskSpec:
    """Return a stream's spec with the context of the caller for all its tasks."""
    if isinstance(spec.function, CarriedCall):
        return replace(spec, function=spec.function.bound())
    _, context = one_call(spec, None)
    return spec if context is None else replace(spec, context=context)


def one_call(
    spec: TaskSpec,
    kwargs: dict[str, Any] | None,  # Any: the user's arguments
) -> tuple[dict[str, Any] | None, Context | None]:
    """Return the keyword arguments and the context of one task, submitted by the caller."""
    if spec.carries:
        context = copy_context()
        return kwargs, context if len(context) else None  # where nothing is set, tasks are to pay nothing
    if isinstance(spec.function, CarriedCall) and spec.function.baggage is None:
        return {**(kwargs or {}), BAGGAGE: spec.function.packed()}, None
    return kwargs, None


__all__ = ["CarriedCall", "carrying", "in_this_context", "is_tracing", "one_call", "place_of", "plain"]
