"""What is called in place of the user's function, as it travels to workers. Light: a worker imports it.

`submit_task` makes a call that goes by a processor's name, and the command one whose result is JSON or a failure.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from msgspec.structs import replace

from longshore.errors import PayloadError, TaskFailed
from longshore.processor import ProcessorResult

BY_IDENTITY = (FunctionType, MethodType, BuiltinFunctionType)
"""Kinds of callables that are equal only if they are the same; others may be equal and yet different."""


def succeeded(name: str, result: ProcessorResult) -> ProcessorResult:
    """Return a processor's completed result; raise TaskFailed for a failed one, with its data among the facts.

    A status may be an Enum's member and in any case; ValueError for one that is neither "completed" nor "failed".
    """
    if result.status == "completed":
        return result
    word = str(getattr(result.status, "value", result.status)).lower()
    if word == "completed":
        return replace(result, status="completed")
    if word != "failed":
        raise ValueError(
            f'processor {name} returned the status {result.status!r}, which is neither "completed" nor "failed"'
        )
    raise TaskFailed(
        "; ".join(result.errors) or f"processor {name} returned status failed",
        processor=name,
        reason=result.metadata.get("reason"),
        errors=list(result.errors),
        data=dict(result.data),
        metadata=dict(result.metadata),
    )


class NamedCall:
    """A function with the name of a processor; a result with status "failed" is raised as TaskFailed."""

    __slots__ = ("function", "name")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:  # Any: the user's function
        """Call `function` under `name`."""
        self.name = name
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:  # Any: as pickle has it
        """Travel by the function."""
        return type(self), (self.name, self.function)

    def __eq__(self, other: object) -> bool:
        """Equal one that calls the same function under the same name."""
        return isinstance(other, NamedCall) and self._identity() == other._identity()

    def __hash__(self) -> int:
        """Return the hash that goes with being equal."""
        return hash(self._identity())

    def __longshore_identity__(self) -> tuple[str, object]:
        """Be told apart by the function and the name."""
        return self.name, self.function

    def _identity(self) -> tuple[str, object]:
        function = self.function
        return self.name, function if isinstance(function, BY_IDENTITY) else id(function)

    def __call__(self, context: Any) -> Any:  # Any: the user's own
        """Call the function with the context."""
        return self._unpacked(self.function(context))

    def _unpacked(self, result: Any) -> Any:  # Any: the user's own
        return succeeded(self.name, result) if isinstance(result, ProcessorResult) else result


class NamedCoroutine(NamedCall):
    """The same of a function that gives a coroutine."""

    __slots__ = ()

    async def __call__(self, context: Any) -> Any:  # Any: the user's own
        """Call the function with the context, and await what it gives."""
        return self._unpacked(await self.function(context))


def json_text(value: Any, *, sort_keys: bool = False) -> str:  # Any: unchecked
    """Return the value as JSON; raises what `json.dumps` does."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=sort_keys)


def result_json(result: Any) -> str:  # Any: the user's result
    """Return the result as JSON, its keys sorted so that it is the same every time; PayloadError if it is none."""
    try:
        try:
            return json_text(result, sort_keys=True)
        except TypeError:  # keys of several types have no order
            return json_text(result)
    except Exception as error:
        raise PayloadError(
            f"the result is not JSON: {error}; return dicts, lists, text, numbers, True, False or None"
        ) from error


class JsonCall:
    """A function whose result is to be JSON: PayloadError where it is not, so that the task fails where it ran."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:  # Any: the user's function
        """Call `function`, and go by its `name`."""
        self.function = function
        self.__qualname__ = name

    def __longshore_identity__(self) -> object:
        """Be told apart by the function."""
        return self.function

    def __call__(self, *args: Any) -> Any:  # Any: the user's own
        """Call the function."""
        return self._checked(self.function(*args))

    def _checked(self, result: Any) -> Any:  # Any: the user's own
        result_json(result.data if isinstance(result, ProcessorResult) else result)
        return result


class JsonCoroutine(JsonCall):
    """The same of a function that gives a coroutine."""

    async def __call__(self, *args: Any) -> Any:  # Any: the user's own
        """Call the function, and await what it gives."""
        return self._checked(await self.function(*args))
