"""How many bytes a value holds in memory, near enough to keep a bound; a few hundred objects are looked at."""

from __future__ import annotations

import sys
from collections import deque
from itertools import islice
from types import FunctionType, ModuleType

from longshore.task import PLAIN_TYPES

_LOOKS = 200  # objects looked at; what lies beyond is taken to be like what was seen
_SAMPLE = 20  # of the items of one collection
_DEPTH = 6
_UNKNOWN_BYTES = 64
_PLAIN = (str, bytes, bytearray, int, float, type, FunctionType, ModuleType)


def size_of(value: object) -> int:
    """Return about how many bytes `value` and what it refers to hold, whatever its own methods do when asked.

    Collections are judged by their first items. Of an array the buffer counts, where it says its size.
    """
    if type(value) in PLAIN_TYPES:
        return sys.getsizeof(value)
    try:
        return _size(value, _DEPTH, [_LOOKS])
    except Exception:  # noqa: BLE001 - a user's `__sizeof__`, `nbytes` or `__iter__` may raise anything
        return _UNKNOWN_BYTES


def _size(value: object, depth: int, looks: list[int]) -> int:
    looks[0] -= 1
    own = max(sys.getsizeof(value, _UNKNOWN_BYTES), int(getattr(value, "nbytes", 0) or 0))
    if depth == 0 or isinstance(value, _PLAIN):
        return own
    items, count = _inside(value)
    sampled = [_size(item, depth - 1, looks) for item in items if looks[0] > 0]
    return own + (sum(sampled) * count // len(sampled) if sampled else 0)


def _inside(value: object) -> tuple[list[object], int]:
    """Return some of what a value refers to, and how many there are in all."""
    if isinstance(value, dict):
        pairs = [part for pair in islice(value.items(), _SAMPLE) for part in pair]
        return pairs, 2 * len(value)
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(islice(value, _SAMPLE)), len(value)
    fields = getattr(type(value), "__struct_fields__", None) or getattr(type(value), "__slots__", None) or ()
    slots = [getattr(value, name, None) for name in ((fields,) if isinstance(fields, str) else fields)]
    attributes = getattr(value, "__dict__", None)
    inside = slots + ([attributes] if attributes else [])
    return inside, len(inside)
