"""How functions, arguments, results and exceptions are carried to workers far away and back.

What can be imported goes by name, what only the controller's process has by value, as cloudpickle does it.
"""

from __future__ import annotations

import io
import pickle
from collections import ChainMap
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import CodeType, TracebackType
from typing import Any, ClassVar, Final

import cloudpickle

from longshore.batching.words import System
from longshore.errors import PayloadError
from longshore.shared import travels_by_value
from longshore.worker import RemoteTraceback, portable, type_name

_PROTOCOL: Final = 5
load: Final = pickle.loads
"""Reads what our own controller and its workers wrote; that only they can, is the cluster's to see to (TLS)."""


def _reduce_code(code: CodeType) -> tuple[Any, ...]:  # Any: a reducer's result, as pickle has it
    """Carry code with the name of its file, which cloudpickle leaves out from 3.1.3 on: tracebacks show its lines."""
    make, arguments = cloudpickle.Pickler.dispatch_table[CodeType](code)[:2]
    return _restore_code, (make, arguments, code.co_filename)


def _restore_code(make: Any, arguments: tuple[Any, ...], filename: str) -> Any:  # Any: as above
    return make(*arguments).replace(co_filename=filename)


class _ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]  # it carries no types
    dispatch_table: ClassVar[Any] = ChainMap(  # Any: as cloudpickle has it
        {CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table
    )


def _dump_by_value(value: object) -> bytes:
    file = io.BytesIO()
    _ByValuePickler(file, _PROTOCOL).dump(value)
    return file.getvalue()


def _by_value_only() -> list[bytes]:
    """Return the names of modules that only this process has, as far as they are known."""
    return [b"__main__", *(name.encode() for name in cloudpickle.list_registry_pickle_by_value())]


def dump(value: object) -> bytes:
    """Return a pickle of anything; raises what that raises."""
    with suppress(Exception):  # reducers are user code; the second way decides
        data = pickle.dumps(value, _PROTOCOL)
        if not any(name in data for name in _by_value_only()):
            return data
    return _dump_by_value(value)


def told(error: BaseException) -> str:
    """Return an exception's type and message, whatever its own methods do."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # noqa: BLE001 - __str__ is user code and may raise anything
        return f"{type_name(error)}: <the message could not be made>"


def _innermost(function: Any) -> Any:  # Any: whatever can be called
    """Return the function in a partial, and in what carries its context."""
    while isinstance(function, partial) or callable(getattr(function, "function", None)):
        function = function.func if isinstance(function, partial) else function.function
    return function


def dump_code(function: Callable[..., Any], initializer: Callable[[], object] | None, system: System) -> bytes:
    """Return a pickle of the two; PayloadError if they can't be carried. Any: the user's function."""
    try:
        for one in (function, initializer):
            module = getattr(_innermost(one), "__module__", None)
            if isinstance(module, str):
                travels_by_value(module)  # one that can't be imported elsewhere is marked for cloudpickle
        return _dump_by_value((function, initializer))
    except Exception as error:
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        raise PayloadError(
            f"{name} cannot be carried to a {system.title} worker: {told(error)}; define it in a module that the "
            "workers have, and keep locks, files and sockets out of what it refers to"
        ) from error


def dump_arguments(args: tuple[Any, ...], kwargs: Any, task: str, system: System) -> bytes:  # Any: the user's
    """Return a pickle of `(args, kwargs)`; PayloadError names the task if they can't be carried."""
    try:
        return dump((args, dict(kwargs) if kwargs else None))
    except BaseException as error:  # reducers are user code, and this thread serves all tasks
        where = f"cannot be carried to a {system.title} worker"
        raise PayloadError(f"the arguments of {task} {where}: {told(error)}") from error


def cut_trace(error: BaseException, filename: str) -> None:
    """Leave off the outermost frames that are of this file: the reader wants the user's frames, not ours."""
    with suppress(BaseException):  # a class of the user's may forbid it
        trace: TracebackType | None = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == filename:
            trace = trace.tb_next
        error.__traceback__ = trace


def dump_exception(exception: BaseException) -> bytes | None:
    """Return a pickle of the exception that was shown to come back as the same type, else None."""
    data = portable(exception)
    if data is not None and not any(name in data for name in _by_value_only()):
        return data
    with suppress(BaseException):  # a reducer is user code and may raise anything
        by_value = _dump_by_value(exception)
        if type(load(by_value)) is type(exception):
            return by_value
    return None


def load_exception(data: bytes | None, traceback: str) -> BaseException | None:
    """Return the exception in `data` with its traceback there as its cause; None where it can't be read here."""
    if data is None:
        return None
    try:
        value = load(data)
        if not isinstance(value, BaseException):
            return None
        value.__cause__ = RemoteTraceback(traceback)
    except BaseException:  # noqa: BLE001 - an exception's own __init__ runs here and may raise anything
        return None
    return value


__all__ = [
    "cut_trace",
    "dump",
    "dump_arguments",
    "dump_code",
    "dump_exception",
    "load",
    "load_exception",
    "told",
]
