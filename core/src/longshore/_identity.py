"""Which task this is, whenever and wherever it is submitted: its key, from its function, a version and its arguments.

In: a call. Out: a key that is equal for equal calls only, in every process and every Python, or NoIdentity. Whether the
function is still the code that it was is another question: `code_digest` answers it, for one interpreter.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any, Final

from longshore._canonical import IDENTITY_METHOD, NoIdentity, canonical, name_of_module, qualified, sealed

_SCHEME: Final = b"longshore key 1"  # keys of another scheme never equal those of this one
_KEY_BYTES: Final = 16


class CallIdentity:
    """The keys of the calls of one function: what is the same for all of them is worked out once.

    Two calls have the same key only if they call the function of the same name, of the same version, with equal
    arguments of equal types. It does not matter whether an argument is given by position or by name, by
    `functools.partial` or left to its default, nor in which order a dict or a set is. Code does not count: see
    `code_digest`. A lambda, or a function that another one made, has no name of its own: there the code counts, and
    what it took from around it, so that its keys are the same for one version of Python only.
    """

    __slots__ = ("_defaults", "_head", "_keywords", "_plain", "_positional", "_signature")

    def __init__(self, function: Callable[..., Any], version: str | int | None = None) -> None:  # Any: user's function
        """Look at `function`; NoIdentity where it can't be told from others."""
        args: tuple[Any, ...] = ()
        keywords: dict[str, Any] = {}
        while type(function) is partial:
            args, keywords = (*function.args, *args), {**function.keywords, **keywords}
            function = function.func
        self._signature = _signature_of(function)
        parameters = self._signature.parameters if self._signature is not None else {}
        self._defaults = {name: _default(parameter) for name, parameter in parameters.items()}
        self._head = sealed(b"h", canonical(version) + sealed(b"n", _named(function)))
        self._positional, self._keywords = args, keywords
        self._plain = _takes_plain(self._signature) if not args and not keywords else None

    def key(self, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> str:  # Any: its arguments
        """Return the key of a call, 32 hexadecimal digits; NoIdentity names the argument that has none."""
        if self._plain is not None and not kwargs and len(args) == len(self._plain):
            given = dict(zip(self._plain, args, strict=True))
            body = [_argument(name, value) for name, value in given.items()]
        else:
            body = self._bound((*self._positional, *args), {**self._keywords, **(kwargs or {})})
        return blake2b(_SCHEME + self._head + b"".join(sorted(body)), digest_size=_KEY_BYTES).hexdigest()

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[bytes]:  # Any: as above
        if self._signature is None:
            return [_argument("*", args), *(_argument(name, value) for name, value in kwargs.items())]
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:  # the call will fail, and so will every one like it
            return [_argument("*", args), _argument("**", kwargs)]
        body = [_argument(name, value) for name, value in bound.arguments.items()]
        left = [told for name, told in self._defaults.items() if name not in bound.arguments]
        return body + [one for told in left for one in told]


def key_of(
    function: Callable[..., Any],  # Any: the user's function
    args: tuple[Any, ...] = (),  # Any: its arguments
    kwargs: Mapping[str, Any] | None = None,
    *,
    version: str | int | None = None,
) -> str:
    """Return the key of one call; of many of the same function, `CallIdentity` is quicker. Raises NoIdentity."""
    return CallIdentity(function, version).key(args, kwargs)


def _signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # written in C, and silent about it
        return None


def _takes_plain(signature: inspect.Signature | None) -> tuple[str, ...] | None:
    """Return the names of its parameters, if all of them may be given by position, each for itself."""
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if signature is None or any(parameter.kind not in plain for parameter in signature.parameters.values()):
        return None
    return tuple(signature.parameters)


def _argument(name: str, value: Any) -> bytes:  # Any: the user's argument
    try:
        return sealed(b"=", canonical(name) + canonical(value))
    except NoIdentity as error:
        raise error.inside(f"argument {name!r}") from None


def _default(parameter: inspect.Parameter) -> list[bytes]:
    """Return what stands for an argument that is not given: its default; nothing where that is a mere mark."""
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return [_argument(parameter.name, ())]
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return [_argument(parameter.name, {})]
    try:
        return [_argument(parameter.name, parameter.default)]
    except NoIdentity:  # such as object(): who gives it has no key, so nothing can be taken for this
        return []


def _named(function: Callable[..., Any]) -> bytes:
    """Return what a function goes by: its name where its module knows it by that, else its code and what is in it."""
    if not isinstance(function, types.FunctionType) or qualified(function) is not None:
        return canonical(function)
    name = f"{name_of_module(function.__module__)}:{function.__qualname__}"
    defaults = canonical((function.__defaults__, function.__kwdefaults__))
    around = [_cell(name, at, cell) for at, cell in _cells(function)]
    return sealed(b"L", canonical(name) + _code(function.__code__) + defaults + b"".join(around))


def _cells(function: types.FunctionType) -> list[tuple[str, Any]]:  # Any: what a cell holds
    held = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            held.append((name, cell.cell_contents))
        except ValueError:  # still empty
            held.append((name, ...))
    return held


def _cell(function: str, name: str, value: Any) -> bytes:  # Any: as above
    try:
        if isinstance(value, types.FunctionType) and qualified(value) is None:
            return _named(value)
        return canonical(value)
    except (NoIdentity, RecursionError) as error:
        why = error.reason if isinstance(error, NoIdentity) else "it refers to itself"
        raise NoIdentity(why, f"{name!r}, which {function} uses from around it,") from None


def code_digest(function: Callable[..., Any]) -> str | None:  # Any: the user's function
    """Return a digest of a function's code; None where there is none to be seen, as of what is written in C.

    It is the same in every process of one version of Python, and another when the function, what stands inside it, its
    defaults, what it wraps or what it took from around it was changed; not when it was moved, or its docstring or
    comments were. Of a class or an object that is called, all methods count. What the function calls does not.
    """
    parts = _code_parts(function, set())
    return blake2b(b"".join(parts), digest_size=_KEY_BYTES).hexdigest() if parts else None


def _code_parts(thing: Any, seen: set[int]) -> list[bytes]:  # Any: whatever may hold code
    if id(thing) in seen:
        return []
    seen.add(id(thing))
    if isinstance(thing, partial):
        return _code_parts(thing.func, seen)
    if isinstance(thing, types.MethodType | classmethod | staticmethod):
        return _code_parts(thing.__func__, seen)
    if isinstance(thing, property):
        return [part for one in (thing.fget, thing.fset, thing.fdel) for part in _code_parts(one, seen)]
    if isinstance(thing, types.FunctionType):
        return _function_parts(thing, seen)
    if isinstance(thing, type):
        return _class_parts(thing, seen)
    wrapped = getattr(thing, "__wrapped__", None)
    if wrapped is not None:
        return _code_parts(wrapped, seen)
    inner = getattr(thing, "function", None) or getattr(thing, "factory", None)
    called = _code_parts(type(thing), seen) if callable(thing) else []
    return called + (_code_parts(inner, seen) if called else [])


def _function_parts(function: types.FunctionType, seen: set[int]) -> list[bytes]:
    defaults = (*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items()))
    values = [_loosely(value) for value in defaults]
    for _name, value in _cells(function):
        values += _code_parts(value, seen) if callable(value) else [_loosely(value)]
    wrapped = _code_parts(getattr(function, "__wrapped__", None), seen)
    return [_code(function.__code__), *values, *wrapped]


