"""The globals of what travels by value: in a worker one set of a module, for all that is sent with one initializer.

cloudpickle gives functions of `__main__` the globals they name, and one set of them for each pickle. What comes later
would not see what an initializer set. Here it does: a function brings its globals along, and of those a worker takes
what it has not, and what the controller has bound anew since, unless the worker itself has bound that name anew.
"""

from __future__ import annotations

import itertools
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType
from typing import Any

Reduced = tuple[Any, ...]  # Any: what a reducer returns, as pickle has it
_numbers = itertools.count(1)
_NOTHING = object()


class Scope:
    """The controller's side: functions that are sent with one initializer, and their globals as they were last sent."""

    __slots__ = ("_sent", "number")

    def __init__(self) -> None:
        """Have sent nothing."""
        self.number = next(_numbers)
        self._sent: dict[tuple[str, str], tuple[int, Callable[[], object]]] = {}  # by module and name

    def reduce(self, function: FunctionType, made: Reduced) -> Reduced:
        """Return how a function travels, by what cloudpickle would do; unchanged where it has no module's globals."""
        module = function.__globals__.get("__name__")
        known = sys.modules.get(module) if isinstance(module, str) else None
        if module is None or known is None or vars(known) is not function.__globals__:
            return made
        make, (code, base, *more), (state, slots), *rest, set_state = made
        names = {name: (self._version(module, name, value), value) for name, value in slots["__globals__"].items()}
        state = (state, {**slots, "__globals__": {}}), names, (self.number, module), set_state
        return make, (code, _Globals(self.number, module, base), *more), state, *rest, _set_state

    def _version(self, module: str, name: str, value: object) -> int:
        """Return the number of the object that a name is bound to, which grows when it is another one."""
        version, last = self._sent.get((module, name), (0, None))
        if last is None or last() is not value:
            version += 1
            self._sent[module, name] = version, _reference(value)
        return version


def _reference(value: object) -> Callable[[], object]:
    """Return what returns an object and lets go of it when it can: of some, such as lists, there is no weak one."""
    with suppress(TypeError):
        return weakref.ref(value)
    return lambda: value


class _Globals:
    """Stands for a set of globals where it is pickled."""

    __slots__ = ("_base", "_module", "_number")

    def __init__(self, number: int, module: str, base: dict[str, Any]) -> None:  # Any: the user's own, and below
        self._number, self._module, self._base = number, module, base

    def __reduce__(self) -> Reduced:
        return _globals, (self._number, self._module, self._base)


# The worker's side. By scope and module, process-wide: pickle knows no other place where they could be found again.
_spaces: dict[tuple[int, str], dict[str, Any]] = {}
_taken: dict[tuple[int, str], dict[str, tuple[int, Any]]] = {}  # which version of a name, and what that was


def _globals(number: int, module: str, base: dict[str, Any]) -> dict[str, Any]:
    """Return the globals of a module in a scope."""
    return _spaces.setdefault((number, module), base)


def _set_state(function: FunctionType, state: Any) -> None:
    """Complete a function, and bring its globals up to date."""
    own, names, key, set_state = state
    set_state(function, own)
    space, taken = function.__globals__, _taken.setdefault(key, {})
    for name, (version, value) in names.items():
        last_version, last = taken.get(name, (0, _NOTHING))
        if version <= last_version:
            continue
        taken[name] = version, value
        if space.get(name, _NOTHING) is last:  # nobody has bound it here
            space[name] = value
