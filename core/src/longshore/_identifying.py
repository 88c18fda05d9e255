"""What is recorded of a spec, and what makes its calls the same work in another run.

Used by the pool's journal. Arguments that are plain values say what they are; a function says so by its name, as far
as the user answers for its code by a version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from types import BuiltinFunctionType, FunctionType
from typing import Any

from longshore._calling import NamedCall
from longshore._carrying import BAGGAGE, plain
from longshore._processing import ProcessorCall
from longshore._runtime.recalling import PLAIN, Way
from longshore._runtime.specs import name_of
from longshore.records import TaskKind
from longshore.task import TaskSpec


class Identifying:
    """Keeps the contract `Identities`."""

    def kind(self, spec: TaskSpec) -> TaskKind:
        """Return what is recorded of a spec."""
        return TaskKind(
            name=spec.name,
            function=function_name(spec),
            version=spec.version,
            executor=spec.executor,
            processor=spec.processor,
            parent=spec.parent,
            group=spec.group,
            at_most_once=spec.on_crash == "unknown",
        )

    def of(self, spec: TaskSpec) -> Way | None:
        """Return what identifies the calls of a spec; None where nobody says that the function is the same."""
        function = _called(spec)
        if spec.version is None or not isinstance(function, FunctionType | BuiltinFunctionType):
            return None
        if "<" in function.__qualname__ or getattr(function, "__closure__", None):
            return None  # its name is not its own, or there is more in it than its code
        return Way(_identity, plainly=True)


def function_name(spec: TaskSpec) -> str:
    """Return the qualified name of what a spec calls."""
    function = _called(spec)
    if isinstance(function, ProcessorCall):
        return f"processor {function.name}"
    return f"{getattr(function, '__module__', None)}.{name_of(function)}"


def _called(spec: TaskSpec) -> Callable[..., Any]:  # Any: the user's function
    function = plain(spec.function)
    return function.function if isinstance(function, NamedCall) else function


def _identity(args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> str | None:  # Any: the user's arguments
    named = sorted((name, value) for name, value in kwargs.items() if name != BAGGAGE) if kwargs else []
    if not PLAIN.issuperset(map(type, args)) or not PLAIN.issuperset(type(value) for _, value in named):
        return None
    return blake2b(repr((args, named)).encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
