"""A value as bytes that are the same in every process and Python, and different for every different value.

In: arguments of tasks. Out: bytes to hash, or NoIdentity with the place and the reason. Types are told apart (1, 1.0
and True are three values), the order of a dict and of a set is not. What can't be told for sure is refused: a key that
is wrongly different costs a task that runs again, one that is wrongly equal a result that is somebody else's.
"""

from __future__ import annotations

import array
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import struct
import sys
import types
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cached_property, partial
from hashlib import blake2b
from typing import Any, Final

import msgspec

IDENTITY_METHOD: Final = "__longshore_identity__"
"""A class that has it says by what its objects are told apart: it returns a value that has an identity."""
_INLINE_MOST: Final = 64  # longer than that, 32 bytes of hash stand for the bytes
_HASHED: Final = b"\xff"
_MAIN: Final = ("__main__", "__mp_main__")


class NoIdentity(TypeError):
    """A value that can't be told from others for sure; `reason` says why, `where` in which part of the arguments."""

    def __init__(self, reason: str, where: str = "") -> None:
        """Say why; `where` reads like code, such as "[3].model"."""
        super().__init__(f"{where or 'the value'} has no identity: {reason}")
        self.reason = reason
        self.where = where

    def inside(self, of: str) -> NoIdentity:
        """Return the same, said of what holds it."""
        return NoIdentity(self.reason, of + self.where)


def canonical(value: Any) -> bytes:  # Any: whatever a task is called with
    """Return the bytes that stand for `value`; raises NoIdentity."""
    try:
        return _encode(value, set())
    except RecursionError:
        raise NoIdentity("it is nested too deep") from None


def sealed(tag: bytes, body: bytes) -> bytes:
    """Return `body` under a tag, so that it can stand beside others and nothing is taken for something else."""
    if len(body) > _INLINE_MOST:
        return tag + _HASHED + blake2b(body, digest_size=32).digest()
    return tag + bytes((len(body),)) + body


def name_of_module(module: str) -> str:
    """Return a name that a script's own module keeps from run to run: that of its file."""
    if module not in _MAIN:
        return module
    main = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    return str(spec.name) if spec is not None else pathlib.Path(file).name if file else "__main__"


