"""How functions, arguments, results and exceptions are carried; used by the controller and by workers.

Three ways, by what is in them: plain values (numbers, texts, and lists, dicts, tuples of them) go as one pickle for a
whole batch, because reading it back runs no code of anybody's; everything else as a pickle of its own, so that what
fails to be written or read belongs to one task; and what only the controller's process can import, by value.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from types import FunctionType, TracebackType
from typing import Any, Final

from longshore.errors import PayloadError
from longshore.pickling import PROTOCOL, ByValuePickler, travels_by_value
from longshore.worker import described, portable

from longshore_processes.bays import Shelf
from longshore_processes.namespaces import Scope

load: Final = pickle.loads
"""Reads only what processes we started wrote, over descriptors they inherited."""
SCALARS: Final = frozenset({int, float, str, bytes, bool, type(None)})
"""Types that are immutable and plain: they may be pickled later, together with others."""

# Any: slots carry no types. A class of the user's may forbid setting, or answer for, what is reached through these.
_TRACE: Final[Any] = vars(BaseException)["__traceback__"]
_CAUSE: Final[Any] = vars(BaseException)["__cause__"]
_ARGS: Final[Any] = vars(BaseException)["args"]
_STATE: Final[Any] = vars(BaseException)["__dict__"]


class _NotPlain(Exception):
    pass


class _PlainPickler(pickle.Pickler):
    def reducer_override(self, obj: object) -> Any:  # Any: never returns; the base class says Any
        raise _NotPlain


def dump_plain(value: object) -> bytes | None:
    """Return a pickle that runs no code when it is read, or None if `value` holds anything but plain values."""
    file = io.BytesIO()
    try:
        _PlainPickler(file, PROTOCOL).dump(value)
    except Exception:  # noqa: BLE001 - not plain, too deep, or changed meanwhile by a thread of the user's
        return None
    return file.getvalue()


def dump(value: object, by_value: Sequence[bytes] = (b"__main__",), scope: Scope | None = None) -> bytes:
    """Return a pickle of anything, what is named in `by_value` or can't be imported by value; raises what it raises.

    Functions that go by value share their globals in the worker with all that is sent in the same `scope`.
    """
    try:
        data = pickle.dumps(value, PROTOCOL)
    except Exception:  # noqa: BLE001 - reducers are user code; the second way decides
        return _dump_by_value(value, scope)
    # A name inside the bytes may be a mere text: then the slower way was taken for nothing, and is right all the same.
    return _dump_by_value(value, scope) if any(name in data for name in by_value) else data


def _dump_by_value(value: object, scope: Scope | None = None) -> bytes:
    file = io.BytesIO()
    _ScopedPickler(file, scope).dump(value)
    return file.getvalue()


def dump_plain_onto(shelf: Shelf, value: object) -> bool:
    """Write what `dump_plain` returns onto a shelf; False where that is None."""
    shelf.begin()
    try:
        _PlainPickler(shelf, PROTOCOL).dump(value)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def dump_onto(
    shelf: Shelf, value: object, by_value: Sequence[bytes] = (b"__main__",), scope: Scope | None = None
) -> None:
    """Write what `dump` returns onto a shelf; raises what it raises."""
    shelf.begin()
    try:
        pickle.Pickler(shelf, PROTOCOL).dump(value)
    except Exception:  # noqa: BLE001 - as in `dump`
        carried = False
    else:
        carried = not shelf.names(by_value)
    if not carried:
        shelf.begin()
        _ScopedPickler(shelf, scope).dump(value)


class _ScopedPickler(ByValuePickler):
    def __init__(self, file: Any, scope: Scope | None) -> None:  # Any: what has `write`
        """Write to `file`."""
        super().__init__(file)
        self._scope = scope

    def reducer_override(self, obj: Any) -> Any:  # Any: as pickle has it
        """Carry a function as cloudpickle does, save for its globals where there is a scope."""
        made = super().reducer_override(obj)
        if self._scope is not None and type(made) is tuple and type(obj) is FunctionType:
            return self._scope.reduce(obj, made)
        return made


def cut_trace(error: BaseException, filenames: Collection[str]) -> None:
    """Leave off the outermost frames that are of these files: the reader wants the user's frames, not ours."""
    trace: TracebackType | None = _TRACE.__get__(error)
    while trace is not None and trace.tb_frame.f_code.co_filename in filenames:
        trace = trace.tb_next
    _TRACE.__set__(error, trace)


