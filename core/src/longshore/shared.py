"""Objects that many tasks use: each worker process reads one once, whatever brings the reference to it there.

A `Shared` is pickled as the name of a file that holds the object, written when the first one leaves the process. Light:
workers import it.
"""

from __future__ import annotations

import mmap
import os
import pickle
import shutil
import struct
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from longshore._importable import travels_by_value
from longshore._packing import described
from longshore.errors import PayloadError
from longshore.worker import preparing

T = TypeVar("T")

_ALIGN = 64  # arrays want to begin at a multiple of this
_NOTHING: Any = object()  # Any: stands where a value of any type will be

# By file, process-wide: pickle knows no other place where what is read could be found again.
_originals: weakref.WeakValueDictionary[str, Shared[Any]] = weakref.WeakValueDictionary()
_copies: dict[str, Shared[Any]] = {}


class Shared(Generic[T]):
    """One object for many tasks; `pool.share(obj)` makes one that belongs to the pool.

    Given as an argument of a call, positional or by name, also by `functools.partial`, the function gets the object
    itself. Anywhere else (in a list, in a closure) `value` is the object. Where tasks run in this process it is this
    very object. A worker process gets a copy, once for all its tasks, as the object was when the first task that has
    it was sent; what it changes in it, the others don't see. Large arrays are not copied but mapped from one file, as
    long as nobody writes to them. `close`, or letting go of it, ends it: tasks that have begun keep it.
    """

    __slots__ = ("__weakref__", "_closed", "_lock", "_path", "_remove", "_value")

    used: ClassVar[bool] = False
    """Whether this process has made any: as long as not, nobody need look for one among arguments."""

    def __init__(self, value: T) -> None:
        """Share `value`; nothing is written before it has to leave the process."""
        Shared.used = True
        self._value = value
        self._path: str | None = None
        self._remove: Callable[[], object] | None = None
        self._closed = False
        self._lock = threading.RLock()

    @property
    def value(self) -> T:
        """The object; PayloadError where it was closed before this process had read it."""
        if self._value is _NOTHING:
            with self._lock:
                if self._value is _NOTHING:
                    self._value = self._read()
        return self._value

    def close(self) -> None:
        """Let go of the object. Who asks for it from now on, here or in a worker that has not read it, is refused.

        In a worker it does nothing: other tasks there may want the copy.
        """
        if self._path is not None and self._remove is None:
            return
        self.unload()
        self._closed = True
        self._value = _NOTHING

    def unload(self) -> None:
        """Remove what was written for workers; it is written anew when it is sent again."""
        with self._lock:
            remove, self._remove = self._remove, None
            if remove is not None:
                remove()
                self._path = None

    def __enter__(self) -> Self:
        """Close it on leaving."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Name the object's type only: it may be large."""
        what = "closed" if self._closed else "not read yet" if self._value is _NOTHING else type(self._value).__name__
        return f"<Shared {what}>"

    def __copy__(self) -> Self:
        """Be the same one."""
        return self

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Self:  # Any: as copy has it
        """Be the same one."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the name of the file."""
        return _arrived, (self._written(),)

    def _written(self) -> str:
        with self._lock:
            if self._path is None:
                if self._closed:
                    raise PayloadError("a shared object was closed, and cannot be sent any more")
                folder = tempfile.mkdtemp(prefix="longshore-")  # for this user only
                self._remove = weakref.finalize(self, _remove, folder, os.getpid())
                self._path = path = str(Path(folder, "shared"))  # first: the value may refer to this very Shared
                _originals[path] = self
                try:
                    _write(path, self._value)
                except BaseException:
                    self.unload()
                    raise
            return self._path

    def _read(self) -> Any:  # Any: the user's object
        if self._closed or self._path is None:
            raise PayloadError("a shared object was closed, and cannot be used any more")
        try:
            with preparing():  # reading it is the worker's time and memory, not the task's
                return _load(self._path)
        except FileNotFoundError as error:
            raise PayloadError(
                "a shared object was closed, or its pool stopped, before this worker had read it; "
                "keep it open for as long as tasks use it"
            ) from error


def opened(args: tuple[Any, ...], kwargs: Any = None) -> tuple[tuple[Any, ...], Any]:  # Any: the user's arguments
    """Return the arguments of a call with the object in the place of each Shared."""
    if Shared in map(type, args):
        args = tuple([arg.value if type(arg) is Shared else arg for arg in args])
    if kwargs and Shared in map(type, kwargs.values()):
        kwargs = {name: arg.value if type(arg) is Shared else arg for name, arg in kwargs.items()}
    return args, kwargs


def opened_calls(calls: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:  # Any: the user's arguments
    """Return the arguments of many calls with the object in the place of each Shared."""
    return [opened(args)[0] for args in calls]


def opened_partial(function: Callable[..., Any]) -> Callable[..., Any]:  # Any: the user's function
    """Return a partial with the objects in the place of its Shared arguments; any other function as it is."""
    if type(function) is not partial:
        return function
    args, kwargs = opened(function.args, function.keywords)
    return (
        function if args is function.args and kwargs is function.keywords else partial(function.func, *args, **kwargs)
    )


def forget_gone() -> None:
    """Let go of the copies in this process whose file is gone; a worker does so before each of its batches."""
    for path in [path for path in _copies if not os.path.exists(path)]:
        _copies.pop(path, None)


def _arrived(path: str) -> Shared[Any]:
    """Return the one for this file: the original where it was made, else this process's copy."""
    known = _originals.get(path) or _copies.get(path)
    if known is not None:
        return known
    forget_gone()
    made: Shared[Any] = Shared(_NOTHING)
    made._path = path
    return _copies.setdefault(path, made)


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a fork of this process that ends has nothing to remove
        shutil.rmtree(folder, ignore_errors=True)


def _write(path: str, value: object) -> None:
    """Write the lengths of all parts, then the parts: the pickle, and the buffers that it left out."""
    buffers: list[pickle.PickleBuffer] = []
    parts = [memoryview(_pickled(value, buffers)), *(buffer.raw() for buffer in buffers)]
    with open(path, "wb") as file:
        file.write(struct.pack(f"<{len(parts) + 1}Q", len(parts), *(part.nbytes for part in parts)))
        for part in parts:
            file.write(bytes(-file.tell() % _ALIGN))
            file.write(part)


def _pickled(value: object, buffers: list[pickle.PickleBuffer]) -> bytes:
    from longshore.pickling import by_value_only, dump_by_value  # only what leaves the process needs it

    travels_by_value(type(value).__module__)
    with suppress(Exception):  # reducers are user code; the second way decides
        data = pickle.dumps(value, 5, buffer_callback=buffers.append)
        if not any(name in data for name in by_value_only()):
            return data
    buffers.clear()
    try:
        return dump_by_value(value, buffers.append)
    except Exception as error:
        raise PayloadError(f"a shared {type(value).__name__} cannot be sent to a worker: {described(error)}") from error


def _load(path: str) -> Any:  # Any: the user's object
    with open(path, "rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    (count,) = struct.unpack_from("<Q", whole)
    at, parts = 8 + 8 * count, []
    for length in struct.unpack_from(f"<{count}Q", whole, 8):
        at += -at % _ALIGN
        parts.append(whole[at : at + length])
        at += length
    return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301 - what the controller wrote, in a folder of its own


__all__ = ["Shared", "forget_gone", "opened", "opened_calls", "opened_partial"]
