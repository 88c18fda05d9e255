"""From what an executor is given to call to the spec of its tasks; what may hold anything is not kept for long."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from msgspec.structs import replace

from longshore._carrying import is_tracing
from longshore._importable import travels_by_value
from longshore._intake import Intake
from longshore._runtime.specs import is_coroutine_function, merged, name_of
from longshore.task import TaskOptions, TaskSpec

_MOST = 256


class Known(NamedTuple):
    """A function, options, and the spec of its tasks."""

    function: Callable[..., Any]  # Any: the user's own
    options: TaskOptions
    spec: TaskSpec
    bound: bool
    """Whether it is for a method of whatever object: the method itself is to be the first argument."""
    lasts: bool
    """Whether it holds nothing that a module does not hold anyway."""


class Specs:
    """The specs of one pool, for its loop's thread. A spec holds its function, and a method or closure its objects."""

    def __init__(self, intake: Intake) -> None:
        """Know none."""
        self._intake = intake
        self._kept: dict[tuple[object, int], Known] = {}  # by the function and the id of options that are held
        self._last: Known | None = None
        self._traced = is_tracing()

    def began_to_trace(self) -> bool:
        """Tell whether tracing has begun since this was asked: specs from before would leave the trace behind."""
        if self._traced or not is_tracing():
            return False
        self._traced = True
        self._kept.clear()
        self._last = None
        return True

    def of(self, function: Callable[..., Any], options: TaskOptions) -> Known:  # Any: the user's own
        """Return what is known of a function with these options; raises what `new_spec` does."""
        key = _key(function)
        if key is not None:
            known = self._kept.get((key, id(options)))
            if known is not None:
                return known
            bound = key is not function
            if not bound or _may_be_an_argument(function):
                self._make_room()
                known = self._kept[key, id(options)] = self._new(function, options, bound=bound, lasts=True)
                return known
        last = self._last
        if last is None or last.function is not function or last.options is not options:
            self._last = last = self._new(function, options, bound=False, lasts=False)
        return last

    def _make_room(self) -> None:
        """Let go of functions that their module has let go of, such as those defined anew, and of all if too many."""
        gone = [key for key, known in self._kept.items() if not known.bound and _key(known.function) is None]
        for key in gone:
            del self._kept[key]
        if len(self._kept) >= _MOST:
            self._kept.clear()

    def forget(self) -> None:
        """Let go of what may hold anything: nothing of it is left to be done."""
        self._last = None

    def _new(self, function: Callable[..., Any], options: TaskOptions, *, bound: bool, lasts: bool) -> Known:
        called, said = function, options
        if bound:
            called, said = operator.call, merged(options, {"name": options.name or name_of(function)})
        spec = self._intake.new_spec(called, said)
        if options.timeout is None and spec.timeout_s is not None:
            spec = replace(spec, timeout_s=None)  # an executor has no time limit but what is asked for
        return Known(called, options, spec, bound, lasts)


def _may_be_an_argument(method: Callable[..., Any]) -> bool:  # Any: as above
    """Tell whether a method may go as an argument: not if only its caller's process can import its class."""
    module = type(getattr(method, "__self__", None)).__module__
    return not is_coroutine_function(method) and (module == "__main__" or not travels_by_value(module))


def _holds(function: FunctionType) -> bool:
    """Tell whether a function holds more than its code."""
    parts = function.__closure__, function.__defaults__, function.__kwdefaults__, function.__dict__
    return any(part is not None and part != {} for part in parts)


def _is_held(function: FunctionType) -> bool:
    """Tell whether a module holds a function, so that we may as well, closures left out."""
    if function.__closure__ is not None:
        return False
    return vars(sys.modules.get(function.__module__, object)).get(function.__name__) is function


def _key(function: Callable[..., Any]) -> object:  # Any: the user's own
    """Return what stands for a function and holds no object of anybody's: for a method, its name; None if nothing."""
    if isinstance(function, FunctionType):
        return function if not _holds(function) or _is_held(function) else None
    if isinstance(function, MethodType):
        return (function.__func__,)
    if isinstance(function, BuiltinFunctionType):
        owner = function.__self__
        return function if owner is None or isinstance(owner, ModuleType) else (function.__qualname__,)
    return None