def qualified(thing: Any) -> str | None:  # Any: a class or a function
    """Return the name under which its module holds it; None where that holds nothing, or something else, under it."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{name_of_module(module)}:{name}" if found is thing else None


_Encoder = Callable[[Any, set[int]], bytes]  # Any: each its own type


def _encode(value: Any, holders: set[int]) -> bytes:  # Any: as above; `holders` are the ids of what it is inside of
    encoder = _BY_TYPE.get(type(value))
    if encoder is not None:
        return encoder(value, holders)
    for fits, encode in _BY_LOOK:
        if fits(value):
            return encode(value, holders)
    kind = type(value)
    raise NoIdentity(
        f"objects of {kind.__module__}.{kind.__qualname__} can't be told apart for sure; give the task a key "
        f"of its own, or the class a method {IDENTITY_METHOD} that returns what they differ in"
    )


@contextmanager
def _holding(value: object, holders: set[int]) -> Iterator[None]:
    if id(value) in holders:
        raise NoIdentity("it contains itself")
    holders.add(id(value))
    try:
        yield
    finally:
        holders.discard(id(value))


def _part(value: Any, holders: set[int], where: str) -> bytes:  # Any: as above
    try:
        return _encode(value, holders)
    except NoIdentity as error:
        raise error.inside(where) from None


def _items(values: Iterable[Any], holders: set[int]) -> list[bytes]:  # Any: as above
    return [_part(value, holders, f"[{index}]") for index, value in enumerate(values)]


def _sequence(tag: bytes) -> _Encoder:
    def encode(value: Any, holders: set[int]) -> bytes:
        with _holding(value, holders):
            return sealed(tag, b"".join(_items(value, holders)))

    return encode


def _set(tag: bytes) -> _Encoder:
    def encode(value: Any, holders: set[int]) -> bytes:
        with _holding(value, holders):
            return sealed(tag, b"".join(sorted(_part(item, holders, "{…}") for item in value)))

    return encode


def _pairs(value: Mapping[Any, Any], holders: set[int]) -> list[bytes]:
    with _holding(value, holders):
        return [_part(key, holders, "{…}") + _part(of, holders, f"[{key!r:.40}]") for key, of in value.items()]


def _dict(tag: bytes) -> _Encoder:
    return lambda value, holders: sealed(tag, b"".join(sorted(_pairs(value, holders))))


def _ordered_dict(value: Any, holders: set[int]) -> bytes:
    _nothing_besides(value)
    return sealed(b"O", b"".join(_pairs(value, holders)))


def _defaultdict(value: Any, holders: set[int]) -> bytes:
    made_by = _part(value.default_factory, holders, ".default_factory")
    return sealed(b"E", made_by + b"".join(sorted(_pairs(value, holders))))


def _counter(value: Any, holders: set[int]) -> bytes:
    _nothing_besides(value)
    return sealed(b"C", b"".join(sorted(_pairs(value, holders))))


def _deque(value: Any, holders: set[int]) -> bytes:
    with _holding(value, holders):
        return sealed(b"q", _encode(value.maxlen, holders) + b"".join(_items(value, holders)))


def _nothing_besides(value: object) -> None:
    """Refuse an object that was given attributes its type knows nothing of."""
    if getattr(value, "__dict__", None):
        raise NoIdentity(f"this {type(value).__name__} was given attributes of its own")


def _of(tag: bytes, parts: Callable[[Any], Any]) -> _Encoder:
    """Return the encoder of a type whose values are told apart by what `parts` makes of them."""
    return lambda value, holders: sealed(tag, _encode(parts(value), holders))


def _int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _zone(value: dt.tzinfo | None) -> object:
    if value is None or type(value) is dt.timezone or type(value) is zoneinfo.ZoneInfo:
        return value
    raise NoIdentity(f"the time zone {value!r} is neither a datetime.timezone nor a zoneinfo.ZoneInfo")


def _zone_key(value: zoneinfo.ZoneInfo) -> str:
    if value.key is None:
        raise NoIdentity("its time zone was read from a file and has no name")
    return value.key


def _moment(value: Any) -> tuple[object, ...]:
    return value.replace(tzinfo=None).isoformat(), value.fold, _zone(value.tzinfo)


def _span(value: dt.timedelta) -> tuple[int, int, int]:
    return value.days, value.seconds, value.microseconds


def _buffer(value: memoryview) -> tuple[object, ...]:
    return value.format, value.shape, value.tobytes()


_BY_TYPE: dict[type, _Encoder] = {
    type(None): lambda _value, _holders: b"N\x00",
    type(...): lambda _value, _holders: b".\x00",
    type(NotImplemented): lambda _value, _holders: b"!\x00",
    bool: lambda value, _holders: b"T\x00" if value else b"F\x00",
    int: lambda value, _holders: sealed(b"i", _int(value)),
    float: lambda value, _holders: sealed(b"f", struct.pack(">d", value)),
    complex: lambda value, _holders: sealed(b"c", struct.pack(">dd", value.real, value.imag)),
    str: lambda value, _holders: sealed(b"s", value.encode("utf-8", "surrogatepass")),
    bytes: lambda value, _holders: sealed(b"b", value),
    bytearray: lambda value, _holders: sealed(b"B", bytes(value)),
    memoryview: _of(b"m", _buffer),
    array.array: _of(b"a", lambda value: (value.typecode, value.itemsize, sys.byteorder, value.tobytes())),
    tuple: _sequence(b"t"),
    list: _sequence(b"l"),
    set: _set(b"S"),
    frozenset: _set(b"Z"),
    dict: _dict(b"d"),
    types.MappingProxyType: _dict(b"D"),
    OrderedDict: _ordered_dict,
    defaultdict: _defaultdict,
    Counter: _counter,
    deque: _deque,
    range: _of(b"r", lambda value: (value.start, value.stop, value.step)),
    slice: _of(b":", lambda value: (value.start, value.stop, value.step)),
    pathlib.PosixPath: _of(b"p", str),
    pathlib.PurePosixPath: _of(b"p", str),
    pathlib.WindowsPath: _of(b"w", str),
    pathlib.PureWindowsPath: _of(b"w", str),
    decimal.Decimal: _of(b"n", lambda value: tuple(value.as_tuple())),
    fractions.Fraction: _of(b"/", lambda value: (value.numerator, value.denominator)),
    uuid.UUID: _of(b"u", lambda value: value.bytes),
    dt.date: _of(b"y", dt.date.isoformat),
    dt.time: _of(b"h", _moment),
    dt.datetime: _of(b"x", _moment),
    dt.timedelta: _of(b"-", _span),
    dt.timezone: _of(b"z", lambda value: (_span(value.utcoffset(None)), value.tzname(None))),
    zoneinfo.ZoneInfo: _of(b"Y", _zone_key),
}
_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: set on every class that Python code made


def _class_name(kind: type) -> str:
    name = qualified(kind)
    if name is None:
        raise NoIdentity(f"its class {kind.__qualname__} can't be found by that name in {kind.__module__}")
    return name


def _attributes(value: Any, named: Iterable[str]) -> dict[str, object]:
    """Return what the object has: the fields, and what else it was given, but not what it computes once and keeps."""
    kind = type(value)
    slots = [slot for base in kind.__mro__ for slot in _slots_of(base)]
    names = dict.fromkeys([*named, *slots, *getattr(value, "__dict__", ())])
    kept = {name for name in names if isinstance(getattr(kind, name, None), cached_property)}
    return {name: getattr(value, name) for name in names if name not in kept and hasattr(value, name)}


def _slots_of(base: type) -> Iterable[str]:
    slots = base.__dict__.get("__slots__", ())
    if base.__module__.partition(".")[0] in ("pydantic", "msgspec"):  # of their own making, and looked at by name
        return ()
    own = (slots,) if isinstance(slots, str) else tuple(slots)
    hidden = f"_{base.__name__.lstrip('_')}"
    mangled = [hidden + slot if slot.startswith("__") and not slot.endswith("__") else slot for slot in own]
    return [slot for slot in mangled if slot not in ("__dict__", "__weakref__")]


def _keeps_more(base: type) -> bool:
    """Tell whether objects of such a class hold what is in none of their attributes, as those of a list do."""
    if base is object or base.__module__.partition(".")[0] == "msgspec":  # a Struct has its fields, and no more
        return False
    return base in _BY_TYPE or not base.__flags__ & _HEAP_TYPE


def _record(tag: bytes, named: Callable[[Any], Iterable[str]]) -> _Encoder:
    """Return the encoder of objects that are told apart by their class and their attributes."""

    def encode(value: Any, holders: set[int]) -> bytes:
        also = next((base for base in type(value).__mro__ if _keeps_more(base)), None)
        if also is not None:
            raise NoIdentity(
                f"its class {type(value).__qualname__} is also a {also.__name__}, which keeps more than that"
            )
        with _holding(value, holders):
            head = _encode(_class_name(type(value)), holders)
            has = sorted(_attributes(value, named(value)).items())
            return sealed(tag, head + b"".join(_encode(k, holders) + _part(of, holders, f".{k}") for k, of in has))

    return encode


_PYDANTIC: Final = ("__pydantic_extra__", "__pydantic_private__", "__pydantic_fields_set__")


def _enum(value: enum.Enum, holders: set[int]) -> bytes:
    by = value.value if isinstance(value, enum.Flag) else value.name
    return sealed(b"e", _encode(_class_name(type(value)), holders) + _part(by, holders, ".value"))


def _named_tuple(value: Any, holders: set[int]) -> bytes:
    _nothing_besides(value)
    return sealed(b"k", _encode(_class_name(type(value)), holders) + _encode(tuple(value), holders))


def _by_method(value: Any, holders: set[int]) -> bytes:
    with _holding(value, holders):
        told = _part(getattr(value, IDENTITY_METHOD)(), holders, f".{IDENTITY_METHOD}()")
        return sealed(b"I", _encode(_class_name(type(value)), holders) + told)


def _partial(value: partial[Any], holders: set[int]) -> bytes:
    _nothing_besides(value)
    with _holding(value, holders):
        return sealed(b"P", _encode((value.func, value.args, value.keywords), holders))


def _method(value: Any, holders: set[int]) -> bytes:
    if value.__self__ is None or isinstance(value.__self__, types.ModuleType):
        return _by_name(value, holders)
    if getattr(value.__self__, value.__name__, None) != value:
        raise NoIdentity(f"its object has another method under the name {value.__name__}")
    owner = _part(value.__self__, holders, ".__self__")
    return sealed(b"M", owner + _encode(value.__name__, holders))


def _by_name(value: Any, holders: set[int]) -> bytes:
    name = qualified(value)
    if name is None:
        what = getattr(value, "__qualname__", repr(value))
        raise NoIdentity(f"{what} can't be found by that name in its module")
    return sealed(b"g", _encode(name, holders))


def _numpy(value: Any, holders: set[int]) -> bytes:
    """Encode an array or a scalar of numpy by its bytes, in the order of the indices, whatever lies how in memory."""
    if value.dtype.hasobject:
        raise NoIdentity("the array holds Python objects")
    head = _encode((value.dtype.str, value.dtype.names and str(value.dtype.descr), value.shape), holders)
    return sealed(b"A", head + blake2b(_in_order(value), digest_size=32).digest())


def _in_order(value: Any) -> Any:  # Any: what has a buffer
    try:
        lies_in_order = value.flags.c_contiguous and value.ndim > 0
        return memoryview(value).cast("B") if lies_in_order and value.size else value.tobytes()
    except (TypeError, ValueError, AttributeError):  # of a type that buffers do not know, such as moments
        return value.tobytes()


def _is_numpy(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return False
    return type(value) in (numpy.ndarray, numpy.memmap) or (
        isinstance(value, numpy.generic) and type(value).__module__ == "numpy"
    )


def _is_dataclass(value: object) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


_BY_LOOK: tuple[tuple[Callable[[Any], bool], _Encoder], ...] = (
    (lambda value: isinstance(value, type), _by_name),
    (lambda value: hasattr(type(value), IDENTITY_METHOD), _by_method),
    (lambda value: isinstance(value, enum.Enum), _enum),
    (_is_numpy, _numpy),
    (lambda value: isinstance(value, tuple) and hasattr(type(value), "_fields"), _named_tuple),
    (lambda value: isinstance(value, msgspec.Struct), _record(b"R", lambda value: value.__struct_fields__)),
    (lambda value: hasattr(type(value), "__pydantic_fields__"), _record(b"V", lambda _value: _PYDANTIC)),
    (lambda value: hasattr(type(value), "__attrs_attrs__"), _record(b"X", lambda _value: ())),
    (_is_dataclass, _record(b"K", lambda value: [field.name for field in fields(value)])),
    (lambda value: isinstance(value, types.MethodType | types.BuiltinFunctionType), _method),
    (lambda value: isinstance(value, types.ModuleType), lambda value, holders: sealed(b"o", value.__name__.encode())),
    (lambda value: type(value) is partial, _partial),
    (lambda value: callable(value) and qualified(value) is not None, _by_name),
)