def _class_parts(kind: type, seen: set[int]) -> list[bytes]:
    parts = []
    for base in kind.__mro__:
        if base.__module__ != "builtins":
            for name, value in sorted(base.__dict__.items()):
                found = [] if isinstance(value, type) else _code_parts(value, seen)
                parts += [canonical(name) + part for part in found]
    return parts


def _loosely(value: Any) -> bytes:  # Any: a default, or what a closure holds
    try:
        return canonical(value)
    except NoIdentity:
        return canonical(f"{type(value).__module__}.{type(value).__qualname__}")


def _code(code: types.CodeType) -> bytes:
    """Return what the code does, without where it stands and what it says of itself."""
    consts: list[Any] = list(code.co_consts)
    if consts and isinstance(consts[0], str) and _has_docstring(code):
        consts[0] = None
    told = [_code(const) if isinstance(const, types.CodeType) else canonical(const) for const in consts]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & ~_HAS_DOCSTRING)
    head = canonical((code.co_code, names, counts, code.co_exceptiontable))
    return sealed(b"X", head + b"".join(sealed(b"x", one) for one in told))


def _has_docstring(code: types.CodeType) -> bool:
    """Tell whether the first constant, a text, is the docstring: always in a function by `def` before Python 3.13."""
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & _HAS_DOCSTRING)
    return bool(code.co_flags & inspect.CO_NEWLOCALS) and not code.co_name.startswith("<")


_HAS_DOCSTRING: Final = 0x4000000

__all__ = ["IDENTITY_METHOD", "CallIdentity", "NoIdentity", "code_digest", "key_of"]
