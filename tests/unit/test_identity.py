"""Keys of tasks: the same in every process, different for whatever differs, refused where that can't be told."""

from __future__ import annotations

import enum
import functools
import subprocess
import sys
import textwrap
import threading
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from types import MethodType
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import msgspec
import numpy as np
import pytest
from longshore._canonical import NoIdentity, canonical
from longshore._identity import CallIdentity, code_digest, key_of
from pydantic import BaseModel


def work(first: Any, second: Any = 2, *rest: Any, flag: bool = False, **more: Any) -> None:
    """Stand for a task."""


def other(first: Any) -> None:
    """Stand for another one."""


@dataclass
class Point:
    x: int
    y: int = field(default=0, compare=False)

    @functools.cached_property
    def length(self) -> float:
        return float(self.x)


@dataclass
class Twin:
    x: int
    y: int = 0


class Plain:
    def method(self) -> None:
        """Do nothing."""


class Own:
    def __init__(self, name: str) -> None:
        self.name = name

    def __longshore_identity__(self) -> str:
        return self.name


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Bits(enum.Flag):
    A = 1
    B = 2


class Record(msgspec.Struct):
    x: int


class Model(BaseModel):
    x: int
    name: str = "a"


@attrs.define
class Made:
    x: int


Pair = namedtuple("Pair", "x y")


@dataclass
class ListAndMore(list[int]):
    x: int = 0


def test_a_call_has_one_key_however_its_arguments_are_given() -> None:
    """By position, by name, by `partial`, or left to the default: it is the same call."""
    key = key_of(work, (1, 2))
    assert key_of(work, (1,)) == key
    assert key_of(work, (), {"second": 2, "first": 1}) == key
    assert key_of(functools.partial(work, 1), (2,)) == key
    assert key_of(functools.partial(work, second=2), (1,), {"flag": False}) == key
    assert key_of(other, (1,)) == key_of(other, (), {"first": 1}), "where all can be given by position, too"


@pytest.mark.parametrize(
    "differs",
    [
        lambda: key_of(other, (1,)),
        lambda: key_of(work, (1, 3)),
        lambda: key_of(work, (1, 2, 3)),
        lambda: key_of(work, (1,), {"flag": True}),
        lambda: key_of(work, (1,), {"else": 1}),
        lambda: key_of(work, (1.0,)),
        lambda: key_of(work, (True,)),
        lambda: key_of(work, ("1",)),
        lambda: key_of(work, (1,), version="2"),
        lambda: key_of(work, ()),
    ],
)
def test_what_differs_has_another_key(differs: Callable[[], str]) -> None:
    """Function, version, any argument, its type: each is part of the key."""
    assert differs() != key_of(work, (1,))


SAME_EVERYWHERE = [
    {"b": 1, "a": {3, 1, 2}},
    frozenset({"x", "y", "z"}),
    (1, -1, 0, 2**100, 1.5, -0.0, 1j, None, ..., b"x", "é\ud800"),
    Point(1, 2),
    Colour.RED,
    Bits.A | Bits.B,
    Path("a/b"),
    Decimal("1.50"),
    datetime(2026, 1, 2, 3, tzinfo=UTC),
    datetime(2026, 1, 2, 3, tzinfo=ZoneInfo("Europe/Paris")),
    timedelta(1.5),
    Record(1),
    Model(x=1),
    Made(1),
    Pair(1, 2),
    Own("a"),
    range(3),
    OrderedDict(a=1),
    defaultdict(list, a=[1]),
    functools.partial(other, 1),
    other,
    len,
    Point,
    np.arange(6, dtype="<i4").reshape(2, 3),
    np.float64(1.5),
]


