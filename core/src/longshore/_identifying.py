"""What is recorded of a spec, and what makes its calls the same work in another run. Used by the pool's journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any

from longshore._calling import NamedCall
from longshore._carrying import BAGGAGE, plain
from longshore._identity import CallIdentity, NoIdentity, code_digest
from longshore._processing import ProcessorCall
from longshore._runtime.recalling import Way
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
            code=code_digest(_called(spec)),
            executor=spec.executor,
            processor=spec.processor,
            parent=spec.parent,
            group=spec.group,
            at_most_once=spec.on_crash == "unknown",
        )

    def of(self, spec: TaskSpec) -> Way | None:
        """Return what identifies the calls of a spec; None where its function can't be told from others."""
        function = _called(spec)
        try:
            calls = CallIdentity(function, spec.version)
        except NoIdentity:
            return None

        def identify(args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> str | None:  # Any: the user's
            named = {name: value for name, value in kwargs.items() if name != BAGGAGE} if kwargs else None
            try:
                return calls.key(args, named)
            except NoIdentity:
                return None

        # A function that is known by its name has nothing in it but its code, which its kind tells.
        return Way(
            identify,
            plainly=isinstance(function, FunctionType | BuiltinFunctionType) and "<" not in function.__qualname__,
        )


def function_name(spec: TaskSpec) -> str:
    """Return the qualified name of what a spec calls."""
    function = _called(spec)
    if isinstance(function, ProcessorCall):
        return f"processor {function.name}"
    return f"{getattr(function, '__module__', None)}.{name_of(function)}"


def _called(spec: TaskSpec) -> Callable[..., Any]:  # Any: the user's function
    function = plain(spec.function)
    return function.function if isinstance(function, NamedCall) else function
