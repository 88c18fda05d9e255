"""How functions, arguments, results and exceptions are carried to workers far away and back.

What can be imported goes by name, what only the controller's process has by value, as cloudpickle does it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final

from longshore.batching.words import System
from longshore.errors import PayloadError
from longshore.pickling import PROTOCOL, by_value_only, dump_by_value, travels_by_value
from longshore.worker import RemoteTraceback, described, portable

load: Final = pickle.loads
"""Reads what our own controller and its workers wrote; that only they can, is the cluster's to see to (TLS)."""


def dump(value: object) -> bytes:
    """Return a pickle of anything; raises what that raises."""
    with suppress(Exception):  # reducers are user code; the second way decides
        data = pickle.dumps(value, PROTOCOL)
        if not any(name in data for name in by_value_only()):
            return data
    return dump_by_value(value)


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
        return dump_by_value((function, initializer))
    except Exception as error:
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        raise PayloadError(
            f"{name} cannot be carried to a {system.title} worker: {described(error)}; define it in a module that the "
            "workers have, and keep locks, files and sockets out of what it refers to"
        ) from error


def dump_arguments(args: tuple[Any, ...], kwargs: Any, task: str, system: System) -> bytes:  # Any: the user's
    """Return a pickle of `(args, kwargs)`; PayloadError names the task if they can't be carried."""
    try:
        return dump((args, dict(kwargs) if kwargs else None))
    except BaseException as error:  # reducers are user code, and this thread serves all tasks
        where = f"cannot be carried to a {system.title} worker"
        raise PayloadError(f"the arguments of {task} {where}: {described(error)}") from error


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
    if data is not None and not any(name in data for name in by_value_only()):
        return data
    with suppress(BaseException):  # a reducer is user code and may raise anything
        by_value = dump_by_value(exception)
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
]