def test_the_key_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Whatever the seed of hashes and the place in memory, and in a process that has loaded other things before."""
    here = [key_of(other, (value,)) for value in SAME_EVERYWHERE]
    script = """
        import importlib.util, sys
        spec = importlib.util.spec_from_file_location(sys.argv[2], sys.argv[1])
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        print("\\n".join(module.key_of(module.other, (value,)) for value in module.SAME_EVERYWHERE))
    """
    for seed in ("1", "77"):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), __file__, __name__],
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
            env={"PYTHONHASHSEED": seed},
        )
        assert done.stdout.split() == here
    assert len(set(here)) == len(here)


def test_the_scheme_of_keys_stays() -> None:
    """A key written by one release, under one Python, is found again by the next: it is pinned here."""
    assert key_of(len, (["a", 1, 1.5, None, {"b": {1, 2}}],), version="3") == "cad58614410ead681d197a9b659766fd"


def test_records_of_different_classes_differ() -> None:
    """Equal fields are not enough; and fields that do not count for `==` count for the key."""
    values = [Point(1), Twin(1), Record(1), Model(x=1), Made(1), Pair(1, 0), (1, 0), {"x": 1, "y": 0}, Point(1, 5)]
    assert len({canonical(value) for value in values}) == len(values)


def test_what_an_object_computes_and_keeps_does_not_count() -> None:
    """A cached property that was asked for leaves the key as it was; an attribute that was added does not."""
    point = Point(1)
    before = canonical(point)
    assert point.length == 1.0
    assert canonical(point) == before
    point.z = 3  # type: ignore[attr-defined]
    assert canonical(point) != before


def test_arrays_go_by_their_elements() -> None:
    """The layout in memory does not count; type, shape and each element do."""
    array = np.arange(6.0).reshape(2, 3)
    assert canonical(np.asfortranarray(array)) == canonical(array)
    assert canonical(np.arange(12.0)[::2].reshape(2, 3) / 2) == canonical(array)
    others = [
        array.reshape(3, 2),
        array.astype("f4"),
        array.astype(">f8"),
        array + np.eye(2, 3),
        array.tolist(),
        array[:0],
    ]
    moments = np.array(["2026-01-01"], dtype="datetime64[D]")
    assert len({canonical(value) for value in [array, *others, moments, moments + 1]}) == len(others) + 3
    with pytest.raises(NoIdentity, match="Python objects"):
        canonical(np.array([object()]))


def local() -> list[Any]:
    @dataclass
    class Point:
        x: int

    return [Point(1)]


def looped() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


class Text(str):
    pass


class OwnZone(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str:
        return "own"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": [object()]}, r"argument 'first'\['a'\]\[0\] has no identity: objects of builtins.object"),
        (local(), "can't be found by that name"),
        (looped(), "contains itself"),
        (deep(), "nested too deep"),
        (lambda: 1, "can't be told apart"),
        (Text("a"), "can't be told apart"),
        (ListAndMore(), "is also a list"),
        (threading.Lock(), "can't be told apart"),
        (Plain(), "__longshore_identity__"),
        (Plain().method, r"argument 'first'.__self__"),
        (iter(()), "can't be told apart"),
        (datetime(2026, 1, 1, tzinfo=OwnZone()), "time zone"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_with_the_reason(value: Any, reason: str) -> None:
    """No key rather than one that somebody else could have; it says where, and why."""
    with pytest.raises(NoIdentity, match=reason):
        key_of(other, (value,))


def multiplier(by: int) -> Callable[[int], int]:
    return lambda x: x * by


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)

    return call


def test_functions_without_a_name_of_their_own_go_by_their_code() -> None:
    """Two lambdas are two functions, and so are two closures over different values, or a function and its wrapper."""
    functions = [lambda x: x + 1, lambda x: x + 2, multiplier(2), multiplier(3), other, wrapped(other), wrapped(work)]
    assert len({key_of(function, (1,)) for function in functions}) == len(functions)
    assert key_of(multiplier(2), (1,)) == key_of(multiplier(2), (1,))
    lock = threading.Lock()
    with pytest.raises(NoIdentity, match=r"'lock', which .* uses from around it"):
        key_of(lambda: lock)


def test_a_method_goes_by_its_object() -> None:
    """The object is an argument like others, and a function that only goes under a method's name is none."""
    assert key_of(Point(1).__eq__, (2,)) == key_of(Point(1).__eq__, (2,)) != key_of(Point(2).__eq__, (2,))
    with pytest.raises(NoIdentity, match="another method"):
        key_of(MethodType(other, Own("a")))


def made(source: str) -> Any:
    space: dict[str, Any] = {}
    exec(compile(textwrap.dedent(source), "<made>", "exec"), space)
    return space["f"]


BASE = """
def f(x, y=1):
    '''Say one thing.'''
    def inner(z):
        return z + 1
    return inner(x) in {'a', 'b', 'c'}
"""


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("one thing", "another", False),
        ("\ndef f", "\n\n# moved\ndef f", False),
        ("z + 1", "z + 2", True),
        ("z + 1", "z - 1", True),
        ("y=1", "y=2", True),
        ("'c'", "'d'", True),
        ("inner(x)", "print(x)", True),
    ],
)
def test_changed_code_is_told(old: str, new: str, changed: bool) -> None:
    """Inside it, in its defaults or constants; moving it, or another docstring, is no change."""
    assert (code_digest(made(BASE.replace(old, new))) != code_digest(made(BASE))) is changed


def test_changed_code_is_seen_through_what_wraps_it() -> None:
    """Decorators, partials, methods, classes, objects that are called; what is written in C has no code to be seen."""

    def through(text: str) -> list[str | None]:
        f = made(BASE.replace("z + 1", text))
        kind = type("Kind", (), {"__call__": f})
        forms = [wrapped(f), functools.partial(f, 1), functools.lru_cache(f), kind, kind(), kind().__call__]
        return [code_digest(form) for form in forms]

    assert through("z + 1") == through("z + 1")
    assert not set(through("z + 1")) & set(through("z + 2"))
    assert code_digest(len) is None


def test_many_keys_of_one_function_are_those_of_each() -> None:
    """What is worked out once changes no key."""
    identity = CallIdentity(work, "1")
    assert [identity.key((n,)) for n in range(5)] == [key_of(work, (n,), version="1") for n in range(5)]