def cause_of(error: BaseException) -> BaseException | None:
    """Return an exception's cause."""
    cause: BaseException | None = _CAUSE.__get__(error)
    return cause


def set_cause(error: BaseException, cause: BaseException) -> None:
    """Give an exception a cause."""
    _CAUSE.__set__(error, cause)


def dump_exception(exception: BaseException | None) -> bytes | None:
    """Return a pickle of the exception that was shown to come back as the same type, else None."""
    if exception is None:
        return None
    data = portable(exception)
    if data is not None and b"__main__" not in data:
        return data
    for carried in (exception, _Bare(exception)):
        with suppress(BaseException):  # a reducer is user code and may raise anything
            data = _dump_by_value(carried)
            if type(load(data)) is type(exception):
                return data
    return None


class _Bare:
    """An exception to be made again without its class's own code, which may refuse: frozen, or of other arguments."""

    __slots__ = ("_exception",)

    def __init__(self, exception: BaseException) -> None:
        """Stand in for `exception` where it is pickled."""
        self._exception = exception

    def __reduce__(self) -> tuple[Any, ...]:  # Any: a reducer's result, as pickle has it
        """Carry what the exception is made of."""
        error = self._exception
        return _restore_exception, (type(error), _ARGS.__get__(error), _STATE.__get__(error))


def _restore_exception(
    kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]
) -> BaseException:  # Any: what the user gave it
    error = kind.__new__(kind, *args)
    _ARGS.__set__(error, args)
    _STATE.__get__(error).update(state)
    return error


def load_exception(data: bytes | None) -> BaseException | None:
    """Return the exception in `data`; None where there is none or it can't be read here."""
    if data is None:
        return None
    try:
        value = load(data)
    except BaseException:  # noqa: BLE001 - an exception's own __init__ runs here and may raise anything
        return None
    return value if issubclass(type(value), BaseException) else None


class Carrier:
    """The controller's side: pickles code and arguments, and knows which modules have to travel by value."""

    __slots__ = ("_by_value", "_seen")

    def __init__(self) -> None:
        """Know of `__main__` only."""
        self._by_value: list[bytes] = [b"__main__"]
        self._seen: set[str] = {"__main__"}

    def code(
        self, function: Callable[..., Any], initializer: Callable[[], object] | None, scope: Scope | None = None
    ) -> bytes:
        """Return a pickle of the two and the scope's number; PayloadError if they can't be carried. Any: the user's."""
        number = scope.number if scope is not None else 0
        try:
            try:
                self._look(pickle.dumps((function, initializer), PROTOCOL))
            except Exception:  # noqa: BLE001 - nested functions, lambdas, local classes: their modules may be ours alone
                self._look(_dump_by_value((function, initializer)))
            return dump((function, initializer, number), self._by_value, scope)
        except Exception as error:
            raise PayloadError(
                f"{_name(function)} cannot be carried to a worker process: {described(error)}; "
                "define it in a module, and keep locks, files and sockets out of what it refers to",
                function=_name(function),
            ) from error

    def arguments(
        self, args: tuple[Any, ...], kwargs: Any, function: str, shelf: Shelf | None, scope: Scope | None = None
    ) -> bytes:
        """Return a pickle of `(args, kwargs)`, or write it onto a shelf and return nothing of it.

        PayloadError if they can't be carried. Any: the user's arguments.
        """
        try:
            if shelf is None:
                return dump((args, kwargs), self._by_value, scope)
            dump_onto(shelf, (args, kwargs), self._by_value, scope)
            return b""
        except BaseException as error:  # this is the supervisor's thread: nothing may end it
            raise PayloadError(
                f"the arguments of {function} cannot be carried to a worker process: {described(error)}",
                function=function,
            ) from error

    def _look(self, data: bytes) -> None:
        for _, argument, _ in pickletools.genops(data):
            if isinstance(argument, str):
                self._note(argument)

    def _note(self, name: str | None) -> None:
        if name is None or name in self._seen or name not in sys.modules:
            return
        self._seen.add(name)
        if travels_by_value(name):
            self._by_value.append(name.encode())


def _name(function: object) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)
