"""By what functions and objects leave this process: what others can import by name, the rest by value.

As cloudpickle does it, and more: what it can't carry, carries badly, or would carry where nobody meant it. Executors
whose tasks run elsewhere use it, and so does the pool where it asks beforehand whether a function can be carried.
"""

from __future__ import annotations

import io
from collections import ChainMap
from collections.abc import Callable
from functools import lru_cache
from pickle import PickleBuffer
from types import CodeType
from typing import Any, ClassVar, Final

import cloudpickle

from longshore._importable import travels_by_value

PROTOCOL: Final = 5


def _reduce_code(code: CodeType) -> tuple[Any, ...]:  # Any: a reducer's result, as pickle has it
    """Carry code with the name of its file, which cloudpickle leaves out from 3.1.3 on: tracebacks show its lines."""
    make, arguments = cloudpickle.Pickler.dispatch_table[CodeType](code)[:2]
    return _restore_code, (make, arguments, code.co_filename)


def _restore_code(make: Any, arguments: tuple[Any, ...], filename: str) -> Any:  # Any: as above
    return make(*arguments).replace(co_filename=filename)


def _reduce_cached(cached: Any) -> str | tuple[Any, ...]:  # Any: a function under `lru_cache`, and as above
    """Carry what `lru_cache` made, which pickles by name only: by value, with an empty cache, where nobody has that."""
    name = str(getattr(cached, "__qualname__", "<locals>"))  # one around a partial has none
    if "<locals>" not in name and not travels_by_value(cached.__module__):
        return name
    return _restore_cached, (cached.__wrapped__, cached.cache_parameters())


def _restore_cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:  # Any: as above
    return lru_cache(**parameters)(function)


def _reduce_file(file: io.TextIOWrapper) -> tuple[Any, ...]:  # Any: as above
    """Refuse an open file, of which cloudpickle would send what is in it."""
    raise TypeError(f"cannot pickle an open file ({file.name!r}): give its path")


class ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]  # it carries no types
    """Pickles what can't be imported elsewhere by value: functions under `lru_cache` too, and code with its file.

    An open file is refused with TypeError.
    """

    dispatch_table: ClassVar[Any] = ChainMap(  # Any: as cloudpickle has it
        {CodeType: _reduce_code, type(lru_cache(len)): _reduce_cached, io.TextIOWrapper: _reduce_file},
        cloudpickle.Pickler.dispatch_table,
    )

    def __init__(
        self, file: Any, buffer_callback: Callable[[PickleBuffer], object] | None = None
    ) -> None:  # Any: what has `write`
        """Write to `file`; what `buffer_callback` is given and answers with nothing is left out of it."""
        super().__init__(file, PROTOCOL, buffer_callback)


def dump_by_value(value: object, buffer_callback: Callable[[PickleBuffer], object] | None = None) -> bytes:
    """Return a pickle of anything; raises what that raises. `pickle.loads` reads it where longshore can be imported."""
    file = io.BytesIO()
    ByValuePickler(file, buffer_callback).dump(value)
    return file.getvalue()


def by_value_only() -> list[bytes]:
    """Return the names of modules that only this process has, as far as they are known.

    A pickle by name in which one of them stands might not be readable elsewhere.
    """
    return [b"__main__", *(name.encode() for name in cloudpickle.list_registry_pickle_by_value())]


__all__ = ["PROTOCOL", "ByValuePickler", "by_value_only", "dump_by_value", "travels_by_value"]
