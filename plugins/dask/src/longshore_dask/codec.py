"""How functions, arguments, results and exceptions are carried to a Dask worker and back.

What can be imported goes by name, what only the controller's process has by value, as cloudpickle does it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import cloudpickle
from longshore.errors import PayloadError
from longshore.shared import travels_by_value
from longshore.worker import portable, type_name

_PROTOCOL: Final = 5
load: Final = pickle.loads
"""Reads what our own controller and its workers wrote; that only they can, is the cluster's to see to (TLS)."""


class RemoteTraceback(Exception):
    """The cause of an exception that was raised on a Dask worker: its traceback there, as text."""

    def __init__(self, text: str) -> None:
        """Carry `text`."""
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        """Return the text as a traceback is shown."""
        return f"\n\n{self.text.rstrip()}\n"


def dump(value: object) -> bytes:
    """Return a pickle of anything; raises what that raises."""
    with suppress(Exception):  # reducers are user code; the second way decides
        data = pickle.dumps(value, _PROTOCOL)
        if b"__main__" not in data:
            return data
    by_value: bytes = cloudpickle.dumps(value, _PROTOCOL)
    return by_value


def told(error: BaseException) -> str:
    """Return an exception's type and message, whatever its own methods do."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # noqa: BLE001 - __str__ is user code and may raise anything
        return f"{type_name(error)}: <the message could not be made>"


def dump_code(function: Callable[..., Any], initializer: Callable[[], object] | None) -> bytes:
    """Return a pickle of the two; PayloadError if they can't be carried. Any: the user's function."""
    try:
        for one in (function, initializer):
            module = getattr(one.func if isinstance(one, partial) else one, "__module__", None)
            if isinstance(module, str):
                travels_by_value(module)  # one that can't be imported elsewhere is marked for cloudpickle
        data: bytes = cloudpickle.dumps((function, initializer), _PROTOCOL)
    except Exception as error:
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        raise PayloadError(
            f"{name} cannot be carried to a Dask worker: {told(error)}; define it in a module that the workers have, "
            "and keep locks, files and sockets out of what it refers to"
        ) from error
    return data


def dump_arguments(args: tuple[Any, ...], kwargs: Any, task: str) -> bytes:  # Any: the user's arguments
    """Return a pickle of `(args, kwargs)`; PayloadError names the task if they can't be carried."""
    try:
        return dump((args, dict(kwargs) if kwargs else None))
    except BaseException as error:  # reducers are user code, and this thread serves all tasks
        raise PayloadError(f"the arguments of {task} cannot be carried to a Dask worker: {told(error)}") from error


def dump_exception(exception: BaseException) -> bytes | None:
    """Return a pickle of the exception that was shown to come back as the same type, else None."""
    data = portable(exception)
    if data is not None and b"__main__" not in data:
        return data
    with suppress(BaseException):  # a reducer is user code and may raise anything
        by_value: bytes = cloudpickle.dumps(exception, _PROTOCOL)
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
